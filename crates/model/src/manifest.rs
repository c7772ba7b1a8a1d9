//! `holm.toml`: what a function's author writes down. Parsing reports every fault with its position,
//! and the nearest known key for an unknown one; `docs/guide/manifest.md` describes the keys.
//!
//! Refuses to read files, and to know which artifact goes with a manifest.

mod read;
mod sections;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::fmt;

use crate::egress::EgressRule;
use crate::failure::{Position, Problem};
use crate::limits::Ceilings;
use crate::{
    ArtifactKind, Code, Failure, FunctionConfig, FunctionName, Isolation, Limits, Namespace, Route,
};

/// Length of a manifest's text in bytes.
pub const MANIFEST_BYTES_MAX: usize = 256 * 1024;
/// Faults that are reported; after so many the rest is left out.
pub const FAULTS_MAX: usize = 100;
/// Entries of `[egress] allow`.
pub const EGRESS_RULES_MAX: usize = 256;
/// Length in bytes of the plain text fields, such as `handler`.
pub const TEXT_BYTES_MAX: usize = 1024;
/// Length in bytes of `[build] command`.
pub const COMMAND_BYTES_MAX: usize = 16 * 1024;
/// The highest `reuse`.
pub const REUSE_MAX: u32 = 1_000_000;

/// A manifest as written: what is not written is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The function's name; else the CLI takes it from `--name` or the directory.
    pub name: Option<FunctionName>,
    /// The namespace; `--namespace` goes first.
    pub namespace: Option<Namespace>,
    /// The isolation class; else it follows from the artifact.
    pub isolation: Option<Isolation>,
    /// The language environment, as Lambda users say: `python`, `node`, `provided`.
    pub runtime: Option<String>,
    /// The entry point inside the artifact, as `module.function`.
    pub handler: Option<String>,
    /// The main file of a script artifact, relative to its root.
    pub main: Option<String>,
    /// The OCI image reference.
    pub image: Option<String>,
    /// How the CLI builds the artifact. Nodes do not look at it: they never build.
    pub build: Option<Build>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// The limits that are written.
    pub limits: LimitsWritten,
    /// What may be reached over the network; empty denies everything.
    pub egress: Vec<EgressRule>,
    /// Requests that one instance serves, one at a time; at least 1.
    pub reuse: Option<u32>,
    /// Routes besides the function's own address.
    pub routes: Vec<Route>,
}

/// `[build]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Build {
    /// A shell command, run in the manifest's directory.
    pub command: Option<String>,
    /// The file or directory that the build leaves, relative to the manifest's directory.
    pub output: Option<String>,
    /// The compiler's target, such as `wasm32-wasip2`.
    pub target: Option<String>,
}

/// `[limits]`, each key optional. Units as in [`Limits`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsWritten {
    /// `memory`
    pub memory_bytes_max: Option<u64>,
    /// `cpu_ms`
    pub cpu_ms_max: Option<u64>,
    /// `timeout`
    pub timeout_ms: Option<u64>,
    /// `start_timeout`
    pub start_timeout_ms: Option<u64>,
    /// `concurrency`
    pub concurrency_max: Option<u32>,
    /// `body`
    pub body_bytes_max: Option<u64>,
    /// `log`
    pub log_bytes_max: Option<u64>,
}

/// Everything that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    /// In order of their lines; never empty, at most [`FAULTS_MAX`].
    pub faults: Vec<Position>,
}

/// Reads a manifest. `file` is its name in messages, as the user gave it.
///
/// # Errors
/// All faults at once; where the text is no TOML, those of the syntax.
pub fn parse(text: &str, file: &str) -> Result<Manifest, ManifestError> {
    read::parse(text, file)
}

impl Manifest {
    /// The class of this manifest's functions where `isolation` is not written: a `.wasm` file is wasm,
    /// an image is a container; an archive is a container where `runtime` or `image` is set, v8 where
    /// `main` is a script, and a container otherwise.
    pub fn default_isolation(&self, artifact: ArtifactKind) -> Isolation {
        let is_script = self.main.as_deref().is_some_and(|main| {
            [".js", ".mjs", ".cjs", ".ts", ".mts", ".jsx", ".tsx"]
                .iter()
                .any(|end| main.ends_with(end))
        });
        match artifact {
            ArtifactKind::Wasm => Isolation::Wasm,
            ArtifactKind::Image => Isolation::Container,
            ArtifactKind::Zip if self.runtime.is_some() || self.image.is_some() => {
                Isolation::Container
            }
            ArtifactKind::Zip if is_script => Isolation::V8,
            ArtifactKind::Zip => Isolation::Container,
        }
    }

    /// Fills in the defaults; `default_isolation` holds where the manifest names no class.
    pub fn resolve(&self, default_isolation: Isolation) -> FunctionConfig {
        let isolation = self.isolation.unwrap_or(default_isolation);
        self.resolve_over(isolation, Limits::defaults(isolation))
    }

    /// As [`Manifest::resolve`] on a node with `ceilings`: a default above one is lowered to it. What the
    /// manifest asks for itself is left as it is, for [`Ceilings::check`] to refuse.
    pub fn resolve_under(
        &self,
        default_isolation: Isolation,
        ceilings: &Ceilings,
    ) -> FunctionConfig {
        let isolation = self.isolation.unwrap_or(default_isolation);
        self.resolve_over(isolation, ceilings.cap(&Limits::defaults(isolation)))
    }

    fn resolve_over(&self, isolation: Isolation, defaults: Limits) -> FunctionConfig {
        FunctionConfig {
            isolation,
            runtime: self.runtime.clone(),
            handler: self.handler.clone(),
            main: self.main.clone(),
            image: self.image.clone(),
            env: self.env.clone(),
            limits: self.limits.over(defaults),
            egress: self.egress.clone(),
            reuse: self.reuse.unwrap_or(1),
            routes: self.routes.clone(),
        }
    }

    /// The manifest as text that [`parse`] reads back to the same value.
    pub fn to_toml(&self) -> String {
        write::to_toml(self)
    }
}

impl LimitsWritten {
    /// `defaults` with what is written in their place.
    pub fn over(&self, defaults: Limits) -> Limits {
        Limits {
            memory_bytes_max: self.memory_bytes_max.unwrap_or(defaults.memory_bytes_max),
            cpu_ms_max: self.cpu_ms_max.unwrap_or(defaults.cpu_ms_max),
            timeout_ms: self.timeout_ms.unwrap_or(defaults.timeout_ms),
            start_timeout_ms: self.start_timeout_ms.unwrap_or(defaults.start_timeout_ms),
            concurrency_max: self.concurrency_max.unwrap_or(defaults.concurrency_max),
            body_bytes_max: self.body_bytes_max.unwrap_or(defaults.body_bytes_max),
            log_bytes_max: self.log_bytes_max.unwrap_or(defaults.log_bytes_max),
        }
    }
}

impl ManifestError {
    /// The problem document, with all positions.
    pub fn to_problem(&self) -> Problem {
        let mut problem = Failure::from(self.clone()).to_problem(None);
        problem.positions.clone_from(&self.faults);
        problem
    }
}

/// One fault per line, as compilers write them: `holm.toml:3:1: limits.memroy: unknown key ...`.
impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ManifestError {}

impl From<ManifestError> for Failure {
    fn from(error: ManifestError) -> Self {
        let mut detail = error
            .faults
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        match error.faults.len() {
            0 | 1 => {}
            2 => detail.push_str(" (and 1 more fault)"),
            n => detail.push_str(&format!(" (and {} more faults)", n - 1)),
        }
        Failure::new(Code::ManifestInvalid, detail)
    }
}
