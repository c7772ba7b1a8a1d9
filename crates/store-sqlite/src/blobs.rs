//! The directory of blobs: files named by their digest, which never change. An upload is written to a
//! temporary file in the same file system, digested on the way, synced, and renamed; then its directory
//! is synced. So what is visible is whole, and what was acknowledged is durable.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use model::Digest;
use parking_lot::Mutex;
use store::StoreError;
use store::blobs::{blob_path, copy_hashed, digest_of_path};

use crate::error::io_at;
use crate::files;

/// The directory of uploads under way, below that of the blobs.
const TEMPORARY: &str = "tmp";

/// Artifacts by digest in a directory.
#[derive(Debug)]
pub(crate) struct BlobDirectory {
    root: PathBuf,
    grace: Duration,
    n_uploads: AtomicU64,
    /// Held to look at the age of a blob and act on it, and to make a blob visible: garbage collection
    /// must not remove what was just found.
    ages: Mutex<()>,
}

/// A temporary file that goes when it was not renamed.
struct Upload {
    path: PathBuf,
    file: File,
}

impl BlobDirectory {
    /// Opens the directory, which is made when it is missing, and removes uploads that broke off.
    pub(crate) fn open(root: PathBuf, grace: Duration) -> Result<Self, StoreError> {
        let parent = root.parent().unwrap_or(Path::new("/"));
        files::make_directory_in(parent, &root)?;
        let temporary = root.join(TEMPORARY);
        files::make_directory_in(&root, &temporary)?;
        for upload in entries(&temporary)? {
            std::fs::remove_file(&upload).map_err(|error| io_at(&upload, &error))?;
        }
        let directory = Self {
            root,
            grace,
            n_uploads: AtomicU64::new(0),
            ages: Mutex::new(()),
        };
        directory.sync_all()?;
        Ok(directory)
    }

    pub(crate) fn put(
        &self,
        expected: Digest,
        bytes: &mut dyn Read,
        bytes_max: u64,
    ) -> Result<u64, StoreError> {
        let number = self.n_uploads.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(TEMPORARY).join(number.to_string());
        let mut upload = Upload {
            file: files::make_new(&path)?,
            path,
        };
        let size_bytes = copy_hashed(bytes, &mut upload.file, expected, bytes_max)
            .map_err(|error| at_path(&upload.path, error))?;
        upload
            .file
            .sync_all()
            .map_err(|error| io_at(&upload.path, &error))?;

        let path = blob_path(&self.root, expected);
        let directory = path
            .parent()
            .expect("blob_path makes a path below the root");
        // Before the lock, as it reads the blob: whether it is still there then is another question.
        let was_whole = is_whole(&path, expected, size_bytes);
        let _ages = self.ages.lock();
        files::make_directory_in(&self.root, directory)?;
        if was_whole && path.exists() {
            touch(&path);
            files::sync_directory(directory)?;
            return Ok(size_bytes);
        }
        std::fs::rename(&upload.path, &path).map_err(|error| io_at(&path, &error))?;
        if let Err(error) = files::sync_directory(directory) {
            // It may go with the power: nobody shall find it and rely on it.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(size_bytes)
    }

    pub(crate) fn find(&self, digest: Digest) -> Result<Option<(PathBuf, u64)>, StoreError> {
        let path = blob_path(&self.root, digest);
        let _ages = self.ages.lock();
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                // Half of the grace is left at least, and most calls write nothing.
                if age_of(&metadata) * 2 > self.grace {
                    touch(&path);
                }
                Ok(Some((path, metadata.len())))
            }
            Ok(_) => Err(StoreError::Corrupt(format!(
                "{} is not a file",
                path.display()
            ))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_at(&path, &error)),
        }
    }

    pub(crate) fn collect_garbage(
        &self,
        keep: &dyn Fn(Digest) -> bool,
    ) -> Result<usize, StoreError> {
        let mut n_removed = 0;
        for directory in self.shards()? {
            for path in entries(&directory)? {
                let Some(digest) = digest_of(&path) else {
                    continue;
                };
                let _ages = self.ages.lock();
                let metadata =
                    std::fs::symlink_metadata(&path).map_err(|error| io_at(&path, &error))?;
                if age_of(&metadata) >= self.grace && !keep(digest) {
                    std::fs::remove_file(&path).map_err(|error| io_at(&path, &error))?;
                    n_removed += 1;
                }
            }
        }
        Ok(n_removed)
    }

    /// A process that was killed may have left a blob that is visible and not durable.
    fn sync_all(&self) -> Result<(), StoreError> {
        for directory in self.shards()? {
            files::sync_directory(&directory)?;
        }
        files::sync_directory(&self.root)
    }

    /// The directories that hold blobs.
    fn shards(&self) -> Result<Vec<PathBuf>, StoreError> {
        let is_shard = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.len() == 2) && path.is_dir()
        };
        Ok(entries(&self.root)?.into_iter().filter(is_shard).collect())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Gone already when it was renamed. What stays in spite of all goes at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let paths = std::fs::read_dir(directory).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect()
    });
    paths.map_err(|error| io_at(directory, &error))
}

/// Adds the path to an error of the file system.
fn at_path(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Full(detail) => StoreError::Full(format!("{}: {detail}", path.display())),
        StoreError::Failed(detail) => StoreError::Failed(format!("{}: {detail}", path.display())),
        other => other,
    }
}

fn digest_of(path: &Path) -> Option<Digest> {
    let directory = path.parent()?.file_name()?.to_str()?;
    digest_of_path(directory, path.file_name()?.to_str()?)
}

/// An age in the future is none: the clock was set back.
fn age_of(metadata: &std::fs::Metadata) -> Duration {
    metadata
        .modified()
        .ok()
        .and_then(|time| time.elapsed().ok())
        .unwrap_or_default()
}

/// Renews the grace period. Where that fails (a read-only file system) garbage cannot be collected
/// either, and the read should go on.
fn touch(path: &Path) {
    let _ = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
}

/// Whether the blob is there with all its bytes; a damaged one is replaced by a new upload.
fn is_whole(path: &Path, digest: Digest, size_bytes: u64) -> bool {
    let Ok(mut file) = File::open(path) else {
        return false;
    };
    copy_hashed(&mut file, &mut std::io::sink(), digest, size_bytes).is_ok()
}
