//! Looks at a data directory after a crash: what must be there is there, whole, and nothing else is.

use std::collections::HashSet;
use std::path::Path;

use model::Digest;
use store::blobs::digest_of_path;
use store::conformance::catalog::apply;
use store::memory::MemoryStore;
use store::{BlobStore, CatalogState, CatalogStore, ReceiptStore};
use store_sqlite::SqliteStore;

use crate::child::{change_of, open, receipts_of};

/// Opens the directory; the catalog must be that of `model`, or that with `in_doubt` done too, which is
/// then added to the model. Checks blobs and collects garbage. Returns the open store and whether the
/// step in doubt was done.
pub fn verify(data_dir: &Path, model: &MemoryStore, in_doubt: Option<u64>) -> (SqliteStore, bool) {
    let store = open(data_dir).expect("the directory of a crashed node opens");
    let state = store.load().expect("loads");
    let mut was_done = false;
    if state != model.load().expect("memory does not fail") {
        let step = in_doubt.expect("no step was in doubt, so just what was acknowledged is there");
        apply(model, &change_of(step), step).expect("memory does not fail");
        assert_eq!(
            state,
            model.load().expect("memory does not fail"),
            "step {step} is there in part"
        );
        was_done = true;
    }
    check_blobs(data_dir, &store, &state);
    (store, was_done)
}

/// The receipts of an acknowledged step are all there; those of a step in doubt all or not at all.
pub fn check_receipts(store: &SqliteStore, done: impl Iterator<Item = u64>, in_doubt: Option<u64>) {
    let n_found = |step: u64| {
        let receipts = receipts_of(step).into_iter();
        let found = receipts.filter(|receipt| {
            let found = ReceiptStore::find(store, receipt.id).expect("readable");
            found.is_some_and(|found| found == *receipt)
        });
        found.count()
    };
    for step in done {
        assert_eq!(
            n_found(step),
            receipts_of(step).len(),
            "receipts of step {step}"
        );
    }
    if let Some(step) = in_doubt {
        let n_found = n_found(step);
        assert!(
            [0, receipts_of(step).len()].contains(&n_found),
            "{n_found} receipts of step {step}"
        );
    }
}

/// Every artifact of a version is there, whole; all other blobs are garbage, and go.
fn check_blobs(data_dir: &Path, store: &SqliteStore, state: &CatalogState) {
    let versions = state
        .functions
        .iter()
        .flat_map(|function| &function.versions);
    let needed: HashSet<Digest> = versions.map(|version| version.artifact.digest).collect();
    for digest in &needed {
        store
            .verify(*digest)
            .expect("the artifact of a version is there and whole");
    }
    let n_orphans = blobs_on_disk(data_dir).difference(&needed).count();
    let n_removed = store
        .collect_garbage(&|digest| needed.contains(&digest))
        .expect("works");
    assert_eq!(n_removed, n_orphans);
    assert_eq!(blobs_on_disk(data_dir), needed);
    let uploads = std::fs::read_dir(data_dir.join("blobs/tmp")).expect("it is there");
    assert_eq!(uploads.count(), 0, "uploads that broke off are gone");
}

fn blobs_on_disk(data_dir: &Path) -> HashSet<Digest> {
    let mut digests = HashSet::new();
    for directory in std::fs::read_dir(data_dir.join("blobs")).expect("it is there") {
        let directory = directory.expect("readable");
        if directory.file_name() == "tmp" {
            continue;
        }
        for file in std::fs::read_dir(directory.path()).expect("it is a directory") {
            let names = (directory.file_name(), file.expect("readable").file_name());
            let (directory, file) = (names.0.to_str(), names.1.to_str());
            let digest = digest_of_path(directory.expect("ASCII"), file.expect("ASCII"));
            digests.insert(digest.expect("only blobs are in the directories of blobs"));
        }
    }
    digests
}
