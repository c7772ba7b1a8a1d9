//! Cases for [`BlobStore`].

use std::io::{self, Read};
use std::time::Duration;

use model::Digest;

use super::data::{artifact, artifact_bytes};
use super::{Harness, LONG_GRACE};
use crate::{BlobStore, StoreError};

/// A reader that gives a few bytes, hiccups, and then ends or fails.
struct Dripping {
    bytes: Vec<u8>,
    at: usize,
    hiccup: bool,
    fails: bool,
}

impl Read for Dripping {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.hiccup = !self.hiccup;
        if self.hiccup {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.at == self.bytes.len() && self.fails {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let n_read = (self.bytes.len() - self.at).min(buffer.len()).min(7);
        buffer[..n_read].copy_from_slice(&self.bytes[self.at..self.at + n_read]);
        self.at += n_read;
        Ok(n_read)
    }
}

fn dripping(n: usize, fails: bool) -> Dripping {
    Dripping {
        bytes: artifact_bytes(n),
        at: 0,
        hiccup: false,
        fails,
    }
}

fn put<H: Harness>(harness: &H, n: usize) {
    let artifact = artifact(n);
    let put = harness.store().put(
        artifact.digest,
        &mut dripping(n, false),
        artifact.size_bytes,
    );
    assert_eq!(put.expect("works"), artifact.size_bytes);
}

fn bytes_of<H: Harness>(harness: &H, n: usize) -> Option<Vec<u8>> {
    let found = BlobStore::find(harness.store(), artifact(n).digest).expect("works");
    found.map(|(path, size_bytes)| {
        let bytes = std::fs::read(path).expect("a blob's file can be read");
        assert_eq!(bytes.len() as u64, size_bytes);
        bytes
    })
}

/// What was put is found, verified, and still there after reopening; again is fine.
pub fn keeps_bytes_under_their_digest<H: Harness>() {
    let mut harness = H::new(LONG_GRACE);
    assert_eq!(bytes_of(&harness, 1), None);
    assert!(matches!(
        harness.store().verify(artifact(1).digest),
        Err(StoreError::NotFound(_))
    ));
    put(&harness, 1);
    put(&harness, 1);
    let empty = Digest::of(b"");
    assert_eq!(
        harness
            .store()
            .put(empty, &mut io::empty(), 0)
            .expect("works"),
        0
    );
    harness.reopen();
    assert_eq!(bytes_of(&harness, 1), Some(artifact_bytes(1)));
    harness.store().verify(artifact(1).digest).expect("whole");
    harness.store().verify(empty).expect("whole");

    let (path, _) = BlobStore::find(harness.store(), artifact(1).digest)
        .expect("works")
        .expect("there");
    let mut bytes = artifact_bytes(1);
    bytes[5] ^= 1;
    std::fs::write(path, bytes).expect("tests may write everywhere");
    assert!(matches!(
        harness.store().verify(artifact(1).digest),
        Err(StoreError::Corrupt(_))
    ));
}

/// Wrong digest, too long, broken off: each its own error, and nothing stays.
pub fn refuses_what_is_not_as_announced<H: Harness>() {
    let harness = H::new(Duration::ZERO);
    let store = harness.store();
    let (digest, size_bytes) = (artifact(1).digest, artifact(1).size_bytes);

    let other = store.put(digest, &mut dripping(2, false), u64::MAX);
    let expected = artifact(2).digest;
    assert!(matches!(other, Err(StoreError::DigestMismatch { found, .. }) if found == expected));
    let long = store.put(digest, &mut dripping(1, false), size_bytes - 1);
    assert!(matches!(long, Err(StoreError::TooLarge { bytes_max }) if bytes_max == size_bytes - 1));
    let broken = store.put(digest, &mut dripping(1, true), u64::MAX);
    assert!(matches!(broken, Err(StoreError::Source(_))));

    assert_eq!(bytes_of(&harness, 1), None);
    assert_eq!(store.collect_garbage(&|_| false).expect("works"), 0);
    put(&harness, 1);
}

/// Garbage collection takes what nobody keeps.
pub fn garbage_goes_and_the_rest_stays<H: Harness>() {
    let harness = H::new(Duration::ZERO);
    for n in 0..20 {
        put(&harness, n);
    }
    let kept: Vec<Digest> = (0..5).map(|n| artifact(n).digest).collect();
    let n_removed = harness
        .store()
        .collect_garbage(&|digest| kept.contains(&digest));
    assert_eq!(n_removed.expect("works"), 15);
    for n in 0..20 {
        assert_eq!(bytes_of(&harness, n).is_some(), n < 5, "{n}");
    }
    assert_eq!(
        harness.store().collect_garbage(&|_| false).expect("works"),
        5
    );
    assert_eq!(
        harness.store().collect_garbage(&|_| false).expect("works"),
        0
    );
    put(&harness, 1);
}

/// A fresh upload survives garbage collection, and so does an old one that was asked for just now.
pub fn young_and_wanted_blobs_stay<H: Harness>() {
    let harness = H::new(LONG_GRACE);
    for n in 0..3 {
        put(&harness, n);
    }
    for n in 1..3 {
        let (path, _) = BlobStore::find(harness.store(), artifact(n).digest)
            .expect("works")
            .expect("there");
        let file = std::fs::File::open(path).expect("there");
        file.set_modified(std::time::SystemTime::now() - 2 * LONG_GRACE)
            .expect("works");
    }
    // Asking is what a deploy does before it publishes.
    assert!(bytes_of(&harness, 2).is_some());
    assert_eq!(
        harness.store().collect_garbage(&|_| false).expect("works"),
        1
    );
    assert!(bytes_of(&harness, 0).is_some());
    assert!(bytes_of(&harness, 1).is_none());
    assert!(bytes_of(&harness, 2).is_some());
}

/// Uploads of the same and of other bytes at once, beside garbage collection.
pub fn racing_uploads_agree<H: Harness>() {
    let harness = &H::new(LONG_GRACE);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || (0..20).for_each(|n| put(harness, (n + thread) % 20)));
        }
        scope.spawn(|| {
            for _ in 0..20 {
                assert_eq!(
                    harness.store().collect_garbage(&|_| false).expect("works"),
                    0
                );
            }
        });
    });
    for n in 0..20 {
        assert_eq!(bytes_of(harness, n), Some(artifact_bytes(n)));
    }
}
