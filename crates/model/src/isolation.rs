//! The five isolation classes. Refuses to know the engines behind them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a function is walled off. The same manifest moves between classes by this word alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// WebAssembly in the node's process, a fresh instance for every request.
    Wasm,
    /// JavaScript on V8 in a sandboxed process.
    V8,
    /// Any Linux program under an OCI runtime.
    Container,
    /// The same images under gVisor.
    Gvisor,
    /// The same images in a virtual machine of their own.
    Microvm,
}

impl Isolation {
    /// All classes, in the order of listings.
    pub const ALL: [Isolation; 5] = [
        Isolation::Wasm,
        Isolation::V8,
        Isolation::Container,
        Isolation::Gvisor,
        Isolation::Microvm,
    ];

    /// The word used in manifests and listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Isolation::Wasm => "wasm",
            Isolation::V8 => "v8",
            Isolation::Container => "container",
            Isolation::Gvisor => "gvisor",
            Isolation::Microvm => "microvm",
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The word names no class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an isolation class: wasm, v8, container, gvisor or microvm")]
pub struct IsolationError(String);

impl FromStr for Isolation {
    type Err = IsolationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|class| class.as_str() == text)
            .ok_or_else(|| IsolationError(text.escape_default().to_string()))
    }
}
