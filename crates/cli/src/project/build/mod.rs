//! Runs build steps: the user's tools, in the user's environment, in the project's directory.

mod cargo;
mod npm;

use std::path::{Path, PathBuf};
use std::process::Command;

use model::manifest::Build as BuildOptions;
use model::{Code, Failure};
use tempfile::TempDir;

use super::detect::{Step, files_with_extension};
use super::process::{self, Finished};
use super::tool::{self, Tool};
use crate::environment::Environment;

/// What a build works on.
pub struct Builder<'a> {
    /// The project's directory.
    pub dir: &'a Path,
    /// `[build]` of the manifest, or nothing.
    pub options: &'a BuildOptions,
    /// `main` of the manifest.
    pub main: Option<&'a str>,
    /// Where tools are looked for.
    pub environment: &'a Environment,
    /// Is told every line that a tool says.
    pub on_message: &'a (dyn Fn(&str) + Sync),
}

/// The file that a build made.
#[derive(Debug)]
pub struct Built {
    /// The file.
    pub file: PathBuf,
    /// The directory that it goes away with, where the project has no place for it.
    _scratch: Option<TempDir>,
}

impl Built {
    fn in_project(file: PathBuf) -> Self {
        Self {
            file,
            _scratch: None,
        }
    }
}

impl Builder<'_> {
    /// Runs `step`. `[build] output` of the manifest names the file where the tool may make several.
    ///
    /// # Errors
    /// `ToolMissing` with the way to get it; `BuildFailed` with the end of what the tool said;
    /// `NothingToDeploy` where it made no file or several.
    pub fn run(&self, step: &Step) -> Result<Built, Failure> {
        match step {
            Step::Ready(file) => Ok(Built::in_project(file.clone())),
            Step::Command { command, .. } => {
                let mut shell = self.command(Path::new("/bin/sh"));
                shell.arg("-c").arg(command);
                self.succeed("[build] command", &mut shell)?;
                self.named_output()
            }
            Step::Cargo { target } => self.cargo(target),
            Step::Go => self.go(),
            Step::Zig => self.zig(),
            Step::Npm => self.npm(),
            Step::Python => self.python(),
            Step::C { sources } => self.c(sources),
        }
    }

    fn go(&self) -> Result<Built, Failure> {
        let (scratch, output) = scratch_output()?;
        let mut go = self.tool(&tool::GO)?;
        // Paths and commit out of the file: the same source is the same version everywhere.
        go.args(["build", "-trimpath", "-buildvcs=false", "-o"])
            .arg(&output)
            .arg(".")
            .env("GOOS", "wasip1")
            .env("GOARCH", "wasm");
        self.succeed("go build", &mut go)?;
        self.made(output, scratch)
    }

    fn zig(&self) -> Result<Built, Failure> {
        let mut zig = self.tool(&tool::ZIG)?;
        zig.args(["build", "-Doptimize=ReleaseSmall"]);
        self.succeed("zig build", &mut zig)?;
        if self.options.output.is_some() {
            return self.named_output();
        }
        self.only_output("zig build", &["zig-out/bin"])
    }

    fn python(&self) -> Result<Built, Failure> {
        let (scratch, output) = scratch_output()?;
        let mut componentize = self.tool(&tool::COMPONENTIZE_PY)?;
        let has_wit = self.dir.join("wit").is_dir();
        if has_wit {
            componentize.args(["--wit-path", "wit"]);
        }
        componentize
            .args(["componentize", &self.python_module()])
            .arg("--output")
            .arg(&output);
        self.succeed("componentize-py", &mut componentize)
            .map_err(|failure| {
                if has_wit {
                    failure
                } else {
                    without_wit(&failure)
                }
            })?;
        self.made(output, scratch)
    }

    /// The module that holds the handler: `main` of the manifest without its extension, else `app`.
    fn python_module(&self) -> String {
        let main = self.main.unwrap_or("app.py");
        main.strip_suffix(".py").unwrap_or(main).replace('/', ".")
    }

    fn c(&self, sources: &[PathBuf]) -> Result<Built, Failure> {
        let (scratch, output) = scratch_output()?;
        let mut clang = self.tool(&tool::CLANG)?;
        clang
            .args(["--target=wasm32-wasi", "-Os", "-s", "-o"])
            .arg(&output)
            .args(sources);
        let finished = self.finish("clang", &mut clang)?;
        if !finished.status.success() {
            return Err(match absent_wasi_part(&finished.tail) {
                Some(part) => tool::CLANG.missing(part),
                None => build_failed("clang", &finished),
            });
        }
        self.made(output, scratch)
    }

    /// A tool, found in `PATH`, to run in the project's directory.
    fn tool(&self, tool: &Tool) -> Result<Command, Failure> {
        Ok(self.command(&tool.find(self.environment)?))
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // A shared target directory is for the user's own programs: a guest of the same name must not
        // be taken for one of them. And no script of a dependency needs the node's token.
        command
            .current_dir(self.dir)
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("CARGO_BUILD_TARGET_DIR")
            .env_remove("HOLM_TOKEN");
        command
    }

    fn finish(&self, what: &str, command: &mut Command) -> Result<Finished, Failure> {
        process::run(command, self.on_message, &mut |_| false)
            .map_err(|error| Failure::new(Code::BuildFailed, format!("{what}: {error}")))
    }

    fn succeed(&self, what: &str, command: &mut Command) -> Result<(), Failure> {
        let finished = self.finish(what, command)?;
        if finished.status.success() {
            Ok(())
        } else {
            Err(absent_program(&finished).unwrap_or_else(|| build_failed(what, &finished)))
        }
    }

    /// `[build] output` of the manifest, which the step has just made.
    fn named_output(&self) -> Result<Built, Failure> {
        let output = self.options.output.as_deref().ok_or_else(|| {
            Failure::new(
                Code::NothingToDeploy,
                "the manifest has no `[build] output`: the file that the build makes",
            )
        })?;
        let file = self.dir.join(output);
        if file.is_file() {
            return Ok(Built::in_project(file));
        }
        Err(Failure::new(
            Code::BuildFailed,
            format!(
                "the build succeeded, but `[build] output` names {}, which is not there",
                file.display()
            ),
        ))
    }

    /// The one `.wasm` file in one of `dirs`, which are relative to the project.
    fn only_output(&self, what: &str, dirs: &[&str]) -> Result<Built, Failure> {
        let mut found: Vec<PathBuf> = Vec::new();
        for dir in dirs {
            let files = files_with_extension(&self.dir.join(dir), "wasm");
            found.extend(files.into_iter().map(|file| Path::new(dir).join(file)));
        }
        choose(what, &found).map(|file| Built::in_project(self.dir.join(file)))
    }

    fn made(&self, file: PathBuf, scratch: TempDir) -> Result<Built, Failure> {
        if self.options.output.is_some() {
            return self.named_output();
        }
        Ok(Built {
            file,
            _scratch: Some(scratch),
        })
    }
}

/// Takes the only one of the files that a tool made.
fn choose<'a>(what: &str, found: &'a [PathBuf]) -> Result<&'a PathBuf, Failure> {
    match found {
        [file] => Ok(file),
        [] => Err(Failure::new(
            Code::NothingToDeploy,
            format!(
                "{what} succeeded, but made no .wasm file that was looked for\nsay where it is: \
                 `output` in `[build]` of holm.toml"
            ),
        )),
        several => {
            let names: Vec<String> = several.iter().map(|f| f.display().to_string()).collect();
            Err(Failure::new(
                Code::NothingToDeploy,
                format!(
                    "{what} made several .wasm files: {}\nsay which one: `output` in `[build]` of \
                     holm.toml",
                    names.join(", ")
                ),
            ))
        }
    }
}

fn build_failed(what: &str, finished: &Finished) -> Failure {
    let said = match finished.tail.trim_end() {
        "" => "it said nothing",
        tail => tail,
    };
    Failure::new(
        Code::BuildFailed,
        format!("{what} failed ({})\n{said}", finished.status),
    )
}

/// The tool that a shell did not find, where that is why it failed (POSIX shells end with 127 then).
fn absent_program(finished: &Finished) -> Option<Failure> {
    if finished.status.code() != Some(127) {
        return None;
    }
    let is_absent = |tool: &Tool| {
        finished.tail.lines().any(|line| {
            line.contains("not found") && line.split([' ', ':']).any(|word| word == tool.program)
        })
    };
    let tool = tool::ALL.into_iter().find(is_absent)?;
    Some(tool.missing(&format!("`{}` is not in PATH", tool.program)))
}

/// The directory that a Python project most likely lacks where its build fails.
fn without_wit(failure: &Failure) -> Failure {
    Failure::new(
        failure.code(),
        format!(
            "{}\nthe project has no directory `wit`: the WIT world that the function implements, with \
             the packages that it uses",
            failure.detail()
        ),
    )
}

fn scratch_output() -> Result<(TempDir, PathBuf), Failure> {
    let scratch = tempfile::Builder::new()
        .prefix("holm-build-")
        .tempdir()
        .map_err(|error| {
            Failure::new(
                Code::BuildFailed,
                format!("cannot make a temporary directory: {error}"),
            )
        })?;
    let output = scratch.path().join("function.wasm");
    Ok((scratch, output))
}

/// What a clang without the WASI packages misses, told from what it says.
fn absent_wasi_part(said: &str) -> Option<&'static str> {
    const PARTS: [(&str, &str); 4] = [
        ("file not found", "clang has no C library for WASI"),
        ("crt1", "clang has no C library for WASI"),
        ("libclang_rt", "clang has no compiler runtime for wasm32"),
        ("wasm-ld", "clang has no linker for wasm32"),
    ];
    const HEADERS: [&str; 4] = ["stdio.h", "stdlib.h", "string.h", "unistd.h"];
    PARTS
        .into_iter()
        .filter(|(sign, _)| *sign != "file not found" || HEADERS.iter().any(|h| said.contains(h)))
        .find(|(sign, _)| said.contains(sign))
        .filter(|(sign, _)| *sign != "wasm-ld" || said.contains("unable to execute"))
        .map(|(_, part)| part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(dir: &Path, step: &Step, options: BuildOptions) -> Result<Built, Failure> {
        Builder {
            dir,
            options: &options,
            main: None,
            environment: &Environment::of_process(),
            on_message: &|_| {},
        }
        .run(step)
    }

    fn command(command: &str, output: &str) -> (Step, BuildOptions) {
        let step = Step::Command {
            command: command.to_owned(),
            output: output.into(),
        };
        let options = BuildOptions {
            command: Some(command.to_owned()),
            output: Some(output.to_owned()),
            target: None,
        };
        (step, options)
    }

    #[test]
    fn a_command_runs_in_the_project_without_a_shared_target_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let script = "mkdir out && echo \"[$CARGO_TARGET_DIR]\" >out/x.wasm";
        let (step, options) = command(script, "out/x.wasm");
        let built = build(dir.path(), &step, options).expect("built");
        assert_eq!(std::fs::read_to_string(built.file).expect("there"), "[]\n");
    }

    #[test]
    fn a_failing_command_shows_what_it_said() {
        let dir = tempfile::tempdir().expect("a directory");
        let (step, options) = command("echo out; echo reason >&2; exit 7", "x.wasm");
        let failure = build(dir.path(), &step, options).expect_err("it fails");
        assert_eq!(failure.code(), Code::BuildFailed);
        assert!(failure.detail().contains("exit status: 7"), "{failure}");
        assert!(failure.detail().contains("reason"), "{failure}");
        assert!(failure.detail().contains("out"), "{failure}");
    }

    #[test]
    fn an_output_that_is_not_made_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let (step, options) = command("true", "absent.wasm");
        let failure = build(dir.path(), &step, options).expect_err("no output");
        assert_eq!(failure.code(), Code::BuildFailed);
        assert!(failure.detail().contains("absent.wasm"), "{failure}");
    }

    #[test]
    fn a_missing_tool_says_how_to_get_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let builder = Builder {
            dir: dir.path(),
            options: &BuildOptions::default(),
            main: None,
            environment: &Environment::default(),
            on_message: &|_| {},
        };
        let target = "wasm32-wasip2".to_owned();
        let c = Step::C {
            sources: vec!["a.c".into()],
        };
        for step in [Step::Cargo { target }, Step::Go, Step::Zig, Step::Python, c] {
            let failure = builder.run(&step).expect_err("no PATH");
            assert_eq!(failure.code(), Code::ToolMissing, "{step:?}");
        }
    }

    #[test]
    fn a_command_whose_tool_is_missing_says_how_to_get_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let script = "PATH=/nowhere; componentize-py --version";
        let (step, options) = command(script, "x.wasm");
        let failure = build(dir.path(), &step, options).expect_err("no such tool");
        assert_eq!(failure.code(), Code::ToolMissing);
        assert!(
            failure.detail().contains(tool::COMPONENTIZE_PY.remedy),
            "{failure}"
        );
        let (step, options) = command("no-tool-of-ours", "x.wasm");
        let failure = build(dir.path(), &step, options).expect_err("no such tool");
        assert_eq!(failure.code(), Code::BuildFailed);
    }

    #[test]
    fn a_python_project_without_its_world_is_told_so() {
        if tool::COMPONENTIZE_PY
            .find(&Environment::of_process())
            .is_err()
        {
            println!("skipped: no componentize-py in PATH");
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("app.py"), "").expect("written");
        let failure = build(dir.path(), &Step::Python, BuildOptions::default());
        let failure = failure.expect_err("no world");
        assert_eq!(failure.code(), Code::BuildFailed);
        assert!(failure.detail().contains("no directory `wit`"), "{failure}");
    }

    #[test]
    fn several_outputs_are_listed() {
        let found = ["a.wasm".into(), "b.wasm".into()];
        let failure = choose("zig build", &found).expect_err("several");
        assert_eq!(failure.code(), Code::NothingToDeploy);
        assert!(failure.detail().contains("a.wasm, b.wasm"), "{failure}");
        assert!(choose("zig build", &[]).is_err());
    }

    #[test]
    fn a_clang_without_wasi_is_told_from_a_fault_in_the_program() {
        let absent = "a.c:1:10: fatal error: 'stdio.h' file not found";
        assert!(absent_wasi_part(absent).is_some());
        let absent = "wasm-ld: error: cannot open /usr/lib/libclang_rt.builtins-wasm32.a";
        assert!(absent_wasi_part(absent).is_some());
        let fault = "wasm-ld: error: /tmp/a.o: undefined symbol: f";
        assert_eq!(absent_wasi_part(fault), None);
        let fault = "a.c:1:10: fatal error: 'mine.h' file not found";
        assert_eq!(absent_wasi_part(fault), None);
    }
}
