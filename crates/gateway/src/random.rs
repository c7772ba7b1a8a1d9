//! Randomness for ids: one generator per worker, seeded from the system. Ids need no secrecy, but they must
//! never repeat, also not after a snapshot of the machine was started twice; so the generator is a
//! cryptographic one, which costs nanoseconds.

use model::InvocationId;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use runtime::TraceContext;

/// A worker's generator.
pub(crate) struct Random(Mutex<StdRng>);

impl Random {
    /// Seeds from the system.
    pub(crate) fn from_system() -> Self {
        Self(Mutex::new(StdRng::from_os_rng()))
    }

    /// A new invocation's id and span. The span continues the trace of `traceparent` where that is valid.
    pub(crate) fn identify(
        &self,
        unix_ms: u64,
        traceparent: Option<&[u8]>,
    ) -> (InvocationId, TraceContext) {
        let mut bytes = [0; 34];
        self.0.lock().fill_bytes(&mut bytes);
        let (id, rest) = bytes.split_first_chunk::<10>().expect("34 is more than 10");
        let (span_id, trace_id) = rest.split_first_chunk::<8>().expect("24 is more than 8");
        let span_id = u64::from_be_bytes(*span_id);
        let trace_id = u128::from_be_bytes(trace_id.try_into().expect("34 = 10 + 8 + 16"));
        let trace = traceparent
            .and_then(|value| TraceContext::child_of(value, span_id))
            .unwrap_or_else(|| TraceContext::root(trace_id, span_id));
        (InvocationId::new(unix_ms, *id), trace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_valid_traces_go_on() {
        let random = Random::from_system();
        let (first, first_trace) = random.identify(1, None);
        let (second, second_trace) = random.identify(1, Some(b"nonsense"));
        assert_ne!(first, second);
        assert_ne!(first_trace.trace_id, second_trace.trace_id);
        assert_ne!(first_trace.span_id, second_trace.span_id);

        let parent = first_trace.to_string();
        let (_, child) = random.identify(1, Some(parent.as_bytes()));
        assert_eq!(child.trace_id, first_trace.trace_id);
        assert_eq!(child.parent_span_id, Some(first_trace.span_id));
    }
}
