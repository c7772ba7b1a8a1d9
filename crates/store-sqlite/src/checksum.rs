//! A checksum over the content of a row. SQLite's own checks find broken pages, not a flipped bit in the
//! middle of a text; this finds that, so that a function never runs with a configuration nobody wrote.

use sha2::{Digest, Sha256};

/// Bytes kept of the digest: enough against decay. It is no seal against a forger, who could write a
/// checksum, too.
pub(crate) const CHECKSUM_BYTES: usize = 16;

/// Digests the fields of a row, each with its length, so that none can flow into the next.
pub(crate) struct Checksum(Sha256);

impl Checksum {
    /// Begins with the name of the table.
    pub(crate) fn of(table: &str) -> Self {
        Self(Sha256::new()).bytes(table.as_bytes())
    }

    pub(crate) fn bytes(mut self, field: &[u8]) -> Self {
        self.0.update((field.len() as u64).to_le_bytes());
        self.0.update(field);
        self
    }

    pub(crate) fn number(self, field: i64) -> Self {
        self.bytes(&field.to_le_bytes())
    }

    pub(crate) fn option(self, field: Option<i64>) -> Self {
        match field {
            Some(number) => self.number(number),
            None => self.bytes(&[]),
        }
    }

    pub(crate) fn finish(self) -> [u8; CHECKSUM_BYTES] {
        let digest: [u8; 32] = self.0.finalize().into();
        *digest.first_chunk().expect("a SHA-256 digest is longer")
    }
}
