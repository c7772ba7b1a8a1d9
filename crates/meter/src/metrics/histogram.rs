//! A histogram of integers with fixed buckets. One writes at a time, others read beside it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds in nanoseconds of what functions take: 100 us to 30 s.
pub(super) const DURATION_NS: &[u64] = &[
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    30_000_000_000,
];

/// Upper bounds in nanoseconds of what the platform takes: 1 us to 10 s.
pub(super) const OVERHEAD_NS: &[u64] = &[
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    5_000_000,
    25_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
];

/// Upper bounds in bytes of an instance's memory: 1 MiB to 4 GiB.
pub(super) const MEMORY_BYTES: &[u64] = &[
    1 << 20,
    4 << 20,
    16 << 20,
    32 << 20,
    64 << 20,
    128 << 20,
    256 << 20,
    512 << 20,
    1 << 30,
    4 << 30,
];

/// Counts observations by bucket.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: &'static [u64],
    /// One more than bounds: the last is for what exceeds them all.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// A histogram at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) bounds: &'static [u64],
    /// How many observations are at most each bound; cumulative, as Prometheus wants them.
    pub(super) cumulative: Vec<u64>,
    pub(super) n: u64,
    pub(super) sum: u64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Nobody else may observe meanwhile, so that no locked instruction is needed.
    pub(super) fn observe(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        let add = |to: &AtomicU64, n: u64| {
            to.store(
                to.load(Ordering::Relaxed).wrapping_add(n),
                Ordering::Relaxed,
            );
        };
        add(&self.counts[bucket], 1);
        add(&self.sum, value);
    }

    /// `n` is the sum of the buckets read here, so the parts agree also while others observe.
    pub(super) fn snapshot(&self) -> Snapshot {
        let sum = self.sum.load(Ordering::Relaxed);
        let mut n = 0;
        let mut cumulative = Vec::with_capacity(self.bounds.len());
        for count in &self.counts {
            n += count.load(Ordering::Relaxed);
            cumulative.push(n);
        }
        cumulative.pop();
        Snapshot {
            bounds: self.bounds,
            cumulative,
            n,
            sum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_sorted() {
        for bounds in [DURATION_NS, OVERHEAD_NS, MEMORY_BYTES] {
            assert!(bounds.is_sorted());
        }
        let histogram = Histogram::new(&[10, 20]);
        for value in [0, 10, 11, 20, 21, 1_000] {
            histogram.observe(value);
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.cumulative, [2, 4]);
        assert_eq!((snapshot.n, snapshot.sum), (6, 1_062));
    }
}
