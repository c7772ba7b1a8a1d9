//! Artifacts by content digest.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use model::Digest;
use sha2::Digest as _;

use crate::StoreError;

/// Bytes that [`copy_hashed`] holds at a time.
const COPY_BUFFER_BYTES: usize = 64 * 1024;

/// Keeps artifacts under their digest. All calls block.
pub trait BlobStore: Send + Sync + 'static {
    /// Reads `bytes` to the end, at most `bytes_max` of them, and keeps them under `expected`. Durable
    /// when it returns; a crash before leaves nothing visible. Returns the size in bytes. Keeping what
    /// is there already succeeds and renews its grace period.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`], [`StoreError::TooLarge`], [`StoreError::Source`] when `bytes`
    /// fails, [`StoreError::Full`], [`StoreError::Failed`].
    fn put(
        &self,
        expected: Digest,
        bytes: &mut dyn Read,
        bytes_max: u64,
    ) -> Result<u64, StoreError>;

    /// Where the blob's file is, and its size; `None` when it is not there. Renews its grace period: a
    /// version that is published on the strength of this answer keeps its blob.
    fn find(&self, digest: Digest) -> Result<Option<(PathBuf, u64)>, StoreError>;

    /// Removes every blob that is not in `keep` and is older than a grace period that protects
    /// uploads whose version is not yet published. Returns how many went.
    fn collect_garbage(&self, keep: &dyn Fn(Digest) -> bool) -> Result<usize, StoreError>;

    /// Reads the blob whole and holds it against its digest: before an artifact is compiled, say.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Corrupt`] when the bytes are not those that were kept.
    fn verify(&self, digest: Digest) -> Result<(), StoreError> {
        let missing = || StoreError::NotFound(format!("artifact {}", digest.short()));
        let (path, size_bytes) = self.find(digest)?.ok_or_else(missing)?;
        match copy_hashed(
            &mut File::open(path)?,
            &mut std::io::sink(),
            digest,
            size_bytes,
        ) {
            Err(StoreError::DigestMismatch { .. } | StoreError::TooLarge { .. }) => {
                let detail = format!("artifact {} has other bytes than were kept", digest.short());
                Err(StoreError::Corrupt(detail))
            }
            result => result.map(drop),
        }
    }
}

/// The file of a blob below `root`: two digits make the directory, so that none grows too long.
pub fn blob_path(root: &Path, digest: Digest) -> PathBuf {
    let text = digest.to_string();
    let (directory, file) = text.split_at(2);
    root.join(directory).join(file)
}

/// The inverse of [`blob_path`], from the names of directory and file.
pub fn digest_of_path(directory: &str, file: &str) -> Option<Digest> {
    let digest = format!("{directory}{file}").parse::<Digest>().ok()?;
    // Upper-case digits would parse, too, and name another file.
    (directory.len() == 2 && digest.to_string().ends_with(file)).then_some(digest)
}

/// Copies `from` to `to` and digests on the way. For implementations of [`BlobStore::put`].
///
/// # Errors
/// As of [`BlobStore::put`]; what was written so far is the caller's to throw away.
pub fn copy_hashed(
    from: &mut dyn Read,
    to: &mut dyn Write,
    expected: Digest,
    bytes_max: u64,
) -> Result<u64, StoreError> {
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; COPY_BUFFER_BYTES];
    let mut size_bytes = 0;
    loop {
        let n_read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n_read) => n_read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(StoreError::Source(error.to_string())),
        };
        size_bytes += n_read as u64;
        if size_bytes > bytes_max {
            return Err(StoreError::TooLarge { bytes_max });
        }
        hasher.update(&buffer[..n_read]);
        to.write_all(&buffer[..n_read])?;
    }
    let found = Digest::from_bytes(hasher.finalize().into());
    if found == expected {
        Ok(size_bytes)
    } else {
        Err(StoreError::DigestMismatch { expected, found })
    }
}
