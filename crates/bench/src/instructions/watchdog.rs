//! Kills a process that takes too long: a thread that is traced can be waited for in no other way than
//! until it does something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::error::CountError;

/// A thread that kills a process when the time is over, unless it is dropped before.
pub(super) struct Watchdog {
    limit: Duration,
    has_bitten: Arc<AtomicBool>,
    /// Dropping it calls the thread off.
    leash: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Watches over process `pid`, a child that nobody waits for while this lives: its id stays its own.
    pub(super) fn over(pid: u32, limit: Duration) -> std::io::Result<Self> {
        let (leash, called_off) = channel::<()>();
        let has_bitten = Arc::new(AtomicBool::new(false));
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let thread = std::thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn({
                let has_bitten = Arc::clone(&has_bitten);
                move || {
                    if called_off.recv_timeout(limit) == Err(RecvTimeoutError::Timeout)
                        && let Some(pid) = pid
                    {
                        has_bitten.store(true, Ordering::Release);
                        // Fails where it has ended by itself.
                        let _ = kill_process(pid, Signal::KILL);
                    }
                }
            })?;
        Ok(Self {
            limit,
            has_bitten,
            leash: Some(leash),
            thread: Some(thread),
        })
    }

    /// The reason for `error`, where that is this watchdog.
    pub(super) fn explain(&self, error: CountError) -> CountError {
        match self.has_bitten.load(Ordering::Acquire) {
            true => CountError::TimedOut(self.limit),
            false => error,
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.leash.take());
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}
