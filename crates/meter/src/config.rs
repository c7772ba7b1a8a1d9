//! The knobs of receipts and logs. The doc comments are the operator's manual.

use model::price::PriceTable;
use serde::{Deserialize, Serialize};

/// Receipts, prices and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeterConfig {
    /// Receipts that may wait in memory for the storage, besides half as many that are being written.
    /// More are dropped and counted in `holm_receipts_dropped_total`. One takes about 200 bytes.
    pub n_receipts_max: usize,
    /// Milliseconds after which waiting receipts are written; sooner where they are many. What waits is
    /// found and summed as what is written, and lost when the process is killed.
    pub flush_interval_ms: u64,
    /// Days for which receipts, and usage by the hour, are kept. Usage by the day is kept for good.
    pub receipts_keep_days: u64,
    /// Bytes that receipts and usage may take on disk; beyond, the oldest receipts go before their time.
    pub receipts_bytes_max: u64,
    /// Functions with metrics of their own; those beyond share the name `_other`.
    pub n_functions_max: usize,
    /// What usage costs.
    pub prices: PriceTable,
}

impl Default for MeterConfig {
    fn default() -> Self {
        Self {
            n_receipts_max: 65_536,
            flush_interval_ms: 50,
            receipts_keep_days: 30,
            receipts_bytes_max: 2 << 30,
            n_functions_max: 1_000,
            prices: PriceTable::default(),
        }
    }
}

/// Logs of functions in memory. The oldest lines go first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogsConfig {
    /// Bytes that are kept of one function, bookkeeping included.
    pub function_bytes_max: usize,
    /// Lines that are kept of one function.
    pub function_lines_max: usize,
    /// Bytes that are kept of all functions. Beyond, the functions with most lose theirs first.
    pub bytes_max: usize,
    /// Functions of which lines are kept. Beyond, those that wrote least recently are forgotten.
    pub n_functions_max: usize,
}

impl Default for LogsConfig {
    fn default() -> Self {
        Self {
            function_bytes_max: 2 * 1024 * 1024,
            function_lines_max: 10_000,
            bytes_max: 32 * 1024 * 1024,
            n_functions_max: 20_000,
        }
    }
}
