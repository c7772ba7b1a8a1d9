//! hyper alone on one thread: the floor under every other server here, and the front of those that have
//! an engine but no gateway.

use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use model::Failure;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{internal, tell};

/// As `gateway.backlog` by default.
const BACKLOG: u32 = 1024;

/// As `gateway.buffer_bytes_max` by default.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Answers every request with one byte.
pub(super) fn run() -> Result<(), Failure> {
    serve(|_| async { Response::new(Full::new(Bytes::from_static(b"1"))) })
}

/// Serves on a free port of the loopback interface with the listener, socket and connection settings of
/// the gateway; the event loop has tokio's own, which are the faster ones for answers this short.
pub(super) fn serve<H, F, B>(handle: H) -> Result<(), Failure>
where
    H: Fn(Request<Incoming>) -> F + Clone + 'static,
    F: Future<Output = Response<B>> + 'static,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let runtime = event_loop()?;
    tokio::task::LocalSet::new().block_on(&runtime, accept(handle))
}

/// One thread's event loop.
pub(super) fn event_loop() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| internal("an event loop", &error))
}

async fn accept<H, F, B>(handle: H) -> Result<(), Failure>
where
    H: Fn(Request<Incoming>) -> F + Clone + 'static,
    F: Future<Output = Response<B>> + 'static,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = listen().map_err(|error| internal("a listener", &error))?;
    let address = listener
        .local_addr()
        .map_err(|error| internal("a listener", &error))?;
    tell(address, None)?;
    loop {
        let (stream, _) = listener
            .accept()
            .await
            .map_err(|error| internal("accepting", &error))?;
        tokio::task::spawn_local(connection(stream, handle.clone()));
    }
}

fn listen() -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    socket.set_reuseport(true)?;
    socket.listen(BACKLOG)
}

async fn connection<H, F, B>(stream: TcpStream, handle: H)
where
    H: Fn(Request<Incoming>) -> F + 'static,
    F: Future<Output = Response<B>> + 'static,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let response = handle(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    // How a connection ends is the load generator's to judge: it reads every answer whole.
    let _ = http1::Builder::new()
        .header_read_timeout(None)
        .half_close(false)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
