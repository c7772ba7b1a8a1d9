//! How long and how often things are measured.

use std::time::Duration;

use crate::report::Mode;

/// How long and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Which of the two kinds of run.
    pub(crate) mode: Mode,
    /// Rounds: each subject has one block in each.
    pub(crate) n_rounds: usize,
    /// What is measured of a block.
    pub(crate) block: Duration,
    /// Load before that.
    pub(crate) warm_up: Duration,
    /// Load on a server that has just started, of which nothing is measured.
    pub(crate) first: Duration,
    /// What the whole run may take. Rows that would exceed it are not begun.
    pub(crate) budget: Duration,
}

impl Plan {
    /// The plan of a mode.
    pub(crate) fn of(mode: Mode) -> Self {
        match mode {
            Mode::Quick => Self {
                mode,
                n_rounds: 5,
                block: Duration::from_millis(500),
                warm_up: Duration::from_millis(50),
                first: Duration::from_millis(200),
                budget: Duration::from_secs(3 * 60),
            },
            Mode::Full => Self {
                mode,
                n_rounds: 9,
                block: Duration::from_secs(3),
                warm_up: Duration::from_millis(250),
                first: Duration::from_secs(1),
                budget: Duration::from_secs(30 * 60),
            },
        }
    }

    /// What `n_subjects` that take turns need.
    pub(crate) fn turns(&self, n_subjects: usize) -> Duration {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        (self.block + self.warm_up) * count(n_subjects * self.n_rounds)
            + self.first * count(n_subjects)
    }
}
