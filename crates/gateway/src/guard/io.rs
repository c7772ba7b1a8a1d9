//! The guard as an IO object between a socket and hyper. Bytes that pass go straight into hyper's buffer;
//! only a head that arrives in pieces is held back here, at most `head_bytes_max` of it.
//!
//! Tells [`ConnectionState`] what it waits for; whoever supervises the connection owns the timers.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};
use model::Code;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::framer::{Framer, FramerLimits, Then};
use super::outbox::Outbox;
use super::raw::poll_read_judged;
use super::refusal::Refusal;
use crate::connection::state::{ConnectionState, RefusedPart};

/// How much is read at once where a head is held, or thrown away where a connection lingers.
const SCRATCH_BYTES: usize = 4096;

/// What hyper gets in the place of a head that must not reach it. `HEAD` stays `HEAD`, so that the answer
/// has no body where the caller expects none.
const HARMLESS: &[u8] = b"GET / HTTP/1.1\r\nhost: refused.invalid\r\n\r\n";
const HARMLESS_HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nhost: refused.invalid\r\n\r\n";

/// What a connection speaks.
pub(crate) enum Protocol {
    /// HTTP/1.0 or 1.1, guarded.
    Http1(FramerLimits),
    /// HTTP/2, which frames itself.
    Http2,
}

/// A byte stream that can be ended hard.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// Makes closing drop what is not sent yet and reset the connection, instead of leaving it to the
    /// kernel to deliver to a caller who does not read.
    fn reset_on_close(&self);
}

impl Transport for TcpStream {
    fn reset_on_close(&self) {
        // Where this fails the connection is gone already.
        let _ = self.set_zero_linger();
    }
}

/// A socket with a guard.
pub(crate) struct GuardedIo<S: Transport> {
    stream: S,
    framer: Option<Framer>,
    /// Bytes read and not yet passed on: `n_approved` that may pass, then the head that is held.
    held: BytesMut,
    n_approved: usize,
    reading: Reading,
    closing: Closing,
    linger_bytes_max: usize,
    /// HTTP/1 only: HTTP/2 gathers the frames of its streams itself.
    outbox: Outbox,
    state: Arc<ConnectionState>,
}

/// What reads give once nothing is approved any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// The socket's bytes, judged.
    Open,
    /// An error: the body under way is broken.
    BrokenBody,
    /// Nothing any more; the answer to what was refused is on its way.
    Ended,
}

/// How far closing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    NotYet,
    /// Our side is closed. What the caller still sends is read and dropped for a while: closing with
    /// unread bytes would reset the connection, and the caller might never see the answer.
    Lingering {
        n_bytes_left: usize,
    },
    Done,
}

impl<S: Transport> GuardedIo<S> {
    /// Guards `stream`, whose first bytes `sniffed` were read already.
    pub(crate) fn new(
        stream: S,
        protocol: Protocol,
        sniffed: BytesMut,
        linger_bytes_max: usize,
        state: Arc<ConnectionState>,
    ) -> Self {
        let mut io = Self {
            stream,
            framer: None,
            n_approved: 0,
            held: sniffed,
            reading: Reading::Open,
            closing: Closing::NotYet,
            linger_bytes_max,
            outbox: Outbox::default(),
            state,
        };
        match protocol {
            Protocol::Http2 => io.n_approved = io.held.len(),
            Protocol::Http1(limits) => {
                io.framer = Some(Framer::new(limits));
                io.judge_held();
            }
        }
        io
    }

    /// Judges what is held behind the approved bytes.
    fn judge_held(&mut self) {
        let Some(framer) = &mut self.framer else {
            self.n_approved = self.held.len();
            return;
        };
        if self.held.len() == self.n_approved {
            return;
        }
        let inspection = framer.inspect(&self.held[self.n_approved..]);
        self.n_approved += inspection.n_pass;
        if inspection.n_pass > 0 {
            self.state.head_arrived();
        }
        match inspection.then {
            Then::Nothing => {}
            Then::Hold => self.state.head_under_way(),
            Then::RefuseHead(refusal) => self.refuse_head(refusal),
            Then::RefuseBody(refusal) => self.refuse_body(refusal),
        }
    }

    /// Puts a harmless request in the place of the head behind the approved bytes.
    fn refuse_head(&mut self, refusal: Refusal) {
        let is_head = self.held[self.n_approved..].starts_with(b"HEAD ");
        let n_heads = self.framer.as_ref().map_or(0, Framer::n_heads);
        self.state.refuse(n_heads, RefusedPart::Head, refusal);
        self.held.truncate(self.n_approved);
        self.held
            .extend_from_slice(if is_head { HARMLESS_HEAD } else { HARMLESS });
        self.n_approved = self.held.len();
        self.reading = Reading::Ended;
    }

    fn refuse_body(&mut self, refusal: Refusal) {
        let n_heads = self.framer.as_ref().map_or(0, Framer::n_heads);
        self.state
            .refuse(n_heads.saturating_sub(1), RefusedPart::Body, refusal);
        self.held.truncate(self.n_approved);
        self.reading = Reading::BrokenBody;
    }

    /// The supervisor found that the head under way took too long.
    fn refuse_late_head(&mut self) {
        if let Some(framer) = &mut self.framer {
            framer.refuse();
        }
        let detail = "the request's head did not arrive in time";
        self.refuse_head(Refusal::new(Code::RequestTimeout, detail).with_limit(
            "head_timeout_ms",
            self.state.head_timeout_ms(),
            "ms",
        ));
    }

    fn poll_read_open(
        &mut self,
        context: &mut Context<'_>,
        cursor: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<usize>> {
        if !self.held.is_empty() {
            return self.poll_read_held(context);
        }
        let Self {
            stream,
            framer,
            held,
            ..
        } = self;
        let mut then = Then::Nothing;
        let n_read = ready!(poll_read_judged(stream, context, cursor, |bytes| {
            let Some(framer) = framer else {
                return bytes.len();
            };
            let inspection = framer.inspect(bytes);
            if inspection.then != Then::Nothing {
                held.extend_from_slice(&bytes[inspection.n_pass..]);
            }
            then = inspection.then;
            inspection.n_pass
        }))?;
        match then {
            Then::Nothing => {}
            Then::Hold => self.state.head_under_way(),
            Then::RefuseHead(refusal) => self.refuse_head(refusal),
            Then::RefuseBody(refusal) => self.refuse_body(refusal),
        }
        Poll::Ready(Ok(n_read))
    }

    fn poll_read_held(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut scratch = [0; SCRATCH_BYTES];
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        let n_read = buffer.filled().len();
        self.held.extend_from_slice(buffer.filled());
        if n_read > 0 {
            self.judge_held();
        }
        Poll::Ready(Ok(n_read))
    }

    /// Sends what waits, now.
    fn poll_empty_outbox(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbox.waiting().is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(context, self.outbox.waiting());
            self.state.note_write(&written);
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n_bytes => self.outbox.sent(n_bytes),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; SCRATCH_BYTES];
        while let Closing::Lingering { n_bytes_left } = &mut self.closing {
            let mut buffer = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            let n_read = buffer.filled().len();
            *n_bytes_left = n_bytes_left.saturating_sub(n_read);
            if n_read == 0 || *n_bytes_left == 0 {
                self.closing = Closing::Done;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the caller may still be sending something that nobody will read.
    fn expects_more(&self) -> bool {
        self.framer
            .as_ref()
            .is_some_and(|framer| !framer.is_between_bodies())
    }
}

impl<S: Transport> Drop for GuardedIo<S> {
    fn drop(&mut self) {
        if self.state.is_to_reset() {
            self.stream.reset_on_close();
        }
    }
}

impl<S: Transport> Read for GuardedIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if cursor.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let n_before = cursor.remaining();
        loop {
            if this.n_approved > 0 {
                let n_bytes = this.n_approved.min(cursor.remaining());
                cursor.put_slice(&this.held[..n_bytes]);
                this.held.advance(n_bytes);
                this.n_approved -= n_bytes;
                if this.held.is_empty() {
                    // What a connection keeps while it is idle should be little.
                    this.held = BytesMut::new();
                }
                return Poll::Ready(Ok(()));
            }
            match this.reading {
                Reading::Open => {}
                Reading::BrokenBody => {
                    this.reading = Reading::Ended;
                    let error = io::Error::new(io::ErrorKind::InvalidData, "broken body framing");
                    return Poll::Ready(Err(error));
                }
                // Not the end of the stream: hyper would take that for a caller who hung up, and drop
                // the answer that is being written. Nothing wakes this; writing goes on without it.
                Reading::Ended => return Poll::Pending,
            }
            match this.poll_read_open(context, &mut cursor) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) if cursor.remaining() < n_before => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if !this.held.is_empty() && this.state.take_late_head() => {
                    this.refuse_late_head();
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<S: Transport> Write for GuardedIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.framer.is_some() {
            let n_taken = this.outbox.take(slices);
            if n_taken > 0 {
                return Poll::Ready(Ok(n_taken));
            }
            ready!(this.poll_empty_outbox(context))?;
        }
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.state.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.outbox.poll_due(context));
        ready!(this.poll_empty_outbox(context))?;
        // The server's buffer is empty, too: nobody is blocked on writing any more.
        this.state.note_flushed();
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closing == Closing::NotYet {
            ready!(this.poll_empty_outbox(context))?;
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            if this.expects_more() {
                this.state.lingering();
                this.closing = Closing::Lingering {
                    n_bytes_left: this.linger_bytes_max,
                };
            } else {
                this.closing = Closing::Done;
            }
        }
        this.poll_linger(context)
    }
}
