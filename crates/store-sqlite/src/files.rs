//! Making and syncing files and directories, with the store's permissions.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use store::StoreError;

use crate::error::io_at;

/// Makes a directory and those above it; one that exists is left as it is.
pub(crate) fn make_directory(path: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| io_at(path, &error))
}

/// Makes one directory, durably; true when it was not there.
pub(crate) fn make_directory_in(parent: &Path, path: &Path) -> Result<bool, StoreError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_directory(parent).map(|()| true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
        Err(error) => Err(io_at(path, &error)),
    }
}

/// Opens a file for reading and writing; it is made, empty, when it is missing.
pub(crate) fn open_or_make(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    options.open(path).map_err(|error| io_at(path, &error))
}

/// Makes a file that must not be there.
pub(crate) fn make_new(path: &Path) -> Result<File, StoreError> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    made.map_err(|error| io_at(path, &error))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|error| io_at(path, &error))
}
