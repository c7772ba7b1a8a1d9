//! The standard streams of a CGI program: the request body in, head and body of the answer out.
//!
//! Guest and caller are polled by the same task, so a stream that waits needs no waker: the caller's next
//! poll comes when it wants more, and polls the guest first (`run`).

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use model::Failure;
use parking_lot::Mutex;
use runtime::Body;
use tokio::io::{AsyncRead, AsyncWrite};
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::head::HeadReader;
use crate::exchange::CHUNK_BYTES_MAX;
use crate::host::SandboxShared;

/// The request body as standard input. Read by whoever asks first; there is one reader.
pub(super) struct Stdin(Mutex<Option<Body>>);

impl Stdin {
    pub(super) fn new(body: Body) -> Self {
        Self(Mutex::new(Some(body)))
    }
}

impl IsTerminal for Stdin {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Stdin {
    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(BodyInput {
            body: self.0.lock().take().unwrap_or_default(),
            rest: Bytes::new(),
            end: None,
        })
    }

    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        // For WASI 0.3 only, which a CGI program does not speak.
        Box::new(tokio::io::empty())
    }
}

/// A body and the rest of its current piece.
struct BodyInput {
    body: Body,
    rest: Bytes,
    /// How reading ended; an error stays one.
    end: Option<Result<(), Failure>>,
}

#[wasmtime_wasi::async_trait]
impl Pollable for BodyInput {
    async fn ready(&mut self) {
        while self.rest.is_empty() && self.end.is_none() {
            if self.body.is_end_stream() {
                self.end = Some(Ok(()));
                break;
            }
            match self.body.frame().await {
                None => self.end = Some(Ok(())),
                // CGI has no trailers.
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                Some(Err(failure)) => self.end = Some(Err(failure)),
            }
        }
    }
}

impl InputStream for BodyInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if !self.rest.is_empty() {
            let length = self.rest.len().min(size);
            return Ok(self.rest.split_to(length));
        }
        match &self.end {
            None => Ok(Bytes::new()),
            Some(Ok(())) => Err(StreamError::Closed),
            // The program sees an input error; the invoker knows the failure from the body itself.
            Some(Err(failure)) => Err(StreamError::LastOperationFailed(wasmtime::Error::new(
                failure.clone(),
            ))),
        }
    }
}

/// How far the answer is.
pub(super) enum Output {
    /// The header block is being written.
    Head(HeadReader),
    /// The head is out.
    Body,
}

/// Standard output: head, then body. Cloned for every stream that the guest opens on it.
#[derive(Clone)]
pub(super) struct Stdout {
    pub(super) shared: Arc<SandboxShared>,
    pub(super) output: Arc<Mutex<Output>>,
}

impl IsTerminal for Stdout {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stdout {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // For WASI 0.3 only, which a CGI program does not speak.
        Box::new(tokio::io::sink())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stdout {
    async fn ready(&mut self) {
        std::future::poll_fn(|_| match self.shared.exchange.lock().has_room() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Stdout {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut output = self.output.lock();
        let mut exchange = self.shared.exchange.lock();
        let mut rest = &bytes[..];
        if let Output::Head(reader) = &mut *output {
            let read = reader.push(rest);
            let head = read.map_err(|failure| StreamError::Trap(wasmtime::Error::new(failure)))?;
            let Some((parts, n_used)) = head else {
                return Ok(());
            };
            exchange.head = Some(Ok(parts));
            *output = Output::Body;
            rest = &rest[n_used..];
        }
        if !rest.is_empty() {
            exchange.push(rest);
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(match self.shared.exchange.lock().has_room() {
            true => CHUNK_BYTES_MAX,
            false => 0,
        })
    }

    /// What is written need not be taken before the program goes on.
    async fn blocking_write_and_flush(&mut self, mut bytes: Bytes) -> StreamResult<()> {
        while !bytes.is_empty() {
            self.ready().await;
            let length = bytes.len().min(CHUNK_BYTES_MAX);
            self.write(bytes.split_to(length))?;
        }
        Ok(())
    }
}
