//! What the gateway counts about itself. Read by whoever renders metrics.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Counters of all workers. Only connections touch them, never requests.
#[derive(Debug, Default)]
pub struct GatewayStats {
    n_connections: AtomicUsize,
    n_accepted: AtomicU64,
    n_refused: AtomicU64,
    n_accept_errors: AtomicU64,
}

impl GatewayStats {
    /// Connections open now.
    pub fn n_connections(&self) -> usize {
        self.n_connections.load(Relaxed)
    }

    /// Connections accepted and served since the start.
    pub fn n_accepted(&self) -> u64 {
        self.n_accepted.load(Relaxed)
    }

    /// Connections refused because a limit was reached.
    pub fn n_refused(&self) -> u64 {
        self.n_refused.load(Relaxed)
    }

    /// Times that the system could not give us a connection.
    pub fn n_accept_errors(&self) -> u64 {
        self.n_accept_errors.load(Relaxed)
    }

    /// Counts a connection in, unless there are `max` already.
    pub(crate) fn enter(&self, max: usize) -> bool {
        // Counted first and checked then, so that two workers at the border cannot both pass.
        if self.n_connections.fetch_add(1, Relaxed) < max {
            self.n_accepted.fetch_add(1, Relaxed);
            return true;
        }
        self.n_connections.fetch_sub(1, Relaxed);
        false
    }

    pub(crate) fn leave(&self) {
        self.n_connections.fetch_sub(1, Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.n_refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn accept_error(&self) {
        self.n_accept_errors.fetch_add(1, Relaxed);
    }
}
