//! Starting and ending the gateway as a whole.

use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use invoker::Invoker;
use model::{Code, Failure};
use store::Catalog;
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::config::{ConfigError, GatewayConfig};
use crate::listen;
use crate::stats::GatewayStats;
use crate::worker::{Phase, Worker};

/// Descriptors that are left for everything but connections: engines, store, logs.
const N_FILES_RESERVED: u64 = 128;

/// What the gateway works with.
pub struct GatewayDeps {
    /// Which functions there are.
    pub catalog: Arc<Catalog>,
    /// Who runs them.
    pub invoker: Arc<Invoker>,
}

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A knob has a value that cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The system gave no thread or event loop.
    #[error("cannot start a worker")]
    Worker(#[source] io::Error),
}

impl From<GatewayError> for Failure {
    fn from(error: GatewayError) -> Self {
        match &error {
            GatewayError::Config(_) => Failure::new(Code::ConfigInvalid, error.to_string()),
            GatewayError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Failure::new(Code::PortInUse, format!("{error}: another program does"))
            }
            GatewayError::Listen { source, .. } => {
                Failure::new(Code::ConfigInvalid, format!("{error}: {source}"))
            }
            GatewayError::Worker(source) => {
                Failure::new(Code::Internal, format!("{error}: {source}"))
            }
        }
    }
}

/// The HTTP gateway.
pub struct Gateway;

impl Gateway {
    /// Binds the address and starts the workers. When it returns, connections are accepted.
    ///
    /// # Errors
    /// [`GatewayError`]; nothing is left running then.
    pub fn start(config: GatewayConfig, deps: GatewayDeps) -> Result<GatewayHandle, GatewayError> {
        config.check()?;
        let config = Arc::new(fit_to_process(config));
        let n_workers = match config.n_workers {
            0 => std::thread::available_parallelism().map_or(1, NonZero::get),
            n_workers => n_workers,
        };
        let runtimes = (0..n_workers)
            .map(|_| event_loop(&config))
            .collect::<io::Result<Vec<_>>>()
            .map_err(GatewayError::Worker)?;
        let handles: Vec<_> = runtimes.iter().map(Runtime::handle).collect();
        let (local_addr, listeners) = listen::open(config.address, config.backlog, &handles)
            .map_err(|source| GatewayError::Listen {
                address: config.address,
                source,
            })?;

        let (phase, _) = watch::channel(Phase::Serving);
        let mut gateway = GatewayHandle {
            local_addr,
            stats: Arc::default(),
            phase,
            workers: Vec::with_capacity(n_workers),
        };
        for (index, (runtime, listener)) in runtimes.into_iter().zip(listeners).enumerate() {
            let worker = Worker::new(
                Arc::clone(&config),
                Arc::clone(&deps.catalog),
                Arc::clone(&deps.invoker),
                Arc::clone(&gateway.stats),
            );
            let running = worker.run(listener, gateway.phase.subscribe());
            let (ended, has_ended) = oneshot::channel();
            let thread = std::thread::Builder::new()
                .name(format!("gateway-{index}"))
                .spawn(move || {
                    let n_cut = runtime.block_on(running);
                    // Drops what is left: a caller of it sees the connection end, an invocation its end.
                    runtime.shutdown_background();
                    // Nobody listens where the handle was dropped.
                    let _ = ended.send(n_cut);
                })
                .map_err(GatewayError::Worker)?;
            gateway.workers.push((thread, has_ended));
        }
        Ok(gateway)
    }
}

/// A running gateway. Dropping it ends it at once, in-flight invocations included.
pub struct GatewayHandle {
    local_addr: SocketAddr,
    stats: Arc<GatewayStats>,
    phase: watch::Sender<Phase>,
    workers: Vec<(JoinHandle<()>, oneshot::Receiver<usize>)>,
}

impl GatewayHandle {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What it counts.
    pub fn stats(&self) -> &Arc<GatewayStats> {
        &self.stats
    }

    /// Stops accepting, lets what is in flight end (`connection: close`, GOAWAY), and after `grace` cuts
    /// the rest. Returns how many connections were cut. From any runtime. Dropping the future cuts at
    /// once.
    pub async fn shutdown(mut self, grace: Duration) -> usize {
        self.phase
            .send_replace(Phase::Draining(Instant::now() + grace));
        let mut n_cut = 0;
        for (thread, has_ended) in self.workers.drain(..) {
            // An error means that the worker panicked, which dropped its connections.
            n_cut += has_ended.await.unwrap_or(0);
            if thread.join().is_err() {
                tracing::error!("a gateway worker had panicked");
            }
        }
        n_cut
    }
}

impl Drop for GatewayHandle {
    fn drop(&mut self) {
        if !self.workers.is_empty() {
            self.phase.send_replace(Phase::Draining(Instant::now()));
        }
    }
}

fn event_loop(config: &GatewayConfig) -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(config.event_loop.event_interval)
        .global_queue_interval(config.event_loop.global_queue_interval)
        .max_blocking_threads(config.event_loop.n_blocking_threads_max)
        .thread_name("gateway-blocking")
        .build()
}

/// Lowers the number of connections to what the limit of open files leaves room for: a refusal that says
/// why is better than running out.
fn fit_to_process(mut config: GatewayConfig) -> GatewayConfig {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let Some(n_files_max) = limit else {
        return config;
    };
    // At least half stays for connections where the limit is tiny.
    let room = n_files_max
        .saturating_sub(N_FILES_RESERVED)
        .max(n_files_max / 2)
        .max(1);
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if config.n_connections_max > room {
        tracing::warn!(
            n_connections_max = config.n_connections_max,
            lowered_to = room,
            n_files_max,
            "fewer connections than configured: raise the limit of open files (ulimit -n)"
        );
        config.n_connections_max = room;
    }
    config
}
