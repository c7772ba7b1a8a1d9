//! A reader who follows a log. It has a place in the ring and no buffer of its own: a slow reader costs
//! nothing and slows nobody; it is told how many lines were pushed out before it came to them.

use std::sync::Arc;

use model::InvocationId;

use super::FunctionLog;
use super::ring::{Cursor, LogEntry, Read};

/// Follows the log of one function.
pub struct Follower {
    log: Arc<FunctionLog>,
    invocation: Option<InvocationId>,
    cursor: Cursor,
}

impl Follower {
    pub(super) fn new(
        log: Arc<FunctionLog>,
        invocation: Option<InvocationId>,
        n_tail: usize,
    ) -> Self {
        let cursor = log.ring.lock().cursor(invocation, n_tail);
        Self {
            log,
            invocation,
            cursor,
        }
    }

    /// The next line; waits for it. `None` when the function was removed. With a filter, `n_missed`
    /// counts all lines that went by, of whatever invocation. Cancel safe: a dropped future loses no
    /// line.
    pub async fn next(&mut self) -> Option<LogEntry> {
        loop {
            let written = self.log.written.notified();
            tokio::pin!(written);
            // Registered before looking: a line written in between wakes it.
            written.as_mut().enable();
            let read = self.log.ring.lock().read(&mut self.cursor, self.invocation);
            match read {
                Read::Entry(entry) => return Some(entry),
                Read::End => return None,
                Read::Wait => written.await,
            }
        }
    }

    /// The next line if there is one already.
    pub fn try_next(&mut self) -> Option<LogEntry> {
        match self.log.ring.lock().read(&mut self.cursor, self.invocation) {
            Read::Entry(entry) => Some(entry),
            Read::Wait | Read::End => None,
        }
    }
}
