//! Routes: which requests reach a function besides its own address. Refuses to know HTTP libraries.

use serde::{Deserialize, Serialize};

/// One `[[routes]]` entry. A request matches when every given part matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Route {
    /// The host name, lower-case, without port; `None` matches every host.
    pub host: Option<String>,
    /// The path.
    pub path: PathPattern,
    /// Upper-case methods; empty matches every method.
    pub methods: Vec<String>,
}

/// How a route matches a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathPattern {
    /// The path itself and nothing else. Written without a trailing `*`.
    Exact(String),
    /// The path and everything below it, at segment borders. Written `/prefix/*`.
    Prefix(String),
}
