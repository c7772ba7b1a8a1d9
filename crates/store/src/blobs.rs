//! Artifacts by content digest.

use std::io::Read;
use std::path::PathBuf;

use model::Digest;

use crate::StoreError;

/// Keeps artifacts under their digest. All calls block.
pub trait BlobStore: Send + Sync + 'static {
    /// Reads `bytes` to the end, at most `bytes_max` of them, and keeps them under `expected`. Durable
    /// when it returns; a crash before leaves nothing visible. Returns the size in bytes.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`], [`StoreError::Full`]; [`StoreError::Failed`] when longer than
    /// `bytes_max` or when reading fails.
    fn put(
        &self,
        expected: Digest,
        bytes: &mut dyn Read,
        bytes_max: u64,
    ) -> Result<u64, StoreError>;

    /// Where the blob's file is, and its size; `None` when it is not there.
    fn find(&self, digest: Digest) -> Result<Option<(PathBuf, u64)>, StoreError>;

    /// Removes every blob that is not in `keep` and is older than a grace period that protects
    /// uploads whose version is not yet published. Returns how many went.
    fn collect_garbage(&self, keep: &dyn Fn(Digest) -> bool) -> Result<usize, StoreError>;
}
