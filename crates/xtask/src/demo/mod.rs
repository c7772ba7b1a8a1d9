//! `cargo xtask demo`: a node with every example that this machine can run. With `--check` it calls each
//! of them, prints a line per example, stops the node, and fails when one that could run did not.

mod call;
mod examples;
mod running;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use examples::Example;
use running::RunningNode;

/// How the demo is run.
pub struct Demo {
    /// The binary.
    pub holm: PathBuf,
    /// Call the examples and stop.
    pub check: bool,
}

/// How one example went.
enum Outcome {
    Passed,
    Failed(String),
    Unavailable(String),
}

impl Demo {
    /// Reads `--holm PATH [--check]`.
    pub fn parse(arguments: &[&str]) -> Result<Self> {
        match arguments {
            ["--holm", path] => Ok(Self {
                holm: path.into(),
                check: false,
            }),
            ["--holm", path, "--check"] => Ok(Self {
                holm: path.into(),
                check: true,
            }),
            _ => bail!("usage: cargo xtask demo --holm PATH [--check]"),
        }
    }

    /// Runs the demo.
    pub fn run(&self, root: &Path) -> Result<ExitCode> {
        let examples = examples::read(root)?;
        let mut node = RunningNode::start(&self.holm, self.check)?;
        println!("\nIsolation classes on this machine:");
        let doctor = node.holm(&["doctor"]).status().context("holm doctor")?;
        if !doctor.success() {
            bail!("holm doctor failed");
        }
        let classes = node.classes()?;
        println!("\nDeploying {} examples:", examples.len());
        let mut outcomes = Vec::new();
        for example in &examples {
            let outcome = self.example(root, &node, &classes, example);
            report(&node, example, &outcome, self.check);
            outcomes.push(outcome);
        }
        let code = summary(&outcomes);
        if self.check {
            node.stop()?;
            return Ok(code);
        }
        println!(
            "\nThe node runs: functions at {}, admin API at {}.\n\
             Try the curl lines above, or `{} ls`, `logs NAME -f`, `usage --by function`.\n\
             Ctrl-C stops it; `make demo` starts it again with everything still deployed.",
            node.gateway,
            node.admin,
            self.holm.display()
        );
        node.wait()?;
        Ok(ExitCode::SUCCESS)
    }

    fn example(
        &self,
        root: &Path,
        node: &RunningNode,
        classes: &[(String, String, String)],
        example: &Example,
    ) -> Outcome {
        let class = classes.iter().find(|(class, _, _)| *class == example.class);
        match class {
            Some((_, state, detail)) if state == "unavailable" => {
                return Outcome::Unavailable(detail.clone());
            }
            Some(_) => {}
            None => return Outcome::Failed(format!("class {} is unknown", example.class)),
        }
        let missing: Vec<&str> = example
            .needs
            .iter()
            .map(String::as_str)
            .filter(|tool| !is_in_path(tool))
            .collect();
        if !missing.is_empty() {
            return Outcome::Unavailable(format!("{} is not installed", missing.join(", ")));
        }
        if let Err(error) = deploy(root, node, example) {
            return Outcome::Failed(format!("{error:#}"));
        }
        if self.check {
            for call in &example.calls {
                if let Err(error) = call.check(&node.gateway, &example.name) {
                    return Outcome::Failed(format!("{error:#}"));
                }
            }
        }
        Outcome::Passed
    }
}

fn deploy(root: &Path, node: &RunningNode, example: &Example) -> Result<()> {
    let directory = root.join("examples").join(&example.dir);
    let output = node
        .holm(&["deploy"])
        .arg(&directory)
        .args(["--name", &example.name])
        .output()
        .context("holm deploy")?;
    if !output.status.success() {
        bail!("deploy: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn report(node: &RunningNode, example: &Example, outcome: &Outcome, check: bool) {
    let Example { name, class, .. } = example;
    match outcome {
        Outcome::Passed if check => println!("PASS  {name:22} {class:10}"),
        Outcome::Passed => {
            println!("\n  {name} [{class}] {}", example.shows);
            println!("    {}", example.url(&node.gateway));
            if let Some(call) = example.calls.first() {
                println!("    {}", call.curl(&node.gateway, name));
            }
        }
        Outcome::Failed(reason) => println!("FAIL  {name:22} {class:10} {reason}"),
        Outcome::Unavailable(reason) => println!("n/a   {name:22} {class:10} {reason}"),
    }
}

fn summary(outcomes: &[Outcome]) -> ExitCode {
    let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|o| wanted(o)).count();
    let n_passed = count(|outcome| matches!(outcome, Outcome::Passed));
    let n_failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    let n_unavailable = count(|outcome| matches!(outcome, Outcome::Unavailable(_)));
    println!("\n{n_passed} passed, {n_failed} failed, {n_unavailable} skipped");
    // A demo in which nothing ran is no demo.
    if n_failed > 0 || n_passed == 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn is_in_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(tool).is_file())
}

/// Runs a command for its stdout.
fn stdout_of(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(output.stdout)
}
