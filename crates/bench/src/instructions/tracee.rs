//! A thread of a child process under ptrace(2): stopped, stepped by one instruction, let go. The only
//! `unsafe` of the counting. Refuses to know what is counted.
//!
//! ```text
//! running --hold--> stopped --step--> stepping --wait--> stopped --drop--> running
//!                                        '---------------------> gone
//! ```
//!
//! All calls for a thread must come from the thread that held it: the kernel knows no other tracer.

use std::io;

use super::error::CountError;

/// An event without a signal of its own: the answer to an interruption, or a stop of the whole process
/// (ptrace(2), "PTRACE_EVENT_STOP"). libc has it for some C libraries only.
const EVENT_STOP: libc::c_int = 128;

/// The id of a thread, in this process's namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tid(libc::pid_t);

/// A thread that is traced. Let go when dropped, and runs on if it still can.
#[derive(Debug)]
pub(super) struct Tracee {
    tid: Tid,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Stopped,
    Stepping,
    Gone,
}

/// Why a thread stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// One instruction is done.
    Step,
    /// It was interrupted, or goes on after its process was stopped.
    Interrupted,
    /// Its process is stopped, as by Ctrl-Z.
    OfProcess,
    /// A signal is about to be delivered.
    Signal(libc::c_int),
}

impl Tracee {
    /// Stops a running thread.
    ///
    /// # Errors
    /// `Refused` where the system does not let this process trace that one; `Ended` where it has ended.
    pub(super) fn hold(tid: Tid) -> Result<Self, CountError> {
        // If this process is killed, so is the traced one: it would not survive its own single steps.
        let options = libc::PTRACE_O_EXITKILL as usize;
        tid.request(libc::PTRACE_SEIZE, 0, options)
            .map_err(explain)?;
        let mut tracee = Self {
            tid,
            state: State::Stepping,
        };
        tid.request(libc::PTRACE_INTERRUPT, 0, 0).map_err(explain)?;
        loop {
            match tracee.wait()? {
                Stop::Interrupted | Stop::Step => return Ok(tracee),
                other => tracee.resume(libc::PTRACE_CONT, other)?,
            }
        }
    }

    /// Whom it is.
    pub(super) fn tid(&self) -> Tid {
        self.tid
    }

    /// Lets the thread execute one instruction, without waiting until it has. One that is executing one
    /// already goes on.
    pub(super) fn begin_step(&mut self) -> Result<(), CountError> {
        match self.state {
            State::Stopped => self.resume(libc::PTRACE_SINGLESTEP, Stop::Step),
            State::Stepping => Ok(()),
            State::Gone => Err(CountError::Ended),
        }
    }

    /// Waits until the instruction that was begun is done. Signals reach the thread as they would
    /// without us.
    pub(super) fn end_step(&mut self) -> Result<(), CountError> {
        loop {
            match self.wait()? {
                Stop::Step => return Ok(()),
                other => self.resume(libc::PTRACE_SINGLESTEP, other)?,
            }
        }
    }

    /// Whether the instruction that was begun is done, without waiting for it.
    pub(super) fn has_stepped(&mut self) -> Result<bool, CountError> {
        while let Some(stop) = self.stop(libc::WNOHANG)? {
            match stop {
                Stop::Step => return Ok(true),
                other => self.resume(libc::PTRACE_SINGLESTEP, other)?,
            }
        }
        Ok(false)
    }

    /// Lets a stopped thread go on after `stop`.
    fn resume(&mut self, how: Request, stop: Stop) -> Result<(), CountError> {
        let (how, signal) = match stop {
            Stop::Step | Stop::Interrupted => (how, 0),
            Stop::Signal(signal) => (how, signal),
            // Stays stopped until its process goes on.
            Stop::OfProcess => (libc::PTRACE_LISTEN, 0),
        };
        let signal = usize::try_from(signal).expect("signals are positive");
        self.tid.request(how, 0, signal).map_err(explain)?;
        self.state = State::Stepping;
        Ok(())
    }

    fn wait(&mut self) -> Result<Stop, CountError> {
        loop {
            if let Some(stop) = self.stop(0)? {
                return Ok(stop);
            }
        }
    }

    /// The next stop; none with `WNOHANG` while there is none.
    fn stop(&mut self, flags: libc::c_int) -> Result<Option<Stop>, CountError> {
        let status = match self.tid.wait(flags) {
            Ok(Some(status)) => status,
            Ok(None) => return Ok(None),
            Err(error) => return Err(explain(error)),
        };
        if !libc::WIFSTOPPED(status) {
            self.state = State::Gone;
            return Err(CountError::Ended);
        }
        self.state = State::Stopped;
        let signal = libc::WSTOPSIG(status);
        Ok(Some(match (status >> 16, signal) {
            (0, libc::SIGTRAP) => Stop::Step,
            (EVENT_STOP, libc::SIGTRAP) => Stop::Interrupted,
            (EVENT_STOP, _) => Stop::OfProcess,
            (_, signal) => Stop::Signal(signal),
        }))
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        let mut signal = 0;
        if self.state == State::Stepping {
            // Only a stopped thread can be let go. One that has ended must be waited for by its tracer, or
            // its process would stay a zombie for ever: for that one the request fails, not the wait.
            let _ = self.tid.request(libc::PTRACE_INTERRUPT, 0, 0);
            if let Ok(Some(Stop::Signal(undelivered))) = self.stop(0) {
                signal = usize::try_from(undelivered).unwrap_or(0);
            }
        }
        if self.state == State::Stopped && self.tid.request(libc::PTRACE_DETACH, 0, signal).is_err()
        {
            // It was killed while it was stopped; what is left is its end.
            let _ = self.tid.wait(0);
        }
    }
}

/// A request of ptrace(2), in the type that this C library has for it.
#[cfg(any(target_env = "gnu", target_env = "uclibc"))]
type Request = libc::c_uint;
#[cfg(not(any(target_env = "gnu", target_env = "uclibc")))]
type Request = libc::c_int;

impl Tid {
    /// The thread with that id.
    pub(super) fn new(tid: u32) -> Option<Self> {
        // 0 and below would be groups of processes to waitpid(2).
        let tid = libc::pid_t::try_from(tid).ok().filter(|tid| *tid > 0);
        tid.map(Self)
    }

    /// One of the requests that take numbers, not addresses in this process.
    fn request(self, request: Request, address: usize, data: usize) -> io::Result<()> {
        // SAFETY: the requests used here (seize, interrupt, continue, step, listen, detach) take numbers in
        // both places: the kernel reads and writes nothing in this process.
        match unsafe { libc::ptrace(request, self.0, address, data) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// The word at an address of the thread's memory. Where there is none, a word of ones.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn word_at(self, address: u64) -> u64 {
        // SAFETY: the C library's PTRACE_PEEKTEXT returns the word; the address is one of the traced
        // process, and nothing but the C library's own result is written in this one.
        let word = unsafe { libc::ptrace(libc::PTRACE_PEEKTEXT, self.0, address, 0_usize) };
        word as u64
    }

    /// The general registers of a stopped thread.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn registers(self) -> Result<libc::user_regs_struct, CountError> {
        let mut registers = std::mem::MaybeUninit::<libc::user_regs_struct>::uninit();
        // SAFETY: `registers` is a valid place for one user_regs_struct and outlives the call.
        let done = unsafe {
            libc::ptrace(
                libc::PTRACE_GETREGS,
                self.0,
                0_usize,
                registers.as_mut_ptr(),
            )
        };
        match done {
            -1 => Err(explain(io::Error::last_os_error())),
            // SAFETY: PTRACE_GETREGS succeeded, so it has written the whole struct.
            _ => Ok(unsafe { registers.assume_init() }),
        }
    }

    /// The status that waitpid(2) has for the thread; none with `WNOHANG` while there is none.
    fn wait(self, flags: libc::c_int) -> io::Result<Option<libc::c_int>> {
        let mut status = 0;
        loop {
            // SAFETY: `status` is a valid place for one int and outlives the call.
            match unsafe { libc::waitpid(self.0, &raw mut status, libc::__WALL | flags) } {
                0 => return Ok(None),
                -1 => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
                _ => return Ok(Some(status)),
            }
        }
    }
}

/// Systems that do not let themselves be traced say so in several ways: EPERM by policy, ENOSYS and EIO
/// where an emulated kernel knows no ptrace or no steps.
fn explain(error: io::Error) -> CountError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS | libc::EIO) => CountError::Refused(error),
        Some(libc::ESRCH | libc::ECHILD) => CountError::Ended,
        _ => CountError::Trace(error),
    }
}
