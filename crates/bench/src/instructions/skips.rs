//! Says aloud what was skipped, as every test here does: on stderr, and in the file that `make test`
//! prints and counts at its end.

use std::fs::OpenOptions;
use std::io::{self, Write as _};

/// Names the file.
const VARIABLE: &str = "HOLM_TEST_SKIPS";

/// Says that `what` was skipped, and why.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn skipped(what: &str, reason: &str) -> io::Result<()> {
    let line = format!("SKIPPED {what}: {reason}");
    writeln!(io::stderr(), "{line}")?;
    let Some(path) = std::env::var_os(VARIABLE) else {
        return Ok(());
    };
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    writeln!(file, "{line}")
}
