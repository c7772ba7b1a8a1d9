//! One invocation as the engines see it: the event, and a context shared by everyone who works on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Request;
use model::{Failure, FunctionVersion, InvocationId};
use tokio::time::Instant;

use crate::Body;
use crate::log::{LogLine, LogSink, LogStream};
use crate::trace::TraceContext;

/// What a function is called with.
pub enum Event {
    /// An HTTP request. The URI is in origin form as the function shall see it; the `host` header is
    /// there; hop-by-hop headers (RFC 9110, section 7.6.1) and platform headers are gone.
    Http(Request<Body>),
}

/// One invocation, consumed by [`crate::Sandbox::invoke`].
pub struct Invocation {
    /// The shared context.
    pub context: Arc<InvocationContext>,
    /// The event.
    pub event: Event,
}

/// What everyone who works on an invocation shares. Made once per invocation, by the invoker.
pub struct InvocationContext {
    /// The invocation's id.
    pub id: InvocationId,
    /// The version that runs.
    pub version: Arc<FunctionVersion>,
    /// When the run must be over (start excluded). Set once the instance is there.
    pub timeout_at: std::sync::OnceLock<Instant>,
    /// W3C trace context of the invocation's span.
    pub trace: TraceContext,
    /// The address scheme the caller used: `http` or `https`.
    pub scheme: http::uri::Scheme,
    /// The caller's address, where the trigger has one.
    pub caller: Option<std::net::IpAddr>,
    /// Why the request body failed, set once by its wrapper: the caller's fault, whatever the function
    /// made of it.
    pub caller_failure: std::sync::OnceLock<Failure>,
    /// What was used.
    pub meter: Meter,
    /// Where log lines go.
    pub log: Arc<dyn LogSink>,
}

impl InvocationContext {
    /// Writes one line (without its line end) to the function's log, under the version's volume limit:
    /// what exceeds it is dropped and counted.
    pub fn log(&self, stream: LogStream, text: &[u8]) {
        let bytes = text.len() as u64 + 1;
        let before = self.meter.log_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > self.version.config.limits.log_bytes_max {
            self.meter.log_bytes.fetch_sub(bytes, Ordering::Relaxed);
            let dropped = &self.meter.log_dropped_bytes;
            if dropped.fetch_add(bytes, Ordering::Relaxed) > 0 {
                return;
            }
            let limit = self.version.config.limits.log_bytes_max;
            let notice = format!("log limit of {limit} bytes reached: the rest is dropped");
            self.write(LogStream::Platform, notice.as_bytes());
            return;
        }
        self.write(stream, text);
    }

    fn write(&self, stream: LogStream, text: &[u8]) {
        self.log.write(&LogLine {
            invocation: self.id,
            function: &self.version.function,
            version: self.version.number,
            stream,
            text,
        });
    }
}

/// Counters of one invocation. Written by engine and invoker, read when the invocation settles.
#[derive(Debug, Default)]
pub struct Meter {
    /// CPU time of the guest in nanoseconds.
    pub cpu_ns: AtomicU64,
    /// Peak memory of the instance in bytes.
    pub memory_peak_bytes: AtomicU64,
    /// Request body bytes that arrived.
    pub bytes_in: AtomicU64,
    /// Response body bytes that were handed on.
    pub bytes_out: AtomicU64,
    /// Log bytes written.
    pub log_bytes: AtomicU64,
    /// Log bytes dropped at a limit.
    pub log_dropped_bytes: AtomicU64,
}

impl Meter {
    /// Adds CPU time.
    pub fn add_cpu_ns(&self, ns: u64) {
        self.cpu_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Notes a memory size; the highest is kept.
    pub fn note_memory_bytes(&self, bytes: u64) {
        self.memory_peak_bytes.fetch_max(bytes, Ordering::Relaxed);
    }
}
