//! What the parts of one connection tell each other: the guard what it waits for, the service what is in
//! flight, the supervisor what took too long. All of them run on one thread; the atomics are for the
//! compiler, not for other cores, and every access is relaxed.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use http::HeaderValue;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::Timeouts;
use crate::guard::Refusal;
use crate::hosts::Hosts;

/// Which part of a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusedPart {
    /// The head: what the service sees is a stand-in.
    Head,
    /// The body: the head was fine.
    Body,
}

/// Shared by the parts of one connection.
pub(crate) struct ConnectionState {
    /// The caller's address.
    pub(crate) caller: IpAddr,
    /// The same as a header value, made once.
    pub(crate) forwarded_for: HeaderValue,
    /// The hosts it names.
    pub(crate) hosts: Hosts,
    timeouts: Timeouts,
    opened: Instant,
    /// Since when a head is held that is not complete.
    head_since: Mark,
    head_is_late: AtomicBool,
    /// Since when too few bytes leave.
    blocked_since: Mark,
    n_blocked_bytes: AtomicU64,
    lingering_since: Mark,
    n_requests: AtomicU64,
    n_in_flight: AtomicU32,
    /// Whether the request under way has a body that was not read to its end. HTTP/1 only, where
    /// requests follow each other.
    has_unread_body: AtomicBool,
    refused: Mutex<Option<Refused>>,
    is_refused: AtomicBool,
    is_draining: AtomicBool,
    is_to_reset: AtomicBool,
    waker: AtomicWaker,
}

#[derive(Clone, Copy)]
struct Refused {
    request: u64,
    part: RefusedPart,
    refusal: Refusal,
}

/// A moment or none, in microseconds after another moment; 0 is none.
#[derive(Default)]
pub(super) struct Mark(AtomicU64);

/// What the connection waits for, and until when at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// What for.
    pub(crate) what: WaitFor,
    /// Until when.
    pub(crate) until: Instant,
}

/// What a connection may wait for on the caller's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitFor {
    /// The rest of a head.
    Head,
    /// The caller taking what was written.
    Write,
    /// The caller's end of the connection, ours being closed.
    Linger,
}

impl ConnectionState {
    pub(crate) fn new(caller: IpAddr, timeouts: Timeouts) -> Arc<Self> {
        // An IPv4 caller on a dual-stack socket is an IPv4 caller.
        let caller = caller.to_canonical();
        Arc::new(Self {
            caller,
            forwarded_for: HeaderValue::try_from(caller.to_string())
                .expect("addresses are visible ASCII"),
            hosts: Hosts::default(),
            timeouts,
            opened: Instant::now(),
            head_since: Mark::default(),
            head_is_late: AtomicBool::new(false),
            blocked_since: Mark::default(),
            n_blocked_bytes: AtomicU64::new(0),
            lingering_since: Mark::default(),
            n_requests: AtomicU64::new(0),
            n_in_flight: AtomicU32::new(0),
            has_unread_body: AtomicBool::new(false),
            refused: Mutex::new(None),
            is_refused: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
            is_to_reset: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        })
    }

    /// The time limits of this connection.
    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    pub(crate) fn head_timeout_ms(&self) -> u64 {
        u64::try_from(self.timeouts.head.as_millis()).unwrap_or(u64::MAX)
    }

    // The guard's side.

    pub(crate) fn head_under_way(&self) {
        self.head_since.set_once(self.opened);
    }

    pub(crate) fn head_arrived(&self) {
        self.head_since.clear();
        self.head_is_late.store(false, Relaxed);
    }

    /// Whether the supervisor found the head under way to be late; says so once.
    pub(crate) fn take_late_head(&self) -> bool {
        self.head_is_late.load(Relaxed) && self.head_is_late.swap(false, Relaxed)
    }

    pub(crate) fn refuse(&self, request: u64, part: RefusedPart, refusal: Refusal) {
        self.head_since.clear();
        *self.refused.lock() = Some(Refused {
            request,
            part,
            refusal,
        });
        self.is_refused.store(true, Relaxed);
    }

    /// Notes progress, or that there is none: fewer than `write_bytes_min` bytes in the time limit count
    /// as none.
    pub(crate) fn note_write(&self, written: &Poll<std::io::Result<usize>>) {
        match written {
            Poll::Pending => {
                if self.blocked_since.set_once(self.opened) {
                    self.n_blocked_bytes.store(0, Relaxed);
                }
            }
            Poll::Ready(Ok(n_bytes)) if self.blocked_since.is_set() => {
                let n_bytes = self.n_blocked_bytes.load(Relaxed) + *n_bytes as u64;
                self.n_blocked_bytes.store(n_bytes, Relaxed);
                if n_bytes >= self.timeouts.write_bytes_min {
                    self.blocked_since.clear();
                }
            }
            Poll::Ready(_) => {}
        }
    }

    pub(crate) fn note_flushed(&self) {
        if self.blocked_since.is_set() {
            self.blocked_since.clear();
        }
    }

    pub(crate) fn lingering(&self) {
        self.lingering_since.set_once(self.opened);
    }

    // The service's side.

    /// Counts a request; gives its index on the connection.
    pub(crate) fn begin_request(self: &Arc<Self>) -> (u64, InFlight) {
        let index = self.n_requests.load(Relaxed);
        self.n_requests.store(index + 1, Relaxed);
        self.n_in_flight.fetch_add(1, Relaxed);
        (index, InFlight(Arc::clone(self)))
    }

    /// Notes whether the body of the request under way is still to be read.
    pub(crate) fn set_unread_body(&self, has_unread_body: bool) {
        self.has_unread_body.store(has_unread_body, Relaxed);
    }

    pub(crate) fn has_unread_body(&self) -> bool {
        self.has_unread_body.load(Relaxed)
    }

    /// Whether the guard refused this request, and why.
    pub(crate) fn refusal(&self, request: u64) -> Option<(RefusedPart, Refusal)> {
        if !self.is_refused.load(Relaxed) {
            return None;
        }
        let refused = *self.refused.lock();
        refused
            .filter(|refused| refused.request == request)
            .map(|refused| (refused.part, refused.refusal))
    }

    // The supervisor's side.

    /// Requests so far, and those among them whose answers have not ended.
    pub(crate) fn n_requests(&self) -> (u64, u32) {
        (
            self.n_requests.load(Relaxed),
            self.n_in_flight.load(Relaxed),
        )
    }

    /// What the connection waits for on the caller's side, the most urgent first.
    pub(crate) fn wait(&self) -> Option<Wait> {
        let waits = [
            (WaitFor::Head, &self.head_since, self.timeouts.head),
            (WaitFor::Write, &self.blocked_since, self.timeouts.write),
            (WaitFor::Linger, &self.lingering_since, self.timeouts.linger),
        ];
        let until = |mark: &Mark, limit: Duration| Some(mark.get(self.opened)? + limit);
        waits
            .into_iter()
            .filter_map(|(what, mark, limit)| {
                Some(Wait {
                    what,
                    until: until(mark, limit)?,
                })
            })
            .min_by_key(|wait| wait.until)
    }

    /// The head under way is late: the guard shall refuse it when it is polled next.
    pub(crate) fn head_is_late(&self) {
        self.head_since.clear();
        self.head_is_late.store(true, Relaxed);
    }

    /// Asks the connection to end when what is in flight has been answered. From any thread.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Relaxed);
        self.waker.wake();
    }

    /// Waits for [`ConnectionState::drain`]. One waiter at a time: this or the supervisor.
    pub(crate) async fn draining(&self) {
        std::future::poll_fn(|context| {
            self.set_waker(context.waker());
            match self.is_draining() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Relaxed)
    }

    /// The connection shall end hard.
    pub(crate) fn reset(&self) {
        self.is_to_reset.store(true, Relaxed);
    }

    pub(crate) fn is_to_reset(&self) -> bool {
        self.is_to_reset.load(Relaxed)
    }

    pub(crate) fn set_waker(&self, waker: &Waker) {
        self.waker.register(waker);
    }
}

/// A request whose answer has not ended. Counts itself out when dropped.
pub(crate) struct InFlight(Arc<ConnectionState>);

impl InFlight {
    pub(crate) fn connection(&self) -> &Arc<ConnectionState> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.n_in_flight.fetch_sub(1, Relaxed);
    }
}

impl Mark {
    /// Sets it to now. True where it was not set before.
    pub(super) fn set_once(&self, opened: Instant) -> bool {
        if self.is_set() {
            return false;
        }
        let micros = u64::try_from(opened.elapsed().as_micros()).unwrap_or(u64::MAX - 1);
        self.0.store(micros + 1, Relaxed);
        true
    }

    pub(super) fn clear(&self) {
        self.0.store(0, Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Relaxed) != 0
    }

    pub(super) fn get(&self, opened: Instant) -> Option<Instant> {
        match self.0.load(Relaxed) {
            0 => None,
            micros => Some(opened + Duration::from_micros(micros - 1)),
        }
    }
}
