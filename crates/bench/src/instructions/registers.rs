//! What a stopped thread is about to do: the one part that knows a processor. Others than x86-64 say that
//! they are not supported.

use super::error::CountError;
use super::tracee::Tid;

/// Why nothing can be counted on this processor; `None` where it can.
pub(super) fn unsupported() -> Option<&'static str> {
    match cfg!(target_arch = "x86_64") {
        true => None,
        false => Some("instructions are counted on x86-64 only"),
    }
}

/// The registers that tell where a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Registers {
    /// The address of the next instruction.
    pub(super) next: u64,
    /// The system call, if the next instruction is one.
    number: u64,
    /// Its fourth argument.
    fourth: u64,
}

#[cfg(target_arch = "x86_64")]
impl Registers {
    /// `syscall`, the lower two bytes of a word in memory.
    const SYSCALL: u64 = 0x050f;

    /// Those of a stopped thread.
    pub(super) fn of(tid: Tid) -> Result<Self, CountError> {
        let registers = tid.registers()?;
        Ok(Self {
            next: registers.rip,
            number: registers.rax,
            fourth: registers.r10,
        })
    }

    /// Whether the next instruction is an `epoll_wait` that may block: the event loop has nothing to do.
    /// With a timeout of zero it only looks and goes on.
    pub(super) fn is_about_to_wait(self, tid: Tid) -> bool {
        let waits = match i64::try_from(self.number) {
            // A timeout in milliseconds, an `int`: the upper half of the register is anything.
            Ok(libc::SYS_epoll_wait | libc::SYS_epoll_pwait) => self.fourth as u32 != 0,
            // A pointer to a timeout; without one it waits for ever.
            Ok(libc::SYS_epoll_pwait2) => true,
            _ => false,
        };
        waits && tid.word_at(self.next) & 0xffff == Self::SYSCALL
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Registers {
    /// None here.
    pub(super) fn of(_tid: Tid) -> Result<Self, CountError> {
        Err(CountError::Trace(std::io::ErrorKind::Unsupported.into()))
    }

    /// Not known here.
    pub(super) fn is_about_to_wait(self, _tid: Tid) -> bool {
        let _ = (self.number, self.fourth);
        false
    }
}
