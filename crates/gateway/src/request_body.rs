//! A request's body on its way from hyper to a function: errors become failures, waiting has a limit.

use std::error::Error;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use model::{Code, Failure};
use runtime::Body;
use tokio::time::{Instant, Sleep, sleep};

use crate::connection::state::{ConnectionState, RefusedPart};
use crate::headers::clean_trailers;

/// Wraps a body; one without bytes stays a plain value.
pub(crate) fn wrap(incoming: Incoming, connection: &Arc<ConnectionState>, request: u64) -> Body {
    if incoming.is_end_stream() {
        connection.set_unread_body(false);
        return Body::Empty;
    }
    connection.set_unread_body(true);
    Body::stream(RequestBody {
        incoming,
        connection: Arc::clone(connection),
        request,
        timer: None,
        is_waiting: false,
    })
}

struct RequestBody {
    incoming: Incoming,
    connection: Arc<ConnectionState>,
    /// The request's index on its connection.
    request: u64,
    /// Made at the first wait and moved at every later one.
    timer: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.incoming).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                this.is_waiting = false;
                if this.incoming.is_end_stream() {
                    this.connection.set_unread_body(false);
                }
                Poll::Ready(Some(Ok(clean(frame))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(this.failure(&error)))),
            Poll::Ready(None) => {
                this.connection.set_unread_body(false);
                Poll::Ready(None)
            }
            Poll::Pending => this.poll_wait(context).map(|failure| Some(Err(failure))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl RequestBody {
    fn poll_wait(&mut self, context: &mut Context<'_>) -> Poll<Failure> {
        let limit = self.connection.timeouts().body_idle;
        let timer = self.timer.get_or_insert_with(|| {
            self.is_waiting = true;
            Box::pin(sleep(limit))
        });
        if !self.is_waiting {
            self.is_waiting = true;
            timer.as_mut().reset(Instant::now() + limit);
        }
        timer.as_mut().poll(context).map(|()| {
            let detail = "the request's body stopped arriving";
            Failure::new(Code::RequestTimeout, detail).with_limit(
                "gateway.body_idle_timeout_ms",
                format!("{} ms", limit.as_millis()),
                "`body_idle_timeout_ms` under [gateway] in the node's configuration",
            )
        })
    }

    fn failure(&self, error: &hyper::Error) -> Failure {
        if let Some((RefusedPart::Body, refusal)) = self.connection.refusal(self.request) {
            return refusal.to_failure();
        }
        if is_malformed(error) {
            return Failure::new(Code::BodyMalformed, "the request's body is malformed");
        }
        Failure::new(
            Code::CallerGone,
            "the caller went away before the request's body ended",
        )
    }
}

fn clean(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            clean_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// Whether the caller sent something wrong, rather than nothing any more.
fn is_malformed(error: &hyper::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<h2::Error>() {
            // What we found wrong in HTTP/2, such as a length that does not hold; not the caller's reset.
            return error.is_library();
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            );
        }
        source = cause.source();
    }
    false
}
