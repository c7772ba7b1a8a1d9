//! Drives the server of one connection and ends what takes too long. One timer per connection, moved only
//! when a deadline comes nearer: a request that runs as it should costs no timer operation.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::state::{ConnectionState, WaitFor};

/// An HTTP server on one connection.
pub(super) trait Server: Future<Output = hyper::Result<()>> {
    /// Ends the connection when what is in flight has been answered.
    fn end(self: Pin<&mut Self>);
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As HTTP has it, or by the caller.
    Closed,
    /// By us: it did nothing for too long, or did not close.
    Idle,
    /// By us: the caller did not take the response.
    Stalled,
}

/// Drives `server` to its end. `first_request` is how long a connection may be without its first request.
pub(super) async fn supervise(
    server: impl Server,
    state: Arc<ConnectionState>,
    first_request: Duration,
) -> End {
    let mut server = pin!(server);
    let mut supervisor = Supervisor {
        idle_since: Some(Instant::now()),
        n_requests: 0,
        first_request,
        has_ended: false,
        end_by: None,
        timer: None,
        timer_at: Instant::now(),
        state,
    };
    poll_fn(|context| supervisor.poll(server.as_mut(), context)).await
}

struct Supervisor {
    state: Arc<ConnectionState>,
    first_request: Duration,
    /// Since when nothing is in flight.
    idle_since: Option<Instant>,
    n_requests: u64,
    /// Whether the server was asked to end.
    has_ended: bool,
    /// When the server must have ended.
    end_by: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// When the timer fires: at the deadline or before it.
    timer_at: Instant,
}

/// What is due at a deadline.
#[derive(Clone, Copy, Debug)]
enum Due {
    Caller(WaitFor),
    Idle,
    End,
}

impl Supervisor {
    fn poll<S: Server>(&mut self, mut server: Pin<&mut S>, context: &mut Context<'_>) -> Poll<End> {
        self.state.set_waker(context.waker());
        if self.state.is_draining() {
            self.end(server.as_mut());
        }
        if let Poll::Ready(served) = server.as_mut().poll(context) {
            if let Err(error) = served {
                tracing::debug!(%error, caller = %self.state.caller, "a connection broke");
            }
            return Poll::Ready(End::Closed);
        }
        while let Some((until, due)) = self.deadline() {
            if self.poll_timer(until, context).is_pending() {
                return Poll::Pending;
            }
            match due {
                Due::Caller(WaitFor::Head) => self.state.head_is_late(),
                Due::Caller(WaitFor::Write) => {
                    self.state.reset();
                    return Poll::Ready(End::Stalled);
                }
                Due::Caller(WaitFor::Linger) => return Poll::Ready(End::Closed),
                Due::Idle => {
                    self.end(server.as_mut());
                    self.end_by = Some(Instant::now() + self.state.timeouts().linger);
                }
                Due::End => return Poll::Ready(End::Idle),
            }
            if server.as_mut().poll(context).is_ready() {
                return Poll::Ready(End::Closed);
            }
        }
        Poll::Pending
    }

    fn end<S: Server>(&mut self, server: Pin<&mut S>) {
        if !self.has_ended {
            self.has_ended = true;
            server.end();
        }
    }

    /// The next deadline. Cheap where nothing changed: no look at the clock.
    fn deadline(&mut self) -> Option<(Instant, Due)> {
        let wait = self
            .state
            .wait()
            .map(|wait| (wait.until, Due::Caller(wait.what)));
        if let Some(end_by) = self.end_by {
            return [wait, Some((end_by, Due::End))]
                .into_iter()
                .flatten()
                .min_by_key(|next| next.0);
        }
        let (n_requests, n_in_flight) = self.state.n_requests();
        if n_in_flight > 0 {
            self.idle_since = None;
            return wait;
        }
        if n_requests != self.n_requests {
            self.n_requests = n_requests;
            self.idle_since = None;
        }
        // A head under way has its own limit.
        if matches!(wait, Some((_, Due::Caller(WaitFor::Head)))) {
            return wait;
        }
        let idle_since = *self.idle_since.get_or_insert_with(Instant::now);
        let limit = match n_requests {
            0 => self.first_request,
            _ => self.state.timeouts().idle,
        };
        [wait, Some((idle_since + limit, Due::Idle))]
            .into_iter()
            .flatten()
            .min_by_key(|next| next.0)
    }

    /// Ready once `until` has passed.
    fn poll_timer(&mut self, until: Instant, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| {
            self.timer_at = until;
            Box::pin(sleep_until(until))
        });
        if until < self.timer_at {
            self.timer_at = until;
            timer.as_mut().reset(until);
        }
        while timer.as_mut().poll(context).is_ready() {
            // It may have been set for an earlier deadline that is no more.
            if self.timer_at >= until {
                // So that the next use starts with a timer that has not fired.
                self.timer = None;
                return Poll::Ready(());
            }
            self.timer_at = until;
            timer.as_mut().reset(until);
        }
        Poll::Pending
    }
}
