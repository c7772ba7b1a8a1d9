//! JavaScript and AssemblyScript: the project's own `build` script, after an install where none was.

use std::path::Path;

use model::{Code, Failure};

use super::{Builder, Built};
use crate::project::tool;

/// Where a `.wasm` file is looked for when the manifest does not say.
const OUTPUT_DIRS: [&str; 3] = ["build", "dist", "."];

impl Builder<'_> {
    pub(super) fn npm(&self) -> Result<Built, Failure> {
        if !has_build_script(self.dir)? {
            return Err(Failure::new(
                Code::NothingToDeploy,
                format!(
                    "{} has no script `build`\nsay how to build it: there, or with `command` and \
                     `output` in `[build]` of holm.toml",
                    self.dir.join("package.json").display()
                ),
            ));
        }
        if !self.dir.join("node_modules").is_dir() {
            let is_locked = ["package-lock.json", "npm-shrinkwrap.json"]
                .iter()
                .any(|lock| self.dir.join(lock).is_file());
            let install = if is_locked { "ci" } else { "install" };
            let mut npm = self.tool(&tool::NPM)?;
            npm.args([install, "--no-audit", "--no-fund"]);
            self.succeed(&format!("npm {install}"), &mut npm)?;
        }
        let mut npm = self.tool(&tool::NPM)?;
        npm.args(["run", "build"]);
        self.succeed("npm run build", &mut npm)?;
        if self.options.output.is_some() {
            return self.named_output();
        }
        self.only_output("npm run build", &OUTPUT_DIRS)
    }
}

fn has_build_script(dir: &Path) -> Result<bool, Failure> {
    let file = dir.join("package.json");
    let invalid = |why: &dyn std::fmt::Display| {
        Failure::new(Code::BuildFailed, format!("{}: {why}", file.display()))
    };
    let text = std::fs::read(&file).map_err(|error| invalid(&error))?;
    let package: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| invalid(&error))?;
    Ok(package["scripts"]["build"].is_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_script_is_looked_for_before_anything_is_installed() {
        let dir = tempfile::tempdir().expect("a directory");
        let package = dir.path().join("package.json");
        for (text, has_script) in [
            (r#"{"scripts":{"build":"tsc"}}"#, true),
            (r#"{"scripts":{"test":"x"}}"#, false),
            ("[]", false),
        ] {
            std::fs::write(&package, text).expect("written");
            assert_eq!(has_build_script(dir.path()), Ok(has_script), "{text}");
        }
        std::fs::write(&package, "{").expect("written");
        assert!(has_build_script(dir.path()).is_err());
    }
}
