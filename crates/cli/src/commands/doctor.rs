//! `holm doctor`: which classes this host can run, which build tools it has, and what to do about the
//! rest.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use api::{ClassInfo, ClassState, NodeInfo};
use clap::Args;
use client::ClientError;
use serde::Serialize;

use crate::Host;
use crate::args::NodeArgs;
use crate::console::Console;
use crate::environment::Environment;
use crate::progress::Progress;
use crate::project::tool::{self, Tool};
use crate::report::{EXIT_DONE, EXIT_REFUSED};
use crate::session::Session;
use crate::text::{Escaped, Style};

/// How long a tool may take to tell its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// The Rust targets that functions are built for.
const RUST_TARGETS: [&str; 3] = ["wasm32-wasip2", "wasm32-wasip1", "wasm32-unknown-unknown"];

/// Checking the host.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holm doctor
  holm doctor --json | jq '.classes[] | select(.state != \"available\")'

A node that runs is asked; without one this host is looked at directly. Missing build tools are told
with the way to get them: they are needed only for functions in their language.
Exit codes: 0 at least one class can run; 1 none can.")]
pub struct DoctorArgs {
    /// Which node, and how the result is printed.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Findings {
    /// What the node says of itself, where one answers.
    node: Option<NodeInfo>,
    /// Why no node said anything: then this process looked by itself.
    without_node: Option<String>,
    classes: Vec<ClassInfo>,
    tools: Vec<ToolState>,
}

#[derive(Debug, Serialize)]
struct ToolState {
    language: &'static str,
    program: String,
    /// `None` where it is missing.
    version: Option<String>,
    path: Option<PathBuf>,
    /// How to get it, where it is missing.
    remedy: Option<String>,
}

/// Looks at node, host and tools.
pub async fn run(
    args: &DoctorArgs,
    session: &Session,
    host: Host,
    environment: &Environment,
    console: &mut Console,
) -> Result<u8, anyhow::Error> {
    let progress = Progress::spinner(console, "looking");
    let (node, without_node, classes) = match session.client.node().await {
        Ok(node) => {
            let classes = node.classes.clone();
            (Some(node), None, classes)
        }
        Err(error @ (ClientError::Address(_) | ClientError::Token)) => return Err(error.into()),
        Err(error) => {
            let reason = without_node(&error, &session.client.url());
            (None, Some(reason), (host.probe)())
        }
    };
    let tools = tools(environment).await;
    drop(progress);
    let findings = Findings {
        node,
        without_node,
        classes,
        tools,
    };
    if args.node.json {
        console.json(&findings)?;
    } else {
        console.result(&text(&findings, console.style()))?;
    }
    let is_any_usable = findings
        .classes
        .iter()
        .any(|class| class.state != ClassState::Unavailable);
    Ok(if is_any_usable {
        EXIT_DONE
    } else {
        EXIT_REFUSED
    })
}

/// Why the node at `url` was not asked: there is none, or it does not let us in.
fn without_node(error: &ClientError, url: &str) -> String {
    match error {
        ClientError::Problem(problem) => format!("the node at {url} refuses: {}", problem.title),
        other => other.to_problem().detail,
    }
}

fn text(findings: &Findings, style: Style) -> String {
    let heading = style.bold("classes");
    let mut text = match &findings.node {
        Some(node) => {
            let (url, version) = (Escaped(&node.admin_url), Escaped(&node.version));
            format!("{heading} (the node at {url}, version {version})\n")
        }
        None => {
            let reason = findings.without_node.as_deref().unwrap_or_default();
            format!("{heading} (this host; {})\n", Escaped(reason))
        }
    };
    for class in &findings.classes {
        let name = format!("{:<10}", class.isolation);
        let detail = Escaped(&class.detail);
        let state = match class.state {
            ClassState::Available => style.green("available  "),
            ClassState::Weak => style.yellow("weak       "),
            ClassState::Unavailable => style.red("unavailable"),
        };
        text.push_str(&format!("  {name} {state}  {detail}\n"));
    }
    text.push_str(&format!(
        "\n{} (for building functions here)\n",
        style.bold("tools")
    ));
    for tool in &findings.tools {
        let program = format!("{:<30}", tool.program);
        match (&tool.version, &tool.remedy) {
            (Some(version), _) => {
                let version = Escaped(version);
                let language = tool.language;
                text.push_str(&format!("  {program} {version}  ({language})\n"));
            }
            (None, remedy) => {
                let remedy = remedy.as_deref().unwrap_or_default();
                let missing = style.yellow("missing");
                let language = tool.language;
                text.push_str(&format!("  {program} {missing}  ({language}) {remedy}\n"));
            }
        }
    }
    text
}

/// Asks all tools at once: some take a while to tell their version.
async fn tools(environment: &Environment) -> Vec<ToolState> {
    let asked = tool::ALL.map(|tool| {
        let environment = environment.clone();
        tokio::spawn(async move {
            let mut states = vec![tool_state(tool, &environment).await];
            if tool == tool::CARGO {
                states.extend(rust_targets(&environment).await);
            }
            if tool == tool::CLANG {
                states.extend(clang_wasi(&environment).await);
            }
            states
        })
    });
    let mut states = Vec::new();
    for task in asked {
        states.extend(task.await.expect("looking for a tool does not panic"));
    }
    states
}

async fn tool_state(tool: Tool, environment: &Environment) -> ToolState {
    let path = environment.find_program(tool.program);
    let version = match &path {
        Some(path) => said(path, tool.version_arguments).await,
        None => None,
    };
    ToolState {
        language: tool.language,
        program: tool.program.to_owned(),
        remedy: version.is_none().then(|| tool.remedy.to_owned()),
        path: path.filter(|_| version.is_some()),
        version: version.map(|said| version_of(&said)),
    }
}

/// Whether the Rust that is there has the targets that functions are built for.
async fn rust_targets(environment: &Environment) -> Vec<ToolState> {
    let Some(rustc) = environment.find_program("rustc") else {
        return Vec::new();
    };
    let Some(sysroot) = said(&rustc, &["--print", "sysroot"]).await else {
        return Vec::new();
    };
    let rustlib = Path::new(sysroot.trim()).join("lib/rustlib");
    RUST_TARGETS
        .into_iter()
        .map(|target| {
            let path = rustlib.join(target).join("lib");
            let is_there = path.is_dir();
            ToolState {
                language: "Rust",
                program: format!("rust {target}"),
                version: is_there.then(|| "installed".to_owned()),
                path: is_there.then_some(path),
                remedy: (!is_there).then(|| format!("rustup target add {target}")),
            }
        })
        .collect()
}

/// Whether the clang that is there can build for WASI: only building a program tells.
async fn clang_wasi(environment: &Environment) -> Option<ToolState> {
    let clang = environment.find_program(tool::CLANG.program)?;
    let scratch = tempfile::tempdir().ok()?;
    let source = scratch.path().join("probe.c");
    std::fs::write(
        &source,
        "#include <stdio.h>\nint main(void) { return puts(\"\") < 0; }\n",
    )
    .ok()?;
    let output = scratch.path().join("probe.wasm");
    let (source, output) = (source.to_str()?, output.to_str()?);
    let built = said(
        &clang,
        &["--target=wasm32-wasi", "-Os", "-o", output, source],
    )
    .await;
    let is_there = built.is_some();
    Some(ToolState {
        language: "C",
        program: "clang wasm32-wasi".to_owned(),
        version: is_there.then(|| "builds".to_owned()),
        path: is_there.then_some(clang),
        remedy: (!is_there).then(|| tool::CLANG.remedy.to_owned()),
    })
}

/// What a program says on stdout; `None` where it fails or takes too long.
async fn said(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(VERSION_TIMEOUT, output)
        .await
        .ok()?
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The version in what a tool says of itself: the first word that begins with a digit, also behind a
/// letter or two (`go1.27.3`, `v20`), else the first line.
fn version_of(said: &str) -> String {
    let line = said.lines().next().unwrap_or_default().trim();
    let is_version = |word: &&str| {
        let rest = word.trim_start_matches(|c: char| c.is_ascii_lowercase());
        word.len() - rest.len() <= 2 && rest.starts_with(|c: char| c.is_ascii_digit())
    };
    line.split_whitespace()
        .find(is_version)
        .map_or(line, |word| {
            word.trim_start_matches(|c: char| c.is_ascii_lowercase())
        })
        .chars()
        .take(80)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_tools_say() {
        for (said, version) in [
            ("cargo 1.95.0 (f2d3ce0bd 2026-03-21)", "1.95.0"),
            ("go version go1.27.3 linux/amd64", "1.27.3"),
            ("Debian clang version 14.0.6\nTarget: x86_64", "14.0.6"),
            ("0.15.2\n", "0.15.2"),
            ("v20.19.2", "20.19.2"),
            ("none here", "none here"),
            ("", ""),
        ] {
            assert_eq!(version_of(said), version);
        }
    }

    #[test]
    fn what_is_missing_comes_with_the_remedy() {
        let class = |isolation, state, detail: &str| ClassInfo {
            isolation,
            state,
            detail: detail.to_owned(),
        };
        let findings = Findings {
            node: None,
            without_node: Some("no node answers".to_owned()),
            classes: vec![
                class(
                    model::Isolation::Wasm,
                    ClassState::Available,
                    "wasmtime 48.0.8",
                ),
                class(
                    model::Isolation::Microvm,
                    ClassState::Unavailable,
                    "no /dev/kvm",
                ),
            ],
            tools: vec![
                ToolState {
                    language: "Rust",
                    program: "cargo".to_owned(),
                    version: Some("1.95.0".to_owned()),
                    path: Some("/usr/bin/cargo".into()),
                    remedy: None,
                },
                ToolState {
                    language: "Go",
                    program: "go".to_owned(),
                    version: None,
                    path: None,
                    remedy: Some("get it".to_owned()),
                },
            ],
        };
        insta::assert_snapshot!(text(&findings, Style::PLAIN), @r"
        classes (this host; no node answers)
          wasm       available    wasmtime 48.0.8
          microvm    unavailable  no /dev/kvm

        tools (for building functions here)
          cargo                          1.95.0  (Rust)
          go                             missing  (Go) get it
        ");
    }

    #[test]
    fn a_node_that_refuses_is_told_from_none() {
        let url = "http://127.0.0.1:8081";
        let problem = model::Failure::new(model::Code::Unauthorized, "send the token");
        let refused = ClientError::Problem(Box::new(problem.to_problem(None)));
        assert_eq!(
            without_node(&refused, url),
            "the node at http://127.0.0.1:8081 refuses: A valid token is needed"
        );
    }

    #[tokio::test]
    async fn tools_that_fail_or_are_absent_are_missing() {
        assert_eq!(said(Path::new("/bin/sh"), &["-c", "exit 1"]).await, None);
        assert_eq!(said(Path::new("/nowhere/tool"), &[]).await, None);
        let said = said(Path::new("/bin/sh"), &["-c", "echo 1.2"]).await;
        assert_eq!(said.as_deref(), Some("1.2\n"));
        let states = tools(&Environment::default()).await;
        assert_eq!(states.len(), tool::ALL.len());
        assert!(states.iter().all(|state| state.remedy.is_some()));
    }
}
