//! CPU time of a guest. Each poll of guest code is timed by the monotonic clock, which costs 25 ns; from
//! the first epoch tick that a guest runs into, by the thread's CPU clock, which costs a system call but
//! stays exact on a host that runs other things, too.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};

/// The CPU account of one sandbox. Only the thread that polls the guest uses it; the atomics are there
/// because guests move between threads from poll to poll.
#[derive(Debug, Default)]
pub(crate) struct CpuMeter {
    /// CPU time of finished polls since [`CpuMeter::begin`].
    used_ns: AtomicU64,
    /// When the current stretch of the current poll began, on the clock in use.
    stretch_ns: AtomicU64,
    /// When the current poll, or the current turn in the lane, began; monotonic.
    slice_ns: AtomicU64,
    /// Whether the thread's CPU clock is in use.
    exact: AtomicBool,
    /// What one invocation may use.
    limit_ns: u64,
}

/// What a tick found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    /// CPU time of the invocation so far exceeds the limit.
    pub(crate) is_over_limit: bool,
    /// Nanoseconds since the guest got its turn.
    pub(crate) slice_ns: u64,
}

impl CpuMeter {
    /// An account that allows `limit_ms` per invocation, and for init.
    pub(crate) fn new(limit_ms: u64) -> Self {
        Self {
            limit_ns: limit_ms.saturating_mul(1_000_000),
            ..Self::default()
        }
    }

    /// Begins a new invocation.
    pub(crate) fn begin(&self) {
        self.used_ns.store(0, Ordering::Relaxed);
        self.exact.store(false, Ordering::Relaxed);
    }

    /// A poll of the guest begins.
    pub(crate) fn begin_poll(&self) {
        let now = monotonic_ns();
        self.slice_ns.store(now, Ordering::Relaxed);
        let stretch = if self.exact.load(Ordering::Relaxed) {
            thread_cpu_ns()
        } else {
            now
        };
        self.stretch_ns.store(stretch, Ordering::Relaxed);
    }

    /// The poll is over; gives what it used.
    pub(crate) fn end_poll(&self) -> u64 {
        let now = if self.exact.load(Ordering::Relaxed) {
            thread_cpu_ns()
        } else {
            monotonic_ns()
        };
        let stretch = now.saturating_sub(self.stretch_ns.load(Ordering::Relaxed));
        self.used_ns.fetch_add(stretch, Ordering::Relaxed);
        stretch
    }

    /// The epoch has advanced while the guest ran.
    pub(crate) fn tick(&self) -> Tick {
        let now = monotonic_ns();
        let slice_ns = now.saturating_sub(self.slice_ns.load(Ordering::Relaxed));
        let stretch_start = self.stretch_ns.load(Ordering::Relaxed);
        let mut used = self.used_ns.load(Ordering::Relaxed);
        if self.exact.load(Ordering::Relaxed) {
            used += thread_cpu_ns().saturating_sub(stretch_start);
        } else {
            // From here on by the exact clock. The stretch so far moves its start back on that clock,
            // so that `end_poll` still counts it.
            let stretch = now.saturating_sub(stretch_start);
            let start = thread_cpu_ns().saturating_sub(stretch);
            self.stretch_ns.store(start, Ordering::Relaxed);
            self.exact.store(true, Ordering::Relaxed);
            used += stretch;
        }
        Tick {
            is_over_limit: used > self.limit_ns,
            slice_ns,
        }
    }

    /// CPU time since [`CpuMeter::begin`], without the current poll.
    pub(crate) fn used_ns(&self) -> u64 {
        self.used_ns.load(Ordering::Relaxed)
    }
}

fn monotonic_ns() -> u64 {
    ns(ClockId::Monotonic)
}

fn thread_cpu_ns() -> u64 {
    ns(ClockId::ThreadCPUTime)
}

fn ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    // Neither clock is ever negative.
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burn(ns: u64) {
        let start = thread_cpu_ns();
        while thread_cpu_ns() - start < ns {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn polls_add_up_and_the_limit_is_seen_at_a_tick() {
        let cpu = CpuMeter::new(5);
        cpu.begin();
        cpu.begin_poll();
        burn(2_000_000);
        assert!(!cpu.tick().is_over_limit);
        let first = cpu.end_poll();
        assert!(first >= 2_000_000);
        cpu.begin_poll();
        burn(4_000_000);
        let tick = cpu.tick();
        assert!(tick.is_over_limit);
        assert!(tick.slice_ns >= 4_000_000);
        let second = cpu.end_poll();
        assert_eq!(cpu.used_ns(), first + second);
        cpu.begin();
        assert_eq!(cpu.used_ns(), 0);
    }

    #[test]
    fn waiting_off_the_processor_is_not_billed_once_a_tick_was_seen() {
        let cpu = CpuMeter::new(1000);
        cpu.begin();
        cpu.begin_poll();
        cpu.tick();
        // Another thread holds the channel for 50 ms; this one waits off the processor.
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        assert!(
            receiver
                .recv_timeout(std::time::Duration::from_millis(50))
                .is_err()
        );
        drop(sender);
        assert!(cpu.end_poll() < 20_000_000, "{}", cpu.used_ns());
    }
}
