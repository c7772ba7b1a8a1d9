//! How many instructions a request takes: a check of the request path that no noise of the machine
//! reaches. Nodes are started as for the rows, their gateway thread is stepped through some requests, and
//! the median is held against the committed figures.
//!
//! Stepping rather than an emulator, which has no room for the engine's memory pool and not all of the
//! CPU's features, and rather than hardware counters, which many virtual machines do not have.

mod caller;
mod error;
mod path;
mod recorded;
mod registers;
mod skips;
mod stepper;
#[cfg(test)]
mod tests;
mod threads;
mod tracee;
mod watchdog;

use std::path::{Path, PathBuf};

use model::{Code, Failure};

use crate::lab::RowError;
use crate::machine::{self, MachineError};
use crate::progress::Progress;
use path::PATHS;
use recorded::{Comparison, Recorded, Verdict};

/// What to do with the counts.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file with the committed counts.
    pub recorded: PathBuf,
    /// Whether to write the counts to the file instead of holding them against it.
    pub record: bool,
}

/// What was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// A table for stdout.
    pub table: String,
    /// What there is to say about it, for stderr.
    pub notes: Vec<String>,
    /// Whether some path executes too many instructions now, or was never recorded.
    pub is_fault: bool,
}

/// Counts every path and compares, or records. Binds the calling thread to a core, starts nodes as its
/// children and traces them; where that is refused, the paths are skipped aloud.
///
/// # Errors
/// `InvalidArgument` where the file cannot be read or written; `MachineUnfit` where there is no core to
/// use; `Internal` where a node does not do what it should.
pub fn run(options: &Options) -> Result<Outcome, Failure> {
    let file = options.recorded.as_path();
    let recorded = match read(file) {
        // Whatever it was, it is replaced.
        Err(_) if options.record => Recorded::default(),
        read => read?,
    };
    let here = machine()?;
    let comparisons = count_all(&recorded)?;
    for comparison in &comparisons {
        if let Err(reason) = &comparison.now {
            skips::skipped(&format!("instructions of {}", comparison.path), reason)
                .map_err(|error| failure(Code::InvalidArgument, error))?;
        }
    }
    let mut notes = Vec::new();
    if options.record {
        write(file, &comparisons, here.clone())?;
        notes.push(format!("recorded in {}", file.display()));
    } else {
        notes.extend(comparisons.iter().filter_map(note));
    }
    // Another CPU or kernel takes its own branches: there the table informs, and decides nothing.
    let decides = recorded.machine == here;
    if !options.record && !decides {
        let reason = format!("recorded on {}, this is {here}", recorded.machine);
        skips::skipped("comparing instructions with the record", &reason)
            .map_err(|error| failure(Code::InvalidArgument, error))?;
    }
    Ok(Outcome {
        table: recorded::table(&comparisons),
        is_fault: !options.record && decides && comparisons.iter().any(is_fault),
        notes,
    })
}

fn count_all(recorded: &Recorded) -> Result<Vec<Comparison>, Failure> {
    let cores = machine::usable_cores().map_err(unfit)?;
    let core = *cores
        .first()
        .ok_or_else(|| failure(Code::MachineUnfit, "this process may use no core"))?;
    // Where the nodes run: a step is a switch between two threads, and waking another core takes longer.
    machine::pin_current_thread(core).map_err(unfit)?;
    let progress = Progress::new(PATHS.len());
    let mut comparisons = Vec::new();
    for path in PATHS {
        progress.begin("instructions", path.what);
        let now = match path.count(core) {
            Ok(n_instructions) => Ok(n_instructions),
            Err(RowError::Missing(reason)) => Err(reason),
            Err(RowError::Failed(reason)) => {
                return Err(failure(Code::Internal, format!("{}: {reason}", path.name)));
            }
        };
        comparisons.push(Comparison {
            path: path.name,
            recorded: recorded.instructions.get(path.name).copied(),
            now,
        });
        progress.end();
    }
    Ok(comparisons)
}

fn is_fault(comparison: &Comparison) -> bool {
    matches!(comparison.verdict(), Verdict::Grown | Verdict::New)
}

fn note(comparison: &Comparison) -> Option<String> {
    let name = comparison.path;
    let text = match comparison.verdict() {
        Verdict::Same | Verdict::Skipped => return None,
        Verdict::Grown => {
            "takes more instructions than recorded: find out why; on purpose, record it"
        }
        Verdict::Shrunk => "takes fewer instructions than recorded: record it, so that it stays so",
        Verdict::New => "is not recorded yet: record it",
    };
    Some(format!("{name} {text} (make instructions-record)"))
}

fn read(file: &Path) -> Result<Recorded, Failure> {
    let invalid = |error: String| {
        let text = format!("--recorded {}: {error}", file.display());
        failure(Code::InvalidArgument, text)
    };
    let text = std::fs::read_to_string(file).map_err(|error| invalid(error.to_string()))?;
    Recorded::parse(&text).map_err(invalid)
}

/// Paths that were skipped keep what they had.
fn write(file: &Path, comparisons: &[Comparison], machine: String) -> Result<(), Failure> {
    let counted = comparisons.iter().filter_map(|comparison| {
        let n_instructions = comparison.now.as_ref().ok().copied();
        Some((
            comparison.path.to_owned(),
            n_instructions.or(comparison.recorded)?,
        ))
    });
    let recorded = Recorded {
        machine,
        instructions: counted.collect(),
    };
    std::fs::write(file, recorded.to_text()).map_err(|error| {
        let text = format!("--recorded {}: {error}", file.display());
        failure(Code::InvalidArgument, text)
    })
}

/// What of this machine may make a difference: string functions and guests' code depend on the CPU, how
/// the engine resets memory on the kernel.
fn machine() -> Result<String, Failure> {
    let machine = machine::describe().map_err(unfit)?;
    let release = machine.kernel.split([' ', '-']).nth(1).unwrap_or_default();
    let version = release
        .rsplit_once('.')
        .map_or(release, |(version, _)| version);
    Ok(format!("{}, Linux {version}", machine.cpu))
}

fn unfit(error: MachineError) -> Failure {
    failure(Code::MachineUnfit, error)
}

fn failure(code: Code, error: impl std::fmt::Display) -> Failure {
    Failure::new(code, error.to_string())
}
