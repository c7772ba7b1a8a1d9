//! The store traits in memory, for tests and for nodes that keep nothing. Blobs are files in a temporary
//! directory that goes with the store, as their users map files.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use model::{Digest, FunctionKey, FunctionVersion, InvocationId, Receipt};
use parking_lot::Mutex;
use tempfile::{NamedTempFile, TempDir};

use crate::StoreError;
use crate::blobs::{BlobStore, blob_path, copy_hashed, digest_of_path};
use crate::persist::{AliasMove, CatalogState, CatalogStore, FunctionState, Publish, Published};
use crate::receipts::{HOUR_MS, Keep, ReceiptStore, UsageGroup, UsageQuery, UsageRow, utc_day};

/// All three stores in memory.
#[derive(Debug)]
pub struct MemoryStore {
    catalog: Mutex<BTreeMap<FunctionKey, Record>>,
    receipts: Mutex<Receipts>,
    blobs: TempDir,
    /// Held by everything that looks at the age of a blob or changes it.
    blob_ages: Mutex<()>,
    blob_grace: Duration,
}

#[derive(Debug, Default)]
struct Receipts {
    kept: HashMap<InvocationId, Receipt>,
    /// The sums of those that were trimmed, by the hour's first millisecond.
    trimmed: BTreeMap<(u64, FunctionKey), UsageRow>,
}

/// What a receipt takes here, about.
const RECEIPT_BYTES: u64 = 256;

/// A function that exists or once did.
#[derive(Debug, Default)]
struct Record {
    versions: Vec<FunctionVersion>,
    live: Option<u64>,
    previous_live: Option<u64>,
    n_published: u64,
    is_removed: bool,
}

impl MemoryStore {
    /// An empty store; blobs that no version needs stay for `blob_grace`.
    ///
    /// # Errors
    /// When no temporary directory can be made.
    pub fn new(blob_grace: Duration) -> Result<Self, StoreError> {
        Ok(Self {
            catalog: Mutex::default(),
            receipts: Mutex::default(),
            blobs: tempfile::Builder::new().prefix("holm-blobs-").tempdir()?,
            blob_ages: Mutex::new(()),
            blob_grace,
        })
    }
}

impl Record {
    fn promote(&mut self, version: u64) -> AliasMove {
        let from = self.live;
        if from != Some(version) {
            self.previous_live = from;
            self.live = Some(version);
        }
        AliasMove { from, to: version }
    }

    fn version_of(&mut self, publish: &Publish) -> (FunctionVersion, bool) {
        let digest = publish.config.version_digest(&publish.artifact);
        if let Some(version) = self
            .versions
            .iter()
            .find(|version| version.digest == digest)
        {
            return (version.clone(), false);
        }
        self.n_published += 1;
        let version = FunctionVersion {
            function: publish.function.clone(),
            number: self.n_published,
            digest,
            artifact: publish.artifact.clone(),
            contract: publish.contract,
            config: publish.config.clone(),
            created_unix_ms: publish.now_unix_ms,
        };
        self.versions.push(version.clone());
        (version, true)
    }
}

impl CatalogStore for MemoryStore {
    fn load(&self) -> Result<CatalogState, StoreError> {
        let catalog = self.catalog.lock();
        let existing = catalog.iter().filter(|(_, record)| !record.is_removed);
        let functions = existing.map(|(function, record)| FunctionState {
            function: function.clone(),
            versions: record.versions.clone(),
            live: record.live,
            previous_live: record.previous_live,
        });
        Ok(CatalogState {
            functions: functions.collect(),
        })
    }

    fn publish(&self, publish: &Publish) -> Result<Published, StoreError> {
        let mut catalog = self.catalog.lock();
        let record = catalog.entry(publish.function.clone()).or_default();
        record.is_removed = false;
        let previous_live = record.live;
        let (version, is_new) = record.version_of(publish);
        if publish.promote {
            record.promote(version.number);
        }
        Ok(Published {
            version,
            is_new,
            live: record.live,
            previous_live,
        })
    }

    fn promote(&self, function: &FunctionKey, version: u64) -> Result<AliasMove, StoreError> {
        let mut catalog = self.catalog.lock();
        let existing = catalog.get_mut(function).filter(|record| {
            !record.is_removed && record.versions.iter().any(|known| known.number == version)
        });
        let missing = || StoreError::NotFound(format!("version {version} of `{function}`"));
        Ok(existing.ok_or_else(missing)?.promote(version))
    }

    fn remove(&self, function: &FunctionKey) -> Result<(), StoreError> {
        let mut catalog = self.catalog.lock();
        let existing = catalog
            .get_mut(function)
            .filter(|record| !record.is_removed);
        let record = existing.ok_or_else(|| StoreError::NotFound(format!("`{function}`")))?;
        *record = Record {
            n_published: record.n_published,
            is_removed: true,
            ..Record::default()
        };
        Ok(())
    }
}

impl BlobStore for MemoryStore {
    fn put(
        &self,
        expected: Digest,
        bytes: &mut dyn Read,
        bytes_max: u64,
    ) -> Result<u64, StoreError> {
        let mut file = NamedTempFile::new_in(self.blobs.path())?;
        let size_bytes = copy_hashed(bytes, file.as_file_mut(), expected, bytes_max)?;
        let path = blob_path(self.blobs.path(), expected);
        let directory = path
            .parent()
            .expect("blob_path makes a path below the root");
        let _ages = self.blob_ages.lock();
        std::fs::create_dir_all(directory)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(size_bytes)
    }

    fn find(&self, digest: Digest) -> Result<Option<(PathBuf, u64)>, StoreError> {
        let path = blob_path(self.blobs.path(), digest);
        let _ages = self.blob_ages.lock();
        match std::fs::File::open(&path) {
            Ok(file) => {
                file.set_modified(SystemTime::now())?;
                Ok(Some((path, file.metadata()?.len())))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn collect_garbage(&self, keep: &dyn Fn(Digest) -> bool) -> Result<usize, StoreError> {
        let mut n_removed = 0;
        let directories = std::fs::read_dir(self.blobs.path())?.filter_map(Result::ok);
        for directory in directories.filter(|entry| entry.path().is_dir()) {
            for file in std::fs::read_dir(directory.path())? {
                let file = file?;
                let names = (directory.file_name(), file.file_name());
                let (Some(directory), Some(name)) = (names.0.to_str(), names.1.to_str()) else {
                    continue;
                };
                let Some(digest) = digest_of_path(directory, name) else {
                    continue;
                };
                let _ages = self.blob_ages.lock();
                let age = file.metadata()?.modified()?.elapsed().unwrap_or_default();
                if age >= self.blob_grace && !keep(digest) {
                    std::fs::remove_file(file.path())?;
                    n_removed += 1;
                }
            }
        }
        Ok(n_removed)
    }
}

impl ReceiptStore for MemoryStore {
    fn append(&self, receipts: &[Receipt]) -> Result<(), StoreError> {
        let mut all = self.receipts.lock();
        for receipt in receipts {
            let slot = all.kept.entry(receipt.id);
            slot.or_insert_with(|| receipt.clone());
        }
        Ok(())
    }

    fn find(&self, id: InvocationId) -> Result<Option<Receipt>, StoreError> {
        Ok(self.receipts.lock().kept.get(&id).cloned())
    }

    fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        let mut rows = BTreeMap::<String, UsageRow>::new();
        let row_of = |function: &FunctionKey, unix_ms: u64| match query.group {
            UsageGroup::Total => String::new(),
            UsageGroup::Function => function.to_string(),
            UsageGroup::Day => utc_day(unix_ms),
        };
        if query.group == UsageGroup::Total {
            rows.insert(String::new(), UsageRow::default());
        }
        let all = self.receipts.lock();
        for receipt in all.kept.values().filter(|receipt| query.matches(receipt)) {
            let key = row_of(&receipt.function, receipt.accepted_unix_ms);
            rows.entry(key).or_default().add(receipt);
        }
        for ((hour, function), sums) in &all.trimmed {
            let (from, to) = (query.since_unix_ms, query.until_unix_ms);
            let end = hour.saturating_add(HOUR_MS);
            if !query.selects(function) || from >= to || end <= from || *hour >= to {
                continue;
            }
            if *hour < from || end > to {
                let detail = "receipts of that time are gone: ask for whole hours or days";
                return Err(StoreError::Trimmed(detail.to_owned()));
            }
            rows.entry(row_of(function, *hour)).or_default().merge(sums);
        }
        let rows = rows.into_iter().map(|(key, row)| UsageRow { key, ..row });
        Ok(rows.collect())
    }

    fn trim(&self, keep: Keep) -> Result<bool, StoreError> {
        let mut all = self.receipts.lock();
        let Receipts { kept, trimmed } = &mut *all;
        let mut by_age: Vec<(u64, InvocationId)> = kept
            .values()
            .map(|receipt| (receipt.accepted_unix_ms, receipt.id))
            .collect();
        by_age.sort_unstable();
        let n_kept_max = usize::try_from(keep.bytes_max / RECEIPT_BYTES).unwrap_or(usize::MAX);
        let n_over = by_age.len().saturating_sub(n_kept_max);
        for (index, (accepted_unix_ms, id)) in by_age.into_iter().enumerate() {
            if index >= n_over && accepted_unix_ms >= keep.since_unix_ms {
                break;
            }
            let receipt = kept.remove(&id).expect("it was just there");
            let hour = accepted_unix_ms - accepted_unix_ms % HOUR_MS;
            let sums = trimmed.entry((hour, receipt.function.clone()));
            sums.or_default().add(&receipt);
        }
        Ok(false)
    }
}
