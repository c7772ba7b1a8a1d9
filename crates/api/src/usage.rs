//! Receipts, usage and logs.

use model::{FunctionName, InvocationId, Namespace, Receipt};
use serde::{Deserialize, Serialize};

/// A receipt, what it costs, and how near it came to its limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReceiptResponse {
    /// The receipt.
    pub receipt: Receipt,
    /// Its price.
    pub price: Price,
    /// How near it came to each limit of its version; empty where the version is gone.
    pub margins: Vec<Margin>,
}

/// A price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// In billionths of the currency's unit.
    pub nano: u64,
    /// The currency of the node's price table; empty where it names none.
    pub currency: String,
    /// For people, such as `0.000001250 EUR`.
    pub text: String,
}

/// What was used of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Margin {
    /// The limit's key in the manifest, such as `limits.memory`.
    pub limit: String,
    /// What was used.
    pub used: u64,
    /// What may be used.
    pub max: u64,
    /// What is left: `max - used`, never below zero.
    pub left: u64,
    /// The unit of the three: `bytes` or `ms`.
    pub unit: String,
}

/// What makes a row of usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UsageBy {
    /// Everything in one row.
    #[default]
    Total,
    /// A row per function.
    Function,
    /// A row per UTC day.
    Day,
}

/// Which receipts to sum, and by what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    /// What makes a row.
    #[serde(default)]
    pub by: UsageBy,
    /// Accepted at or after, in milliseconds since the Unix epoch; by default since ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Accepted before, in milliseconds since the Unix epoch; by default until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Only this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Only this function of `namespace` (of the default one where it is not named).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<FunctionName>,
}

/// Sums over receipts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageResponse {
    /// What makes a row.
    pub by: UsageBy,
    /// The currency of the prices; empty where the node's price table names none.
    pub currency: String,
    /// The rows, in order of their keys.
    pub rows: Vec<UsageRow>,
}

/// The sums of one row. A sum that does not fit 64 bits (five centuries of CPU time) reads as the
/// highest number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// The function as `NAME` or `NAME.NAMESPACE`, the day as `YYYY-MM-DD`, or empty for the total.
    pub key: String,
    /// Invocations.
    pub n_invocations: u64,
    /// Of them with an error.
    pub n_errors: u64,
    /// Of them that waited for a cold start.
    pub n_cold: u64,
    /// Run time in nanoseconds.
    pub run_ns: u64,
    /// CPU time in nanoseconds.
    pub cpu_ns: u64,
    /// Body bytes in.
    pub bytes_in: u64,
    /// Body bytes out.
    pub bytes_out: u64,
    /// Price in billionths of the currency's unit.
    pub price_nano: u64,
    /// The price for people.
    pub price: String,
}

/// Which lines to send.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogsQuery {
    /// Whether to go on with new lines until the client leaves.
    #[serde(default)]
    pub follow: bool,
    /// Only lines of this invocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation: Option<InvocationId>,
    /// How many of the kept lines to start with: at most [`crate::LOG_TAIL_MAX`], by default
    /// [`crate::LOG_TAIL_DEFAULT`]; with `invocation` all that are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<usize>,
}

/// Where a log line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogSource {
    /// The guest's standard output.
    Stdout,
    /// The guest's standard error.
    Stderr,
    /// What the platform says about the invocation.
    Platform,
}

/// One log line. The text is the guest's and may hold control characters: whoever prints it to a
/// terminal escapes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// When it arrived, in milliseconds since the Unix epoch.
    pub time_unix_ms: u64,
    /// The invocation; `None` on what the platform says about the stream itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation: Option<InvocationId>,
    /// The version's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Where it came from.
    pub stream: LogSource,
    /// The text without its line end; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// How many lines this reader missed before this one because it was slow.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub n_missed: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
