//! Answers that wait for the end of the event loop's turn. A busy worker finds many connections ready at
//! once; running all their requests first and sending all answers then keeps the processor's caches on one
//! thing at a time, which is worth more than the copy of a short answer (docs/decisions/0006).
//!
//! Refuses to know sockets: who owns the outbox writes it.

use std::io::IoSlice;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};

/// What one connection may have waiting. Longer pieces are sent at once: copying them costs more than
/// waiting brings.
const WAITING_BYTES_MAX: usize = 16 * 1024;

/// The waiting bytes of one connection.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: BytesMut,
    /// Everybody has had a turn since the first of them came.
    is_due: bool,
}

impl Outbox {
    /// Takes all of `slices`, or nothing of them; returns how many bytes it took.
    pub(super) fn take(&mut self, slices: &[IoSlice<'_>]) -> usize {
        let n_bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        if self.bytes.len() + n_bytes > WAITING_BYTES_MAX {
            return 0;
        }
        self.bytes.reserve(n_bytes);
        for slice in slices {
            self.bytes.extend_from_slice(slice);
        }
        n_bytes
    }

    /// What waits.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.bytes
    }

    /// Pending once, and ready when the task is polled again, which is after all those that are ready now.
    pub(super) fn poll_due(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_due || self.bytes.is_empty() {
            return Poll::Ready(());
        }
        self.is_due = true;
        // Its first poll asks for another one at the end of the turn.
        pin!(tokio::task::yield_now()).poll(context)
    }

    /// The first `n_bytes` are on their way.
    pub(super) fn sent(&mut self, n_bytes: usize) {
        self.bytes.advance(n_bytes);
        if self.bytes.is_empty() {
            // What a connection keeps while it is idle should be little.
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_due(outbox: &mut Outbox) -> bool {
        let mut context = Context::from_waker(std::task::Waker::noop());
        outbox.poll_due(&mut context).is_ready()
    }

    #[test]
    fn bytes_wait_for_one_turn_and_keep_their_order() {
        let mut outbox = Outbox::default();
        assert!(is_due(&mut outbox), "nothing waits");
        assert_eq!(outbox.take(&[IoSlice::new(b"ab"), IoSlice::new(b"c")]), 3);
        assert!(!is_due(&mut outbox));
        assert_eq!(outbox.take(&[IoSlice::new(b"d")]), 1);
        assert!(is_due(&mut outbox), "the second poll is the next turn");
        assert_eq!(outbox.waiting(), b"abcd");
        outbox.sent(3);
        assert!(is_due(&mut outbox), "what is left is due still");
        assert_eq!(outbox.waiting(), b"d");
        outbox.sent(1);
        assert_eq!(outbox.take(&[IoSlice::new(b"e")]), 1);
        assert!(
            !is_due(&mut outbox),
            "the next answer waits for its own turn"
        );
    }

    #[test]
    fn long_pieces_are_not_taken() {
        let mut outbox = Outbox::default();
        let long = vec![0; WAITING_BYTES_MAX];
        assert_eq!(outbox.take(&[IoSlice::new(&long), IoSlice::new(b"a")]), 0);
        assert!(outbox.waiting().is_empty());
        assert_eq!(outbox.take(&[IoSlice::new(&long)]), WAITING_BYTES_MAX);
        assert_eq!(outbox.take(&[IoSlice::new(b"a")]), 0);
    }
}
