//! Full and read-only file systems, for real.

use std::path::Path;
use std::sync::Arc;

use model::{Code, Digest};
use store::conformance::data::{artifact, artifact_bytes, publish};
use store::{BlobStore, Catalog, CatalogStore, ReceiptStore, StoreError, UsageGroup, UsageQuery};

use crate::child::{open, receipts_of};
use crate::tmpfs::Tmpfs;

/// Attempts until a full disk must have shown itself: files have some room left over.
const N_ATTEMPTS_MAX: u64 = 5000;

fn mount(at: &Path, size: &str) -> Option<Tmpfs> {
    let mounted = Tmpfs::mount(at, size);
    mounted
        .map_err(|reason| println!("skipped: no tmpfs can be mounted: {reason}"))
        .ok()
}

fn everything() -> UsageQuery {
    UsageQuery {
        namespace: None,
        function: None,
        since_unix_ms: 0,
        until_unix_ms: u64::MAX,
        group: UsageGroup::Total,
    }
}

/// Repeats until it fails, which must be for want of space; returns how often it succeeded.
fn until_full(mut attempt: impl FnMut(u64) -> Result<(), StoreError>) -> u64 {
    for n in 0..N_ATTEMPTS_MAX {
        match attempt(n) {
            Ok(()) => {}
            Err(StoreError::Full(_)) => return n,
            Err(other) => panic!("a full disk gave {other}"),
        }
    }
    panic!("the disk is not full after {N_ATTEMPTS_MAX} attempts");
}

fn integrity_check(path: &Path) {
    let connection = rusqlite::Connection::open(path).expect("opens");
    let verdict: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("runs");
    assert_eq!(verdict, "ok", "{}", path.display());
}

#[test]
fn databases_on_a_full_disk_refuse_writes_serve_reads_and_heal() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(tmpfs) = mount(directory.path(), "4m") else {
        return;
    };
    let data_dir = directory.path().join("data");
    let store = Arc::new(open(&data_dir).expect("opens"));
    let catalog = Catalog::open(store.clone()).expect("opens");
    catalog
        .publish(&publish(0, 0, true, 1))
        .expect("there is room");
    store.append(&receipts_of(0)).expect("there is room");

    let filler = tmpfs.fill();
    let mut n_published = 1;
    let failure = loop {
        match catalog.publish(&publish(0, n_published, true, 1)) {
            Ok(_) => n_published += 1,
            Err(failure) => break failure,
        }
        assert!(n_published < N_ATTEMPTS_MAX as usize);
    };
    assert_eq!(failure.code(), Code::StoreFull, "{failure}");
    let n_batches = 1 + until_full(|n| store.append(&receipts_of(1 + n)));
    let bytes = vec![7; 1 << 20];
    let put = store.put(Digest::of(&bytes), &mut bytes.as_slice(), u64::MAX);
    assert!(matches!(put, Err(StoreError::Full(_))), "{put:?}");

    // Reads go on, and show what was acknowledged.
    let live = catalog
        .snapshot()
        .find("default", "f0")
        .and_then(|entry| entry.live_number());
    assert_eq!(live, Some(n_published as u64));
    assert_eq!(store.load().expect("loads").functions[0].live, live);
    let id = receipts_of(0)[0].id;
    assert!(ReceiptStore::find(&*store, id).expect("reads").is_some());
    let n_receipts = store.usage(&everything()).expect("reads")[0].n_invocations;
    assert_eq!(n_receipts, 3 * n_batches);
    // A smaller write may still find room; whatever it does, memory and disk agree.
    if let Err(failure) = catalog.promote(&publish(0, 0, true, 1).function, 1) {
        assert_eq!(failure.code(), Code::StoreFull, "{failure}");
    }
    let live = catalog
        .snapshot()
        .find("default", "f0")
        .and_then(|entry| entry.live_number());
    assert_eq!(store.load().expect("loads").functions[0].live, live);

    // Space comes back, and with it everything.
    drop(filler);
    catalog
        .publish(&publish(0, n_published, true, 1))
        .expect("healed");
    store.append(&receipts_of(n_batches)).expect("healed");
    store
        .put(Digest::of(&bytes), &mut bytes.as_slice(), u64::MAX)
        .expect("healed");
    let before = store.load().expect("loads");
    drop((catalog, store));
    integrity_check(&data_dir.join("holm.db"));
    integrity_check(&data_dir.join("receipts.db"));
    let store = open(&data_dir).expect("reopens");
    assert_eq!(store.load().expect("loads"), before);
    assert_eq!(
        store.usage(&everything()).expect("reads")[0].n_invocations,
        3 * (n_batches + 1)
    );
}

#[test]
fn a_node_on_a_full_disk_opens_or_says_that_it_is_full() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(tmpfs) = mount(directory.path(), "4m") else {
        return;
    };
    let data_dir = directory.path().join("data");
    let filler = tmpfs.fill();
    let refused = open(&data_dir).map(drop);
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    drop(filler);
    // What the attempt left behind does no harm.
    let store = open(&data_dir).expect("opens");
    store
        .publish(&publish(0, 0, true, 1))
        .expect("there is room");
    let before = store.load().expect("loads");
    drop(store);

    let filler = tmpfs.fill();
    match open(&data_dir) {
        Ok(store) => assert_eq!(store.load().expect("loads"), before),
        Err(error) => assert!(matches!(error, StoreError::Full(_)), "{error}"),
    }
    drop(filler);
    let store = open(&data_dir).expect("opens");
    assert_eq!(store.load().expect("loads"), before);
}

#[test]
fn blobs_on_a_full_disk_are_refused_and_the_catalog_goes_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("data");
    drop(open(&data_dir).expect("opens"));
    let Some(tmpfs) = mount(&data_dir.join("blobs"), "1m") else {
        return;
    };
    let store = open(&data_dir).expect("opens");
    let put = |n: usize| {
        let artifact = artifact(n);
        store
            .put(artifact.digest, &mut artifact_bytes(n).as_slice(), u64::MAX)
            .map(drop)
    };
    put(0).expect("there is room");

    // Too large for what is left: refused, and its part is gone at once.
    let large = vec![7; 2 << 20];
    let refused = store.put(Digest::of(&large), &mut large.as_slice(), u64::MAX);
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    assert_eq!(
        BlobStore::find(&store, Digest::of(&large)).expect("reads"),
        None
    );
    put(1).expect("there is room again");

    let filler = tmpfs.fill();
    let n_put = until_full(|n| put(2 + n as usize));
    store.verify(artifact(0).digest).expect("reads go on");
    store
        .publish(&publish(0, 0, true, 1))
        .expect("the catalog lies elsewhere");
    store.append(&receipts_of(0)).expect("so do receipts");
    drop(filler);
    put(2 + n_put as usize).expect("healed");
    for n in 0..=(2 + n_put as usize) {
        store.verify(artifact(n).digest).expect("whole");
    }
}

#[test]
fn a_read_only_directory_is_refused_in_words() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(tmpfs) = mount(directory.path(), "4m") else {
        return;
    };
    let data_dir = directory.path().join("data");
    drop(open(&data_dir).expect("opens"));
    tmpfs.make_read_only();
    let refused = open(&data_dir).map(drop).expect_err("it cannot be locked");
    assert!(matches!(refused, StoreError::Failed(_)), "{refused:?}");
    assert!(
        refused.to_string().to_lowercase().contains("read-only"),
        "{refused}"
    );
}
