//! Driving a guest through one invocation. There is no task: the guest advances when the caller polls
//! [`Run`], first for the response's head, then as the response's body, and stops when that is dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{Response, StatusCode};
use http_body::{Frame, SizeHint};
use model::{Code, Failure};
use runtime::{Body, InvocationContext};

use crate::exchange::GuestBodySource;
use crate::head;
use crate::host::SandboxShared;

/// The future of one run of a guest; ends with what came of it. It owns the store, and puts a guest
/// that may serve again back into its sandbox before it ends.
pub(crate) type GuestFuture = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// A running guest.
pub(crate) struct Run {
    future: Option<GuestFuture>,
    result: Option<Result<(), Failure>>,
    shared: Arc<SandboxShared>,
    context: Arc<InvocationContext>,
}

impl Run {
    pub(crate) fn new(
        future: GuestFuture,
        shared: Arc<SandboxShared>,
        context: Arc<InvocationContext>,
    ) -> Self {
        Self {
            future: Some(future),
            result: None,
            shared,
            context,
        }
    }

    /// Lets the guest run until it waits for something or ends.
    fn poll_guest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(future) = &mut self.future else {
            return Poll::Ready(());
        };
        let (poll, cpu_ns) = self.shared.poll_guest(|| future.as_mut().poll(cx));
        self.context.meter.add_cpu_ns(cpu_ns);
        let result = ready!(poll);
        self.result = Some(result);
        self.future = None;
        Poll::Ready(())
    }

    fn is_done(&self) -> bool {
        self.future.is_none()
    }

    /// Lets the guest run until the head is there, or it ended without one.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Parts, Failure>> {
        let is_done = self.poll_guest(cx).is_ready();
        if let Some(head) = self.shared.exchange.lock().take_head() {
            return Poll::Ready(head.and_then(head::check));
        }
        if !is_done {
            return Poll::Pending;
        }
        Poll::Ready(Err(match self.result.take() {
            Some(Err(failure)) => failure,
            _ => no_response(),
        }))
    }

    /// Makes the response from its head and the rest of the run.
    pub(crate) async fn into_response(
        self,
        head: Parts,
        is_head_request: bool,
    ) -> Result<Response<Body>, Failure> {
        let length = head::declared_length(&head)?;
        let status = head.status;
        let has_no_body = is_head_request
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED
            || status == StatusCode::RESET_CONTENT;
        let mut body = GuestBody::new(self, length);
        if has_no_body {
            // Nothing would poll such a body: run the guest to its end here, without its output.
            body.length = None;
            std::future::poll_fn(|cx| body.poll_drain(cx)).await?;
            return Ok(Response::from_parts(head, Body::Empty));
        }
        // The common answer is complete by now: it needs no stream.
        let body = match body.take_if_complete()? {
            Ok(bytes) => Body::from(bytes),
            Err(body) => Body::stream(body),
        };
        Ok(Response::from_parts(head, body))
    }
}

/// The guest has ended and said nothing.
pub(crate) fn no_response() -> Failure {
    Failure::new(
        Code::NoResponse,
        "the function ended without giving a response",
    )
}

/// Polls outside of tokio's cooperative budget: a task that has used its budget up would be told that
/// nothing is there, and what a finished guest left in its channel would be lost.
fn poll_source(
    source: &mut GuestBodySource,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
    let poll = std::future::poll_fn(|cx| source.as_mut().poll_frame(cx));
    Pin::new(&mut tokio::task::unconstrained(poll)).poll(cx)
}

fn wrong_length(declared: u64, sent: u64, word: &str) -> Failure {
    Failure::new(
        Code::BadResponse,
        format!(
            "the function declared a content-length of {declared} and sent {word} {sent} bytes"
        ),
    )
}

/// The response body: hands out what the guest writes and drives the guest on.
struct GuestBody {
    run: Run,
    source: Option<GuestBodySource>,
    source_ended: bool,
    is_relay: bool,
    /// What the guest declared.
    length: Option<u64>,
    n_sent: u64,
    /// The piece that completes a declared length: HTTP servers stop polling once they have it, so it is
    /// held back until the guest has ended, too.
    held: Option<Bytes>,
    ended: bool,
}

impl GuestBody {
    fn new(run: Run, length: Option<u64>) -> Self {
        let mut exchange = run.shared.exchange.lock();
        let source = exchange.source.take();
        let is_relay = exchange.is_relay;
        drop(exchange);
        Self {
            is_relay,
            run,
            source_ended: source.is_none(),
            source,
            length,
            n_sent: 0,
            held: None,
            ended: false,
        }
    }

    /// The next piece as the guest wrote it, or the end of the run.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        loop {
            // The guest first: it runs ahead as far as the buffers allow, and its end is known with its
            // last piece.
            let is_done = self.run.poll_guest(cx).is_ready();
            if let Some(bytes) = self.run.shared.exchange.lock().pop() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if let Some(source) = &mut self.source {
                match poll_source(source, cx) {
                    Poll::Ready(Some(frame)) => return Poll::Ready(Some(frame)),
                    Poll::Ready(None) => {
                        self.source = None;
                        self.source_ended = true;
                    }
                    Poll::Pending if is_done && !self.is_relay => {
                        // Its writer is gone with the guest, so it has ended or will never.
                        self.source = None;
                        self.source_ended = true;
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
            if !is_done {
                return Poll::Pending;
            }
            if self.source_ended {
                return Poll::Ready(match self.run.result.take() {
                    Some(Err(failure)) => Some(Err(failure)),
                    _ => None,
                });
            }
        }
    }

    /// Checks a piece against the declared length and counts it.
    fn count(&mut self, n_bytes: usize) -> Result<(), Failure> {
        self.n_sent += n_bytes as u64;
        match self.length {
            Some(length) if self.n_sent > length => {
                Err(wrong_length(length, self.n_sent, "at least"))
            }
            _ => Ok(()),
        }
    }

    fn check_end(&self) -> Result<(), Failure> {
        match self.length {
            Some(length) if self.n_sent != length => Err(wrong_length(length, self.n_sent, "only")),
            _ => Ok(()),
        }
    }

    /// Runs the guest to its end and throws its output away.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            match ready!(self.poll_piece(cx)) {
                Some(Ok(_)) => {}
                Some(Err(failure)) => return Poll::Ready(Err(failure)),
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Gives the body whole where the guest has ended and it is small; else gives itself back.
    fn take_if_complete(mut self) -> Result<Result<Bytes, Self>, Failure> {
        if !self.run.is_done() || self.is_relay {
            return Ok(Err(self));
        }
        // With the guest gone nothing can be pending: no waker is needed.
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut first: Option<Bytes> = None;
        let mut joined = BytesMut::new();
        loop {
            match self.poll_piece(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(bytes) = frame.into_data() else {
                        continue;
                    };
                    self.count(bytes.len())?;
                    match first.take() {
                        None if joined.is_empty() => first = Some(bytes),
                        // Several pieces: few and bounded by the buffers they waited in.
                        before => {
                            joined.extend_from_slice(&before.unwrap_or_default());
                            joined.extend_from_slice(&bytes);
                        }
                    }
                }
                Poll::Ready(Some(Err(failure))) => return Err(failure),
                Poll::Ready(None) => break,
                Poll::Pending => unreachable!("the guest has ended"),
            }
        }
        self.check_end()?;
        Ok(Ok(first.unwrap_or_else(|| joined.freeze())))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            let piece = match ready!(self.poll_piece(cx)) {
                None => {
                    self.ended = true;
                    if let Err(failure) = self.check_end() {
                        return Poll::Ready(Some(Err(failure)));
                    }
                    return Poll::Ready(self.held.take().map(|bytes| Ok(Frame::data(bytes))));
                }
                Some(piece) => piece,
            };
            let bytes = match piece.map(Frame::into_data) {
                Ok(Ok(bytes)) => bytes,
                // Not before data that is held back; a declared length leaves no place for them.
                Ok(Err(_)) if self.length.is_some() => continue,
                Ok(Err(trailers)) => return Poll::Ready(Some(Ok(trailers))),
                Err(failure) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(failure)));
                }
            };
            if bytes.is_empty() {
                continue;
            }
            if let Err(failure) = self.count(bytes.len()) {
                self.ended = true;
                self.run.future = None;
                return Poll::Ready(Some(Err(failure)));
            }
            if Some(self.n_sent) == self.length {
                self.held = Some(bytes);
                continue;
            }
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
    }
}

impl http_body::Body for GuestBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.get_mut().poll_next(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            Some(length) => {
                let held = self.held.as_ref().map_or(0, |bytes| bytes.len() as u64);
                SizeHint::with_exact(length.saturating_sub(self.n_sent - held))
            }
            None => SizeHint::default(),
        }
    }
}
