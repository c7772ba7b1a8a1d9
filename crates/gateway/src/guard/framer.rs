//! Follows the framing of one HTTP/1 connection over all its requests. Pure: bytes in, judgements out.
//!
//! ```text
//!            head complete, no body
//!            +--------------------+
//!            v                    |
//!   +-----> Head -----------------+
//!   |        |  \ bad head
//!   |        |   +------------------> Refused (nothing more is judged, nothing more passes)
//!   |        v                      ^
//!   +-- Fixed | Chunked ------------+ bad framing
//!      body complete
//! ```

use super::chunked::ChunkScan;
use super::head::{Framing, HeadScan};
use super::refusal::Refusal;

/// The limits of heads and of what frames bodies.
#[derive(Clone, Debug)]
pub(crate) struct FramerLimits {
    /// Bytes of a head, request line included.
    pub(crate) head_bytes_max: usize,
    /// Bytes of the request target.
    pub(crate) uri_bytes_max: usize,
    /// Header lines of a request; trailer lines of a body.
    pub(crate) n_headers_max: usize,
    /// Bytes of all chunk extensions of one body.
    pub(crate) chunk_extension_bytes_max: usize,
    /// Bytes of a body's trailers.
    pub(crate) trailer_bytes_max: usize,
}

/// What [`Framer::inspect`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inspection {
    /// This many bytes may pass.
    pub(super) n_pass: usize,
    /// What is with the bytes behind them.
    pub(super) then: Then,
}

/// What is with the bytes that do not pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// There are none.
    Nothing,
    /// They begin a head that is not complete: they are to be given again with more behind them.
    Hold,
    /// They begin a head that must not pass.
    RefuseHead(Refusal),
    /// The body that passed so far is broken.
    RefuseBody(Refusal),
}

#[derive(Debug)]
enum State {
    Head(HeadScan),
    Fixed { left: u64 },
    Chunked(ChunkScan),
    Refused,
}

/// Follows one connection.
#[derive(Debug)]
pub(super) struct Framer {
    limits: FramerLimits,
    state: State,
    n_heads: u64,
}

impl Framer {
    pub(super) fn new(limits: FramerLimits) -> Self {
        Self {
            limits,
            state: State::Head(HeadScan::default()),
            n_heads: 0,
        }
    }

    /// How many heads passed so far.
    pub(super) fn n_heads(&self) -> u64 {
        self.n_heads
    }

    /// Whether the connection is between requests, or in a head: no body is under way and nothing was
    /// refused.
    pub(super) fn is_between_bodies(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// Refuses whatever comes: the head under way did not arrive in time.
    pub(super) fn refuse(&mut self) {
        self.state = State::Refused;
    }

    /// Judges the next bytes of the connection. After [`Then::Hold`] the next call repeats the bytes that
    /// did not pass; otherwise it goes on behind them.
    pub(super) fn inspect(&mut self, bytes: &[u8]) -> Inspection {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match &mut self.state {
                State::Head(scan) => match scan.advance(rest, &self.limits) {
                    Ok(Some((n_bytes, framing))) => {
                        at += n_bytes;
                        self.n_heads += 1;
                        self.state = State::behind(framing);
                    }
                    Ok(None) => {
                        return Inspection {
                            n_pass: at,
                            then: Then::Hold,
                        };
                    }
                    Err(refusal) => {
                        self.state = State::Refused;
                        return Inspection {
                            n_pass: at,
                            then: Then::RefuseHead(refusal),
                        };
                    }
                },
                State::Fixed { left } => {
                    let n_bytes = (*left).min(rest.len() as u64);
                    *left -= n_bytes;
                    at += usize::try_from(n_bytes).expect("at most the length of a slice");
                    if *left == 0 {
                        self.state = State::Head(HeadScan::default());
                    }
                }
                State::Chunked(scan) => match scan.advance(rest, &self.limits) {
                    Ok((n_bytes, is_end)) => {
                        at += n_bytes;
                        if is_end {
                            self.state = State::Head(HeadScan::default());
                        }
                    }
                    Err(refusal) => {
                        self.state = State::Refused;
                        return Inspection {
                            n_pass: at,
                            then: Then::RefuseBody(refusal),
                        };
                    }
                },
                State::Refused => break,
            }
        }
        Inspection {
            n_pass: at,
            then: Then::Nothing,
        }
    }
}

impl State {
    fn behind(framing: Framing) -> Self {
        match framing {
            Framing::Length(0) => State::Head(HeadScan::default()),
            Framing::Length(left) => State::Fixed { left },
            Framing::Chunked => State::Chunked(ChunkScan::new()),
        }
    }
}
