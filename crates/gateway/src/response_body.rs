//! A response's body on its way from a function to hyper. Marks the request as in flight until it is
//! dropped; in HTTP/2 it also tells whether the caller takes what it gets.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use model::Failure;
use runtime::Body;

use crate::connection::state::InFlight;
use crate::connection::streams::StreamProgress;
use crate::headers::clean_trailers;

/// Chunks in HTTP/2 are handed over in pieces of this size: what was handed over stays in memory until the
/// caller takes it, and how long one piece may take is limited.
const PIECE_BYTES: usize = 32 * 1024;

/// A response's body.
pub(crate) struct ResponseBody {
    body: Body,
    /// What is left of a chunk that is handed over in pieces.
    rest: Bytes,
    progress: Option<Arc<StreamProgress>>,
    _in_flight: InFlight,
}

impl ResponseBody {
    pub(crate) fn new(
        body: Body,
        progress: Option<Arc<StreamProgress>>,
        in_flight: InFlight,
    ) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            progress,
            _in_flight: in_flight,
        }
    }

    /// Hands over a piece of `rest`.
    fn piece(&mut self, progress: &StreamProgress) -> Frame<Bytes> {
        let n_bytes = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(n_bytes);
        progress.handed_over();
        Frame::data(piece)
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = self.get_mut();
        let Some(progress) = this.progress.clone() else {
            return Pin::new(&mut this.body).poll_frame(context).map_ok(clean);
        };
        // The server came back: what it had was taken.
        progress.taken();
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.piece(&progress))));
        }
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(match frame.into_data() {
                Ok(data) => {
                    this.rest = data;
                    this.piece(&progress)
                }
                Err(frame) => clean(frame),
            }))),
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked before the first frame, when nothing is left of a chunk.
        self.body.size_hint()
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Some(progress) = &self.progress {
            progress.taken();
        }
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
