//! Publishing, listing, describing, moving `live`.

use std::collections::BTreeMap;

use model::{
    Artifact, ArtifactKind, Contract, Digest, FunctionName, Isolation, Limits, Namespace, Route,
};
use serde::{Deserialize, Serialize};

use crate::VersionRef;

/// What is published: an artifact that was uploaded before, and how to run it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    /// The text of `holm.toml`; without it everything has its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// What the manifest's file is called in messages; `holm.toml` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_file: Option<String>,
    /// The artifact.
    pub artifact: ArtifactRef,
    /// Environment variables that go before those of the manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Whether `live` moves to the version; true by default.
    #[serde(default = "yes")]
    pub promote: bool,
    /// Whether to stop before anything changes: the answer says what would.
    #[serde(default)]
    pub dry_run: bool,
}

fn yes() -> bool {
    true
}

/// An uploaded artifact, by digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactRef {
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its kind.
    pub kind: ArtifactKind,
}

impl From<ArtifactRef> for Artifact {
    fn from(artifact: ArtifactRef) -> Self {
        Artifact {
            digest: artifact.digest,
            size_bytes: artifact.size_bytes,
            kind: artifact.kind,
        }
    }
}

impl From<Artifact> for ArtifactRef {
    fn from(artifact: Artifact) -> Self {
        ArtifactRef {
            digest: artifact.digest,
            size_bytes: artifact.size_bytes,
            kind: artifact.kind,
        }
    }
}

/// What a publication did, or with `dry_run` would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishResponse {
    /// The namespace.
    pub namespace: Namespace,
    /// The function.
    pub name: FunctionName,
    /// The version's number; `None` in a dry run whose content is not published yet.
    pub version: Option<u64>,
    /// The digest of the version's content.
    pub digest: Digest,
    /// False when the same content had been published before: then `version` is that one.
    pub is_new: bool,
    /// Whether nothing was changed because the request asked so.
    pub dry_run: bool,
    /// What `live` points to now.
    pub live: Option<u64>,
    /// What `live` pointed to before this call.
    pub previous_live: Option<u64>,
    /// Where the function answers.
    pub urls: Vec<String>,
    /// The class it runs in.
    pub isolation: Isolation,
    /// The wire contract that its artifact speaks.
    pub contract: Contract,
    /// What differs from the version that was live before; empty for a function's first version.
    pub changes: Vec<Change>,
    /// What the caller should know and that is no error.
    pub warnings: Vec<String>,
}

/// One difference between two versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The manifest's key, such as `limits.memory`, or `artifact`.
    pub field: String,
    /// What it was; `None` where there was nothing. Never the value of an environment variable.
    pub from: Option<String>,
    /// What it is; `None` where there is nothing any more.
    pub to: Option<String>,
}

/// What to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Entries of the page: 1 to [`crate::PAGE_SIZE_MAX`], by default [`crate::PAGE_SIZE_DEFAULT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// A page of functions, in order of namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionPage {
    /// The functions.
    pub functions: Vec<FunctionSummary>,
    /// What `after` is for the next page; `None` on the last.
    pub next: Option<String>,
}

/// A function in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionSummary {
    /// The namespace.
    pub namespace: Namespace,
    /// The name.
    pub name: FunctionName,
    /// What `live` points to.
    pub live: Option<u64>,
    /// The digest of that version.
    pub digest: Option<Digest>,
    /// The class it runs in: of the live version, else of the newest.
    pub isolation: Isolation,
    /// The wire contract of the same version.
    pub contract: Contract,
    /// How many versions there are.
    pub n_versions: usize,
    /// When the newest version was published, in milliseconds since the Unix epoch.
    pub updated_unix_ms: u64,
    /// Where the function answers.
    pub urls: Vec<String>,
}

/// A function and what it is like now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionDetail {
    /// What the list shows.
    #[serde(flatten)]
    pub summary: FunctionSummary,
    /// What `live` pointed to before: where a rollback goes.
    pub previous_live: Option<u64>,
    /// The live version; where none is live, the newest.
    pub current: VersionDetail,
    /// Invocations that run now on this node.
    pub n_running: usize,
}

/// A function's versions, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionList {
    /// The versions.
    pub versions: Vec<VersionDetail>,
}

/// A version, without the values of its environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionDetail {
    /// 1, 2, ... in order of publication.
    pub number: u64,
    /// The digest of its content.
    pub digest: Digest,
    /// Whether `live` points to it.
    pub is_live: bool,
    /// When it was published, in milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
    /// The artifact.
    pub artifact: ArtifactRef,
    /// The wire contract.
    pub contract: Contract,
    /// The class.
    pub isolation: Isolation,
    /// The language environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// The entry point inside the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// The main file of a script artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main: Option<String>,
    /// The OCI image reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The names of the environment variables. Values are never shown: they may be secrets.
    pub env_names: Vec<String>,
    /// The limits.
    pub limits: Limits,
    /// What may be reached over the network, as written in the manifest.
    pub egress: Vec<String>,
    /// Requests that one instance serves, one at a time.
    pub reuse: u32,
    /// Routes besides the function's own address.
    pub routes: Vec<Route>,
}

/// Where `live` shall point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetLiveRequest {
    /// The version.
    pub version: VersionRef,
}

/// Where `live` shall go back to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The version; by default what `live` pointed to before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionRef>,
}

/// What moving `live` did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasResponse {
    /// The namespace.
    pub namespace: Namespace,
    /// The function.
    pub name: FunctionName,
    /// What `live` pointed to.
    pub from: Option<u64>,
    /// What it points to now.
    pub to: u64,
    /// The digest of that version.
    pub digest: Digest,
    /// Where the function answers.
    pub urls: Vec<String>,
}

/// What a removal did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveResponse {
    /// The namespace.
    pub namespace: Namespace,
    /// The function that is gone.
    pub name: FunctionName,
    /// How many versions went with it.
    pub n_versions: usize,
}

/// Whether the node has an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactInfo {
    /// The digest that was asked for, or uploaded.
    pub digest: Digest,
    /// Whether the node has it.
    pub is_present: bool,
    /// Its size in bytes, where the node has it.
    pub size_bytes: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_request_needs_no_more_than_an_artifact() {
        let digest = Digest::of(b"x");
        let text =
            format!(r#"{{"artifact":{{"digest":"{digest}","size_bytes":1,"kind":"wasm"}}}}"#);
        let request: PublishRequest = serde_json::from_str(&text).expect("valid");
        assert!(request.promote && !request.dry_run && request.env.is_empty());
    }

    #[test]
    fn unknown_fields_are_refused() {
        assert!(serde_json::from_str::<SetLiveRequest>(r#"{"version":1,"force":true}"#).is_err());
        assert!(serde_json::from_str::<RollbackRequest>(r#"{"to":1}"#).is_err());
        let digest = Digest::of(b"x");
        let text = format!(
            r#"{{"artifact":{{"digest":"{digest}","size_bytes":1,"kind":"wasm"}},"promte":false}}"#
        );
        assert!(serde_json::from_str::<PublishRequest>(&text).is_err());
    }
}
