//! The request body, and bodies of fetched answers, as a guest reads them: chunk by chunk, never whole.

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use model::{Code, Failure};
use runtime::Body;

use super::state::errno;

/// A body and the rest of its current piece.
pub(super) struct Input {
    body: Body,
    rest: Bytes,
    /// How reading ended; an error stays one.
    end: Option<i32>,
    number_of: fn(&Failure) -> i32,
}

impl Default for Input {
    fn default() -> Self {
        Self::new(Body::Empty)
    }
}

impl Input {
    /// The request's body.
    pub(super) fn new(body: Body) -> Self {
        Self::with(body, |failure| match failure.code() {
            Code::BodyTooLarge => errno::LIMIT,
            _ => errno::PEER_GONE,
        })
    }

    /// The body of a fetched answer.
    pub(super) fn new_fetched(body: Body) -> Self {
        Self::with(body, |failure| match failure.code() {
            Code::RequestTimeout => errno::TIMED_OUT,
            _ => errno::UPSTREAM,
        })
    }

    fn with(body: Body, number_of: fn(&Failure) -> i32) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            end: None,
            number_of,
        }
    }

    /// Waits until bytes are there, the body ended or failed. Cancel-safe.
    pub(super) async fn fill(&mut self) {
        while self.rest.is_empty() && self.end.is_none() {
            if self.body.is_end_stream() {
                self.end = Some(0);
                break;
            }
            match self.body.frame().await {
                None => self.end = Some(0),
                // Trailers are not part of this ABI.
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                Some(Err(failure)) => self.end = Some((self.number_of)(&failure)),
            }
        }
    }

    /// Moves bytes into `target`: how many, 0 at the end, or an error number. Call after `fill`.
    pub(super) fn take(&mut self, target: &mut [u8]) -> i32 {
        if self.rest.is_empty() {
            return self.end.unwrap_or(0);
        }
        // Ranges of guest memory longer than `i32::MAX` are filled in part.
        let length = self.rest.len().min(target.len()).min(i32::MAX as usize);
        target[..length].copy_from_slice(&self.rest.split_to(length));
        length as i32
    }
}
