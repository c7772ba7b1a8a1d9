//! Receipts and the sums made of them.

use model::{FunctionKey, InvocationId, Namespace, Receipt, StartKind};

use crate::StoreError;

/// Keeps receipts. All calls block; appends come in batches.
pub trait ReceiptStore: Send + Sync + 'static {
    /// Appends a batch in one transaction: all of it or, with an error, nothing. A batch is known by the
    /// id of its first receipt. Where a batch that began with it is there already, this one is left out,
    /// so one whose fate is unknown may be appended again, as it was.
    fn append(&self, receipts: &[Receipt]) -> Result<(), StoreError>;

    /// The receipt of an invocation, while it is kept.
    fn find(&self, id: InvocationId) -> Result<Option<Receipt>, StoreError>;

    /// Exact sums over the receipts that match, in order of their keys, those of trimmed receipts in. A
    /// total is one row always; a function or day without receipts has none.
    ///
    /// # Errors
    /// [`StoreError::Trimmed`] where the query's time cuts an hour or a day in two whose receipts are
    /// gone: exact sums are left of the whole only.
    fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError>;

    /// Removes some of the receipts that are beyond `keep`, oldest first; their sums stay. One call is a
    /// small step. Returns whether the next one may find more.
    fn trim(&self, keep: Keep) -> Result<bool, StoreError>;
}

/// Which receipts are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Those accepted at or after, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
    /// As many of the newest as take this much storage, sums included, in bytes.
    pub bytes_max: u64,
}

/// Which receipts to sum, and by what.
#[derive(Clone, Debug)]
pub struct UsageQuery {
    /// Only this namespace.
    pub namespace: Option<Namespace>,
    /// Only this function.
    pub function: Option<FunctionKey>,
    /// Accepted at or after, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
    /// Accepted before.
    pub until_unix_ms: u64,
    /// What makes a row.
    pub group: UsageGroup,
}

impl UsageQuery {
    /// Whether the sums count this receipt: what every implementation selects.
    pub fn matches(&self, receipt: &Receipt) -> bool {
        self.selects(&receipt.function)
            && (self.since_unix_ms..self.until_unix_ms).contains(&receipt.accepted_unix_ms)
    }

    /// Whether the sums count receipts of this function.
    pub fn selects(&self, function: &FunctionKey) -> bool {
        let namespace = self.namespace.as_ref();
        let only = self.function.as_ref();
        namespace.is_none_or(|namespace| function.namespace == *namespace)
            && only.is_none_or(|only| function == only)
    }
}

/// What makes a row of usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageGroup {
    /// Everything in one row.
    Total,
    /// A row per function.
    Function,
    /// A row per UTC day.
    Day,
}

/// Sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageRow {
    /// The function's text, the day as `YYYY-MM-DD`, or empty for the total.
    pub key: String,
    /// Invocations.
    pub n_invocations: u64,
    /// Of them with an error.
    pub n_errors: u64,
    /// Of them that started an instance from a template not in memory.
    pub n_cold: u64,
    /// Run time in nanoseconds.
    pub run_ns: u128,
    /// CPU time in nanoseconds.
    pub cpu_ns: u128,
    /// Body bytes in.
    pub bytes_in: u128,
    /// Body bytes out.
    pub bytes_out: u128,
    /// Price in billionths of the currency unit.
    pub price_nano: u128,
}

impl UsageRow {
    /// Counts a receipt.
    pub fn add(&mut self, receipt: &Receipt) {
        self.n_invocations += 1;
        self.n_errors += u64::from(receipt.error.is_some());
        self.n_cold += u64::from(receipt.start == StartKind::Cold);
        self.run_ns += u128::from(receipt.run_ns);
        self.cpu_ns += u128::from(receipt.cpu_ns);
        self.bytes_in += u128::from(receipt.bytes_in);
        self.bytes_out += u128::from(receipt.bytes_out);
        self.price_nano += u128::from(receipt.price_nano);
    }

    /// Adds the sums of `other`, whatever its key.
    pub fn merge(&mut self, other: &UsageRow) {
        self.n_invocations += other.n_invocations;
        self.n_errors += other.n_errors;
        self.n_cold += other.n_cold;
        self.run_ns += other.run_ns;
        self.cpu_ns += other.cpu_ns;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.price_nano += other.price_nano;
    }
}

/// The UTC day of a moment, as `YYYY-MM-DD`: the key of [`UsageGroup::Day`]. Proleptic Gregorian, by
/// the days-to-civil algorithm of Howard Hinnant ("chrono-Compatible Low-Level Date Algorithms").
pub fn utc_day(unix_ms: u64) -> String {
    const DAYS_TO_EPOCH: u64 = 719_468;
    const DAYS_PER_ERA: u64 = 146_097;
    let days = unix_ms / DAY_MS + DAYS_TO_EPOCH;
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months counted from March, so that the leap day is a year's last.
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Milliseconds of an hour.
pub const HOUR_MS: u64 = 60 * 60 * 1000;

/// Milliseconds of a day.
pub const DAY_MS: u64 = 24 * HOUR_MS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (unix_s, day) in [
            (0, "1970-01-01"),
            (86_399, "1970-01-01"),
            (86_400, "1970-01-02"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_790_000_000, "2026-09-21"),
            (4_107_542_400, "2100-03-01"),
            (4_107_542_399, "2100-02-28"),
        ] {
            assert_eq!(utc_day(unix_s * 1000), day);
        }
    }
}
