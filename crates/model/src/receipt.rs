//! The receipt that every invocation leaves, failed ones too.

use serde::{Deserialize, Serialize};

use crate::{Code, FunctionKey, InvocationId, Isolation};

/// How an invocation got its instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartKind {
    /// No instance was had: the invocation ended before.
    #[default]
    None,
    /// An instance that had served before.
    Warm,
    /// A new instance from a template in memory.
    Fresh,
    /// A new instance whose template had to be loaded or built first.
    Cold,
}

impl StartKind {
    /// The word used in headers and listings.
    pub fn as_str(self) -> &'static str {
        match self {
            StartKind::None => "none",
            StartKind::Warm => "warm",
            StartKind::Fresh => "fresh",
            StartKind::Cold => "cold",
        }
    }
}

/// What one invocation took and cost. Times are durations in nanoseconds of the monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The invocation.
    pub id: InvocationId,
    /// The function.
    pub function: FunctionKey,
    /// The version's number.
    pub version: u64,
    /// The class it ran in.
    pub isolation: Isolation,
    /// How it got its instance.
    pub start: StartKind,
    /// When it was accepted, in milliseconds since the Unix epoch.
    pub accepted_unix_ms: u64,
    /// Waiting for a place.
    pub queue_ns: u64,
    /// Making the boundary: loading the template and starting the sandbox.
    pub start_ns: u64,
    /// The part of `start_ns` that ran the function's own init code.
    pub init_ns: u64,
    /// From the hand-over to the function to the end of its answer.
    pub run_ns: u64,
    /// CPU time the function used, init included.
    pub cpu_ns: u64,
    /// Peak memory of the instance in bytes.
    pub memory_peak_bytes: u64,
    /// Body bytes received from the caller.
    pub bytes_in: u64,
    /// Body bytes sent to the caller.
    pub bytes_out: u64,
    /// Log bytes written, and of them dropped at the limit.
    pub log_bytes: u64,
    /// Log bytes dropped at a limit.
    pub log_dropped_bytes: u64,
    /// The HTTP status that the caller got; 499 where the caller went away first.
    pub status: u16,
    /// The error, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Code>,
    /// The price in billionths of the price table's currency unit.
    pub price_nano: u64,
}
