//! What both loops share: connections behind one poller, the order of requests, the count of right
//! answers. Refuses to know when requests are due.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::connection::{Connection, InFlight};
use super::{LoadError, Offence, Target};
use crate::stats::Sequence;

/// Events taken at once.
const N_EVENTS_MAX: usize = 256;

/// The other side hung up, or the connection is broken.
const ENDING: epoll::EventFlags = epoll::EventFlags::RDHUP
    .union(epoll::EventFlags::HUP)
    .union(epoll::EventFlags::ERR);

/// Seed of the order of requests.
const ORDER_SEED: u64 = 0x5EED_0F0D;

/// The clock of a load: nanoseconds since it began. 585 years fit.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
}

impl Clock {
    /// Begins now.
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
        }
    }

    /// Nanoseconds since it began.
    pub fn now_ns(self) -> u64 {
        nanoseconds(self.began.elapsed())
    }
}

/// A duration as the clock counts.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The whole milliseconds from one moment to another, 0 when it is past.
pub fn whole_ms(from_ns: u64, to_ns: u64) -> u32 {
    u32::try_from(to_ns.saturating_sub(from_ns) / 1_000_000).unwrap_or(u32::MAX)
}

/// A look at the poller that finds nothing takes well under this. One that took longer was interrupted:
/// the thread did not run, so its CPU clock did not either.
const LOOK_NS_MAX: u64 = 10_000;

/// CPU time spent looking for events that were not there. To be taken off what the generator used.
#[derive(Debug, Default)]
pub struct Spun {
    ns: u64,
}

impl Spun {
    /// Counts one look that found nothing, if nothing else ran meanwhile. Counting those as well would
    /// make a generator on a busy machine seem to need no time at all.
    pub fn add(&mut self, before_ns: u64, now_ns: u64) {
        let took_ns = now_ns - before_ns;
        if took_ns <= LOOK_NS_MAX {
            self.ns += took_ns;
        }
    }

    /// All of it.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.ns)
    }
}

/// Connections behind one poller.
pub struct Driver<'a> {
    target: &'a Target,
    connections: Vec<Connection>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    order: Vec<usize>,
    at: usize,
    /// Right answers so far.
    pub n_right: u64,
    /// Requests without an answer.
    pub n_in_flight: usize,
}

impl<'a> Driver<'a> {
    /// Connects all of `n_connections`.
    pub fn new(target: &'a Target, n_connections: usize) -> Result<Self, LoadError> {
        if target.requests.is_empty() || target.requests.iter().any(bytes::Bytes::is_empty) {
            return Err(LoadError::Nonsense("no request to send"));
        }
        if n_connections == 0 {
            return Err(LoadError::Nonsense("no connections"));
        }
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(std::io::Error::from)?;
        let mut connections = Vec::with_capacity(n_connections);
        for n in 0..n_connections {
            let connection = Connection::new(target.address)?;
            // Edge-triggered and for everything at once: no system call but send and recv per request.
            let flags = epoll::EventFlags::IN
                | epoll::EventFlags::OUT
                | epoll::EventFlags::RDHUP
                | epoll::EventFlags::ET;
            epoll::add(
                &epoll,
                connection.as_fd(),
                epoll::EventData::new_u64(n as u64),
                flags,
            )
            .map_err(std::io::Error::from)?;
            connections.push(connection);
        }
        let mut order: Vec<usize> = (0..target.requests.len()).collect();
        Sequence::new(ORDER_SEED).shuffle(&mut order);
        Ok(Self {
            target,
            connections,
            epoll,
            events: Vec::with_capacity(N_EVENTS_MAX),
            order,
            at: 0,
            n_right: 0,
            n_in_flight: 0,
        })
    }

    /// Waits for events, at most for `timeout_ms`; returns how many there are. Milliseconds, because that
    /// is what `epoll_wait` counts in: it rounds anything finer up, and an open loop would send late.
    pub fn wait(&mut self, timeout_ms: u32) -> Result<usize, LoadError> {
        let timeout = Timespec {
            tv_sec: i64::from(timeout_ms / 1000),
            tv_nsec: i64::from(timeout_ms % 1000) * 1_000_000,
        };
        self.events.clear();
        let space = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, space, Some(&timeout)) {
            Ok(n) => Ok(n),
            Err(Errno::INTR) => Ok(0),
            Err(error) => Err(std::io::Error::from(error).into()),
        }
    }

    /// Which connection event `n_event` of the last wait is about.
    pub fn connection_of(&self, n_event: usize) -> usize {
        usize::try_from(self.events[n_event].data.u64()).expect("only indices were registered")
    }

    /// Does what a connection is ready for. Returns the request whose answer became whole.
    pub fn serve(&mut self, n_event: usize) -> Result<Option<InFlight>, LoadError> {
        let flags = self.events[n_event].flags;
        let n = self.connection_of(n_event);
        let connection = &mut self.connections[n];
        let mut served = Ok(());
        if flags.contains(epoll::EventFlags::OUT) {
            served = connection.write(&self.target.requests);
        }
        // Also on a hang-up: what came before it is read, then the end is found.
        let is_ending = flags.intersects(ENDING);
        let finished =
            served.and_then(
                |()| match is_ending || flags.contains(epoll::EventFlags::IN) {
                    true => connection.read(&self.target.expect, is_ending),
                    false => Ok(None),
                },
            );
        match finished {
            Ok(Some(in_flight)) => {
                self.n_right += 1;
                self.n_in_flight -= 1;
                Ok(Some(in_flight))
            }
            Ok(None) => Ok(None),
            Err(offence) => Err(self.wrong(n, offence)),
        }
    }

    /// Sends the next request of the order on connection `n`, whose clock began at `began_ns`.
    pub fn send(&mut self, n: usize, began_ns: u64) -> Result<(), LoadError> {
        let n_request = self.order[self.at];
        self.at += 1;
        if self.at == self.order.len() {
            self.at = 0;
        }
        self.n_in_flight += 1;
        self.connections[n]
            .begin(&self.target.requests, n_request, began_ns)
            .map_err(|offence| self.wrong(n, offence))
    }

    fn wrong(&self, n: usize, offence: Offence) -> LoadError {
        LoadError::Wrong {
            n_right: self.n_right,
            offence,
            quote: self.connections[n].quote(),
        }
    }
}
