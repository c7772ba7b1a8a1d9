//! Functions and their immutable versions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::egress::EgressRule;
use crate::{Digest, FunctionKey, Isolation, Limits, Route};

/// The wire contract that an artifact speaks, told from its bytes at deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Contract {
    /// A component exporting `wasi:http/incoming-handler@0.2.x`.
    #[serde(rename = "wasi:http/0.2")]
    WasiHttp02,
    /// A component exporting `wasi:http/handler@0.3.x`.
    #[serde(rename = "wasi:http/0.3")]
    WasiHttp03,
    /// A WASI preview 1 command speaking CGI 1.1 (RFC 3875).
    #[serde(rename = "cgi/1.1")]
    Cgi11,
    /// A core module speaking `holm:core/1` (`docs/guide/core-abi.md`).
    #[serde(rename = "holm:core/1")]
    HolmCore1,
    /// The scripted guest of the `sim` runtime, for tests.
    #[serde(rename = "sim")]
    Sim,
}

impl Contract {
    /// The name used in listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Contract::WasiHttp02 => "wasi:http/0.2",
            Contract::WasiHttp03 => "wasi:http/0.3",
            Contract::Cgi11 => "cgi/1.1",
            Contract::HolmCore1 => "holm:core/1",
            Contract::Sim => "sim",
        }
    }
}

/// What kind of file an artifact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArtifactKind {
    /// One WebAssembly file: component or core module.
    Wasm,
    /// A zip archive of files.
    Zip,
    /// A reference to an OCI image, held as text.
    Image,
}

/// The uploaded file of a version, kept in the blob store under its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its kind.
    pub kind: ArtifactKind,
}

/// What the manifest says about running a function, defaults filled in. With the artifact it makes the
/// content of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionConfig {
    /// The isolation class.
    pub isolation: Isolation,
    /// The language environment, as Lambda users say: `python`, `node`, `provided`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// The entry point inside the artifact, as `module.function`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// The main file of a script artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main: Option<String>,
    /// The OCI image reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Environment variables.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The limits, defaults filled in.
    pub limits: Limits,
    /// What may be reached over the network; empty denies everything.
    #[serde(default)]
    pub egress: Vec<EgressRule>,
    /// Requests that one instance serves, one at a time, before it is discarded; 1 is a fresh one each.
    pub reuse: u32,
    /// Routes besides the function's own address.
    #[serde(default)]
    pub routes: Vec<Route>,
}

impl FunctionConfig {
    /// The configuration of a function without a manifest.
    pub fn defaults(isolation: Isolation) -> Self {
        Self {
            isolation,
            runtime: None,
            handler: None,
            main: None,
            image: None,
            env: BTreeMap::new(),
            limits: Limits::defaults(isolation),
            egress: Vec::new(),
            reuse: 1,
            routes: Vec::new(),
        }
    }

    /// The digest of a version with this configuration and the given artifact. The same content gives
    /// the same digest, on every node and in every release that reads the same manifest keys.
    pub fn version_digest(&self, artifact: &Artifact) -> Digest {
        let content = serde_json::to_vec(&(artifact, self))
            .expect("the types have string keys only and no fallible serialisers");
        Digest::of(&content)
    }
}

/// One immutable, published version of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionVersion {
    /// The function.
    pub function: FunctionKey,
    /// 1, 2, ... in order of publication.
    pub number: u64,
    /// The digest of its content: artifact and configuration.
    pub digest: Digest,
    /// The artifact.
    pub artifact: Artifact,
    /// The wire contract.
    pub contract: Contract,
    /// The configuration.
    pub config: FunctionConfig,
    /// When it was published, in milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
}
