//! The bodies of an invocation, wrapped: counted, limited, and on the way out also timed and settled.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use model::{Code, Failure};
use runtime::{Body, InvocationContext};
use tokio::time::Instant;

use crate::deadline::LazyTimer;
use crate::flight::Flight;

/// Wraps a request body; an empty one stays as it is.
pub(crate) fn request_body(body: Body, context: &Arc<InvocationContext>) -> Body {
    match body {
        Body::Empty => Body::Empty,
        body => Body::stream(RequestBody {
            body,
            context: Arc::clone(context),
            n_bytes: 0,
        }),
    }
}

/// A request body that counts, and ends in an error at the function's limit.
struct RequestBody {
    body: Body,
    context: Arc<InvocationContext>,
    n_bytes: u64,
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = self.get_mut();
        let frame = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(failure))) => return this.fail(failure),
            other => return other,
        };
        if let Some(data) = frame.data_ref() {
            this.n_bytes += data.len() as u64;
            let bytes_max = this.context.version.config.limits.body_bytes_max;
            if this.n_bytes > bytes_max {
                return this.fail(request_too_large(bytes_max));
            }
            let meter = &this.context.meter;
            meter.bytes_in.store(this.n_bytes, Ordering::Relaxed);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl RequestBody {
    fn fail(&mut self, failure: Failure) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        // The first failure is the one that counts; what follows it is silence.
        self.body = Body::Empty;
        let _ = self.context.caller_failure.set(failure.clone());
        Poll::Ready(Some(Err(failure)))
    }
}

/// The failure of a request body above `bytes_max`.
pub(crate) fn request_too_large(bytes_max: u64) -> Failure {
    Failure::new(
        Code::BodyTooLarge,
        format!("the request body is larger than {bytes_max} bytes"),
    )
    .with_limit(
        "limits.body",
        format!("{bytes_max} bytes"),
        "`body` under [limits] in holm.toml",
    )
}

fn response_too_large(bytes_max: u64) -> Failure {
    Failure::new(
        Code::ResponseTooLarge,
        format!("the response body is larger than {bytes_max} bytes"),
    )
    .with_limit(
        "limits.body",
        format!("{bytes_max} bytes"),
        "`body` under [limits] in holm.toml",
    )
}

/// The failure of an invocation that ran until its timeout.
pub(crate) fn timed_out(context: &InvocationContext) -> Failure {
    let limit_ms = context.version.config.limits.timeout_ms;
    Failure::new(
        Code::DeadlineExceeded,
        format!("the function did not finish within {limit_ms} ms"),
    )
    .with_limit(
        "limits.timeout",
        format!("{limit_ms} ms"),
        "`timeout` under [limits] in holm.toml",
    )
}

/// Wraps the reply of a flight. A finished reply settles here and now and is passed on bare.
pub(crate) fn reply_body(
    body: Body,
    mut flight: Flight,
    timeout_at: Instant,
) -> Result<Body, Failure> {
    let bytes_max = flight.context.version.config.limits.body_bytes_max;
    if let Body::Empty | Body::Full(_) = body {
        let n_bytes = body.size_hint().exact().unwrap_or(0);
        if n_bytes > bytes_max {
            let failure = response_too_large(bytes_max);
            flight.fail(&failure);
            return Err(failure);
        }
        flight
            .context
            .meter
            .bytes_out
            .store(n_bytes, Ordering::Relaxed);
        flight.settle_with_head();
        return Ok(body);
    }
    Ok(Body::stream(ReplyBody {
        body,
        flight,
        timer: LazyTimer::new(timeout_at),
        n_bytes: 0,
        bytes_max,
    }))
}

/// A streaming reply. Settles before it hands on its last frame, so that whoever read the whole answer
/// finds the receipt.
struct ReplyBody {
    body: Body,
    flight: Flight,
    timer: LazyTimer,
    n_bytes: u64,
    bytes_max: u64,
}

impl http_body::Body for ReplyBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = self.get_mut();
        if this.timer.has_fired(cx) {
            return this.fail(timed_out(&this.flight.context));
        }
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => this.hand_on(frame),
            Poll::Ready(Some(Err(failure))) => this.fail(failure),
            Poll::Ready(None) => {
                this.flight.settle();
                Poll::Ready(None)
            }
            Poll::Pending => match this.timer.poll(cx) {
                Poll::Ready(()) => this.fail(timed_out(&this.flight.context)),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl ReplyBody {
    fn hand_on(&mut self, frame: Frame<Bytes>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if let Some(data) = frame.data_ref() {
            self.n_bytes += data.len() as u64;
            if self.n_bytes > self.bytes_max {
                return self.fail(response_too_large(self.bytes_max));
            }
            let meter = &self.flight.context.meter;
            meter.bytes_out.store(self.n_bytes, Ordering::Relaxed);
        }
        if self.body.is_end_stream() {
            self.flight.settle();
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn fail(&mut self, failure: Failure) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        // The guest is gone before anyone hears of the failure.
        self.body = Body::Empty;
        self.flight.fail(&failure);
        Poll::Ready(Some(Err(failure)))
    }
}
