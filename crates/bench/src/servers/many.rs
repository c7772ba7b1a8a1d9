//! Data directories with many functions, deployed once per run in the ordinary way and copied for every
//! node that wants them.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::TempDir;

use super::{Function, NodeOptions, Server, ServerError, deploy};
use crate::guests;

/// Distinct modules among the functions, where there are that many functions.
const N_MODULES_MAX: usize = 100;

/// Where files need not be flushed to a disk: deploying waits for the disk at every step.
const MEMORY_DIR: &str = "/dev/shm";

/// Functions over up to [`N_MODULES_MAX`] distinct modules, `f0` to `f{n-1}`, in a data directory. The
/// first hundred have one each.
#[derive(Debug)]
pub(crate) struct Many {
    directory: TempDir,
    n_functions: usize,
}

impl Many {
    /// Deploys `n_functions` of `module`'s variants to a node that is not bound to a core, on top of
    /// those of `before`.
    pub(crate) fn deploy(
        module: &[u8],
        n_functions: usize,
        before: Option<&Many>,
    ) -> Result<Self, ServerError> {
        let directory = directory()?;
        let n_before = match before {
            Some(before) => {
                copy(before.directory.path(), directory.path())?;
                before.n_functions
            }
            None => 0,
        };
        let modules: Vec<Bytes> = (0..n_functions.min(N_MODULES_MAX) as u32)
            .map(|index| guests::variant(module, index).into())
            .collect();
        let functions = (n_before..n_functions).map(|index| Function {
            name: name(index),
            module: modules[index % modules.len()].clone(),
            reuse: 1,
        });
        let server = Server::node(&NodeOptions {
            core: None,
            data_dir: Some(directory.path().to_owned()),
            ..NodeOptions::usual(0)
        })?;
        deploy(&server, functions.collect())?;
        server.stop()?;
        Ok(Self {
            directory,
            n_functions,
        })
    }

    /// Starts a node on a copy of the data directory.
    pub(crate) fn node(&self, options: &NodeOptions) -> Result<Server, ServerError> {
        let copied = directory()?;
        copy(self.directory.path(), copied.path())?;
        let mut server = Server::node(&NodeOptions {
            data_dir: Some(copied.path().to_owned()),
            ..options.clone()
        })?;
        server.keep(copied);
        Ok(server)
    }

    /// The names of its functions.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        (0..self.n_functions).map(name)
    }
}

/// The name of the function with that index.
fn name(index: usize) -> String {
    format!("f{index}")
}

fn directory() -> Result<TempDir, ServerError> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("holm-bench-");
    let made = match builder.tempdir_in(MEMORY_DIR) {
        Ok(directory) => Ok(directory),
        Err(_) => builder.tempdir(),
    };
    made.map_err(|error| ServerError(format!("a temporary directory: {error}")))
}

fn copy(from: &Path, to: &Path) -> Result<(), ServerError> {
    copy_tree(from, to).map_err(|error| ServerError(format!("{}: {error}", from.display())))
}

/// Copies what is below `from`. The node that made it has ended, so nothing in it changes.
fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut pending: Vec<(PathBuf, PathBuf)> = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = pending.pop() {
        fs::create_dir_all(&to)?;
        fs::set_permissions(&to, fs::metadata(&from)?.permissions())?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                pending.push((entry.path(), target));
            } else {
                fs::copy(entry.path(), &target)?;
            }
        }
    }
    Ok(())
}
