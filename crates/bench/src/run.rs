//! A run: is the machine fit, the control, the rows one after the other within the time, the report.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::{Code, Failure};

use crate::lab::{Lab, Plan, RowError};
use crate::machine::{self, MachineError};
use crate::progress::Progress;
use crate::report::{Figure, Meta, Mode, Report, Row, timestamp};
use crate::rows::{ROWS, RowSpec};

/// CPU pressure in percent above which a run is not begun.
const PRESSURE_PERCENT_MAX: f64 = 20.0;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Quick or full.
    pub mode: Mode,
    /// Names of rows, all of [`row_names`]; empty means every row.
    pub rows: Vec<String>,
    /// Whether to measure although the machine is busy.
    pub anyway: bool,
    /// Rounds instead of the mode's, to look whether anything works at all.
    pub n_rounds: Option<usize>,
    /// The length of a block instead of the mode's.
    pub block: Option<Duration>,
}

/// What a run found, and whether it found all that it should.
#[derive(Debug)]
pub struct Outcome {
    /// What was found.
    pub report: Report,
    /// Rows that gave no figure though everything they need was there.
    pub n_failed: usize,
}

impl Outcome {
    /// What the process exits with: that of the report, and 2 where a row failed.
    pub fn exit_code(&self, check: bool) -> u8 {
        match self.report.exit_code(check) {
            0 if self.n_failed > 0 => 2,
            code => code,
        }
    }
}

/// The rows there are.
pub fn row_names() -> Vec<&'static str> {
    ROWS.iter().map(|row| row.name).collect()
}

/// Measures. Binds the calling thread to a core, starts servers as its children, and takes minutes.
///
/// # Errors
/// `MachineUnfit` where this machine cannot or should not be measured on now, and why; no row that fails
/// is an error, the report says so.
pub fn run(options: &Options) -> Result<Outcome, Failure> {
    let machine = machine::describe().map_err(unfit)?;
    let psi = machine::cpu_pressure_percent();
    check_pressure(psi, options.anyway)?;
    let (server_core, load_core) = cores()?;
    machine::pin_current_thread(load_core).map_err(unfit)?;

    let began = Instant::now();
    let started = timestamp();
    let rows = chosen(&options.rows);
    let progress = Progress::new(rows.len() + 1);
    let mut lab = Lab::new(plan(options), server_core);
    progress.begin("control", "raw hyper against itself");
    let control = lab
        .control()
        .map_err(|error| Failure::new(Code::MachineUnfit, format!("the control: {error}")))?;
    progress.end();
    let mut measured = Vec::new();
    let mut n_failed = 0;
    for row in rows {
        progress.begin(row.name, row.measure);
        measured.extend(run_row(row, &mut lab, began).unwrap_or_else(|reason| {
            n_failed += 1;
            progress.tell(&format!("{}: failed: {reason}", row.name));
            vec![row.empty(Figure::Skipped(format!("failed: {reason}")))]
        }));
        progress.end();
    }
    let report = Report {
        meta: Meta {
            versions: versions(&lab),
            machine,
            commit: machine::commit(),
            mode: options.mode,
            started,
            psi,
            control: Some(control),
            generator_ceiling_per_s: lab.generator_ceiling_per_s,
        },
        rows: measured,
    };
    Ok(Outcome { report, n_failed })
}

fn plan(options: &Options) -> Plan {
    let mut plan = Plan::of(options.mode);
    plan.n_rounds = options.n_rounds.unwrap_or(plan.n_rounds);
    plan.block = options.block.unwrap_or(plan.block);
    plan
}

/// In the table's order, whatever order they were asked for in.
fn chosen(names: &[String]) -> Vec<&'static RowSpec> {
    let is_chosen = |row: &&RowSpec| {
        names.is_empty() || names.iter().any(|name| name.eq_ignore_ascii_case(row.name))
    };
    ROWS.iter().copied().filter(is_chosen).collect()
}

/// The rows of `row`, or why it failed.
fn run_row(row: &RowSpec, lab: &mut Lab, began: Instant) -> Result<Vec<Row>, String> {
    if began.elapsed() + (row.takes)(&lab.plan) > lab.plan.budget {
        return Ok(vec![row.empty(match lab.plan.mode {
            Mode::Quick => Figure::FullOnly,
            Mode::Full => Figure::Skipped("the time of the run was used up before it".to_owned()),
        })]);
    }
    match (row.run)(row, lab) {
        Ok(rows) => Ok(rows),
        Err(RowError::Missing(reason)) => Ok(vec![row.empty(Figure::Skipped(reason))]),
        Err(RowError::Failed(reason)) => Err(reason),
    }
}

fn versions(lab: &Lab) -> BTreeMap<String, String> {
    let mut versions = lab.versions.clone();
    versions.insert("holm".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    versions
}

/// The core of the servers and that of the load.
fn cores() -> Result<(usize, usize), Failure> {
    let cores = machine::usable_cores().map_err(unfit)?;
    match cores.as_slice() {
        [server, load, ..] => Ok((*server, *load)),
        few => Err(Failure::new(
            Code::MachineUnfit,
            format!(
                "server and load need a core each, but this process may use {} only",
                few.len()
            ),
        )),
    }
}

fn check_pressure(psi: Option<f64>, anyway: bool) -> Result<(), Failure> {
    match psi {
        Some(psi) if psi > PRESSURE_PERCENT_MAX && !anyway => Err(Failure::new(
            Code::MachineUnfit,
            format!(
                "the machine is busy: for {psi:.0} % of the last ten seconds something waited for a \
                 CPU (/proc/pressure/cpu, \"some avg10\"), and above {PRESSURE_PERCENT_MAX:.0} % \
                 figures mean little; --anyway measures all the same"
            ),
        )),
        _ => Ok(()),
    }
}

fn unfit(error: MachineError) -> Failure {
    Failure::new(Code::MachineUnfit, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_machine_is_refused_with_its_figure() {
        assert_eq!(check_pressure(None, false), Ok(()));
        assert_eq!(check_pressure(Some(20.0), false), Ok(()));
        assert_eq!(check_pressure(Some(90.0), true), Ok(()));
        let failure = check_pressure(Some(33.3), false).expect_err("too busy");
        assert_eq!(failure.code(), Code::MachineUnfit);
        assert!(failure.detail().contains("33 %"), "{}", failure.detail());
    }

    #[test]
    fn names_of_rows_are_unique_and_choose() {
        let names = row_names();
        let distinct: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        let some = chosen(&["W1".to_owned()]);
        assert_eq!(some.iter().map(|row| row.name).collect::<Vec<_>>(), ["W1"]);
        assert_eq!(chosen(&[]).len(), ROWS.len());
    }

    #[test]
    fn every_gated_row_has_both_bounds_on_one_side() {
        use crate::report::Bound::{AtLeast, AtMost};
        for row in ROWS {
            match (row.gate, row.moonshot) {
                (None, None) => {}
                (Some(AtLeast(gate)), Some(AtLeast(moonshot))) => assert!(gate <= moonshot),
                (Some(AtMost(gate)), Some(AtMost(moonshot))) => assert!(gate >= moonshot),
                _ => panic!("{}", row.name),
            }
        }
    }
}
