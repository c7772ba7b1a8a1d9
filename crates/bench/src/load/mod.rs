//! The load generator: one thread, non-blocking sockets, nothing allocated per request.
//!
//! Owns what is sent, what counts as an answer and how long it took. Refuses to know what a row is, who
//! serves, and what a figure means. Every answer is read whole and checked: a block with one wrong answer
//! is an error, never a figure.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;

mod answer;
mod closed;
pub(crate) mod connection;
mod driver;
mod error;
mod open;
#[cfg(test)]
mod tests;

pub use error::{LoadError, Offence};

/// Connections of a closed loop unless a row has a reason for another number.
pub const N_CONNECTIONS_DEFAULT: usize = 32;

/// A generator that is busy for a greater share of the window is the limit itself.
const BUSY_MAX: f64 = 0.95;

/// A greater share of late requests would be seen in a 99th percentile.
const LATE_SHARE_MAX: f64 = 0.005;

/// How long a server gets after the window for what is still owed.
const DRAIN_MAX: Duration = Duration::from_secs(10);

const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// Where requests go, and what must come back.
#[derive(Debug, Clone)]
pub struct Target {
    /// The server; the generator speaks HTTP/1.1 without TLS.
    pub address: SocketAddr,
    /// Whole requests as they go over the wire, cycled over in a fixed shuffled order.
    pub requests: Vec<Bytes>,
    /// What every answer must be.
    pub expect: Expect,
}

/// What every answer must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Any complete 200.
    Ok,
    /// A 200 with exactly this body.
    Body(Bytes),
}

/// A closed loop: each connection sends its next request when the answer is there. Measures capacity.
#[derive(Debug, Clone)]
pub struct Closed {
    /// Connections, each with one request in flight.
    pub n_connections: usize,
    /// Load before the clock starts.
    pub warm_up: Duration,
    /// What is measured.
    pub duration: Duration,
}

/// An open loop: requests are due at a constant rate whatever the server does. Measures latency.
#[derive(Debug, Clone)]
pub struct Open {
    /// Connections at most in use; a request that finds none free waits, and the wait is latency.
    pub n_connections: usize,
    /// Requests due per second.
    pub rate_per_s: f64,
    /// Load before the clock starts.
    pub warm_up: Duration,
    /// What is measured.
    pub duration: Duration,
}

/// What came back. There is no count of errors: the first one ends the block.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Right answers within the window.
    pub n_answers: u64,
    /// Right answers of the whole call: warm-up, window, and what was still in flight after it. Divide
    /// what the server's CPU clock moved around the call by this.
    pub n_answers_in_all: u64,
    /// The window.
    pub elapsed: Duration,
    /// CPU time that the generator's thread needed within the window; spinning is not counted.
    pub generator_cpu: Duration,
    /// Requests of an open loop that left late though a connection was free: the generator's own fault.
    pub n_late: u64,
    /// From the moment a request was sent (closed loop) or due (open loop) to the last byte of its
    /// answer, in nanoseconds.
    pub latency: Histogram<u64>,
}

impl Tally {
    /// Right answers per second of the window.
    pub fn rate_per_s(&self) -> f64 {
        self.n_answers as f64 / self.elapsed.as_secs_f64()
    }

    /// What the generator could do at most: answers per second of its own CPU time. Of a closed loop
    /// against the fastest server at hand this is the generator's ceiling.
    pub fn ceiling_per_s(&self) -> f64 {
        self.n_answers as f64 / self.generator_cpu.as_secs_f64()
    }

    /// Whether the figure is the generator's rather than the server's.
    pub fn is_client_bound(&self) -> bool {
        let busy = self.generator_cpu.as_secs_f64() / self.elapsed.as_secs_f64();
        busy > BUSY_MAX || self.n_late as f64 > LATE_SHARE_MAX * self.n_answers as f64
    }
}

/// Latencies from 1 ns to a minute with three digits; longer ones count as a minute.
fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds and digits are in range")
}

/// Runs a closed loop on the calling thread, which the caller has pinned
/// (`machine::pin_current_thread`).
///
/// # Errors
/// The first wrong answer, quoted; a server that cannot be reached, hangs or answers nothing in time.
pub fn closed(target: &Target, closed: &Closed) -> Result<Tally, LoadError> {
    closed::run(target, closed, DRAIN_MAX)
}

/// Runs an open loop on the calling thread, which the caller has pinned.
///
/// # Errors
/// As [`closed`].
pub fn open(target: &Target, open: &Open) -> Result<Tally, LoadError> {
    open::run(target, open, DRAIN_MAX)
}
