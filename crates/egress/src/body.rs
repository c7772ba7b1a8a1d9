//! The response body on its way to the guest: streams, holds the connection's place, and ends it when it
//! stands still too long or is dropped.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep};

use crate::client::protocol_error;
use crate::error::{EgressError, Stage};
use crate::gate::Pass;

/// The task that drives one connection, and its place in the gate. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    pub(crate) task: AbortHandle,
    pub(crate) _pass: Pass,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A response body. At most the connection's buffer is in memory; the server is held back while nobody
/// polls. Dropping it closes the connection.
#[derive(Debug)]
pub struct ResponseBody {
    inner: Incoming,
    connection: Option<OpenConnection>,
    between_bytes_timeout: Duration,
    /// Armed while a poll is waiting: time during which the guest does not read is the guest's.
    timer: Option<Pin<Box<Sleep>>>,
}

impl ResponseBody {
    pub(crate) fn new(
        inner: Incoming,
        connection: OpenConnection,
        between_bytes_timeout: Duration,
    ) -> Self {
        let connection = (!inner.is_end_stream()).then_some(connection);
        Self {
            inner,
            connection,
            between_bytes_timeout,
            timer: None,
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.between_bytes_timeout;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        timer.as_mut().poll(cx)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = EgressError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        let this = self.get_mut();
        if this.connection.is_none() {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.timer = None;
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.connection = None;
                Poll::Ready(Some(Err(protocol_error(error))))
            }
            Poll::Ready(None) => {
                this.connection = None;
                Poll::Ready(None)
            }
            Poll::Pending => {
                std::task::ready!(this.poll_timer(cx));
                this.connection = None;
                Poll::Ready(Some(Err(EgressError::Timeout {
                    stage: Stage::BetweenBytes,
                    limit: this.between_bytes_timeout,
                })))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none() || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
