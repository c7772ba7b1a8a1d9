//! `cargo xtask tidy`: the rules that keep the house easy to live in, as checks that can fail.

mod files;
mod layers;
mod texts;

use std::path::Path;

use anyhow::Result;

/// All faults, in reading order; none means that the repository keeps its rules.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let mut faults = layers::check(root)?;
    faults.extend(files::check(root)?);
    faults.extend(texts::check(root)?);
    Ok(faults)
}
