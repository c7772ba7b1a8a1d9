//! Compiled modules on disk: `CACHE_DIR/COMPATIBILITY/DIGEST.cwasm` and beside it `DIGEST.json`, which
//! says what is in it and its digest. A compiled file is native code: it is loaded only when directory and
//! files belong to this user and nobody else may write them, and its bytes are the ones the worker wrote.
//!
//! A file that fails any check is as good as absent: the module is compiled again.

use std::collections::HashMap;
use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use model::Digest;
use parking_lot::Mutex;
use sha2::Digest as _;

use crate::compile_worker::Compiled;

/// Bytes of a description file.
const DESCRIPTION_BYTES_MAX: u64 = 4 << 10;

/// The cache of one node.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    /// Files whose bytes were digested since this process started, by path. They are not read through
    /// again while the file's identity and times are the same.
    verified: Mutex<HashMap<PathBuf, FileIdentity>>,
    n_scratch: AtomicU64,
}

/// What changes when a file is replaced or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileIdentity {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl FileIdentity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A compiled file that passed all checks.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) compiled: Compiled,
}

impl Cache {
    /// The cache in `dir`, made with mode 0700 where it is absent.
    ///
    /// # Errors
    /// The directory cannot be made, is not this user's, or others may write to it.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        make_private_dir(dir)?;
        for file in std::fs::read_dir(dir)? {
            let path = file?.path();
            // What a killed node left half made.
            if path.extension().is_some_and(|extension| extension == "new") {
                std::fs::remove_file(path)?;
            }
        }
        Ok(Self {
            dir: dir.to_owned(),
            verified: Mutex::default(),
            n_scratch: AtomicU64::new(0),
        })
    }

    /// A directory for one engine and its settings.
    fn dir_of(&self, compatibility: &str) -> io::Result<PathBuf> {
        let dir = self.dir.join(compatibility);
        make_private_dir(&dir)?;
        Ok(dir)
    }

    /// Looks `digest` up; `None` where it is absent or fails a check. Blocks on file IO.
    pub(crate) fn find(&self, compatibility: &str, digest: &Digest) -> Option<Entry> {
        let dir = self.dir.join(compatibility);
        let description = dir.join(format!("{digest}.json"));
        let path = dir.join(format!("{digest}.cwasm"));
        match self.check(&description, &path, compatibility) {
            Ok(compiled) => Some(Entry { path, compiled }),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "a compiled module is unusable");
                }
                None
            }
        }
    }

    fn check(&self, description: &Path, path: &Path, compatibility: &str) -> io::Result<Compiled> {
        let mut text = Vec::new();
        open_private(description)?
            .0
            .take(DESCRIPTION_BYTES_MAX)
            .read_to_end(&mut text)?;
        let compiled: Compiled = serde_json::from_slice(&text)?;
        if compiled.compatibility != compatibility {
            return Err(io::Error::other("it was compiled for another engine"));
        }
        let (file, metadata) = open_private(path)?;
        if metadata.size() != compiled.size_bytes {
            return Err(io::Error::other("its size is wrong"));
        }
        let identity = FileIdentity::of(&metadata);
        if self.verified.lock().get(path) == Some(&identity) {
            return Ok(compiled);
        }
        if digest_of(file)? != compiled.digest {
            return Err(io::Error::other("its digest is wrong"));
        }
        self.verified.lock().insert(path.to_owned(), identity);
        Ok(compiled)
    }

    /// A fresh name for a file that is being made, in the same file system.
    pub(crate) fn scratch(&self, digest: &Digest) -> PathBuf {
        let number = self.n_scratch.fetch_add(1, Ordering::Relaxed);
        self.dir.join(format!("{digest}.{number}.new"))
    }

    /// Moves the worker's `output` into place. The description goes last: without it nothing is found.
    /// Blocks on file IO.
    pub(crate) fn keep(
        &self,
        digest: &Digest,
        output: &Path,
        compiled: Compiled,
    ) -> io::Result<Entry> {
        let dir = self.dir_of(&compiled.compatibility)?;
        let path = dir.join(format!("{digest}.cwasm"));
        let description = dir.join(format!("{digest}.json"));
        let new_description = dir.join(format!("{digest}.json.new"));
        let text = serde_json::to_vec(&compiled)?;
        match std::fs::remove_file(&description) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::rename(output, &path)?;
        write_private(&new_description, &text)?;
        std::fs::rename(&new_description, &description)?;
        Ok(Entry { path, compiled })
    }

    /// Removes an entry that turned out unusable. Blocks on file IO.
    pub(crate) fn discard(&self, entry: &Entry) {
        self.verified.lock().remove(&entry.path);
        // If it stays, the next compilation replaces it.
        let _ = std::fs::remove_file(entry.path.with_extension("json"));
        let _ = std::fs::remove_file(&entry.path);
    }
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let metadata = std::fs::symlink_metadata(dir)?;
    if !metadata.is_dir() || !is_private(&metadata) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "{} must be a directory of this user that nobody else can write to",
                dir.display()
            ),
        ));
    }
    Ok(())
}

fn is_private(metadata: &Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0
}

/// Opens a regular file of this user that nobody else may write; never through a symbolic link.
fn open_private(path: &Path) -> io::Result<(File, Metadata)> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let file = File::options()
        .read(true)
        .custom_flags(no_follow)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || !is_private(&metadata) {
        return Err(io::Error::other("it is not a private file of this user"));
    }
    Ok((file, metadata))
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    io::Write::write_all(&mut file, bytes)
}

fn digest_of(mut file: File) -> io::Result<Digest> {
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest::from_bytes(hasher.finalize().into())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Kept {
        _dir: tempfile::TempDir,
        cache: Cache,
        digest: Digest,
        entry: Entry,
    }

    fn keep(bytes: &[u8]) -> Kept {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let cache = Cache::open(&dir.path().join("cache")).expect("opens");
        let digest = Digest::of(b"the module");
        let output = cache.scratch(&digest);
        write_private(&output, bytes).expect("writes");
        let compiled = Compiled {
            contract: model::Contract::HolmCore1,
            digest: Digest::of(bytes),
            size_bytes: bytes.len() as u64,
            compatibility: "engine".to_owned(),
        };
        let entry = cache.keep(&digest, &output, compiled).expect("keeps");
        Kept {
            _dir: dir,
            cache,
            digest,
            entry,
        }
    }

    #[test]
    fn what_was_kept_is_found_and_only_for_its_engine() {
        let kept = keep(b"native code");
        let found = kept.cache.find("engine", &kept.digest).expect("found");
        assert_eq!(found.compiled, kept.entry.compiled);
        assert!(kept.cache.find("other", &kept.digest).is_none());
        assert!(kept.cache.find("engine", &Digest::of(b"other")).is_none());
        let mode = std::fs::metadata(&found.path).expect("there").permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        kept.cache.discard(&found);
        assert!(kept.cache.find("engine", &kept.digest).is_none());
    }

    #[test]
    fn a_changed_file_is_not_found_even_after_it_was_verified() {
        for change in [&b"native c0de"[..], b"native", b""] {
            let kept = keep(b"native code");
            assert!(kept.cache.find("engine", &kept.digest).is_some());
            write_private(&kept.entry.path, change).expect("writes");
            assert!(kept.cache.find("engine", &kept.digest).is_none());
        }
    }

    #[test]
    fn files_that_others_may_write_and_links_are_not_found() {
        let kept = keep(b"native code");
        let mode = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(&kept.entry.path, mode).expect("sets");
        assert!(kept.cache.find("engine", &kept.digest).is_none());

        let kept = keep(b"native code");
        let elsewhere = kept.entry.path.with_extension("elsewhere");
        std::fs::rename(&kept.entry.path, &elsewhere).expect("moves");
        std::os::unix::fs::symlink(&elsewhere, &kept.entry.path).expect("links");
        assert!(kept.cache.find("engine", &kept.digest).is_none());
    }

    #[test]
    fn a_directory_that_others_may_write_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mode = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(dir.path(), mode).expect("sets");
        assert!(Cache::open(dir.path()).is_err());
    }
}
