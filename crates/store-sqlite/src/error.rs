//! From the errors of SQLite and of the file system to [`StoreError`].

use std::io;
use std::path::Path;

use rusqlite::ffi::{self, ErrorCode};
use store::StoreError;

/// An IO error at a path.
pub(crate) fn io_at(path: &Path, error: &io::Error) -> StoreError {
    let detail = format!("{}: {error}", path.display());
    match StoreError::from(io::Error::from(error.kind())) {
        StoreError::Full(_) => StoreError::Full(detail),
        _ => StoreError::Failed(detail),
    }
}

/// An error of SQLite in the database at `path`.
pub(crate) fn sql_at(path: &Path, error: &rusqlite::Error) -> StoreError {
    let detail = format!("{}: {error}", path.display());
    let failure = match error {
        rusqlite::Error::SqliteFailure(failure, _) => failure,
        rusqlite::Error::SqlInputError { error: failure, .. } => failure,
        // A row, or a value of a type, that the schema does not allow.
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::QueryReturnedNoRows
        | rusqlite::Error::QueryReturnedMoreThanOneRow
        | rusqlite::Error::StatementChangedRows(..) => return StoreError::Corrupt(detail),
        _ => return StoreError::Failed(detail),
    };
    match (failure.code, failure.extended_code) {
        (ErrorCode::DiskFull, _) => StoreError::Full(detail),
        // The shared index of the WAL could not grow.
        (_, ffi::SQLITE_IOERR_SHMSIZE) => StoreError::Full(detail),
        // Our statements and values are fixed: where they do not fit, the file is not what we wrote.
        (
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation,
            _,
        )
        | (_, ffi::SQLITE_ERROR | ffi::SQLITE_IOERR_CORRUPTFS | ffi::SQLITE_IOERR_SHORT_READ) => {
            StoreError::Corrupt(detail)
        }
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => {
            StoreError::Failed(format!("{detail}: another program uses the file"))
        }
        _ => StoreError::Failed(detail),
    }
}
