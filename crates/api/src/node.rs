//! What the node says about itself.

use model::price::PriceTable;
use model::{FunctionKey, Isolation, Limits};
use serde::{Deserialize, Serialize};

/// The answer of the health checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`.
    pub status: String,
}

/// What the node is and can run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// The release of Holm.
    pub version: String,
    /// When the node started, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// Whether it takes requests.
    pub is_ready: bool,
    /// Whether it was started with `--production`.
    pub is_production: bool,
    /// Where functions answer, such as `http://127.0.0.1:8080`.
    pub gateway_url: String,
    /// Where the admin API answers.
    pub admin_url: String,
    /// The data directory.
    pub data_dir: String,
    /// The directory of engine files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engines_dir: Option<String>,
    /// The isolation classes.
    pub classes: Vec<ClassInfo>,
    /// The operator's ceilings: no manifest may ask for more. Units as in limits.
    pub ceilings: Limits,
    /// The most bytes of an artifact.
    pub artifact_bytes_max: u64,
    /// What usage costs.
    pub prices: PriceTable,
    /// Functions on this node.
    pub n_functions: usize,
    /// Invocations that run now.
    pub n_running: usize,
}

/// An isolation class on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassInfo {
    /// The class.
    pub isolation: Isolation,
    /// Whether it can be used.
    pub state: ClassState,
    /// The engine and its version, or why it cannot be used and what to do about it.
    pub detail: String,
}

/// Whether a class can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassState {
    /// It can.
    Available,
    /// It can, with a weakness; refused under `--production`.
    Weak,
    /// It cannot.
    Unavailable,
}

/// The node's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigResponse {
    /// As the node understood it, with every default; secrets read `[redacted]`.
    pub config: serde_json::Value,
}

/// The instances that live now, in groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceList {
    /// The groups, in order of function and version.
    pub instances: Vec<InstanceInfo>,
}

/// The instances of one version that are in one state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceInfo {
    /// The function.
    pub function: FunctionKey,
    /// The version's number.
    pub version: u64,
    /// The class.
    pub isolation: Isolation,
    /// Their place in the life of an instance.
    pub state: InstanceState,
    /// How many.
    pub n_instances: usize,
}

/// A place in the life of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// It serves.
    Busy,
    /// It waits for an invocation.
    Idle,
}
