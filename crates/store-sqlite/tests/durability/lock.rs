//! Two nodes on one directory.

use store::StoreError;

use crate::child::{Child, Plan, Said, open};

#[test]
fn a_second_process_is_refused_until_the_first_is_gone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let plan = Plan {
        from: 0,
        until: u64::MAX,
        reopen_before: u64::MAX,
    };
    let mut child = Child::start(directory.path(), plan, &[]);
    assert_eq!(child.next(), Some(Said::Open));
    let refused = open(directory.path())
        .map(drop)
        .expect_err("another process has it");
    assert!(matches!(refused, StoreError::Locked(_)), "{refused:?}");
    let text = refused.to_string();
    assert!(text.contains(&format!("process {}", child.id())), "{text}");
    assert!(
        text.contains(directory.path().to_str().expect("text")),
        "{text}"
    );
    child.kill();
    open(directory.path()).expect("a killed process has no lock");
}

#[test]
fn a_second_opening_in_the_process_is_refused_until_the_first_is_closed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path()).expect("opens");
    let refused = open(directory.path()).map(drop).expect_err("it is open");
    assert!(matches!(refused, StoreError::Locked(_)), "{refused:?}");
    drop(store);
    open(directory.path()).expect("it is closed");
}

#[test]
fn files_are_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    use store::{BlobStore, ReceiptStore};

    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("made/by/us");
    let store = open(&data_dir).expect("opens");
    let artifact = store::conformance::data::artifact(1);
    let bytes = store::conformance::data::artifact_bytes(1);
    store
        .put(artifact.digest, &mut bytes.as_slice(), u64::MAX)
        .expect("works");
    store.append(&crate::child::receipts_of(1)).expect("works");
    let mut n_seen = 0;
    let mut pending = vec![data_dir];
    while let Some(path) = pending.pop() {
        let metadata = std::fs::symlink_metadata(&path).expect("it is there");
        let mode = metadata.permissions().mode() & 0o777;
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{}: {mode:o}", path.display());
        n_seen += 1;
        if metadata.is_dir() {
            let entries = std::fs::read_dir(&path).expect("readable");
            pending.extend(entries.map(|entry| entry.expect("readable").path()));
        }
    }
    assert!(
        n_seen >= 10,
        "databases, their companions, the lock, blobs: {n_seen}"
    );
}
