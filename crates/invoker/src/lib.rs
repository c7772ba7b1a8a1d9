//! Runs invocations: admission, instances and their lifecycle, deadlines, settlement.
//!
//! The path of one invocation reads top to bottom in [`Invoker::invoke`]:
//!
//! ```text
//! admit -> acquire (warm | fresh | cold) -> run under the deadline -> settle when the answer ended
//! ```
//!
//! Knows the seams only: nothing of HTTP servers, SQL, or any engine.

mod acquire;
mod admit;
mod body;
mod call;
mod config;
mod deadline;
mod flight;
mod instance;
mod invoke;
mod pool;
mod sweep;
mod templates;
#[cfg(test)]
mod tests;

pub use call::{Answer, Call, Timings};
pub use config::{ClassConfig, InvokerConfig};
pub use instance::{InstanceInfo, InstanceState};
pub use invoke::{Invoker, InvokerDeps, UsageSink};
