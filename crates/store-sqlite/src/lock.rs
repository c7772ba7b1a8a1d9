//! The lock of a data directory: one process has it, once. It is the kernel's (`flock(2)`), so it goes
//! with the process however that ends; the file itself stays.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use store::StoreError;

use crate::error::io_at;
use crate::files;

/// Bytes of the lock file that are read: a process id and a line end.
const HOLDER_BYTES_MAX: u64 = 16;

/// Held while a data directory is open. The descriptor closes on exec, so no child inherits the lock.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    pub(crate) fn acquire(data_dir: &Path) -> Result<Self, StoreError> {
        let path = data_dir.join("lock");
        let mut file = files::open_or_make(&path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(StoreError::Locked(format!(
                    "{}{}",
                    data_dir.display(),
                    holder(&file)
                )));
            }
            Err(error) => return Err(io_at(&path, &error.into())),
        }
        // For people and for the message above only; a full disk must not keep a node from starting.
        let id = format!("{}\n", std::process::id());
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(id.as_bytes()));
        Ok(Self { _file: file })
    }
}

/// ` (process ID)`, when the holder could write it.
fn holder(file: &File) -> String {
    let mut text = String::new();
    let read = file.take(HOLDER_BYTES_MAX).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(id)) => format!(" (process {id})"),
        _ => String::new(),
    }
}
