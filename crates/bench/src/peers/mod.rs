//! Servers of others that a node is measured against, where they are installed. Each says what it is, how
//! it is started on one core, and how to get it.

pub(crate) mod nginx;
pub(crate) mod nodejs;
pub(crate) mod wasmtime;

use std::path::{Path, PathBuf};

use crate::lab::{Lab, RowError};
use crate::machine;

/// A program of others.
pub(crate) struct Peer {
    /// The program.
    pub(crate) program: &'static str,
    /// The argument that makes it say its version.
    pub(crate) version_argument: &'static str,
    /// What somebody who has it not is to do.
    pub(crate) remedy: &'static str,
}

impl Peer {
    /// Where it is; its version is noted in the report.
    ///
    /// # Errors
    /// `Missing`, with the remedy.
    pub(crate) fn find(&self, lab: &mut Lab) -> Result<PathBuf, RowError> {
        let found = find(self.program).ok_or_else(|| {
            let Self {
                program, remedy, ..
            } = self;
            RowError::Missing(format!("{program} is not installed: {remedy}"))
        })?;
        let version = machine::version_of(&found.to_string_lossy(), &[self.version_argument]);
        let version = version.unwrap_or_else(|| "of unknown version".to_owned());
        lab.versions.insert(self.program.to_owned(), version);
        Ok(found)
    }
}

/// Where `make bench-peers` puts what it builds, then the search path.
fn find(program: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty());
    let cache = cache.map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME")?;
        Some(Path::new(&home).join(".cache"))
    });
    let ours = cache.map(|cache| cache.join("holm/peers/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Servers are installed where not every user's path leads.
    let more = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let directories = ours
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain(more);
    directories
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}
