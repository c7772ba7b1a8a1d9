//! The one unsafe place of the gateway: reading from a socket straight into the HTTP server's buffer, and
//! looking at what came before the server may have it. Doing this safely costs a copy of every body.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, ReadBuf};

/// Reads once into the free part of `cursor` and shows `judge` the bytes that came. As many of them as it
/// returns become part of the buffer; the rest is as if never read, so `judge` keeps a copy of what it
/// still needs. Gives the number of bytes read: 0 at the end of the stream.
pub(super) fn poll_read_judged<S: AsyncRead + Unpin>(
    stream: &mut S,
    context: &mut Context<'_>,
    cursor: &mut ReadBufCursor<'_>,
    judge: impl FnOnce(&[u8]) -> usize,
) -> Poll<io::Result<usize>> {
    // SAFETY: the slice is written through tokio's `ReadBuf` alone, which puts initialised bytes there and
    // never un-initialises any.
    let mut buffer = ReadBuf::uninit(unsafe { cursor.as_mut() });
    ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
    let n_read = buffer.filled().len();
    let n_pass = judge(buffer.filled());
    assert!(n_pass <= n_read, "only bytes that came can pass");
    // SAFETY: the first `n_read` bytes of the free part were filled above, and `n_pass` is no more.
    unsafe { cursor.advance(n_pass) };
    Poll::Ready(Ok(n_read))
}
