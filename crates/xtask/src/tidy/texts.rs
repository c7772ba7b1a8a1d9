//! Documents, examples and decisions that must agree with each other.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};

pub fn check(root: &Path) -> Result<Vec<String>> {
    let mut faults = decisions(root)?;
    faults.extend(examples(root)?);
    faults.extend(promises(root)?);
    faults.extend(readme(root)?);
    Ok(faults)
}

/// Decisions are numbered 0001, 0002, ... without gaps, and each has its four parts.
fn decisions(root: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let names = sorted_names(&root.join("docs/decisions"))?;
    for (index, name) in names.iter().enumerate() {
        if !name.starts_with(&format!("{:04}-", index + 1)) {
            faults.push(format!(
                "docs/decisions/{name}: expected number {:04}",
                index + 1
            ));
        }
        let text = std::fs::read_to_string(root.join("docs/decisions").join(name))?;
        for part in ["## Context", "## Choice", "## Costs", "## Status"] {
            if !text.contains(part) {
                faults.push(format!("docs/decisions/{name} has no `{part}`"));
            }
        }
    }
    Ok(faults)
}

/// Every example is checked by the demo, and every check has its example.
fn examples(root: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root.join("examples/checks.toml"))?;
    let checks: toml::Table = text.parse().context("examples/checks.toml")?;
    let checked: BTreeSet<String> = checks
        .get("example")
        .and_then(toml::Value::as_array)
        .context("examples/checks.toml has no [[example]]")?
        .iter()
        .filter_map(|example| example.get("dir")?.as_str().map(str::to_owned))
        .collect();
    let mut faults = Vec::new();
    let mut present = BTreeSet::new();
    for name in sorted_names(&root.join("examples"))? {
        let directory = root.join("examples").join(&name);
        if !directory.is_dir() {
            continue;
        }
        for file in ["holm.toml", "README.md"] {
            if !directory.join(file).is_file() {
                faults.push(format!("examples/{name} has no {file}"));
            }
        }
        present.insert(name);
    }
    let unchecked = present.difference(&checked);
    faults.extend(unchecked.map(|name| format!("examples/{name} is not in checks.toml")));
    let absent = checked.difference(&present);
    faults.extend(absent.map(|name| format!("checks.toml names {name}, which is not there")));
    Ok(faults)
}

/// Every promise of SPECIFICATION.md names the test or bench that enforces it, and that file exists.
fn promises(root: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root.join("SPECIFICATION.md"))?;
    let mut faults = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| S")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let (id, enforced_by) = (cells[0], cells.last().copied().unwrap_or_default());
        let files: Vec<&str> = enforced_by
            .split('`')
            .skip(1)
            .step_by(2)
            .map(|span| span.split("::").next().unwrap_or(span))
            .collect();
        if files.is_empty() {
            faults.push(format!("SPECIFICATION.md {id} names no test"));
        }
        for file in files {
            if !root.join(file).exists() {
                faults.push(format!(
                    "SPECIFICATION.md {id} names {file}, which is not there"
                ));
            }
        }
    }
    Ok(faults)
}

/// The README shows the two commands, and no third way to build or test.
fn readme(root: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root.join("README.md"))?;
    let missing = ["make demo", "make test"]
        .into_iter()
        .filter(|command| !text.contains(command))
        .map(|command| format!("README.md does not show `{command}`"));
    Ok(missing.collect())
}

fn sorted_names(directory: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
