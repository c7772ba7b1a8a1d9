//! A file about to be uploaded: where it is, its digest, its size.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use api::ArtifactRef;
use model::{ArtifactKind, Code, Digest, Failure};
use sha2::Digest as _;

/// A file that was digested. It is read again for the upload: what changed between the two reads is
/// found out by the node, which checks the digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalArtifact {
    /// The file.
    pub path: PathBuf,
    /// What the node is told of it.
    pub artifact: ArtifactRef,
}

impl LocalArtifact {
    /// Digests a WebAssembly file.
    ///
    /// # Errors
    /// `NothingToDeploy` where it cannot be read or is no WebAssembly by its first bytes (WebAssembly
    /// core specification, section 5.5.16: magic; components share it).
    pub fn wasm(path: &Path) -> Result<Self, Failure> {
        let refuse = |why: &dyn std::fmt::Display| {
            Failure::new(Code::NothingToDeploy, format!("{}: {why}", path.display()))
        };
        let (digest, size_bytes, magic) = digest(path).map_err(|error| refuse(&error))?;
        if magic != *b"\0asm" {
            return Err(Failure::new(
                Code::WasmInvalid,
                format!(
                    "{} is no WebAssembly: it does not begin with the bytes 00 61 73 6d",
                    path.display()
                ),
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            artifact: ArtifactRef {
                digest,
                size_bytes,
                kind: ArtifactKind::Wasm,
            },
        })
    }
}

fn digest(path: &Path) -> io::Result<(Digest, u64, [u8; 4])> {
    let mut file = File::open(path)?;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut size_bytes = 0;
    let mut magic = [0; 4];
    loop {
        let n_read = file.read(&mut buffer)?;
        if n_read == 0 {
            break;
        }
        if size_bytes == 0 && n_read >= magic.len() {
            magic.copy_from_slice(&buffer[..4]);
        }
        hasher.update(&buffer[..n_read]);
        size_bytes += n_read as u64;
    }
    Ok((
        Digest::from_bytes(hasher.finalize().into()),
        size_bytes,
        magic,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_digested_and_other_files_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("x.wasm");
        std::fs::write(&file, b"\0asm\x01\0\0\0").expect("written");
        let local = LocalArtifact::wasm(&file).expect("a module");
        assert_eq!(local.artifact.digest, Digest::of(b"\0asm\x01\0\0\0"));
        assert_eq!(local.artifact.size_bytes, 8);

        std::fs::write(&file, b"#!/bin/sh").expect("written");
        let failure = LocalArtifact::wasm(&file).expect_err("no module");
        assert_eq!(failure.code(), Code::WasmInvalid);
        let absent = LocalArtifact::wasm(&dir.path().join("absent")).expect_err("absent");
        assert_eq!(absent.code(), Code::NothingToDeploy);
    }
}
