//! Medians and how far to trust them. Knows numbers only.

/// Resamples of a bootstrap: the 2.5th percentile of that many medians no longer moves in the digits that
/// are printed.
const N_RESAMPLES: usize = 10_000;

/// Seed of the bootstrap: the same figures give the same interval.
const BOOTSTRAP_SEED: u64 = 0xB007_57A9;

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

/// The median of `a / b` over the pairs, with a bootstrap 95 % interval. NaN without pairs.
pub fn ratio(pairs: &[(f64, f64)]) -> Interval {
    let ratios: Vec<f64> = pairs.iter().map(|(a, b)| a / b).collect();
    median_of(&ratios)
}

/// The median of the samples, with its bootstrap 95 % interval (the percentile method: Efron and
/// Tibshirani, "An Introduction to the Bootstrap", chapter 13). Of five samples, as a quick run has them,
/// it is their range; of nine it leaves out the lowest and the highest. NaN when there are no samples or one of
/// them is no number.
pub fn median_of(samples: &[f64]) -> Interval {
    if samples.is_empty() || samples.iter().any(|sample| sample.is_nan()) {
        return Interval {
            median: f64::NAN,
            low: f64::NAN,
            high: f64::NAN,
        };
    }
    let mut sequence = Sequence::new(BOOTSTRAP_SEED);
    let mut resample = vec![0.0; samples.len()];
    let mut medians: Vec<f64> = (0..N_RESAMPLES)
        .map(|_| {
            for slot in &mut resample {
                *slot = samples[sequence.below(samples.len())];
            }
            median(&mut resample)
        })
        .collect();
    medians.sort_unstable_by(f64::total_cmp);
    Interval {
        median: median(&mut samples.to_vec()),
        low: medians[N_RESAMPLES * 25 / 1000],
        high: medians[N_RESAMPLES * 975 / 1000 - 1],
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(samples: &mut [f64]) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    let middle = samples.len() / 2;
    if samples.len() % 2 == 1 {
        samples[middle]
    } else {
        f64::midpoint(samples[middle - 1], samples[middle])
    }
}

/// Reproducible numbers: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014). Written out, so that an update of a library cannot change what a run does.
#[derive(Debug)]
pub struct Sequence {
    state: u64,
}

impl Sequence {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0. The bias of the multiplication (Lemire) is far below what
    /// any use here could notice.
    pub fn below(&mut self, bound: usize) -> usize {
        let scaled = (u128::from(self.next()) * bound as u128) >> 64;
        usize::try_from(scaled).expect("less than the bound, which is a usize")
    }

    /// Shuffles in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(samples: &[f64], median: f64, low: f64, high: f64) {
        let interval = median_of(samples);
        assert_eq!(interval, Interval { median, low, high }, "{samples:?}");
    }

    /// For samples without ties the bootstrap distribution of an odd median is known in closed form: the
    /// resampled median is at most the k-th smallest of n when at least (n+1)/2 of n draws are, each with
    /// probability k/n. These are the smallest and largest k whose distribution reaches 2.5 and 97.5 %.
    fn exact(n: usize) -> (usize, usize) {
        let at_most = |k: usize| -> f64 {
            let p = k as f64 / n as f64;
            (n.div_ceil(2)..=n).map(|hits| binomial(n, hits, p)).sum()
        };
        let reaches = |share: f64| (1..=n).find(|k| at_most(*k) >= share).unwrap();
        (reaches(0.025), reaches(0.975))
    }

    fn binomial(n: usize, hits: usize, p: f64) -> f64 {
        let choose = (1..=hits).fold(1.0, |c, i| c * (n - hits + i) as f64 / i as f64);
        choose * p.powi(hits as i32) * (1.0 - p).powi((n - hits) as i32)
    }

    #[test]
    fn the_bootstrap_agrees_with_the_exact_distribution() {
        for n in [3, 5, 9, 13, 17] {
            let samples: Vec<f64> = (1..=n).map(|k| k as f64).collect();
            let (low, high) = exact(n);
            check(&samples, n.div_ceil(2) as f64, low as f64, high as f64);
        }
    }

    #[test]
    fn known_medians() {
        check(&[7.0], 7.0, 7.0, 7.0);
        check(&[2.0; 9], 2.0, 2.0, 2.0);
        assert_eq!(median_of(&[4.0, 1.0, 3.0, 2.0]).median, 2.5);
        assert_eq!(median_of(&[9.0, 1.0, 5.0]).median, 5.0);
    }

    #[test]
    fn one_wild_pair_does_not_move_a_ratio() {
        let pairs = [
            (50.0, 100.0),
            (51.0, 100.0),
            (49.0, 100.0),
            (50.0, 100.0),
            (1.0, 1000.0),
        ];
        let interval = ratio(&pairs);
        assert_eq!(interval.median, 0.5);
        assert!(interval.low <= 0.5 && interval.high == 0.51, "{interval:?}");
        assert_eq!(ratio(&pairs), interval, "the seed is fixed");
    }

    #[test]
    fn nothing_to_go_by_is_no_number() {
        assert!(median_of(&[]).median.is_nan());
        assert!(ratio(&[(1.0, 1.0), (0.0, 0.0)]).low.is_nan());
    }

    #[test]
    fn the_sequence_is_the_published_one() {
        // The first numbers of the reference implementation for seed 1234567.
        let mut sequence = Sequence::new(1_234_567);
        let numbers = [sequence.next(), sequence.next(), sequence.next()];
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(numbers, published);
    }

    #[test]
    fn a_shuffle_loses_nothing_and_moves_something() {
        let mut items: Vec<usize> = (0..1000).collect();
        Sequence::new(1).shuffle(&mut items);
        assert_ne!(items, (0..1000).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..1000).collect::<Vec<_>>());
    }
}
