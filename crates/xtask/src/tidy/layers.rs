//! Dependencies point down: every crate has a layer, and depends on lower layers only. Crates of one
//! layer do not know each other.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// The crates from the ground up. ARCHITECTURE.md explains them.
pub const LAYERS: &[&[&str]] = &[
    &["model"],
    &["runtime", "store", "api", "egress"],
    &["runtime-wasm", "store-sqlite", "client"],
    &["invoker"],
    &["gateway", "meter"],
    &["control"],
    &["node"],
    &["cli", "bench"],
    &["holm"],
    &["testkit", "xtask"],
];

/// The only crates above the engines that may name them.
const MAY_NAME_ENGINES: &[&str] = &["node", "holm"];

/// Layer 2 crates behind a seam.
const ENGINES: &[&str] = &["runtime-wasm", "store-sqlite"];

pub fn check(root: &Path) -> Result<Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root)
        .output()
        .context("cargo metadata does not start")?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let mut faults = Vec::new();
    let mut names = Vec::new();
    for package in packages {
        let name = package["name"].as_str().context("name")?;
        names.push(name.to_owned());
        let Some(layer) = layer_of(name) else {
            faults.push(format!(
                "crate {name} has no layer: add it to LAYERS in xtask"
            ));
            continue;
        };
        let folder = Path::new(package["manifest_path"].as_str().context("path")?)
            .parent()
            .and_then(Path::file_name);
        if folder.is_none_or(|folder| folder != name) {
            faults.push(format!("crate {name} is not in a folder of its own name"));
        }
        for dependency in package["dependencies"].as_array().context("dependencies")? {
            // Tests may look anywhere below; what ships may not.
            if dependency["kind"] == "dev" || dependency["path"].is_null() {
                continue;
            }
            let other = dependency["name"].as_str().context("dependency name")?;
            faults.extend(edge_fault(name, layer, other));
        }
    }
    faults.extend(architecture_faults(root, &names)?);
    Ok(faults)
}

fn layer_of(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

fn edge_fault(name: &str, layer: usize, other: &str) -> Option<String> {
    let below = layer_of(other)?;
    if below >= layer {
        return Some(format!(
            "{name} (layer {layer}) depends on {other} (layer {below}): dependencies point down"
        ));
    }
    let names_engine = ENGINES.contains(&other) && !MAY_NAME_ENGINES.contains(&name);
    names_engine.then(|| format!("{name} names the engine {other}: only node and holm may"))
}

fn architecture_faults(root: &Path, names: &[String]) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md")).context("ARCHITECTURE.md")?;
    // The crate map has one row per crate that starts with its name in a code span.
    let rows: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once('`').map(|(name, _)| name))
        .collect();
    let missing = names
        .iter()
        .filter(|name| !rows.contains(&name.as_str()))
        .map(|name| format!("ARCHITECTURE.md does not name crate {name}"));
    let unknown = rows
        .iter()
        .filter(|row| !names.iter().any(|name| name == *row))
        .map(|row| format!("ARCHITECTURE.md names {row}, which is no crate"));
    Ok(missing.chain(unknown).collect())
}
