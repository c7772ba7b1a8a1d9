//! The CPU clock of another process, in nanoseconds. `/proc/<pid>/stat` counts in ticks of 10 ms: too
//! coarse for a block of half a second. The only `unsafe` of this crate: rustix does not know these
//! clocks.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use super::MachineError;

/// The CPU clock of a process, all its threads together, those that ended as well. Its children are not
/// in it. A process that ended and was not waited for keeps its clock.
#[derive(Debug, Clone, Copy)]
pub struct CpuClock {
    pid: u32,
    id: libc::clockid_t,
}

impl CpuClock {
    /// The clock of process `pid`.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> Result<Self, MachineError> {
        let missing = |error| MachineError::Clock { pid, error };
        let Some(pid_t) = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0) else {
            // 0 would be the calling process.
            return Err(missing(io::ErrorKind::InvalidInput.into()));
        };
        let mut id = 0;
        // SAFETY: `id` is a valid place for one clockid_t and outlives the call.
        match unsafe { libc::clock_getcpuclockid(pid_t, &raw mut id) } {
            0 => Ok(Self { pid, id }),
            error => Err(missing(io::Error::from_raw_os_error(error))),
        }
    }

    /// What the process has used so far.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn now(&self) -> Result<Duration, MachineError> {
        let mut time = MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: `time` is a valid place for one timespec and outlives the call.
        if unsafe { libc::clock_gettime(self.id, time.as_mut_ptr()) } != 0 {
            return Err(MachineError::Clock {
                pid: self.pid,
                error: io::Error::last_os_error(),
            });
        }
        // SAFETY: clock_gettime(2) returned 0, so it has written the whole timespec.
        let time = unsafe { time.assume_init() };
        let seconds = u64::try_from(time.tv_sec).expect("a CPU clock counts up from 0");
        let nanoseconds = u32::try_from(time.tv_nsec).expect("less than a second");
        Ok(Duration::new(seconds, nanoseconds))
    }
}
