//! What a row found, or why not.

use super::{Block, median, pairs};
use crate::report::{Figure, Quantity};
use crate::stats::{self, Interval};

/// What a row found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The figure.
    pub(crate) figure: Figure,
    /// A further condition of the moonshot.
    pub(crate) moonshot_also: bool,
    /// CPU time of the server's process per request, in microseconds.
    pub(crate) cpu_us: Option<f64>,
    /// The generator was the limit.
    pub(crate) is_client_bound: bool,
}

impl Found {
    /// Requests per second of `ours` by those of `theirs`.
    pub(crate) fn throughput(ours: &[Block], theirs: &[Block]) -> Self {
        let rate = Quantity {
            value: median(ours, |block| block.rate_per_s),
            unit: "requests/s",
        };
        Self {
            cpu_us: Some(median(ours, |block| block.cpu_us)),
            // A client-bound baseline flatters us: that must show, too.
            is_client_bound: ours.iter().chain(theirs).any(|block| block.is_client_bound),
            ..Self::ratio(stats::ratio(&pairs(ours, theirs)), Some(rate))
        }
    }

    /// A ratio of something else.
    pub(crate) fn ratio(ratio: Interval, ours: Option<Quantity>) -> Self {
        Self::of(Figure::Ratio { ratio, ours })
    }

    /// A figure without a baseline.
    pub(crate) fn absolute(value: f64, unit: &'static str) -> Self {
        Self::of(Figure::Absolute(Quantity { value, unit }))
    }

    fn of(figure: Figure) -> Self {
        Self {
            figure,
            moonshot_also: true,
            cpu_us: None,
            is_client_bound: false,
        }
    }
}

/// Why a row has no figure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RowError {
    /// Something is not there that the row needs: what, and how to get it.
    #[error("{0}")]
    Missing(String),
    /// It could not be measured: a wrong answer, a server that ended.
    #[error("{0}")]
    Failed(String),
}

impl RowError {
    /// The build left a guest out.
    pub(crate) fn no_guest(reason: &str) -> Self {
        Self::Missing(format!("this binary was built without its guest: {reason}"))
    }
}
