//! A real hyper server in a thread, which counts what it was asked.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A real hyper server in a thread; dropped, it is gone.
pub struct HyperServer {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    n_body_bytes: AtomicU64,
    by_path: Mutex<BTreeMap<String, u64>>,
}

impl HyperServer {
    /// Answers everything with `body`.
    pub fn new(body: &str) -> Self {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let seen = Arc::new(Seen::default());
        let (stop, stopped) = oneshot::channel();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = seen.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, body, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            seen,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn n_requests(&self) -> u64 {
        self.counts().values().sum()
    }

    pub fn n_body_bytes(&self) -> u64 {
        self.seen.n_body_bytes.load(Ordering::SeqCst)
    }

    /// Requests by path.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.seen.by_path.lock().unwrap().clone()
    }
}

impl Drop for HyperServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

async fn accept(listener: TcpListener, body: Bytes, seen: Arc<Seen>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (body, seen) = (body.clone(), seen.clone());
        let service = service_fn(move |request| answer(request, body.clone(), seen.clone()));
        tokio::spawn(async move {
            // The generator hangs up when it is done: no error of the test.
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
                .ok();
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    body: Bytes,
    seen: Arc<Seen>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let n_body_bytes = request
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes()
        .len();
    seen.n_body_bytes
        .fetch_add(n_body_bytes as u64, Ordering::SeqCst);
    *seen.by_path.lock().unwrap().entry(path).or_default() += 1;
    Ok(Response::new(Full::new(body)))
}
