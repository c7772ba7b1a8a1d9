//! Why a store operation failed.

use model::{Code, Failure};

/// Why a store operation failed. Nothing was changed unless the operation's docs say otherwise.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No space is left, or a quota is used up.
    #[error("the storage is full: {0}")]
    Full(String),
    /// Another process has the directory.
    #[error("another node uses {0}")]
    Locked(String),
    /// Written by a newer release.
    #[error("schema version {found} is newer than {supported}, the newest that this release reads")]
    SchemaTooNew {
        /// The version on disk.
        found: u32,
        /// The newest that this release reads.
        supported: u32,
    },
    /// The files are damaged.
    #[error("the storage is damaged: {0}")]
    Corrupt(String),
    /// The named thing does not exist.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The query needs receipts that are no longer kept.
    #[error("{0}")]
    Trimmed(String),
    /// The bytes do not have the digest that was announced.
    #[error("the bytes have digest {found}, not {expected}")]
    DigestMismatch {
        /// What was announced.
        expected: model::Digest,
        /// What arrived.
        found: model::Digest,
    },
    /// More bytes came than are allowed.
    #[error("the artifact has more than {bytes_max} bytes")]
    TooLarge {
        /// How many are allowed.
        bytes_max: u64,
    },
    /// The source of the bytes failed, not the storage.
    #[error("the upload broke off: {0}")]
    Source(String),
    /// Anything else, with the cause in words.
    #[error("the storage failed: {0}")]
    Failed(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Full(_) => Code::StoreFull,
            StoreError::Locked(_) => Code::DataDirLocked,
            StoreError::SchemaTooNew { .. } => Code::SchemaTooNew,
            StoreError::Corrupt(_) => Code::StoreCorrupt,
            StoreError::NotFound(_) => Code::VersionNotFound,
            StoreError::Trimmed(_) => Code::InvalidArgument,
            StoreError::DigestMismatch { .. } => Code::DigestMismatch,
            StoreError::TooLarge { .. } => Code::ArtifactTooLarge,
            StoreError::Source(_) => Code::BodyMalformed,
            StoreError::Failed(_) => Code::StoreFailed,
        };
        Failure::new(code, error.to_string())
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                StoreError::Full(error.to_string())
            }
            _ => StoreError::Failed(error.to_string()),
        }
    }
}
