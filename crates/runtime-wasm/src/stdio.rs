//! Standard output and error of WASI guests, as log lines.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use runtime::LogStream;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::exchange::CHUNK_BYTES_MAX;
use crate::host::SandboxShared;

/// A stream into the function's log. Never full: what exceeds the log's volume is dropped and counted
/// behind it.
#[derive(Clone)]
pub(crate) struct LogOut {
    shared: Arc<SandboxShared>,
    stream: LogStream,
}

impl LogOut {
    /// `stream` of the sandbox that has `shared`.
    pub(crate) fn new(shared: Arc<SandboxShared>, stream: LogStream) -> Self {
        Self { shared, stream }
    }

    fn log(&self, bytes: &[u8]) {
        self.shared.log.lock().push(self.stream, bytes);
    }
}

impl IsTerminal for LogOut {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogOut {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LogOut {
    async fn ready(&mut self) {}
}

impl OutputStream for LogOut {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.log(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK_BYTES_MAX)
    }
}

impl AsyncWrite for LogOut {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let piece = &bytes[..bytes.len().min(CHUNK_BYTES_MAX)];
        self.log(piece);
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
