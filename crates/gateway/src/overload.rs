//! What a connection gets that cannot be served: a short answer instead of silence, at a bounded price.

use std::fs::File;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use model::{Code, Failure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::stats::GatewayStats;

/// Connections that are being refused at once on one worker; more are dropped without a word.
const N_REFUSING_MAX: usize = 64;
/// Connections shed in one go when descriptors are out.
const N_SHED_MAX: usize = 64;

/// Refuses connections.
pub(crate) struct Overload {
    answer: Bytes,
    linger: Duration,
    n_refusing: Arc<AtomicUsize>,
    /// Kept open to be closed when descriptors are out: what makes room to tell callers so.
    spare: Option<File>,
}

impl Overload {
    pub(crate) fn new(linger: Duration) -> Self {
        Self {
            answer: answer(),
            linger,
            n_refusing: Arc::default(),
            spare: open_spare(),
        }
    }

    /// Answers 503 and closes, in a task of its own.
    pub(crate) fn refuse(&self, stream: TcpStream) {
        if self.n_refusing.load(Relaxed) >= N_REFUSING_MAX {
            let _ = stream.try_write(&self.answer);
            return;
        }
        self.n_refusing.fetch_add(1, Relaxed);
        let answer = self.answer.clone();
        let n_refusing = Arc::clone(&self.n_refusing);
        let linger = self.linger;
        tokio::spawn(async move {
            // Nobody waits for the outcome.
            let _ = tokio::time::timeout(linger, write_and_linger(stream, &answer)).await;
            n_refusing.fetch_sub(1, Relaxed);
        });
    }

    /// Descriptors are out: takes what waits to be accepted, one at a time in the place of the spare
    /// descriptor, and answers 503. Each is counted before it is answered: whoever has seen the answer finds
    /// it in the figures. Returns how many connections went that way.
    pub(crate) fn shed(&mut self, listener: &TcpListener, stats: &GatewayStats) -> usize {
        let mut n_shed = 0;
        while n_shed < N_SHED_MAX && self.spare.take().is_some() {
            let mut context = Context::from_waker(Waker::noop());
            let accepted = std::pin::pin!(listener.accept()).poll(&mut context);
            let is_one = matches!(accepted, Poll::Ready(Ok(_)));
            if let Poll::Ready(Ok((stream, _))) = accepted {
                stats.refused();
                let _ = stream.try_write(&self.answer);
                n_shed += 1;
            }
            self.spare = open_spare();
            if !is_one {
                break;
            }
        }
        if self.spare.is_none() {
            self.spare = open_spare();
        }
        n_shed
    }
}

/// Where this fails, descriptors are out already: the next try may find one.
fn open_spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Reads what the caller sends until it closes: closing with unread bytes would reset the connection before
/// the caller reads the answer.
async fn write_and_linger(mut stream: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    stream.write_all(answer).await?;
    stream.shutdown().await?;
    let mut scratch = [0; 1024];
    while stream.read(&mut scratch).await? > 0 {}
    Ok(())
}

/// The whole answer, as HTTP/1.1 whatever the caller would have spoken.
fn answer() -> Bytes {
    let code = Code::NodeAtCapacity;
    let failure = Failure::new(code, "the node has no room for another connection");
    let body = serde_json::to_string(&failure.to_problem(None)).expect("a problem is plain data");
    let status = code.status();
    Bytes::from(format!(
        "HTTP/1.1 {status} Service Unavailable\r\ncontent-type: application/problem+json\r\n\
         holm-error: {code}\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}
