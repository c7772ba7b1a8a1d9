//! Damaged, cut, missing and foreign files: refused with words, or without effect; never a panic, and
//! never a catalog that nobody wrote.

use std::fs;
use std::path::{Path, PathBuf};

use store::conformance::data::{artifact, artifact_bytes, publish};
use store::{
    BlobStore, CatalogState, CatalogStore, ReceiptStore, StoreError, UsageGroup, UsageQuery,
};
use store_sqlite::SqliteStore;
use tempfile::TempDir;

use crate::child::{open, receipts_of};
use crate::random::Random;

const N_FLIPS: usize = 400;
const N_CUTS: usize = 60;

/// A data directory with a few functions and receipts, and the catalogs it went through, first to last.
fn directory_in_use(steps: usize) -> (TempDir, SqliteStore, Vec<CatalogState>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path()).expect("opens");
    let mut history = vec![store.load().expect("loads")];
    for step in 0..steps {
        let content = artifact_bytes(step);
        store
            .put(artifact(step).digest, &mut content.as_slice(), u64::MAX)
            .expect("works");
        store
            .publish(&publish(step % 7, step, step % 3 != 0, step as u64))
            .expect("works");
        store.append(&receipts_of(step as u64)).expect("works");
        history.push(store.load().expect("loads"));
    }
    (directory, store, history)
}

fn copy_of(directory: &Path, files: &[&str]) -> TempDir {
    let copy = tempfile::tempdir().expect("a temporary directory");
    for file in files {
        let from = directory.join(file);
        if from.exists() {
            fs::copy(from, copy.path().join(file)).expect("copies");
        }
    }
    for directory in ["blobs", "blobs/tmp"] {
        fs::create_dir(copy.path().join(directory)).expect("works");
    }
    copy
}

fn flip_bit(path: &Path, bit: u64) {
    let mut bytes = fs::read(path).expect("readable");
    bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    fs::write(path, bytes).expect("writable");
}

/// What opening and loading gives; errors must be of a damaged or foreign file, and name it.
fn load(data_dir: &Path) -> Option<CatalogState> {
    match open(data_dir).and_then(|store| store.load()) {
        Ok(state) => Some(state),
        Err(error @ (StoreError::Corrupt(_) | StoreError::Failed(_))) => {
            assert!(
                error.to_string().contains(data_dir.to_str().expect("text")),
                "{error}"
            );
            None
        }
        Err(StoreError::SchemaTooNew { .. }) => None,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn flipped_bits_in_the_catalog_are_noticed_or_harmless() {
    let (directory, store, history) = directory_in_use(40);
    drop(store);
    let mut random = Random::seeded();
    let size_bits = 8 * fs::metadata(directory.path().join("holm.db"))
        .expect("there")
        .len();
    let mut n_noticed = 0;
    for n in 0..N_FLIPS {
        // Half of them in the header and schema, where most depends on each bit.
        let bit = random.below(if n % 2 == 0 { 8 * 4096 } else { size_bits });
        let copy = copy_of(directory.path(), &["holm.db", "receipts.db"]);
        flip_bit(&copy.path().join("holm.db"), bit);
        match load(copy.path()) {
            Some(state) => assert_eq!(Some(&state), history.last(), "bit {bit}"),
            None => n_noticed += 1,
        }
    }
    println!("{n_noticed} of {N_FLIPS} flipped bits were noticed, the others without effect");
    assert!(n_noticed > N_FLIPS / 10);
}

#[test]
fn a_cut_catalog_is_noticed_or_whole() {
    let (directory, store, history) = directory_in_use(40);
    drop(store);
    let mut random = Random::seeded();
    let size_bytes = fs::metadata(directory.path().join("holm.db"))
        .expect("there")
        .len();
    let cuts = (0..N_CUTS)
        .map(|_| random.below(size_bytes))
        .chain([0, 1, 99, 100, 4096]);
    for cut in cuts {
        let copy = copy_of(directory.path(), &["holm.db", "receipts.db"]);
        let file = fs::File::options()
            .write(true)
            .open(copy.path().join("holm.db"))
            .expect("opens");
        file.set_len(cut).expect("cuts");
        if let Some(state) = load(copy.path()) {
            assert_eq!(Some(&state), history.last(), "cut at {cut}");
        }
    }
}

/// A WAL that was damaged or cut from outside: SQLite takes it for one that a crash cut short, so its end
/// may be lost, but what is there is a catalog that once was.
#[test]
fn a_damaged_log_gives_a_catalog_that_once_was() {
    let (directory, store, history) = directory_in_use(40);
    let files = ["holm.db", "holm.db-wal", "receipts.db", "receipts.db-wal"];
    let mut random = Random::seeded();
    let untouched = copy_of(directory.path(), &files);
    assert_eq!(
        load(untouched.path()).as_ref(),
        history.last(),
        "a copy is a crash's image"
    );
    let size_bytes = fs::metadata(directory.path().join("holm.db-wal"))
        .expect("it is open")
        .len();
    assert!(
        size_bytes > 100_000,
        "the steps are in the log: {size_bytes}"
    );
    for n in 0..2 * N_CUTS {
        let copy = copy_of(directory.path(), &files);
        let log = copy.path().join("holm.db-wal");
        let at = random.below(size_bytes);
        if n % 2 == 0 {
            flip_bit(&log, 8 * at + random.below(8));
        } else {
            fs::File::options()
                .write(true)
                .open(&log)
                .expect("opens")
                .set_len(at)
                .expect("cuts");
        }
        if let Some(state) = load(copy.path()) {
            assert!(history.contains(&state), "at {at}");
        }
    }
    drop(store);
}

#[test]
fn damaged_receipts_give_errors_and_no_panic() {
    let (directory, store, _) = directory_in_use(60);
    drop(store);
    let mut random = Random::seeded();
    let size_bits = 8 * fs::metadata(directory.path().join("receipts.db"))
        .expect("there")
        .len();
    let query = UsageQuery {
        namespace: None,
        function: None,
        since_unix_ms: 0,
        until_unix_ms: u64::MAX,
        group: UsageGroup::Function,
    };
    for n in 0..N_FLIPS / 2 {
        let bit = random.below(if n % 2 == 0 { 8 * 4096 } else { size_bits });
        let copy = copy_of(directory.path(), &["holm.db", "receipts.db"]);
        flip_bit(&copy.path().join("receipts.db"), bit);
        let Ok(store) = open(copy.path()) else {
            continue;
        };
        let _ = store.usage(&query);
        for step in 0..60 {
            let _ = ReceiptStore::find(&store, receipts_of(step)[0].id);
        }
        let _ = store.append(&receipts_of(1000));
    }
}

#[test]
fn missing_files_are_named_and_not_made_anew() {
    let (directory, store, history) = directory_in_use(3);
    drop(store);
    let path = |name: &str| directory.path().join(name);
    let refused = |name: &str| {
        let moved: PathBuf = path("moved");
        fs::rename(path(name), &moved).expect("moves");
        let error = open(directory.path()).map(drop).expect_err("it is missing");
        assert!(
            matches!(&error, StoreError::Corrupt(detail) if detail.contains(name)),
            "{error}"
        );
        assert!(!path(name).exists(), "{name} was made anew");
        fs::rename(&moved, path(name)).expect("moves back");
        let store = open(directory.path()).expect("opens");
        assert_eq!(Some(&store.load().expect("loads")), history.last());
    };
    refused("holm.db");
    refused("receipts.db");
    refused("blobs");

    // An emptied catalog is not a new one.
    let saved = fs::read(path("holm.db")).expect("readable");
    fs::write(path("holm.db"), b"").expect("writable");
    let error = open(directory.path()).map(drop).expect_err("it is empty");
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
    fs::write(path("holm.db"), saved).expect("writable");

    // The way to begin without receipts that the message tells.
    fs::write(path("receipts.db"), b"").expect("writable");
    let store = open(directory.path()).expect("opens");
    assert_eq!(
        ReceiptStore::find(&store, receipts_of(0)[0].id).expect("reads"),
        None
    );
    store.append(&receipts_of(0)).expect("works");
}

#[test]
fn newer_schemas_are_refused_untouched() {
    for file in ["holm.db", "receipts.db"] {
        let (directory, store, _) = directory_in_use(3);
        drop(store);
        let path = directory.path().join(file);
        let connection = rusqlite::Connection::open(&path).expect("opens");
        connection
            .pragma_update(None, "user_version", 99)
            .expect("works");
        drop(connection);
        let before = fs::read(&path).expect("readable");
        let error = open(directory.path()).map(drop).expect_err("it is newer");
        assert!(
            matches!(error, StoreError::SchemaTooNew { found: 99, .. }),
            "{error}"
        );
        assert_eq!(
            fs::read(&path).expect("readable"),
            before,
            "{file} was touched"
        );
    }
}
