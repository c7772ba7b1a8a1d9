//! Counts what a thread with an event loop executes from one wait for events to the next.
//!
//! ```text
//! idle (about to wait for events)
//!   | the caller sends               <- the count begins
//!   | the wait returns, one instruction after the other
//!   | idle, and the caller has its answer   <- the count ends
//! ```
//!
//! The thread stands still while the caller sends, so its wait returns at once and the count begins and
//! ends at the same instruction. User space only: a system call is one instruction.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::error::CountError;
use super::registers::Registers;
use super::tracee::{Tid, Tracee};

/// How long the caller's socket is looked at before the thread is looked at again, where an idle thread
/// has not answered.
const LOOK: Duration = Duration::from_millis(1);

/// Who sends to the thread, and sees its answers.
pub(super) trait Caller {
    /// Sends a request.
    fn send(&mut self) -> Result<(), CountError>;

    /// Whether the answer is there, whole; without waiting for it.
    fn is_answered(&mut self) -> Result<bool, CountError>;

    /// What becomes readable when there is more of the answer.
    fn socket(&self) -> BorrowedFd<'_>;
}

/// A thread that is idle whenever nobody counts.
pub(super) struct Stepper {
    thread: Tracee,
    /// The address of its next instruction.
    next: u64,
    /// Whether that waits for events.
    is_idle: bool,
}

impl Stepper {
    /// Stops the thread, and lets it come to its next wait.
    pub(super) fn hold(tid: Tid) -> Result<Self, CountError> {
        let mut stepper = Self {
            thread: Tracee::hold(tid)?,
            next: 0,
            is_idle: false,
        };
        stepper.look()?;
        while !stepper.is_idle {
            stepper.thread.begin_step()?;
            stepper.thread.end_step()?;
            stepper.look()?;
        }
        Ok(stepper)
    }

    /// The instructions of one request. A repeated one (`rep movsb`) counts once, however many steps it
    /// takes: how often it repeats is the processor's choice.
    pub(super) fn count(&mut self, caller: &mut impl Caller) -> Result<u64, CountError> {
        caller.send()?;
        let mut n_instructions = 0;
        loop {
            self.thread.begin_step()?;
            if self.is_idle {
                // The wait is over at once when the request is there. It lasts where the answer takes
                // its time to the caller, or comes from another thread.
                while !self.thread.has_stepped()? {
                    if caller.is_answered()? {
                        return Ok(n_instructions);
                    }
                    look_at(caller.socket())?;
                }
            } else {
                self.thread.end_step()?;
            }
            n_instructions += u64::from(self.look()?);
            if self.is_idle && caller.is_answered()? {
                return Ok(n_instructions);
            }
        }
    }

    /// Looks where the stopped thread is; whether that is another instruction than before.
    fn look(&mut self) -> Result<bool, CountError> {
        let tid = self.thread.tid();
        let registers = Registers::of(tid)?;
        let has_moved = registers.next != self.next;
        self.next = registers.next;
        self.is_idle = registers.is_about_to_wait(tid);
        Ok(has_moved)
    }
}

/// Waits until there is something to read, but not for long.
fn look_at(socket: BorrowedFd<'_>) -> Result<(), CountError> {
    let timeout = Timespec::try_from(LOOK).expect("a millisecond");
    match poll(
        &mut [PollFd::from_borrowed_fd(socket, PollFlags::IN)],
        Some(&timeout),
    ) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(CountError::Io(error.into())),
    }
}
