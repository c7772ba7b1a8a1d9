//! What the machine is and how busy it is; which core a thread runs on; what a process has used. Refuses
//! to know what is measured.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
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
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let system = rustix::system::uname();
    let words = [system.sysname(), system.release(), system.machine()];
    Ok(Description {
        cpu: cpu_model(&cpuinfo).unwrap_or("unknown").to_owned(),
        kernel: words.map(|word| word.to_string_lossy()).join(" "),
        n_cores: usable_cores()?.len(),
    })
}

/// The model's name. x86 has it as text; ARM has only numbers, of which the part is the telling one.
fn cpu_model(cpuinfo: &str) -> Option<&str> {
    ["model name", "CPU part"].into_iter().find_map(|key| {
        cpuinfo
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.trim() == key)
            .map(|(_, value)| value.trim())
    })
}

/// The cores that this process may use, ascending: affinity and cpusets are respected, CPU quotas are not
/// seen.
///
/// # Errors
/// When the kernel does not tell.
pub fn usable_cores() -> Result<Vec<usize>, MachineError> {
    // Of the process, not of the calling thread, which may be pinned already.
    let main_thread = rustix::process::getpid();
    let set =
        sched_getaffinity(Some(main_thread)).map_err(|error| MachineError::Cores(error.into()))?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|core| set.is_set(*core))
        .collect())
}

/// Binds the calling thread to one core. Threads and processes it starts afterwards are bound as well.
///
/// # Errors
/// When that is not permitted or the core is not there.
pub fn pin_current_thread(core: usize) -> Result<(), MachineError> {
    let pin = |error| MachineError::Pin { core, error };
    if core >= CpuSet::MAX_CPU {
        return Err(pin(std::io::ErrorKind::InvalidInput.into()));
    }
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).map_err(|error| pin(error.into()))
}

/// Runs `work` on a thread of its own that is bound to `core`; a process that it starts inherits that.
///
/// # Errors
/// As [`pin_current_thread`].
///
/// # Panics
/// When `work` does.
pub fn on_core<T: Send>(core: usize, work: impl FnOnce() -> T + Send) -> Result<T, MachineError> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            pin_current_thread(core)?;
            Ok(work())
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// How much of the last ten seconds some task waited for a CPU, in percent ("some avg10" of
/// `/proc/pressure/cpu`; see the kernel's `accounting/psi.rst`). None when the kernel does not count it.
pub fn cpu_pressure_percent() -> Option<f64> {
    some_avg10(&std::fs::read_to_string("/proc/pressure/cpu").ok()?)
}

fn some_avg10(pressure: &str) -> Option<f64> {
    let some = pressure
        .lines()
        .find_map(|line| line.strip_prefix("some "))?;
    let avg10 = some
        .split_whitespace()
        .find_map(|word| word.strip_prefix("avg10="))?;
    avg10
        .parse()
        .ok()
        .filter(|percent: &f64| percent.is_finite())
}

/// The first line that `program arguments...` prints, its version by convention. None when it is not
/// installed or fails.
pub fn version_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    // nginx says it on stderr.
    let text = [output.stdout, output.stderr].concat();
    let line = text.split(|byte| *byte == b'\n').next()?.trim_ascii();
    (!line.is_empty()).then(|| String::from_utf8_lossy(line).into_owned())
}

/// The commit of the working directory, `-dirty` when it has changes. None outside a repository.
pub fn commit() -> Option<String> {
    // Exclude every tag: a commit is a commit however it is called.
    version_of(
        "git",
        &[
            "describe",
            "--always",
            "--dirty",
            "--abbrev=12",
            "--exclude=*",
        ],
    )
}

/// CPU time of the calling thread.
pub fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("a CPU clock begins at 0 and counts up")
}

#[cfg(test)]
mod tests;
