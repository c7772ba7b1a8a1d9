//! Rust: `cargo build --release`, and which of its files is the function.

use std::path::{Path, PathBuf};

use model::{Code, Failure};
use serde::Deserialize;

use super::{Builder, Built, build_failed, choose};
use crate::project::process;
use crate::project::tool;

/// The part of cargo's JSON messages that is read (The Cargo Book, "External tools").
#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    #[serde(default)]
    target: Target,
}

#[derive(Debug, Default, Deserialize)]
struct Target {
    #[serde(default)]
    kind: Vec<String>,
}

impl Builder<'_> {
    pub(super) fn cargo(&self, target: &str) -> Result<Built, Failure> {
        let mut cargo = self.tool(&tool::CARGO)?;
        cargo.args([
            "build",
            "--release",
            "--message-format=json-render-diagnostics",
            "--target",
            target,
        ]);
        let mut messages = Vec::new();
        let finished = process::run(&mut cargo, self.on_message, &mut |line| {
            match serde_json::from_str::<Message>(line) {
                Ok(message) => messages.push(message),
                Err(_) => return false,
            }
            true
        })
        .map_err(|error| Failure::new(Code::BuildFailed, format!("cargo build: {error}")))?;
        if !finished.status.success() {
            // The check comes after the failure: a configured `build-std` needs no installed target.
            return Err(if self.has_rust_target(target) {
                build_failed("cargo build", &finished)
            } else {
                tool::missing(
                    &format!("this Rust has no standard library for {target}"),
                    &format!("rustup target add {target}"),
                )
            });
        }
        if self.options.output.is_some() {
            return self.named_output();
        }
        let found = outputs(&messages, self.dir);
        choose("cargo build", &found).map(|file| Built::in_project(file.clone()))
    }

    fn has_rust_target(&self, target: &str) -> bool {
        let Some(rustc) = self.environment.find_program("rustc") else {
            return true;
        };
        let said = self
            .command(&rustc)
            .args(["--print", "target-libdir", "--target", target])
            .output();
        // Where rustc cannot tell, cargo's own message stands.
        said.map_or(true, |said| {
            let libdir = String::from_utf8_lossy(&said.stdout).trim().to_owned();
            !said.status.success() || Path::new(&libdir).is_dir()
        })
    }
}

/// The `.wasm` files of programs and `cdylib`s: of the package in `dir` where it has some, else of all
/// packages that were built.
fn outputs(messages: &[Message], dir: &Path) -> Vec<PathBuf> {
    let own = std::fs::canonicalize(dir.join("Cargo.toml")).ok();
    let is_program = |message: &&Message| {
        message.reason == "compiler-artifact"
            && message
                .target
                .kind
                .iter()
                .any(|kind| kind == "bin" || kind == "cdylib")
    };
    let files = |only_own: bool| -> Vec<PathBuf> {
        messages
            .iter()
            .filter(is_program)
            .filter(|message| {
                !only_own || std::fs::canonicalize(&message.manifest_path).ok() == own
            })
            .flat_map(|message| message.filenames.clone())
            .filter(|file| {
                file.extension()
                    .is_some_and(|extension| extension == "wasm")
            })
            .collect()
    };
    let own_files = files(true);
    if own_files.is_empty() {
        files(false)
    } else {
        own_files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(manifest: &Path, kind: &str, file: &str) -> Message {
        let line = serde_json::json!({
            "reason": "compiler-artifact",
            "manifest_path": manifest,
            "target": {"kind": [kind], "name": "x"},
            "filenames": [file, "other.d"],
            "fresh": true,
        });
        serde_json::from_value(line).expect("as cargo writes it")
    }

    #[test]
    fn programs_of_the_own_package_are_taken() {
        let dir = tempfile::tempdir().expect("a directory");
        let own = dir.path().join("Cargo.toml");
        std::fs::write(&own, "").expect("written");
        let finished = serde_json::from_str(r#"{"reason":"build-finished","success":true}"#);
        let messages = [
            artifact(Path::new("/dependency/Cargo.toml"), "cdylib", "d.wasm"),
            artifact(&own, "lib", "l.rlib"),
            artifact(&own, "cdylib", "x.wasm"),
            finished.expect("a message without a target"),
        ];
        assert_eq!(outputs(&messages, dir.path()), [PathBuf::from("x.wasm")]);
        assert_eq!(
            outputs(&messages[..1], dir.path()),
            [PathBuf::from("d.wasm")]
        );
    }
}
