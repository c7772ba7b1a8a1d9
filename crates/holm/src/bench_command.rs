//! `holm bench`: from arguments to a run, from a report to stdout, a file, and an exit code.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::time::Duration;

use bench::Options;
use bench::report::Mode;
use cli::BenchArgs;
use cli::console::Console;
use cli::environment::Environment;
use cli::report::{self, EXIT_DONE, EXIT_REFUSED, ExitRule};
use model::{Code, Failure};

/// Measures and reports; the exit code.
pub fn run(args: &BenchArgs, environment: &Environment) -> u8 {
    let mut console = Console::of_process(environment);
    measure(args, &mut console)
        .unwrap_or_else(|error| report::tell(&error, &mut console, false, ExitRule::Usual))
}

fn measure(args: &BenchArgs, console: &mut Console) -> Result<u8, anyhow::Error> {
    if let Some(path) = &args.out {
        check_writable(path).map_err(|error| cannot_write(path, &error))?;
    }
    let outcome = bench::run(&options(args))?;
    let report = &outcome.report;
    if let Some(path) = &args.out {
        std::fs::write(path, report.to_json()).map_err(|error| cannot_write(path, &error))?;
    }
    console.result_line(report.to_markdown().trim_end())?;
    Ok(outcome.exit_code(args.check))
}

fn options(args: &BenchArgs) -> Options {
    Options {
        mode: if args.full { Mode::Full } else { Mode::Quick },
        rows: args.rows.clone(),
        anyway: args.anyway,
        n_rounds: args.rounds.map(usize::from),
        block: args.block_ms.map(u64::from).map(Duration::from_millis),
    }
}

/// Finds out before minutes are spent. What is there stays there until there is a report.
fn check_writable(path: &Path) -> io::Result<()> {
    let existed = path.exists();
    OpenOptions::new().append(true).create(true).open(path)?;
    match existed {
        true => Ok(()),
        false => std::fs::remove_file(path),
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Code::InvalidArgument,
        format!("--out {}: {error}", path.display()),
    )
}

/// Serves something to be measured, until it is killed; the exit code.
pub fn serve(spec: &str, environment: &Environment) -> u8 {
    match bench::serve(spec) {
        Ok(()) => EXIT_DONE,
        Err(failure) => {
            let mut console = Console::of_process(environment);
            report::tell(&failure.into(), &mut console, false, ExitRule::Usual)
        }
    }
}

/// Counts instructions and compares them with the committed counts; the exit code.
pub fn count(options: &bench::instructions::Options, environment: &Environment) -> u8 {
    let mut console = Console::of_process(environment);
    let counted = bench::instructions::run(options).map_err(anyhow::Error::from);
    counted
        .and_then(|outcome| {
            console.result_line(outcome.table.trim_end())?;
            for note in &outcome.notes {
                console.note(note);
            }
            Ok(match outcome.is_fault {
                true => EXIT_REFUSED,
                false => EXIT_DONE,
            })
        })
        .unwrap_or_else(|error| report::tell(&error, &mut console, false, ExitRule::Usual))
}

#[cfg(test)]
mod tests {
    /// The command line cannot ask the bench: they do not know each other.
    #[test]
    fn the_rows_that_can_be_typed_are_those_there_are() {
        assert_eq!(cli::commands::bench::ROWS, bench::row_names());
    }
}
