//! The response body of a 0.3 component: errors in the seam's type, and word to the guest when it was
//! sent, which a handler may wait for.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use model::Failure;
use tokio::sync::oneshot;
use wasmtime_wasi_http::{Error, WasiBody};

use crate::component::response_body_failure;

/// Told when the body has ended; dropped when it failed or nobody wants it.
pub(super) struct Sent(oneshot::Sender<()>);

/// The signal, and the future by which the guest learns of it.
pub(super) fn sent_signal() -> (
    Sent,
    impl Future<Output = Result<(), Error>> + Send + 'static,
) {
    let (sender, receiver) = oneshot::channel();
    let when_sent = async move { receiver.await.map_err(|_| Error::ConnectionTerminated) };
    (Sent(sender), when_sent)
}

/// A response body on its way out.
pub(super) struct Outgoing {
    inner: WasiBody,
    sent: Option<Sent>,
}

impl Outgoing {
    pub(super) fn new(inner: WasiBody, sent: Sent) -> Self {
        Self {
            inner,
            sent: Some(sent),
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            None => {
                if let Some(Sent(sender)) = self.sent.take() {
                    // A guest that does not wait for it has dropped the other end.
                    let _ = sender.send(());
                }
            }
            Some(Err(_)) => self.sent = None,
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|error| response_body_failure(&error))))
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
