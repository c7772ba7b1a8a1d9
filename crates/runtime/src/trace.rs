//! W3C Trace Context (Recommendation, 23 November 2021), version 00: reading and writing `traceparent`.

use std::fmt;

/// Which trace and span an invocation belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct TraceContext {
    /// The trace; never zero.
    pub trace_id: u128,
    /// The invocation's own span; never zero.
    pub span_id: u64,
    /// The caller's span, where the caller sent one.
    pub parent_span_id: Option<u64>,
    /// Flags; bit 0 is "sampled".
    pub flags: u8,
}

impl TraceContext {
    /// A new trace. `random` must not be all zero in its parts; zero is replaced by one.
    pub fn root(trace_id: u128, span_id: u64) -> Self {
        Self {
            trace_id: trace_id.max(1),
            span_id: span_id.max(1),
            parent_span_id: None,
            flags: 0,
        }
    }

    /// Continues the trace of a `traceparent` value under a new span; `None` where the value is invalid
    /// (the specification says to start a new trace then).
    pub fn child_of(traceparent: &[u8], span_id: u64) -> Option<Self> {
        let text = std::str::from_utf8(traceparent).ok()?;
        let mut parts = text.split('-');
        let (version, trace, parent, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let known_version = version == "00" && parts.next().is_none();
        let later_version = version != "00" && version != "ff" && is_hex(version, 2);
        if !(known_version || later_version) {
            return None;
        }
        if !is_hex(trace, 32) || !is_hex(parent, 16) || !is_hex(flags, 2) {
            return None;
        }
        let trace_id = u128::from_str_radix(trace, 16).ok()?;
        let parent_span_id = u64::from_str_radix(parent, 16).ok()?;
        if trace_id == 0 || parent_span_id == 0 {
            return None;
        }
        Some(Self {
            trace_id,
            span_id: span_id.max(1),
            parent_span_id: Some(parent_span_id),
            flags: u8::from_str_radix(flags, 16).ok()? & 1,
        })
    }
}

/// The `traceparent` value that names this span as the parent.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id, self.span_id, self.flags
        )
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_parents_are_continued() {
        let value = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = TraceContext::child_of(value.as_bytes(), 5).expect("valid");
        assert_eq!(trace.parent_span_id, Some(0x00f0_67aa_0ba9_02b7));
        assert_eq!(
            trace.to_string(),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000005-01"
        );
    }

    #[test]
    fn invalid_parents_are_refused() {
        for value in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nx: y",
        ] {
            assert_eq!(TraceContext::child_of(value.as_bytes(), 5), None, "{value}");
        }
    }
}
