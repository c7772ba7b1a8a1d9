//! What whoever starts a node may put in the place of its usual parts: engines, and the sinks of receipts
//! and log lines. Refuses to know why.

use std::sync::Arc;

use invoker::UsageSink;
use runtime::{LogSink, Runtime};

/// Parts that take the place of the usual ones. The default replaces nothing.
#[derive(Default)]
pub struct Parts {
    /// Engines: each takes the place of the release's own engine for its class, or adds one. At most one
    /// per class.
    pub runtimes: Vec<Arc<dyn Runtime>>,
    /// Where receipts go instead of to the meter. The admin API then knows no receipt, usage or
    /// invocation metric.
    pub usage: Option<Arc<dyn UsageSink>>,
    /// Where log lines go instead of to the logs that the admin API shows.
    pub log: Option<Arc<dyn LogSink>>,
}
