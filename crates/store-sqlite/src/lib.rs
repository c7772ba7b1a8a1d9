//! The embedded store: SQLite files and a directory of blobs below one data directory.
//!
//! | path | holds | a power cut may lose |
//! |---|---|---|
//! | `lock` | an advisory lock of the process that has the directory open | |
//! | `holm.db` | the catalog: WAL, `synchronous=FULL` | nothing that was acknowledged |
//! | `receipts.db` | receipts: WAL, `synchronous=NORMAL` | receipts of the last seconds, see [`RECEIPT_SYNC_INTERVAL`] |
//! | `blobs/ab/cd...` | artifacts by digest | nothing that was acknowledged |
//! | `blobs/tmp/` | uploads under way; emptied at start | |
//!
//! A killed process loses nothing of the three. Files are made 0600 and directories 0700.
//!
//! Refuses to know what functions are for, and to run off anything but blocking calls: callers keep it
//! off the request path.

mod blobs;
mod catalog;
mod checksum;
mod codec;
mod database;
mod error;
mod files;
mod ledger;
mod lock;
mod press;
mod receipts;
mod rows;
mod segment;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{Digest, FunctionKey, InvocationId, Receipt};
use store::{
    AliasMove, BlobStore, CatalogState, CatalogStore, Keep, Publish, Published, ReceiptStore,
    StoreError, UsageQuery, UsageRow,
};

use crate::blobs::BlobDirectory;
use crate::catalog::CatalogDb;
use crate::lock::DirectoryLock;
use crate::receipts::ReceiptDb;

pub use crate::catalog::QUICK_CHECK_BYTES_MAX;
pub use crate::receipts::RECEIPT_SYNC_INTERVAL;

/// How long a blob stays that no version needs: the time between an upload and its publication.
pub const BLOB_GRACE: Duration = Duration::from_secs(60 * 60);

/// What may be set.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a blob stays that no version needs.
    pub blob_grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            blob_grace: BLOB_GRACE,
        }
    }
}

/// The embedded store. One process has a data directory open, once.
#[derive(Debug)]
pub struct SqliteStore {
    catalog: CatalogDb,
    receipts: ReceiptDb,
    blobs: BlobDirectory,
    /// Last, so that it is let go when all files are closed.
    _lock: DirectoryLock,
}

impl SqliteStore {
    /// Opens the data directory, which is made when it is missing, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when it is open already, here or in another process;
    /// [`StoreError::SchemaTooNew`]; [`StoreError::Corrupt`] when files are damaged or missing, with
    /// the file's path; [`StoreError::Full`]; [`StoreError::Failed`] for anything else.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(data_dir, Options::default())
    }

    /// As [`SqliteStore::open`], with options.
    ///
    /// # Errors
    /// As of [`SqliteStore::open`].
    pub fn open_with(data_dir: &Path, options: Options) -> Result<Self, StoreError> {
        files::make_directory(data_dir)?;
        let lock = DirectoryLock::acquire(data_dir)?;
        let layout = Layout::of(data_dir);
        let may_begin = !layout.is_in_use();
        let catalog = CatalogDb::open(&layout.catalog, may_begin)?;
        files::sync_directory(data_dir)?;
        let is_complete = catalog.is_complete()?;
        if is_complete && !layout.blobs.exists() {
            return Err(missing(&layout.blobs, "restore it"));
        }
        if is_complete && !layout.receipts.exists() {
            let remedy = "restore it, or make an empty file of that name to begin without receipts";
            return Err(missing(&layout.receipts, remedy));
        }
        let receipts = ReceiptDb::open(&layout.receipts)?;
        let blobs = BlobDirectory::open(layout.blobs, options.blob_grace)?;
        if !is_complete {
            files::sync_directory(data_dir)?;
            catalog.set_complete()?;
        }
        Ok(Self {
            catalog,
            receipts,
            blobs,
            _lock: lock,
        })
    }
}

/// The paths below a data directory.
struct Layout {
    catalog: PathBuf,
    catalog_wal: PathBuf,
    receipts: PathBuf,
    blobs: PathBuf,
}

impl Layout {
    fn of(data_dir: &Path) -> Self {
        Self {
            catalog: data_dir.join("holm.db"),
            catalog_wal: data_dir.join("holm.db-wal"),
            receipts: data_dir.join("receipts.db"),
            blobs: data_dir.join("blobs"),
        }
    }

    /// Whether there are traces of a catalog other than its file. It is made first and durably: where
    /// others are and it is not, it got lost. Its log comes after its first page.
    fn is_in_use(&self) -> bool {
        let has_page = self
            .catalog
            .metadata()
            .is_ok_and(|metadata| metadata.len() > 0);
        self.receipts.exists() || self.blobs.exists() || (self.catalog_wal.exists() && !has_page)
    }
}

fn missing(path: &Path, remedy: &str) -> StoreError {
    StoreError::Corrupt(format!("{} is missing: {remedy}", path.display()))
}

impl CatalogStore for SqliteStore {
    fn load(&self) -> Result<CatalogState, StoreError> {
        self.catalog.load()
    }

    fn publish(&self, publish: &Publish) -> Result<Published, StoreError> {
        self.catalog.publish(publish)
    }

    fn promote(&self, function: &FunctionKey, version: u64) -> Result<AliasMove, StoreError> {
        self.catalog.promote(function, version)
    }

    fn remove(&self, function: &FunctionKey) -> Result<(), StoreError> {
        self.catalog.remove(function)
    }
}

impl BlobStore for SqliteStore {
    fn put(
        &self,
        expected: Digest,
        bytes: &mut dyn Read,
        bytes_max: u64,
    ) -> Result<u64, StoreError> {
        self.blobs.put(expected, bytes, bytes_max)
    }

    fn find(&self, digest: Digest) -> Result<Option<(PathBuf, u64)>, StoreError> {
        self.blobs.find(digest)
    }

    fn collect_garbage(&self, keep: &dyn Fn(Digest) -> bool) -> Result<usize, StoreError> {
        self.blobs.collect_garbage(keep)
    }
}

impl ReceiptStore for SqliteStore {
    fn append(&self, receipts: &[Receipt]) -> Result<(), StoreError> {
        self.receipts.append(receipts)
    }

    fn find(&self, id: InvocationId) -> Result<Option<Receipt>, StoreError> {
        self.receipts.find(id)
    }

    fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        self.receipts.usage(query)
    }

    fn trim(&self, keep: Keep) -> Result<bool, StoreError> {
        self.receipts.trim(keep)
    }
}
