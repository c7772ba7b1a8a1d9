//! A deadline around a future that costs nothing while the future is ready at once: the timer is made
//! when the future first has to wait.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is armed at its first poll.
pub(crate) struct LazyTimer {
    at: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl LazyTimer {
    pub(crate) fn new(at: Instant) -> Self {
        Self { at, sleep: None }
    }

    /// Whether the timer was armed and has fired. Asked before the work is polled, so that work which is
    /// always ready again (a guest that burns CPU) cannot outrun its deadline.
    pub(crate) fn has_fired(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().poll(cx).is_ready(),
            None => false,
        }
    }

    /// Arms the timer if needed and polls it. Asked after the work had to wait.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        self.sleep
            .get_or_insert_with(|| Box::pin(sleep_until(at)))
            .as_mut()
            .poll(cx)
    }
}

/// Runs `work` until `at`; `None` when the deadline came first, and then `work` was dropped.
pub(crate) async fn until<F: Future + Unpin>(at: Instant, work: F) -> Option<F::Output> {
    let mut timer = LazyTimer::new(at);
    let mut work = work;
    std::future::poll_fn(move |cx| {
        if timer.has_fired(cx) {
            return Poll::Ready(None);
        }
        if let Poll::Ready(output) = Pin::new(&mut work).poll(cx) {
            return Poll::Ready(Some(output));
        }
        timer.poll(cx).map(|()| None)
    })
    .await
}
