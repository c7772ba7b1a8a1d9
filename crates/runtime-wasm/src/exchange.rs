//! The way of a response from the guest to the caller. The guest runs inside the caller's poll, so both
//! ends are the same task: no wakers, only a bound on what is buffered.

use std::collections::VecDeque;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use model::Failure;

/// Pieces that a guest may have written and the caller not yet taken.
pub(crate) const CHUNKS_MAX: usize = 4;
/// The longest piece in bytes. With [`CHUNKS_MAX`] the bound on buffered output per invocation: 256 KiB.
pub(crate) const CHUNK_BYTES_MAX: usize = 64 << 10;
/// Writes shorter than this are joined, so that a guest that writes byte by byte costs no frame per byte.
/// WASI preview 1 hands every write over in pieces of 4 KiB.
const JOIN_BELOW_BYTES: usize = 8 << 10;

/// A response body that produces itself (`wasi:http` has its own channel).
pub(crate) type GuestBodySource =
    Pin<Box<dyn http_body::Body<Data = Bytes, Error = Failure> + Send + 'static>>;

/// What the guest has put out so far.
#[derive(Default)]
pub(crate) struct Exchange {
    /// The head, until the driver takes it; or why there will be none.
    pub(crate) head: Option<Result<Parts, Failure>>,
    /// The body, where the contract brings one of its own; else `chunks`.
    pub(crate) source: Option<GuestBodySource>,
    /// The source may be another body that the guest passes on: it goes on after the guest has ended.
    pub(crate) is_relay: bool,
    is_answered: bool,
    chunks: VecDeque<Bytes>,
    tail: BytesMut,
}

impl Exchange {
    /// Takes the head, once it is there.
    pub(crate) fn take_head(&mut self) -> Option<Result<Parts, Failure>> {
        let head = self.head.take();
        self.is_answered |= head.is_some();
        head
    }

    /// Whether there is or was a head.
    pub(crate) fn is_answered(&self) -> bool {
        self.is_answered || self.head.is_some()
    }

    /// Whether another piece may be written now.
    pub(crate) fn has_room(&self) -> bool {
        self.chunks.len() < CHUNKS_MAX && self.tail.len() < CHUNK_BYTES_MAX
    }

    /// Appends a piece of at most [`CHUNK_BYTES_MAX`] bytes. The caller asked [`Exchange::has_room`].
    pub(crate) fn push(&mut self, piece: &[u8]) {
        debug_assert!(piece.len() <= CHUNK_BYTES_MAX);
        let is_first = self.chunks.is_empty() && self.tail.is_empty();
        if is_first || piece.len() >= JOIN_BELOW_BYTES {
            self.flush_tail();
            self.chunks.push_back(Bytes::copy_from_slice(piece));
        } else {
            self.tail.extend_from_slice(piece);
        }
    }

    /// Takes the oldest piece.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        if self.chunks.is_empty() {
            self.flush_tail();
        }
        self.chunks.pop_front()
    }

    fn flush_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_small_writes_join_and_the_buffer_is_bounded() {
        let mut exchange = Exchange::default();
        let mut written = Vec::new();
        let mut read = Vec::new();
        let mut n_pieces = 0;
        for round in 0..2000_u32 {
            let piece = vec![round as u8; (round as usize * 37) % 9000];
            while !piece.is_empty() && !exchange.has_room() {
                read.extend_from_slice(&exchange.pop().expect("it is full"));
                n_pieces += 1;
            }
            if !piece.is_empty() {
                exchange.push(&piece);
                written.extend_from_slice(&piece);
            }
            assert!(exchange.chunks.len() <= CHUNKS_MAX + 1);
        }
        while let Some(piece) = exchange.pop() {
            read.extend_from_slice(&piece);
        }
        assert!(exchange.pop().is_none());
        assert!(written == read, "what was written is read, in order");
        assert!(n_pieces < 1900, "small writes were joined: {n_pieces}");
    }
}
