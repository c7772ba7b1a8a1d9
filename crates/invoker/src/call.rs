//! What the invoker is asked, and what it answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use model::{Failure, InvocationId, StartKind};
use runtime::{Body, TraceContext};
use store::LiveVersion;
use tokio::time::Instant;

/// One accepted and resolved invocation.
pub struct Call {
    /// The version to run.
    pub target: Arc<LiveVersion>,
    /// The invocation's id.
    pub id: InvocationId,
    /// Its span.
    pub trace: TraceContext,
    /// When it was accepted, on the monotonic clock.
    pub accepted: Instant,
    /// The same in milliseconds since the Unix epoch, for the receipt.
    pub accepted_unix_ms: u64,
    /// The scheme the caller used.
    pub scheme: http::uri::Scheme,
    /// The caller's address, where there is one.
    pub caller: Option<IpAddr>,
    /// The request as the function shall see it; see [`runtime::Event::Http`].
    pub request: Request<Body>,
}

/// The outcome of a call. The receipt is written when the response's body has ended.
pub struct Answer {
    /// The function's response, or why there is none.
    pub response: Result<Response<Body>, Failure>,
    /// How the time went until the response's head.
    pub timings: Timings,
}

/// Parts of the time from acceptance to the response's head.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Waiting for a place.
    pub queue: Duration,
    /// Making an instance.
    pub start: Duration,
    /// Running until the head.
    pub run_until_head: Duration,
    /// How the instance came to be.
    pub kind: StartKind,
}
