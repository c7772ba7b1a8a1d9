//! What the user wants deployed: a path, read as a project with its manifest and name.

use std::fs;
use std::path::{Path, PathBuf};

use model::manifest::{MANIFEST_BYTES_MAX, Manifest};
use model::{ArtifactKind, Code, Failure, FunctionName, Isolation};

use super::detect::{self, Step};
use super::name;
use crate::report::{Refusal, SourceText};

/// The manifest's file name.
pub const MANIFEST_FILE: &str = "holm.toml";

/// What lies at the given path.
#[derive(Clone, Debug)]
pub struct Source {
    /// The project's directory.
    pub dir: PathBuf,
    /// What directory or file are called, for a function that nobody named.
    stem: String,
    /// The manifest's text and its name in messages.
    pub manifest_text: Option<SourceText>,
    /// The manifest; an empty one where there is none.
    pub manifest: Manifest,
    /// The file itself, where the path named one.
    file: Option<PathBuf>,
}

impl Source {
    /// Reads what lies at `path`: a directory, a `.wasm` file, a script, or a manifest. A single file is
    /// deployed without a manifest, whatever lies beside it.
    ///
    /// # Errors
    /// `NothingToDeploy`, or `ManifestInvalid` with every fault's place.
    pub fn open(path: &Path) -> Result<Self, anyhow::Error> {
        let meta = fs::metadata(path).map_err(|error| nothing(path, &error))?;
        if meta.is_dir() {
            let manifest = path.join(MANIFEST_FILE);
            return Self::project(path, manifest.is_file().then_some(&manifest));
        }
        let extension = path
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        match extension {
            "toml" => Self::project(parent(path), Some(&path.to_owned())),
            "wasm" | "js" | "mjs" | "cjs" | "ts" | "mts" | "jsx" | "tsx" => Ok(Self {
                dir: parent(path).to_owned(),
                stem: stem(path),
                manifest_text: None,
                manifest: Manifest::default(),
                file: Some(path.to_owned()),
            }),
            _ => Err(nothing(
                path,
                &"deploy a directory with its source, a directory with holm.toml, or a .wasm file",
            )
            .into()),
        }
    }

    fn project(dir: &Path, manifest_file: Option<&PathBuf>) -> Result<Self, anyhow::Error> {
        let mut source = Self {
            dir: dir.to_owned(),
            stem: directory_name(dir),
            manifest_text: None,
            manifest: Manifest::default(),
            file: None,
        };
        if let Some(file) = manifest_file {
            let text = read_manifest(file)?;
            source.manifest =
                model::manifest::parse(&text.text, &text.name).map_err(|error| Refusal {
                    problem: error.to_problem(),
                    sources: vec![text.clone()],
                    hints: Vec::new(),
                })?;
            source.manifest_text = Some(text);
        }
        Ok(source)
    }

    /// The function's name: `flag`, else the manifest's, else made of the directory's or file's.
    ///
    /// # Errors
    /// `NameInvalid` where none can be made.
    pub fn name(&self, flag: Option<&FunctionName>) -> Result<FunctionName, Failure> {
        match flag.or(self.manifest.name.as_ref()) {
            Some(name) => Ok(name.clone()),
            None => name::derive(&self.stem),
        }
    }

    /// The class that the function would run in.
    pub fn isolation(&self) -> Isolation {
        if let Some(isolation) = self.manifest.isolation {
            return isolation;
        }
        let file_is_script = self.file.as_ref().is_some_and(|file| {
            file.extension()
                .is_some_and(|extension| extension != "wasm")
        });
        if file_is_script {
            return Isolation::V8;
        }
        // What has none of these is built to a .wasm file by every step there is.
        let kind = match &self.manifest {
            Manifest { image: Some(_), .. } => ArtifactKind::Image,
            Manifest {
                runtime: Some(_), ..
            } => ArtifactKind::Zip,
            Manifest {
                main: Some(main), ..
            } if !is_built_to_wasm(main) => ArtifactKind::Zip,
            _ => ArtifactKind::Wasm,
        };
        self.manifest.default_isolation(kind)
    }

    /// How it becomes an artifact.
    ///
    /// # Errors
    /// `NothingToDeploy` where that cannot be told.
    pub fn step(&self) -> Result<Step, Failure> {
        match &self.file {
            Some(file) => Ok(Step::Ready(file.clone())),
            None => {
                let build = self.manifest.build.clone().unwrap_or_default();
                detect::detect(&self.dir, &build, self.manifest.main.as_deref())
            }
        }
    }
}

/// Whether a `main` says nothing against the class `wasm`: the module itself, or what a build step takes.
fn is_built_to_wasm(main: &str) -> bool {
    main.ends_with(".wasm") || main.ends_with(".py")
}

fn read_manifest(file: &Path) -> Result<SourceText, Failure> {
    let invalid = |why: &dyn std::fmt::Display| {
        Failure::new(Code::ManifestInvalid, format!("{}: {why}", file.display()))
    };
    let meta = fs::metadata(file).map_err(|error| invalid(&error))?;
    if meta.len() > MANIFEST_BYTES_MAX as u64 {
        return Err(invalid(&format!("longer than {MANIFEST_BYTES_MAX} bytes")));
    }
    let bytes = fs::read(file).map_err(|error| invalid(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| invalid(&error.utf8_error()))?;
    let name = file
        .strip_prefix("./")
        .unwrap_or(file)
        .display()
        .to_string();
    Ok(SourceText { name, text })
}

fn nothing(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(Code::NothingToDeploy, format!("{}: {why}", path.display()))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The directory's own name, also of `.`.
fn directory_name(dir: &Path) -> String {
    let absolute = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    absolute
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(files: &[(&str, &str)], path: &str) -> Result<Source, anyhow::Error> {
        let dir = tempfile::tempdir().expect("a directory");
        let project = dir.path().join("My Project");
        fs::create_dir(&project).expect("made");
        for (file, text) in files {
            fs::write(project.join(file), text).expect("written");
        }
        Source::open(&project.join(path))
    }

    fn name(source: &Source) -> String {
        source.name(None).expect("nameable").to_string()
    }

    #[test]
    fn names_come_from_flag_manifest_and_directory_in_this_order() {
        let plain = open(&[], "").expect("a directory");
        assert_eq!(name(&plain), "my-project");
        let named = open(&[("holm.toml", "name = 'ada'")], "").expect("a project");
        assert_eq!(name(&named), "ada");
        let flag = "grace".parse().expect("a name");
        assert_eq!(named.name(Some(&flag)).expect("named").as_str(), "grace");
        let file = [("x_y.wasm", ""), ("holm.toml", "name = 'ada'")];
        assert_eq!(name(&open(&file, "x_y.wasm").expect("a file")), "x-y");
        assert_eq!(name(&open(&file, "holm.toml").expect("a project")), "ada");
    }

    #[test]
    fn the_class_follows_from_what_is_there() {
        let class =
            |files: &[(&str, &str)], path: &str| open(files, path).expect("readable").isolation();
        assert_eq!(class(&[("a.ts", "")], "a.ts"), Isolation::V8);
        assert_eq!(class(&[("a.wasm", "")], "a.wasm"), Isolation::Wasm);
        assert_eq!(class(&[("go.mod", "")], ""), Isolation::Wasm);
        let manifest = |text: &str| class(&[("holm.toml", text)], "");
        assert_eq!(manifest("isolation = 'gvisor'"), Isolation::Gvisor);
        assert_eq!(manifest("runtime = 'python'"), Isolation::Container);
        assert_eq!(manifest("image = 'debian:12'"), Isolation::Container);
        assert_eq!(manifest("main = 'a.js'"), Isolation::V8);
        assert_eq!(manifest("main = 'app.py'"), Isolation::Wasm);
        assert_eq!(manifest("main = 'app.wasm'"), Isolation::Wasm);
    }

    #[test]
    fn a_faulty_manifest_is_refused_with_its_text() {
        let error = open(&[("holm.toml", "nmae = 'x'\n")], "").expect_err("an unknown key");
        let refusal = error.downcast_ref::<Refusal>().expect("a refusal");
        assert_eq!(refusal.problem.code, Code::ManifestInvalid);
        assert_eq!(refusal.problem.positions[0].line, 1);
        assert_eq!(refusal.sources[0].text, "nmae = 'x'\n");
    }

    #[test]
    fn other_files_are_refused() {
        for path in ["README.md", "absent"] {
            let error = open(&[("README.md", "")], path).expect_err("nothing to deploy");
            let failure = error.downcast_ref::<Failure>().expect("a failure");
            assert_eq!(failure.code(), Code::NothingToDeploy, "{path}");
        }
    }
}
