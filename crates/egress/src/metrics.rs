//! What the node's metrics say about outbound requests. Refuses to know how they are rendered.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::EgressError;

/// Counters since the node started.
#[derive(Debug, Default)]
pub struct EgressMetrics {
    requests: AtomicU64,
    denied: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    timeouts: AtomicU64,
}

/// A reading of [`EgressMetrics`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EgressCounts {
    /// Requests that functions asked for, whatever became of them.
    pub requests: u64,
    /// Requests that policy forbade.
    pub denied: u64,
    /// Requests over a limit on connections, or that were malformed.
    pub refused: u64,
    /// Requests that failed on the network: name, connection, TLS, protocol.
    pub failed: u64,
    /// Requests that ran into a time limit before the response head.
    pub timeouts: u64,
    /// Connections that are open or being opened now.
    pub connections_open: u32,
}

impl EgressMetrics {
    pub(crate) fn note_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_error(&self, error: &EgressError) {
        let counter = match error {
            EgressError::Denied { .. } => &self.denied,
            EgressError::InvalidRequest(_) | EgressError::TooManyConnections { .. } => {
                &self.refused
            }
            EgressError::Timeout { .. } => &self.timeouts,
            EgressError::DnsFailed { .. }
            | EgressError::ConnectFailed { .. }
            | EgressError::TlsFailed { .. }
            | EgressError::HeadTooLarge
            | EgressError::Protocol(_)
            | EgressError::UnexpectedUpgrade
            | EgressError::RequestBody(_) => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, connections_open: u32) -> EgressCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EgressCounts {
            requests: read(&self.requests),
            denied: read(&self.denied),
            refused: read(&self.refused),
            failed: read(&self.failed),
            timeouts: read(&self.timeouts),
            connections_open,
        }
    }
}
