//! A node: everything that is alive between start and end, and the order in which it comes and goes.
//!
//! ```text
//! start  store (locks the directory) -> catalog -> engines -> meter -> invoker -> gateway -> admin API
//! end    not ready -> gateway drains -> invoker drains -> admin API -> meter writes its last -> store
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use control::{AdminToken, Control, ControlDeps, ControlError, ControlHandle, NodeFacts};
use egress::{EgressClient, Listener, OwnListeners};
use gateway::{Gateway, GatewayDeps, GatewayHandle};
use invoker::{Invoker, InvokerDeps};
use meter::{Flusher, Logs, Meter, PrometheusText};
use model::{Code, Failure};
use runtime::{Availability, Runtime};
use store::Catalog;
use store_sqlite::SqliteStore;
use tokio::task::JoinHandle;

use crate::config::NodeConfig;
use crate::parts::Parts;
use crate::{engines, housekeeping};

/// What the admin API gets to finish after the functions have.
const ADMIN_GRACE: Duration = Duration::from_secs(2);

/// A running node. End it with [`Node::run_until_shutdown`]; dropping it ends it at once.
pub struct Node {
    data_dir: PathBuf,
    drain: Duration,
    is_ready: Arc<AtomicBool>,
    gateway: GatewayHandle,
    admin: ControlHandle,
    invoker: Arc<Invoker>,
    housekeeping: JoinHandle<()>,
    flusher: Flusher,
}

impl Node {
    /// Starts a node of the usual parts: see [`Node::start_with`].
    ///
    /// # Errors
    /// Those of [`Node::start_with`].
    pub async fn start(config: NodeConfig) -> Result<Self, Failure> {
        Self::start_with(config, Parts::default()).await
    }

    /// Starts a node, with `parts` in the place of the usual ones. When it returns, requests are served;
    /// no pool is waited for.
    ///
    /// # Errors
    /// The code says what is in the way: `DataDirLocked`, `SchemaTooNew`, `StoreCorrupt`, `PortInUse`,
    /// `ConfigInvalid`.
    pub async fn start_with(config: NodeConfig, parts: Parts) -> Result<Self, Failure> {
        let (store, catalog) = open_store(config.data_dir.clone()).await?;
        let token = admin_token(&config.data_dir)?;

        let own = Arc::new(known_listeners(&config));
        let egress = engines::egress_client(&config, Arc::clone(&own));
        let (meter, flusher) = Meter::new(&config.meter, store.clone())
            .map_err(|error| Failure::new(Code::Internal, format!("the meter: {error}")))?;
        let logs = Logs::new(config.logs.clone(), Arc::new(unix_ms));
        let deps = InvokerDeps {
            runtimes: runtimes(&config, &egress, parts.runtimes).await?,
            blobs: store.clone(),
            usage: parts.usage.unwrap_or_else(|| meter.clone()),
            log: parts.log.unwrap_or_else(|| logs.clone()),
        };
        let invoker = Invoker::new(config.invoker.clone(), deps);
        warn_of_weakness(&invoker);

        let gateway = start_gateway(&config, &catalog, &invoker).await?;
        own.add(Listener::Gateway, gateway.local_addr());
        let is_ready = Arc::new(AtomicBool::new(true));
        let facts = facts(&config, gateway.local_addr())?;
        let admin = Control::start(
            config.admin.clone(),
            ControlDeps {
                catalog: Arc::clone(&catalog),
                blobs: store.clone(),
                invoker: Arc::clone(&invoker),
                more_metrics: more_metrics(&gateway, egress),
                meter,
                logs,
                token,
                node: facts,
                is_ready: Arc::clone(&is_ready),
            },
        )
        .await
        .map_err(|error| admin_failure(&error))?;
        own.add(Listener::Admin, admin.local_addr());

        let housekeeping = tokio::spawn(housekeeping::run(
            Arc::clone(&invoker),
            catalog,
            store,
            config.data_dir.clone(),
        ));
        tracing::info!(
            gateway = %gateway.local_addr(),
            admin = %admin.local_addr(),
            data_dir = %config.data_dir.display(),
            "ready"
        );
        Ok(Self {
            data_dir: config.data_dir,
            drain: Duration::from_secs(config.drain_s),
            is_ready,
            gateway,
            admin,
            invoker,
            housekeeping,
            flusher,
        })
    }

    /// Where functions answer.
    pub fn gateway_addr(&self) -> SocketAddr {
        self.gateway.local_addr()
    }

    /// Where the admin API answers.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.local_addr()
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Serves until `shutdown` is there, then drains: invocations in flight get the configured time.
    pub async fn run_until_shutdown(self, shutdown: impl Future<Output = ()>) {
        shutdown.await;
        self.is_ready.store(false, Ordering::Release);
        let n_cut = self.gateway.shutdown(self.drain).await;
        let n_left = self.invoker.drain(ADMIN_GRACE).await;
        if n_cut + n_left > 0 {
            tracing::warn!(
                n_cut,
                n_left,
                "invocations were cut off at the end of the drain time"
            );
        }
        self.housekeeping.abort();
        self.admin.shutdown(ADMIN_GRACE).await;
        let written = tokio::task::spawn_blocking(move || self.flusher.stop()).await;
        match written {
            Ok(Ok(())) => tracing::info!("stopped"),
            Ok(Err(error)) => tracing::error!("the last receipts could not be written: {error}"),
            Err(error) => tracing::error!("writing the last receipts: {error}"),
        }
    }
}

/// Locks the data directory and reads the catalog from it.
async fn open_store(data_dir: PathBuf) -> Result<(Arc<SqliteStore>, Arc<Catalog>), Failure> {
    let (store, catalog) = blocking(move || {
        let store = Arc::new(SqliteStore::open(&data_dir)?);
        let catalog = Catalog::open(store.clone())?;
        Ok((store, Arc::new(catalog)))
    })
    .await?;
    for conflict in catalog.route_conflicts_at_open() {
        tracing::warn!("{conflict}");
    }
    Ok((store, catalog))
}

/// The engines of this release, those in `own` in the place of the same class.
async fn runtimes(
    config: &NodeConfig,
    egress: &Arc<EgressClient>,
    own: Vec<Arc<dyn Runtime>>,
) -> Result<Vec<Arc<dyn Runtime>>, Failure> {
    let (config, egress) = (config.clone(), Arc::clone(egress));
    blocking(move || Ok(engines::runtimes_with(&config, &egress, own))).await
}

async fn start_gateway(
    config: &NodeConfig,
    catalog: &Arc<Catalog>,
    invoker: &Arc<Invoker>,
) -> Result<GatewayHandle, Failure> {
    let deps = GatewayDeps {
        catalog: Arc::clone(catalog),
        invoker: Arc::clone(invoker),
    };
    let config = config.gateway.clone();
    // Where it fails, it drops event loops of its own, which only a blocking thread may.
    blocking(move || Gateway::start(config, deps).map_err(Failure::from)).await
}

fn admin_token(data_dir: &Path) -> Result<AdminToken, Failure> {
    AdminToken::load_or_create(data_dir)
        .map_err(|error| Failure::new(Code::ConfigInvalid, format!("the admin token: {error}")))
}

fn admin_failure(error: &ControlError) -> Failure {
    let ControlError::Bind { cause, .. } = error;
    let code = match cause.kind() {
        std::io::ErrorKind::AddrInUse => Code::PortInUse,
        _ => Code::ConfigInvalid,
    };
    Failure::new(code, format!("the admin API: {error}"))
}

fn facts(config: &NodeConfig, gateway: SocketAddr) -> Result<NodeFacts, Failure> {
    let value = serde_json::to_value(config)
        .map_err(|error| Failure::new(Code::Internal, format!("the configuration: {error}")))?;
    Ok(NodeFacts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_ms: unix_ms(),
        is_production: config.production,
        gateway_url: format!("http://{gateway}"),
        data_dir: config.data_dir.clone(),
        engines_dir: config.engines_dir.clone(),
        ceilings: config.ceilings.clone(),
        config: value,
    })
}

/// The listeners as configured, before anything listens: so no function finds a moment in which they are
/// not guarded. Ports that the system chooses are added when they are known.
fn known_listeners(config: &NodeConfig) -> OwnListeners {
    let own = OwnListeners::default();
    for (listener, address) in [
        (Listener::Gateway, config.gateway.address),
        (Listener::Admin, config.admin.address),
    ] {
        if address.port() != 0 {
            own.add(listener, address);
        }
    }
    own
}

fn more_metrics(
    gateway: &GatewayHandle,
    egress: Arc<EgressClient>,
) -> Box<dyn Fn(&mut PrometheusText) + Send + Sync> {
    let stats = Arc::clone(gateway.stats());
    Box::new(move |text| {
        crate::metrics::gateway(&stats, text);
        crate::metrics::egress(&egress.counts(), text);
    })
}

fn warn_of_weakness(invoker: &Invoker) {
    for (class, availability) in invoker.classes() {
        if let Availability::Weak(weakness) = availability {
            tracing::warn!(%class, "{weakness}");
        }
    }
}

fn unix_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Runs blocking work on a thread for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(Failure::new(Code::Internal, error.to_string())),
    }
}
