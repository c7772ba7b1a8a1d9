//! What a catalog store keeps: functions, their versions, and where `live` points. All calls block;
//! callers run them off the request path.

use model::{Artifact, Contract, FunctionConfig, FunctionKey, FunctionVersion};

use crate::StoreError;

/// What to publish.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The function; made when it does not exist.
    pub function: FunctionKey,
    /// The configuration.
    pub config: FunctionConfig,
    /// The artifact. Its blob is in the blob store: [`crate::BlobStore::find`] or
    /// [`crate::BlobStore::put`] said so just now, which also keeps it from garbage collection until the
    /// version needs it.
    pub artifact: Artifact,
    /// The contract that the engine found.
    pub contract: Contract,
    /// Whether `live` moves to the version in the same transaction.
    pub promote: bool,
    /// Now, in milliseconds since the Unix epoch.
    pub now_unix_ms: u64,
}

/// What a publication did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The version.
    pub version: FunctionVersion,
    /// False when the same content had been published before: then `version` is that one.
    pub is_new: bool,
    /// What `live` points to now.
    pub live: Option<u64>,
    /// What `live` pointed to before this call.
    pub previous_live: Option<u64>,
}

/// What moving `live` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AliasMove {
    /// What it pointed to.
    pub from: Option<u64>,
    /// What it points to.
    pub to: u64,
}

/// A function with everything that is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionState {
    /// The function.
    pub function: FunctionKey,
    /// All versions, by number.
    pub versions: Vec<FunctionVersion>,
    /// What `live` points to.
    pub live: Option<u64>,
    /// What `live` pointed to before: where `rollback` goes.
    pub previous_live: Option<u64>,
}

/// Everything in a catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogState {
    /// By key.
    pub functions: Vec<FunctionState>,
}

/// Keeps the catalog. Every call is one transaction: after a crash at any moment it happened wholly or
/// not at all, and once it returned it is durable.
pub trait CatalogStore: Send + Sync + 'static {
    /// Reads everything; at start only. Functions come in order of their keys, versions in order of
    /// their numbers.
    fn load(&self) -> Result<CatalogState, StoreError>;

    /// Publishes a version. Numbers count from 1 per function and are never used twice, also not after
    /// a removal. The same content (by digest) gives the version that exists, as it was published.
    /// Promotion follows the rules of [`CatalogStore::promote`].
    fn publish(&self, publish: &Publish) -> Result<Published, StoreError>;

    /// Points `live` at `version`. What it pointed to becomes the function's previous live version; when
    /// it points there already, nothing changes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when function or version do not exist.
    fn promote(&self, function: &FunctionKey, version: u64) -> Result<AliasMove, StoreError>;

    /// Removes a function with its versions. Receipts stay.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it does not exist.
    fn remove(&self, function: &FunctionKey) -> Result<(), StoreError>;
}
