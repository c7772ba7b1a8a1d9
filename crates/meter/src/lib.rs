//! What invocations used, said and took: receipts on their way to the store, exact usage sums, logs of
//! functions, and metrics.
//!
//! ```text
//! invoker -- settle --> Meter: price, metrics, batch --(flusher thread)--> ReceiptStore
//! engines -- write ---> Logs: a bounded ring per function <-- tail, follow -- admin API
//! ```
//!
//! Refuses to know HTTP, SQL, and how anything is run. Everything on the request path (`settle`,
//! `write`) takes well under a microsecond, never blocks on the store and is bounded; what does not fit
//! is dropped and counted.

mod batch;
mod config;
mod flusher;
pub mod logs;
mod meter;
pub mod metrics;

pub use config::{LogsConfig, MeterConfig};
pub use flusher::Flusher;
pub use logs::{Follower, LogEntry, Logs, UnixClock};
pub use meter::Meter;
pub use metrics::{MetricKind, PrometheusText};
