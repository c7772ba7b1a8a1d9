//! What the operations work with.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use invoker::Invoker;
use model::limits::Ceilings;
use model::{Code, Failure};
use store::{BlobStore, Catalog};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::config::ControlConfig;
use crate::token::AdminToken;

/// What the admin server is made of.
pub struct ControlDeps {
    /// The functions.
    pub catalog: Arc<Catalog>,
    /// The artifacts.
    pub blobs: Arc<dyn BlobStore>,
    /// Runs and prepares functions.
    pub invoker: Arc<Invoker>,
    /// The receipts.
    pub meter: Arc<meter::Meter>,
    /// The functions' log lines.
    pub logs: Arc<meter::Logs>,
    /// Adds the metrics of whoever else has some to the page.
    pub more_metrics: Box<dyn Fn(&mut meter::PrometheusText) + Send + Sync>,
    /// What clients have to show.
    pub token: AdminToken,
    /// What the node says about itself.
    pub node: NodeFacts,
    /// Whether the node takes requests; the node clears it when it starts to drain.
    pub is_ready: Arc<AtomicBool>,
}

/// What the node says about itself and does not change while it runs.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// The release of Holm.
    pub version: String,
    /// When the node started, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// Whether weak engines are refused.
    pub is_production: bool,
    /// Where functions answer: `http://HOST:PORT`, without a slash at the end.
    pub gateway_url: String,
    /// The data directory.
    pub data_dir: PathBuf,
    /// The directory of engine files.
    pub engines_dir: Option<PathBuf>,
    /// The operator's ceilings.
    pub ceilings: Ceilings,
    /// The whole configuration with its defaults. Secrets are redacted here once more.
    pub config: serde_json::Value,
}

/// What every operation gets.
pub(crate) struct App {
    pub(crate) config: ControlConfig,
    pub(crate) deps: ControlDeps,
    /// `http://HOST:PORT` of this API.
    pub(crate) admin_url: String,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) publishes: Arc<Semaphore>,
    pub(crate) followers: Arc<Semaphore>,
    /// Set when the server stops: endless answers end.
    pub(crate) stopping: CancellationToken,
}

impl App {
    pub(crate) fn new(config: ControlConfig, deps: ControlDeps, admin_url: String) -> Self {
        Self {
            uploads: Arc::new(Semaphore::new(config.n_uploads_max)),
            publishes: Arc::new(Semaphore::new(config.n_publishes_max)),
            followers: Arc::new(Semaphore::new(config.n_followers_max)),
            stopping: CancellationToken::new(),
            config,
            deps,
            admin_url,
        }
    }

    /// How long an upload or a publication may wait for its turn.
    pub(crate) fn queue_timeout(&self) -> Duration {
        Duration::from_secs(self.config.queue_timeout_s)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.deps.is_ready.load(Ordering::Acquire)
    }
}

/// A place among those that `limit` allows. Waits at most `wait` for it; who waits is bounded by the
/// connections that the server takes.
///
/// # Errors
/// `NodeAtCapacity` where none came free in time.
pub(crate) async fn place(
    places: &Arc<Semaphore>,
    limit: &str,
    n_max: usize,
    wait: Duration,
) -> Result<OwnedSemaphorePermit, Failure> {
    if let Ok(place) = Arc::clone(places).try_acquire_owned() {
        return Ok(place);
    }
    if let Ok(Ok(place)) = tokio::time::timeout(wait, Arc::clone(places).acquire_owned()).await {
        return Ok(place);
    }
    let knob = format!("`{limit}` under [admin] in the node's configuration");
    Err(Failure::new(
        Code::NodeAtCapacity,
        format!("{n_max} such requests run already"),
    )
    .with_limit(&format!("admin.{limit}"), n_max, knob)
    .with_retry_after_s(1))
}
