//! The closed loop: each connection sends its next request when the answer is there. The loop spins: a
//! generator that sleeps makes the server pay for waking it (on a virtual machine up to 20 µs per answer),
//! which a caller on another machine never does, and which only servers slower than the generator pay.

use std::time::Duration;

use super::driver::{Clock, Driver, Spun, nanoseconds, whole_ms};
use super::{Closed, LoadError, Tally, Target, new_histogram};
use crate::machine::thread_cpu_time;

/// Runs it; see [`super::closed`]. What is in flight after the window gets `drain_max`.
pub fn run(target: &Target, closed: &Closed, drain_max: Duration) -> Result<Tally, LoadError> {
    if closed.duration.is_zero() {
        return Err(LoadError::Nonsense("no time to measure"));
    }
    let mut driver = Driver::new(target, closed.n_connections)?;
    let mut latency = new_histogram();
    let mut n_answers = 0;
    let clock = Clock::new();
    let start_ns = nanoseconds(closed.warm_up);
    let end_ns = start_ns + nanoseconds(closed.duration);
    let drained_ns = end_ns + nanoseconds(drain_max);
    for n in 0..closed.n_connections {
        driver.send(n, clock.now_ns())?;
    }
    let mut now_ns = clock.now_ns();
    let mut cpu = Edges::default();
    let mut spun = Spun::default();
    while driver.n_in_flight > 0 {
        let timeout_ms = match now_ns < end_ns {
            true => 0,
            false => whole_ms(now_ns, drained_ns),
        };
        let n_events = driver.wait(timeout_ms)?;
        let before_ns = std::mem::replace(&mut now_ns, clock.now_ns());
        cpu.pass(now_ns, start_ns, end_ns);
        if n_events == 0 && before_ns >= start_ns && now_ns < end_ns {
            spun.add(before_ns, now_ns);
        }
        for n_event in 0..n_events {
            let Some(in_flight) = driver.serve(n_event)? else {
                continue;
            };
            now_ns = clock.now_ns();
            if now_ns >= end_ns {
                continue;
            }
            if now_ns >= start_ns {
                n_answers += 1;
                latency.saturating_record(now_ns - in_flight.began_ns);
            }
            driver.send(driver.connection_of(n_event), now_ns)?;
        }
        if now_ns >= drained_ns && driver.n_in_flight > 0 {
            return Err(LoadError::Hangs {
                n_waiting: driver.n_in_flight,
                waited: drain_max,
            });
        }
    }
    if n_answers == 0 {
        return Err(LoadError::NoAnswers);
    }
    cpu.pass(clock.now_ns(), start_ns, end_ns);
    Ok(Tally {
        n_answers,
        n_answers_in_all: driver.n_right,
        elapsed: closed.duration,
        generator_cpu: cpu.between().saturating_sub(spun.total()),
        n_late: 0,
        latency,
    })
}

/// The thread's CPU time at both edges of the window.
#[derive(Debug, Default)]
pub struct Edges {
    start: Option<Duration>,
    end: Option<Duration>,
}

impl Edges {
    /// Reads the clock when an edge has been passed since the last call.
    pub fn pass(&mut self, now_ns: u64, start_ns: u64, end_ns: u64) {
        if self.start.is_none() && now_ns >= start_ns {
            self.start = Some(thread_cpu_time());
        }
        if self.end.is_none() && now_ns >= end_ns {
            self.end = Some(thread_cpu_time());
        }
    }

    /// CPU time between the edges, once both are passed.
    pub fn between(&self) -> Duration {
        match (self.start, self.end) {
            (Some(start), Some(end)) => end.saturating_sub(start),
            _ => Duration::ZERO,
        }
    }
}
