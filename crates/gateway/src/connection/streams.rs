//! The streams of an HTTP/2 connection, each in a task of its own, and the end of those whose caller does
//! not take the response. Flow control stops such a stream inside the server, where no timer of ours runs:
//! so its task is watched from outside.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::rt::Executor;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

use super::state::Mark;

/// How a response body stands: whether a chunk of it was handed over and not taken yet.
pub(crate) struct StreamProgress {
    began: Instant,
    handed_over: Mark,
}

impl StreamProgress {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            handed_over: Mark::default(),
        })
    }

    /// The body gave a chunk.
    pub(crate) fn handed_over(&self) {
        self.handed_over.set_once(self.began);
    }

    /// The server came for more, or is done.
    pub(crate) fn taken(&self) {
        self.handed_over.clear();
    }
}

/// Runs the streams of one connection.
#[derive(Clone)]
pub(crate) struct StreamExecutor {
    stall: Duration,
    /// The stream that the service was called for last. The server calls the service and then, before
    /// anything else, runs the stream with what it returned: so this is how one finds the other.
    opened: Arc<Mutex<Option<Arc<StreamProgress>>>>,
}

impl StreamExecutor {
    /// Ends streams that make no progress for `stall`.
    pub(super) fn new(stall: Duration) -> Self {
        Self {
            stall,
            opened: Arc::default(),
        }
    }

    /// To be called by the service, synchronously, for each request.
    pub(super) fn open(&self) -> Arc<StreamProgress> {
        let progress = StreamProgress::new();
        *self.opened.lock() = Some(Arc::clone(&progress));
        progress
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let progress = self.opened.lock().take();
        let stall = self.stall;
        tokio::spawn(async move {
            match progress {
                Some(progress) => run_watched(stream, &progress, stall).await,
                None => stream.await,
            }
        });
    }
}

/// Runs `stream` to its end, or drops it, which resets it, when the caller takes nothing for `stall`.
async fn run_watched(stream: impl Future<Output = ()>, progress: &StreamProgress, stall: Duration) {
    let mut stream = pin!(stream);
    let mut timer: Option<std::pin::Pin<Box<Sleep>>> = None;
    poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let Some(since) = progress.handed_over.get(progress.began) else {
                return Poll::Pending;
            };
            let until = since + stall;
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
            if timer.deadline() > until {
                timer.as_mut().reset(until);
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if timer.deadline() >= until {
                tracing::debug!("a stream's caller does not take the response: reset");
                return Poll::Ready(());
            }
            // It was set for an earlier chunk.
            timer.as_mut().reset(until);
        }
    })
    .await;
}
