//! Random choices with a seed that a failed run can repeat.

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to choose moments and bits.
pub struct Random(u64);

impl Random {
    /// From `HOLM_TEST_SEED`, or else from the clock; prints the seed.
    pub fn seeded() -> Self {
        let given = std::env::var("HOLM_TEST_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            since.expect("the clock is after 1970").as_nanos() as u64
        });
        println!("HOLM_TEST_SEED={seed}");
        Self(seed)
    }

    /// The same choices for the same number.
    pub fn of(number: u64) -> Self {
        Self(number)
    }

    /// Below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % end
    }
}
