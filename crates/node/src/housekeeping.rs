//! What nobody asks for and must happen all the same: idle instances go, and files that no version needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use invoker::Invoker;
use model::{Code, Digest, Failure};
use store::{BlobStore, Catalog};
use tokio::time::{MissedTickBehavior, interval};

use crate::engines;
use crate::node::blocking;

/// How often idle instances and unused templates are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How often artifacts and compiled modules that no version names are removed.
const GARBAGE_INTERVAL: Duration = Duration::from_secs(3_600);

/// Runs until aborted.
pub(crate) async fn run(
    invoker: Arc<Invoker>,
    catalog: Arc<Catalog>,
    blobs: Arc<dyn BlobStore>,
    data_dir: PathBuf,
) {
    let mut sweep = interval(SWEEP_INTERVAL);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut garbage = interval(GARBAGE_INTERVAL);
    loop {
        tokio::select! {
            now = sweep.tick() => invoker.sweep(now),
            _ = garbage.tick() => {
                let (catalog, blobs) = (Arc::clone(&catalog), Arc::clone(&blobs));
                let data_dir = data_dir.clone();
                match blocking(move || collect_garbage(&catalog, &*blobs, &data_dir)).await {
                    Ok(0) => {}
                    Ok(n_removed) => tracing::info!(n_removed, "removed files without a version"),
                    Err(failure) => tracing::warn!("removing files without a version: {failure}"),
                }
            }
        }
    }
}

/// Removes artifacts and compiled modules that no version names. A version published meanwhile keeps its
/// own: publishing looked its blob up, which renews the grace period, and a compiled module that went
/// too early is compiled again.
fn collect_garbage(
    catalog: &Catalog,
    blobs: &dyn BlobStore,
    data_dir: &Path,
) -> Result<usize, Failure> {
    let named = catalog.snapshot_owned().artifact_digests();
    let keep = |digest: Digest| named.contains(&digest);
    let n_blobs = blobs.collect_garbage(&keep)?;
    let n_modules = match engines::collect_garbage(data_dir, &keep) {
        Ok(n_modules) => n_modules,
        // Nothing was compiled here yet.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(Failure::new(Code::StoreFailed, error.to_string())),
    };
    Ok(n_blobs + n_modules)
}
