//! From an accepted socket to a running server: finds out the protocol and puts the parts together.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::BytesMut;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::state::ConnectionState;
use super::streams::StreamExecutor;
use super::supervise::{End, Server, supervise};
use crate::guard::{GuardedIo, Protocol, Transport};
use crate::request;
use crate::response_body::ResponseBody;
use crate::worker::Worker;

/// How an HTTP/2 connection begins (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves one connection to its end.
pub(crate) async fn serve(worker: Arc<Worker>, stream: TcpStream, state: Arc<ConnectionState>) {
    // Answers are written whole; waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    let mut stream = stream;
    let end = match sniff(&mut stream, &state).await {
        Ok(Some((Sniffed::Http1, bytes))) => serve_http1(worker, stream, bytes, state).await,
        Ok(Some((Sniffed::Http2, bytes))) => serve_http2(worker, stream, bytes, state).await,
        Ok(None) => End::Idle,
        Err(_) => End::Closed,
    };
    tracing::trace!(?end, "connection ended");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sniffed {
    Http1,
    Http2,
}

/// Reads until the protocol shows. `None` where nothing came in time, or nothing at all.
async fn sniff(
    stream: &mut TcpStream,
    state: &ConnectionState,
) -> io::Result<Option<(Sniffed, BytesMut)>> {
    let mut bytes = BytesMut::with_capacity(1024);
    let read = async {
        loop {
            let n_compared = bytes.len().min(HTTP2_PREFACE.len());
            if bytes[..n_compared] != HTTP2_PREFACE[..n_compared] {
                return Ok(Some(Sniffed::Http1));
            }
            if n_compared == HTTP2_PREFACE.len() {
                return Ok(Some(Sniffed::Http2));
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return io::Result::Ok(None);
            }
        }
    };
    tokio::select! {
        biased;
        sniffed = read => Ok(sniffed?.map(|sniffed| (sniffed, bytes))),
        () = tokio::time::sleep(state.timeouts().head) => Ok(None),
        () = state.draining() => Ok(None),
    }
}

async fn serve_http1(
    worker: Arc<Worker>,
    stream: TcpStream,
    sniffed: BytesMut,
    state: Arc<ConnectionState>,
) -> End {
    let config = &worker.config;
    let protocol = Protocol::Http1(config.framer_limits());
    let io = GuardedIo::new(
        stream,
        protocol,
        sniffed,
        config.linger_bytes_max,
        Arc::clone(&state),
    );
    let server = http1_server(&worker, io, &state);
    let first_request = state.timeouts().head;
    supervise(server, state, first_request).await
}

/// The HTTP/1 server on a guarded stream.
fn http1_server<S: Transport>(
    worker: &Arc<Worker>,
    io: GuardedIo<S>,
    state: &Arc<ConnectionState>,
) -> impl Server + use<S> {
    let config = &worker.config;
    let mut builder = http1::Builder::new();
    builder
        // The guard and the supervisor have the timers: they know a slow head from an idle connection.
        .header_read_timeout(None)
        .half_close(false)
        .max_buf_size(config.buffer_bytes_max.max(config.head_bytes_max + 1));
    // Above this hyper takes the header table from the heap; up to it, from the stack.
    if config.n_headers_max > 100 {
        builder.max_headers(config.n_headers_max);
    }
    let service = {
        let worker = Arc::clone(worker);
        let state = Arc::clone(state);
        service_fn(move |request| {
            let (index, in_flight) = state.begin_request();
            request::handle(Arc::clone(&worker), in_flight, index, None, request)
        })
    };
    builder.serve_connection(io, service)
}

async fn serve_http2(
    worker: Arc<Worker>,
    stream: TcpStream,
    sniffed: BytesMut,
    state: Arc<ConnectionState>,
) -> End {
    let config = &worker.config;
    let linger = config.linger_bytes_max;
    let io = GuardedIo::new(stream, Protocol::Http2, sniffed, linger, Arc::clone(&state));
    let executor = StreamExecutor::new(state.timeouts().write);
    let http2 = &config.http2;
    let mut builder = http2::Builder::new(executor.clone());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(http2.n_streams_max)
        .max_header_list_size(u32::try_from(config.head_bytes_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(http2.n_pending_resets_max)
        .max_local_error_reset_streams(http2.n_error_resets_max)
        .initial_stream_window_size(http2.stream_window_bytes)
        .initial_connection_window_size(http2.connection_window_bytes)
        .max_send_buf_size(http2.send_buffer_bytes_max)
        .keep_alive_interval(std::time::Duration::from_millis(
            http2.keep_alive_interval_ms,
        ))
        .keep_alive_timeout(std::time::Duration::from_millis(
            http2.keep_alive_timeout_ms,
        ));
    let service = {
        let worker = Arc::clone(&worker);
        let state = Arc::clone(&state);
        service_fn(move |request| {
            let (index, in_flight) = state.begin_request();
            let progress = executor.open();
            request::handle(
                Arc::clone(&worker),
                in_flight,
                index,
                Some(progress),
                request,
            )
        })
    };
    let server = builder.serve_connection(io, service);
    let first_request = state.timeouts().idle;
    supervise(server, state, first_request).await
}

impl<S, V> Server for http1::Connection<GuardedIo<S>, V>
where
    S: Transport,
    V: hyper::service::HttpService<hyper::body::Incoming, ResBody = ResponseBody>,
    V::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S, V, E> Server for http2::Connection<GuardedIo<S>, V, E>
where
    S: Transport,
    V: hyper::service::HttpService<hyper::body::Incoming, ResBody = ResponseBody>,
    V::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: hyper::rt::bounds::Http2ServerConnExec<V::Future, ResponseBody>,
{
    fn end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
