//! Which build step a source directory has, told from the files in it. Looks; builds nothing.

use std::fs;
use std::path::{Path, PathBuf};

use model::manifest::Build as BuildOptions;
use model::{Code, Failure};

/// The Rust target where the manifest names none.
pub const CARGO_TARGET_DEFAULT: &str = "wasm32-wasip2";

/// How a directory becomes an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `[build] command`, whatever else lies there.
    Command {
        /// For the shell.
        command: String,
        /// The file that it makes, relative to the directory.
        output: PathBuf,
    },
    /// `cargo build --release`.
    Cargo {
        /// The Rust target.
        target: String,
    },
    /// `go build` for WASI preview 1.
    Go,
    /// `zig build`.
    Zig,
    /// `npm run build`, after an install where that is needed.
    Npm,
    /// `componentize-py`.
    Python,
    /// `clang` on all C files of the directory.
    C {
        /// The files, relative to the directory.
        sources: Vec<PathBuf>,
    },
    /// Nothing to build: the file is there.
    Ready(PathBuf),
}

impl Step {
    /// What is said while it runs.
    pub fn describe(&self) -> String {
        match self {
            Step::Command { command, .. } => format!("building: {command}"),
            Step::Cargo { target } => format!("building with cargo for {target}"),
            Step::Go => "building with go".to_owned(),
            Step::Zig => "building with zig".to_owned(),
            Step::Npm => "building with npm".to_owned(),
            Step::Python => "building with componentize-py".to_owned(),
            Step::C { .. } => "building with clang".to_owned(),
            Step::Ready(file) => format!("taking {}", file.display()),
        }
    }
}

/// The files that name a build step, each with its step.
const MARKERS: [&str; 5] = [
    "Cargo.toml",
    "go.mod",
    "build.zig",
    "package.json",
    "pyproject.toml",
];

/// Finds the build step of `dir`. `[build] command` goes before everything; then a `main` that is a
/// `.wasm` file; then the one marker file there is; then C files; then `[build] output` or the one
/// `.wasm` file there is.
///
/// # Errors
/// `NothingToDeploy` where nothing is known or several things are.
pub fn detect(dir: &Path, build: &BuildOptions, main: Option<&str>) -> Result<Step, Failure> {
    if let Some(command) = &build.command {
        let output = build.output.clone().ok_or_else(|| {
            Failure::new(
                Code::ManifestInvalid,
                "`[build] command` needs `[build] output`: the file that it makes",
            )
        })?;
        return Ok(Step::Command {
            command: command.clone(),
            output: output.into(),
        });
    }
    if let Some(main) = main.filter(|main| main.ends_with(".wasm")) {
        return Ok(Step::Ready(dir.join(main)));
    }
    let markers: Vec<&str> = MARKERS
        .into_iter()
        .filter(|marker| dir.join(marker).is_file())
        .collect();
    match markers[..] {
        [] => without_marker(dir, build),
        ["Cargo.toml"] => Ok(Step::Cargo {
            target: build
                .target
                .clone()
                .unwrap_or_else(|| CARGO_TARGET_DEFAULT.to_owned()),
        }),
        ["go.mod"] => Ok(Step::Go),
        ["build.zig"] => Ok(Step::Zig),
        ["package.json"] => Ok(Step::Npm),
        ["pyproject.toml"] => Ok(Step::Python),
        _ => Err(ambiguous(dir, "build steps", &markers)),
    }
}

fn without_marker(dir: &Path, build: &BuildOptions) -> Result<Step, Failure> {
    let sources = files_with_extension(dir, "c");
    if !sources.is_empty() {
        return Ok(Step::C { sources });
    }
    if let Some(output) = &build.output {
        return Ok(Step::Ready(dir.join(output)));
    }
    let modules = files_with_extension(dir, "wasm");
    match &modules[..] {
        [module] => Ok(Step::Ready(dir.join(module))),
        [] => Err(Failure::new(
            Code::NothingToDeploy,
            format!(
                "{} has no {}, no *.c and no *.wasm\nsay how to build it: `command` and `output` in \
                 `[build]` of holm.toml; or deploy a .wasm file",
                dir.display(),
                MARKERS.join(", no ")
            ),
        )),
        _ => {
            let names: Vec<String> = modules.iter().map(|f| f.display().to_string()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Err(ambiguous(dir, ".wasm files", &names))
        }
    }
}

fn ambiguous(dir: &Path, what: &str, found: &[&str]) -> Failure {
    Failure::new(
        Code::NothingToDeploy,
        format!(
            "{} has several {what}: {}\nsay which one: `command` and `output` in `[build]` of holm.toml",
            dir.display(),
            found.join(", ")
        ),
    )
}

/// The files of `dir` with this extension, by name, relative to it. Hidden files are not looked at.
pub fn files_with_extension(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().is_file())
        .map(|entry| PathBuf::from(entry.file_name()))
        .filter(|name| name.extension().is_some_and(|found| found == extension))
        .filter(|name| !name.to_string_lossy().starts_with('.'))
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        for file in files {
            fs::write(dir.path().join(file), "").expect("written");
        }
        dir
    }

    fn detected(files: &[&str], build: &BuildOptions) -> Result<Step, Failure> {
        detect(directory(files).path(), build, None)
    }

    #[test]
    fn every_known_file_has_its_step() {
        let none = BuildOptions::default();
        let cargo = |target: &str| Step::Cargo {
            target: target.to_owned(),
        };
        let cases = [
            (&["Cargo.toml", "util.c"][..], cargo("wasm32-wasip2")),
            (&["go.mod", "main.go"], Step::Go),
            (&["build.zig", "old.wasm"], Step::Zig),
            (&["package.json", "holm.toml"], Step::Npm),
            (&["pyproject.toml", "app.py"], Step::Python),
            (
                &["b.c", "a.c", "a.h", ".hidden.c"],
                Step::C {
                    sources: vec!["a.c".into(), "b.c".into()],
                },
            ),
        ];
        for (files, step) in cases {
            assert_eq!(detected(files, &none), Ok(step), "{files:?}");
        }
        let unknown = BuildOptions {
            target: Some("wasm32-unknown-unknown".to_owned()),
            ..BuildOptions::default()
        };
        assert_eq!(
            detected(&["Cargo.toml"], &unknown),
            Ok(cargo("wasm32-unknown-unknown"))
        );
    }

    #[test]
    fn the_manifests_command_goes_before_everything() {
        let build = BuildOptions {
            command: Some("make".to_owned()),
            output: Some("out/x.wasm".to_owned()),
            target: None,
        };
        let step = Step::Command {
            command: "make".to_owned(),
            output: "out/x.wasm".into(),
        };
        assert_eq!(detected(&["Cargo.toml", "package.json"], &build), Ok(step));
    }

    #[test]
    fn a_ready_file_is_taken_where_nothing_is_to_build() {
        let dir = directory(&["only.wasm", "holm.toml"]);
        assert_eq!(
            detect(dir.path(), &BuildOptions::default(), None),
            Ok(Step::Ready(dir.path().join("only.wasm")))
        );
        let output = BuildOptions {
            output: Some("sub/x.wasm".to_owned()),
            ..BuildOptions::default()
        };
        assert_eq!(
            detect(dir.path(), &output, None),
            Ok(Step::Ready(dir.path().join("sub/x.wasm")))
        );
        let several = directory(&["a.wasm", "b.wasm", "go.mod"]);
        let none = BuildOptions::default();
        assert_eq!(
            detect(several.path(), &none, Some("b.wasm")),
            Ok(Step::Ready(several.path().join("b.wasm")))
        );
        assert_eq!(detect(several.path(), &none, Some("b.go")), Ok(Step::Go));
    }

    #[test]
    fn nothing_and_several_are_errors_that_list_what_there_is() {
        let none = BuildOptions::default();
        for (files, told) in [
            (&["README.md"][..], "go.mod"),
            (&["Cargo.toml", "package.json"], "Cargo.toml, package.json"),
            (&["a.wasm", "b.wasm"], "a.wasm, b.wasm"),
        ] {
            let failure = detected(files, &none).expect_err("nothing to deploy");
            assert_eq!(failure.code(), Code::NothingToDeploy);
            assert!(failure.detail().contains(told), "{failure}");
        }
    }
}
