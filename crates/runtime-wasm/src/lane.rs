//! Turns of CPU-bound guests on one thread. A guest that used up its slice leaves the run queue and takes
//! a seat in its thread's lane; at any time one seat holder is in the run queue, the others wait. So a
//! short request that arrives beside any number of CPU-bound guests waits for one slice, not for all.
//!
//! ```text
//!            slice used up            lets the reactor run      others wait: hands the turn on
//! running ------------------> Yield ----------------------> pass -----------------------> Wait
//!    ^                                                        | nobody waits                | its turn
//!    +--------------------------------------------------------+-----------------------------+
//! ```
//! A seat is given up when the guest ends, is dropped, waits for something else, or moves to another
//! thread. A holder whose task nobody polls (its caller reads slowly) loses its turn after [`STALE`].

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

/// How long a guest runs before others get a turn.
pub(crate) const SLICE_NS: u64 = 700_000;
/// After this long without being polled, the holder of the turn is passed over.
const STALE: Duration = Duration::from_millis(5);

thread_local! {
    static LANE: Arc<Lane> = Arc::new(Lane::default());
}

#[derive(Default)]
struct Lane {
    state: Mutex<LaneState>,
}

#[derive(Default)]
struct LaneState {
    turn: Option<Turn>,
    waiting: VecDeque<(u64, Waker)>,
    n_seats: u64,
}

struct Turn {
    seat: u64,
    since: Instant,
}

impl LaneState {
    fn new_seat(&mut self) -> u64 {
        self.n_seats += 1;
        self.n_seats
    }

    /// Gives the turn to whoever waits longest.
    fn next(&mut self) {
        self.turn = self.waiting.pop_front().map(|(seat, waker)| {
            waker.wake();
            Turn {
                seat,
                since: Instant::now(),
            }
        });
    }

    fn is_turn_of(&self, seat: u64) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.seat == seat)
    }

    /// `seat` leaves the lane.
    fn leave(&mut self, seat: u64) {
        self.waiting.retain(|(waiting, _)| *waiting != seat);
        if self.is_turn_of(seat) {
            self.next();
        }
    }

    /// `seat` asks for its turn: `true` when it has it, else it waits and `waker` is called.
    fn ask(&mut self, seat: u64, waker: &Waker) -> bool {
        if self.is_turn_of(seat) {
            self.turn = Some(Turn {
                seat,
                since: Instant::now(),
            });
            return true;
        }
        let stale = |turn: &Turn| turn.since.elapsed() >= STALE;
        match self
            .waiting
            .iter_mut()
            .find(|(waiting, _)| *waiting == seat)
        {
            Some((_, old)) => old.clone_from(waker),
            None => self.waiting.push_back((seat, waker.clone())),
        }
        if self.turn.as_ref().is_none_or(stale) {
            self.next();
        }
        self.is_turn_of(seat)
    }

    /// `seat` had its slice and queues up behind the others.
    fn pass(&mut self, seat: u64, waker: &Waker) -> bool {
        if self.is_turn_of(seat) && !self.waiting.is_empty() {
            self.waiting.push_back((seat, waker.clone()));
            self.next();
            return false;
        }
        self.ask(seat, waker)
    }
}

/// A guest's place in a lane, empty for the many that never become CPU-bound.
#[derive(Default)]
pub(crate) struct Seat {
    taken: AtomicBool,
    yielding: AtomicBool,
    place: Mutex<Option<(Arc<Lane>, u64)>>,
}

impl Seat {
    /// Called after each poll of the guest: gives the seat up unless the guest merely yields its slice.
    pub(crate) fn after_poll(&self, is_pending: bool) {
        if self.taken.load(Ordering::Relaxed)
            && !(self.yielding.swap(false, Ordering::Relaxed) && is_pending)
        {
            self.give_up();
        }
    }

    fn give_up(&self) {
        self.taken.store(false, Ordering::Relaxed);
        if let Some((lane, seat)) = self.place.lock().take() {
            lane.state.lock().leave(seat);
        }
    }

    /// The seat in this thread's lane.
    fn take(&self) -> (Arc<Lane>, u64) {
        LANE.with(|lane| {
            let mut place = self.place.lock();
            if let Some((old, seat)) = place.as_ref() {
                if Arc::ptr_eq(old, lane) {
                    return (lane.clone(), *seat);
                }
                old.state.lock().leave(*seat);
            }
            let seat = lane.state.lock().new_seat();
            *place = Some((lane.clone(), seat));
            self.taken.store(true, Ordering::Relaxed);
            (lane.clone(), seat)
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// What a guest awaits when its slice is used up.
pub(crate) struct NextTurn<S: AsRef<Seat>> {
    owner: S,
    lane: Arc<Lane>,
    seat: u64,
    stage: Stage,
}

enum Stage {
    /// Lets everything else in the run queue, and the reactor, have a go first.
    Yield(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// Waits for the turn; the timer catches a holder that nobody polls.
    Wait(Pin<Box<Sleep>>),
}

impl<S: AsRef<Seat>> NextTurn<S> {
    /// Must be made on the thread that runs the guest, while it runs.
    pub(crate) fn new(owner: S) -> Self {
        let (lane, seat) = owner.as_ref().take();
        Self {
            owner,
            lane,
            seat,
            stage: Stage::Yield(Box::pin(tokio::task::yield_now())),
        }
    }
}

impl<S: AsRef<Seat> + Unpin> Future for NextTurn<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let has_turn = match &mut this.stage {
            Stage::Yield(yielded) => match yielded.as_mut().poll(cx) {
                Poll::Pending => false,
                Poll::Ready(()) => {
                    let has_turn = this.lane.state.lock().pass(this.seat, cx.waker());
                    if !has_turn {
                        let mut timer = Box::pin(tokio::time::sleep(STALE));
                        let _ = timer.as_mut().poll(cx);
                        this.stage = Stage::Wait(timer);
                    }
                    has_turn
                }
            },
            Stage::Wait(timer) => {
                while timer.as_mut().poll(cx).is_ready() {
                    timer.as_mut().reset(Instant::now() + STALE);
                }
                this.lane.state.lock().ask(this.seat, cx.waker())
            }
        };
        if has_turn {
            return Poll::Ready(());
        }
        this.owner.as_ref().yielding.store(true, Ordering::Relaxed);
        Poll::Pending
    }
}
