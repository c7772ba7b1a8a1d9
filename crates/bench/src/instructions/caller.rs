//! One connection to a node, seen from the thread that steps it: it sends and reads without ever waiting.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::error::CountError;
use super::stepper::Caller;
use crate::load::{Target, connection::Connection};

/// One connection, one request over and over.
pub(super) struct NodeCaller {
    connection: Connection,
    target: Target,
}

impl NodeCaller {
    /// Connects to a node that runs.
    pub(super) fn connect(target: Target) -> Result<Self, CountError> {
        Ok(Self {
            connection: Connection::new(target.address)?,
            target,
        })
    }

    /// Calls a node that runs `n_requests` times, each within `limit`.
    pub(super) fn warm_up(&mut self, n_requests: usize, limit: Duration) -> Result<(), CountError> {
        for _ in 0..n_requests {
            self.send()?;
            let until = Instant::now() + limit;
            while !self.is_answered()? {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(CountError::Silent(limit));
                }
                let left = Timespec::try_from(left).expect("seconds");
                let mut polled = [PollFd::from_borrowed_fd(self.socket(), PollFlags::IN)];
                match poll(&mut polled, Some(&left)) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(CountError::Io(error.into())),
                }
            }
        }
        Ok(())
    }
}

impl Caller for NodeCaller {
    fn send(&mut self) -> Result<(), CountError> {
        Ok(self.connection.begin(&self.target.requests, 0, 0)?)
    }

    fn is_answered(&mut self) -> Result<bool, CountError> {
        Ok(self.connection.read(&self.target.expect, false)?.is_some())
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}
