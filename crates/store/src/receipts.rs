//! Receipts and the sums made of them.

use model::{FunctionKey, InvocationId, Namespace, Receipt};

use crate::StoreError;

/// Keeps receipts. All calls block; appends come in batches.
pub trait ReceiptStore: Send + Sync + 'static {
    /// Appends a batch in one transaction.
    fn append(&self, receipts: &[Receipt]) -> Result<(), StoreError>;

    /// The receipt of an invocation.
    fn find(&self, id: InvocationId) -> Result<Option<Receipt>, StoreError>;

    /// Exact sums over the receipts that match.
    fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError>;
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
