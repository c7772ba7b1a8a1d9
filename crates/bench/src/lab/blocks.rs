//! One block of load, and the server's CPU clock around it.

use std::time::Duration;

use super::{Plan, RowError, Subject};
use crate::load::{self, Closed, N_CONNECTIONS_DEFAULT, Open, Tally};

/// What a block showed.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// Right answers per second.
    pub(crate) rate_per_s: f64,
    /// CPU time of the server's process per answer, in microseconds.
    pub(crate) cpu_us: f64,
    /// The latency that 99 % of the answers kept to, in microseconds.
    pub(crate) p99_us: f64,
    /// Whether the generator was the limit.
    pub(crate) is_client_bound: bool,
    /// What the generator could do at most; an open loop does not show it.
    ceiling_per_s: Option<f64>,
}

impl Block {
    /// A closed loop.
    pub(super) fn closed(subject: &Subject, plan: &Plan) -> Result<Self, RowError> {
        Self::closed_for(subject, plan.warm_up, plan.block)
    }

    fn closed_for(
        subject: &Subject,
        warm_up: Duration,
        duration: Duration,
    ) -> Result<Self, RowError> {
        let closed = Closed {
            n_connections: subject.n_connections,
            warm_up,
            duration,
        };
        Self::around(
            subject,
            || Ok(load::closed(&subject.target, &closed)?),
            true,
        )
    }

    /// An open loop.
    pub(super) fn open(subject: &Subject, rate_per_s: f64, plan: &Plan) -> Result<Self, RowError> {
        let open = Open {
            n_connections: N_CONNECTIONS_DEFAULT,
            rate_per_s,
            warm_up: plan.warm_up,
            duration: plan.block,
        };
        Self::around(subject, || Ok(load::open(&subject.target, &open)?), false)
    }

    /// Load whose figures nobody looks at.
    pub(super) fn warm_up(subject: &Subject, plan: &Plan) -> Result<(), RowError> {
        Self::closed_for(subject, Duration::ZERO, plan.first).map(drop)
    }

    /// What the generator could do at most, where the block shows it: a block in which its thread hardly
    /// ran does not.
    pub(super) fn ceiling(&self) -> Option<f64> {
        self.ceiling_per_s.filter(|ceiling| ceiling.is_finite())
    }

    fn around(
        subject: &Subject,
        load: impl FnOnce() -> Result<Tally, RowError>,
        is_closed: bool,
    ) -> Result<Self, RowError> {
        let clock = &subject.server.clock;
        let before = clock.now()?;
        let tally = load()?;
        let used = clock.now()?.saturating_sub(before);
        Ok(Self {
            rate_per_s: tally.rate_per_s(),
            cpu_us: per_answer_us(used, tally.n_answers_in_all),
            p99_us: tally.latency.value_at_quantile(0.99) as f64 / 1e3,
            is_client_bound: is_closed && tally.is_client_bound(),
            ceiling_per_s: is_closed.then(|| tally.ceiling_per_s()),
        })
    }
}

fn per_answer_us(used: Duration, n_answers: u64) -> f64 {
    used.as_secs_f64() * 1e6 / n_answers.max(1) as f64
}

/// The median of a figure over blocks.
pub(crate) fn median(blocks: &[Block], figure: impl Fn(&Block) -> f64) -> f64 {
    let figures: Vec<f64> = blocks.iter().map(figure).collect();
    crate::stats::median_of(&figures).median
}
