//! The listener and its connections: HTTP/1.1 with named limits, and an orderly end.
//!
//! ```text
//! accepting --shutdown--> finishing (requests end, log followers are told) --grace--> gone
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::ControlConfig;
use crate::guard::Guard;
use crate::router::router;
use crate::state::{App, ControlDeps};

/// The most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The most headers of a request.
const N_HEADERS_MAX: usize = 100;

/// How long sent bytes may stay unacknowledged before the kernel gives a connection up: ends clients that
/// stopped reading.
const UNACKNOWLEDGED_MS_MAX: u32 = 60_000;

/// How long to wait after the system refused to accept (out of descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The admin server.
#[derive(Debug)]
pub struct Control;

/// Why the admin server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {cause}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
}

/// A running admin server. Dropping it lets the server run on.
#[derive(Debug)]
pub struct ControlHandle {
    local_addr: SocketAddr,
    /// No new connection, no new request; set before `dying`.
    stopping: CancellationToken,
    /// Whatever still runs is dropped.
    dying: CancellationToken,
    tasks: TaskTracker,
}

impl Control {
    /// Starts listening; the server runs on the calling task's runtime.
    ///
    /// # Errors
    /// [`ControlError::Bind`].
    pub async fn start(
        config: ControlConfig,
        deps: ControlDeps,
    ) -> Result<ControlHandle, ControlError> {
        let address = config.address;
        let bind_error = |cause| ControlError::Bind { address, cause };
        let listener = TcpListener::bind(address).await.map_err(bind_error)?;
        let local_addr = listener.local_addr().map_err(bind_error)?;
        let guard = Arc::new(Guard::new(deps.token.clone(), &config.hosts, local_addr));
        let app = Arc::new(App::new(config, deps, format!("http://{local_addr}")));
        let server = Server {
            router: router(Arc::clone(&app), guard),
            head_timeout: Duration::from_secs(app.config.head_timeout_s),
            connections: Arc::new(Semaphore::new(app.config.n_connections_max)),
            stopping: app.stopping.clone(),
            dying: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let handle = ControlHandle {
            local_addr,
            stopping: server.stopping.clone(),
            dying: server.dying.clone(),
            tasks: server.tasks.clone(),
        };
        handle.tasks.spawn(server.accept(listener));
        Ok(handle)
    }
}

impl ControlHandle {
    /// Where the server listens: with port 0 in the configuration, the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops: no new request is taken, running ones have `grace` to end. Returns when none is left.
    pub async fn shutdown(self, grace: Duration) {
        self.stopping.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait())
            .await
            .is_err()
        {
            self.dying.cancel();
            self.tasks.wait().await;
        }
    }
}

struct Server {
    router: Router,
    head_timeout: Duration,
    connections: Arc<Semaphore>,
    stopping: CancellationToken,
    dying: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    async fn accept(self, listener: TcpListener) {
        let stopping = self.stopping.clone();
        let accept_all = async {
            loop {
                let place = Arc::clone(&self.connections).acquire_owned().await;
                let place = place.expect("the semaphore is never closed");
                match listener.accept().await {
                    Ok((stream, peer)) => {
                        let connection = self.connection(stream, peer);
                        self.tasks.spawn(async move {
                            connection.await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the admin listener cannot accept");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = stopping.cancelled() => {}
            () = accept_all => {}
        }
    }

    /// Serves one connection to its end.
    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> impl Future<Output = ()> + Send + 'static {
        let _ = stream.set_nodelay(true);
        if let Err(error) =
            rustix::net::sockopt::set_tcp_user_timeout(&stream, UNACKNOWLEDGED_MS_MAX)
        {
            tracing::debug!(%error, "no user timeout on an admin connection");
        }
        let service = Service {
            router: TowerToHyperService::new(self.router.clone()),
            peer,
        };
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_timeout)
            .max_headers(N_HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX);
        let (stopping, dying) = (self.stopping.clone(), self.dying.clone());
        async move {
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                () = dying.cancelled() => return,
                ended = connection.as_mut() => ended,
                () = stopping.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        () = dying.cancelled() => return,
                        ended = connection.as_mut() => ended,
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, %peer, "an admin connection broke");
            }
        }
    }
}

/// The caller's address, in the extensions of every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

struct Service {
    router: TowerToHyperService<Router>,
    peer: SocketAddr,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = <TowerToHyperService<Router> as hyper::service::Service<Request<Body>>>::Future;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(self.peer));
        self.router.call(request)
    }
}
