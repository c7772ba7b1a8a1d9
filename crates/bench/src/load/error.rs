//! Why a block is no figure.

use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

/// Why a block is no figure.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The block makes no sense: no requests, no connections, no rate, no time.
    #[error("this load cannot be run: {0}")]
    Nonsense(&'static str),
    /// The server does not accept connections.
    #[error("no connection to {address}: {error}")]
    Connect {
        /// The server.
        address: SocketAddr,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
    /// An answer is not what was expected.
    #[error("wrong answer after {n_right} right ones: {offence}; it began {quote:?}")]
    Wrong {
        /// Right answers before it, warm-up included.
        n_right: u64,
        /// What is wrong with it.
        offence: Offence,
        /// The beginning of the answer, escaped.
        quote: String,
    },
    /// The server stopped answering, or cannot keep up with an open loop.
    #[error("{n_waiting} requests without an answer {waited:?} after the measured time")]
    Hangs {
        /// Requests without an answer, sent or only due.
        n_waiting: usize,
        /// How long they were waited for after the window.
        waited: Duration,
    },
    /// Nothing was answered within the window.
    #[error("no answer within the measured time: the block is too short for this server")]
    NoAnswers,
    /// The generator's own system calls.
    #[error("the load generator failed: {0}")]
    Io(#[from] std::io::Error),
}

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Offence {
    /// A status other than 200.
    #[error("status {0}")]
    Status(u16),
    /// Another body than expected.
    #[error("not the expected body")]
    Body,
    /// No HTTP/1.1 answer as the standard has it.
    #[error("not HTTP/1.1: {0}")]
    Malformed(&'static str),
    /// The connection was reset or closed before the answer was whole.
    #[error("the connection ended: {0}")]
    Ended(String),
    /// The server announces that it closes the connection: reconnecting would be measured.
    #[error("the server closes the connection after an answer")]
    Closes,
    /// The server answered while the request was still being sent: the connection cannot go on.
    #[error("answered before the request was whole")]
    Early,
    /// Bytes that no request asked for.
    #[error("more bytes than the answer has")]
    Surplus,
}
