//! `holm bench`: what can be typed. The measuring is the binary's own: see the crate `bench`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;

/// The rows that can be asked for. A test of the binary holds them against those there are.
pub const ROWS: &[&str] = &[
    "P1", "P3", "W1", "W2", "W2b", "W2c", "W4", "W3", "W6", "Z1", "P2", "W7", "A2", "B1", "D1",
    "D2", "P2b", "R1", "R2",
];

/// Measuring a node.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  holm bench                           every row that fits into three minutes
  holm bench --full --out bench.json   all of them, in up to half an hour
  holm bench --row W1,W2
  holm bench --check                   fail where a promise is missed

Figures are ratios against baselines that run in the same minutes: a server on one core, the load
on another, in turns. A server against itself is the control; where that is not 1 within 5 %, the
run is void. stdout carries one Markdown table. Baselines that are not installed are skipped with
the reason; `make bench-peers` installs them.

Exit codes: 0 measured; 1 a gate was missed (with --check); 2 the run is void, a row failed, or the
machine cannot be measured on.")]
pub struct BenchArgs {
    /// Short blocks, three minutes at most (the default)
    #[arg(long, conflicts_with = "full")]
    pub quick: bool,
    /// Long blocks, half an hour at most
    #[arg(long)]
    pub full: bool,
    /// Only these rows
    #[arg(
        long = "row",
        value_name = "ROW",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(ROWS),
        ignore_case = true
    )]
    pub rows: Vec<String>,
    /// Write the report as JSON to this file, too
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Exit with 1 where a gate is missed
    #[arg(long)]
    pub check: bool,
    /// Measure although the machine is busy
    #[arg(long)]
    pub anyway: bool,
    /// Rounds instead of the mode's: for tests of the bench itself
    #[arg(long, value_name = "N", hide = true, value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: Option<u16>,
    /// Milliseconds of a block instead of the mode's
    #[arg(long, value_name = "MS", hide = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub block_ms: Option<u32>,
}
