//! The open loop: requests are due at a constant rate, whatever the server does, and a latency begins
//! when its request was due. A server that stalls is charged for every request that was due meanwhile,
//! not only for the few it held (coordinated omission: Tene, "How NOT to Measure Latency").

use std::collections::VecDeque;
use std::time::Duration;

use super::closed::Edges;
use super::driver::{Clock, Driver, Spun, nanoseconds, whole_ms};
use super::{LoadError, Open, Tally, Target, new_histogram};

/// A request that left this long after it was due although a connection was free is late: by the
/// generator's fault.
const LATE_NS: u64 = 100_000;

/// A gap longer than this is slept through until it is this long; then the loop spins. A sleeping thread
/// wakes up to 50 µs late (timer slack) and on a virtual machine later.
const SPIN_NS: u64 = 200_000;

/// When each request is due.
struct Schedule {
    rate_per_s: f64,
    n_requests: u64,
}

impl Schedule {
    /// All that are due before the end; the first is due at once.
    fn new(rate_per_s: f64, end_ns: u64) -> Self {
        let mut schedule = Self {
            rate_per_s,
            n_requests: (end_ns as f64 / 1e9 * rate_per_s) as u64,
        };
        if schedule.due_ns(schedule.n_requests) < end_ns {
            schedule.n_requests += 1;
        }
        schedule
    }

    /// In nanoseconds of the load's clock. Computed from the number, not summed up: no drift.
    fn due_ns(&self, n: u64) -> u64 {
        (n as f64 * 1e9 / self.rate_per_s) as u64
    }
}

/// Runs it; see [`super::open`]. What is owed after the window gets `drain_max`.
pub fn run(target: &Target, open: &Open, drain_max: Duration) -> Result<Tally, LoadError> {
    if open.duration.is_zero() {
        return Err(LoadError::Nonsense("no time to measure"));
    }
    if !(open.rate_per_s.is_finite() && open.rate_per_s > 0.0) {
        return Err(LoadError::Nonsense("no rate"));
    }
    let start_ns = nanoseconds(open.warm_up);
    let end_ns = start_ns + nanoseconds(open.duration);
    let driver = Driver::new(target, open.n_connections)?;
    let free = (0..open.n_connections).map(|n| (n, 0)).collect();
    let mut run = Run {
        driver,
        schedule: Schedule::new(open.rate_per_s, end_ns),
        start_ns,
        free,
        n_begun: 0,
        n_late: 0,
        latency: new_histogram(),
    };
    let (cpu, spun) = run.drive(end_ns, drain_max)?;
    let n_answers = run.latency.len();
    if n_answers == 0 {
        return Err(LoadError::NoAnswers);
    }
    Ok(Tally {
        n_answers,
        n_answers_in_all: run.driver.n_right,
        elapsed: open.duration,
        generator_cpu: cpu.saturating_sub(spun),
        n_late: run.n_late,
        latency: run.latency,
    })
}

struct Run<'a> {
    driver: Driver<'a>,
    schedule: Schedule,
    start_ns: u64,
    /// Free connections and since when, longest first: all of them stay in use.
    free: VecDeque<(usize, u64)>,
    n_begun: u64,
    n_late: u64,
    latency: hdrhistogram::Histogram<u64>,
}

impl Run<'_> {
    /// Until every request is answered. Returns CPU time within the window, and how much of it was spent
    /// spinning for want of anything to do.
    fn drive(
        &mut self,
        end_ns: u64,
        drain_max: Duration,
    ) -> Result<(Duration, Duration), LoadError> {
        let drained_ns = end_ns + nanoseconds(drain_max);
        let clock = Clock::new();
        let mut cpu = Edges::default();
        let mut spun = Spun::default();
        let mut now_ns = clock.now_ns();
        while self.n_begun < self.schedule.n_requests || self.driver.n_in_flight > 0 {
            if now_ns >= drained_ns {
                let n_unsent = self.schedule.n_requests - self.n_begun;
                return Err(LoadError::Hangs {
                    n_waiting: self.driver.n_in_flight + usize::try_from(n_unsent).unwrap_or(0),
                    waited: drain_max,
                });
            }
            cpu.pass(now_ns, self.start_ns, end_ns);
            let n_sent = self.send_due(&clock, now_ns)?;
            let timeout_ms = self.timeout_ms(clock.now_ns(), end_ns, drained_ns);
            let n_events = self.driver.wait(timeout_ms)?;
            for n_event in 0..n_events {
                self.serve(&clock, n_event)?;
            }
            let before_ns = std::mem::replace(&mut now_ns, clock.now_ns());
            let is_idle = n_sent == 0 && n_events == 0 && timeout_ms == 0;
            if is_idle && before_ns >= self.start_ns && now_ns < end_ns {
                spun.add(before_ns, now_ns);
            }
        }
        // The last answer may come before the window's end; the rest of the window used nothing.
        cpu.pass(end_ns, self.start_ns, end_ns);
        Ok((cpu.between(), spun.total()))
    }

    /// Sends what is due while connections are free; returns how much.
    fn send_due(&mut self, clock: &Clock, now_ns: u64) -> Result<u64, LoadError> {
        let n_before = self.n_begun;
        while self.n_begun < self.schedule.n_requests {
            let due_ns = self.schedule.due_ns(self.n_begun);
            if due_ns > now_ns {
                break;
            }
            let Some((n, idle_since_ns)) = self.free.pop_front() else {
                break;
            };
            let is_measured = due_ns >= self.start_ns;
            if is_measured && clock.now_ns() > due_ns.max(idle_since_ns) + LATE_NS {
                self.n_late += 1;
            }
            self.n_begun += 1;
            self.driver.send(n, due_ns)?;
        }
        Ok(self.n_begun - n_before)
    }

    fn serve(&mut self, clock: &Clock, n_event: usize) -> Result<(), LoadError> {
        let n = self.driver.connection_of(n_event);
        if let Some(in_flight) = self.driver.serve(n_event)? {
            let now_ns = clock.now_ns();
            if in_flight.began_ns >= self.start_ns {
                self.latency.saturating_record(now_ns - in_flight.began_ns);
            }
            self.free.push_back((n, now_ns));
        }
        Ok(())
    }

    /// How long there is nothing to do but to wait for answers; 0 to spin.
    fn timeout_ms(&self, now_ns: u64, end_ns: u64, drained_ns: u64) -> u32 {
        let all_begun = self.n_begun == self.schedule.n_requests;
        if all_begun || self.free.is_empty() {
            whole_ms(now_ns, if now_ns < end_ns { end_ns } else { drained_ns })
        } else {
            sleep_ms(now_ns, self.schedule.due_ns(self.n_begun))
        }
    }
}

/// How long to sleep before something is due, so that waking up late is still in time.
fn sleep_ms(now_ns: u64, due_ns: u64) -> u32 {
    whole_ms(now_ns, due_ns.saturating_sub(SPIN_NS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_ends_well_before_the_request_is_due() {
        for gap_ns in [0, 150_000, 1_000_000, 1_199_999, 1_200_000, 7_654_321] {
            let slept_ns = u64::from(sleep_ms(5, 5 + gap_ns)) * 1_000_000;
            assert!(slept_ns == 0 || slept_ns + SPIN_NS <= gap_ns, "{gap_ns}");
            // And not much earlier than it has to.
            assert!(slept_ns + SPIN_NS + 1_000_000 > gap_ns, "{gap_ns}");
        }
        assert_eq!(sleep_ms(9_000_000, 5), 0, "overdue");
    }

    #[test]
    fn a_schedule_is_what_is_due_before_the_end() {
        let check = |rate_per_s, end_ns, n_requests| {
            let schedule = Schedule::new(rate_per_s, end_ns);
            assert_eq!(schedule.n_requests, n_requests, "{rate_per_s}");
            assert!(schedule.due_ns(n_requests - 1) < end_ns);
            assert!(schedule.due_ns(n_requests) >= end_ns);
            assert_eq!(schedule.due_ns(0), 0);
        };
        check(2000.0, 600_000_000, 1200);
        check(0.005, 50_000_000, 1);
        check(3.0, 1_000_000_000, 3);
        check(3.0, 1_000_000_001, 4);
        check(99_999.5, 1_000_000_000, 100_000);
    }
}
