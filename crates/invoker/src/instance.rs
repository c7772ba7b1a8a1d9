//! What the platform keeps of a live sandbox, and the one lifecycle that every instance goes through:
//!
//! ```text
//!             acquire                 release (reusable, not retired)
//! starting ------------> busy ------------------------------------> idle
//!     |                   |  ^------------------ acquire ------------|
//!     | start failed      | spent, broken, retired,                  | keep-alive over, evicted,
//!     v                   v or the invocation was dropped            v retired
//!   gone <-------------- gone                                       gone
//! ```
//!
//! `paused` and `draining` join with the classes that can pause and need time to stop.

use std::sync::Arc;

use runtime::Sandbox;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// Where in its life an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// It serves an invocation.
    Busy,
    /// It waits for one.
    Idle,
}

/// A group of instances as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstanceInfo {
    /// The function.
    pub function: String,
    /// The version's number.
    pub version: u64,
    /// The class.
    pub isolation: model::Isolation,
    /// The state that the counted instances are in.
    pub state: InstanceState,
    /// How many.
    pub n_instances: usize,
}

/// A live sandbox with its place in the class's budget.
pub(crate) struct Instance {
    pub(crate) sandbox: Arc<dyn Sandbox>,
    /// Invocations it has begun.
    pub(crate) n_served: u32,
    /// Since when it idles; meaningless while busy.
    pub(crate) idle_since: Instant,
    /// The pool's generation when it was started.
    pub(crate) generation: u64,
    /// Given back when the instance is gone.
    _place: OwnedSemaphorePermit,
}

impl Instance {
    pub(crate) fn new(
        sandbox: Arc<dyn Sandbox>,
        generation: u64,
        place: OwnedSemaphorePermit,
        now: Instant,
    ) -> Self {
        Self {
            sandbox,
            n_served: 0,
            idle_since: now,
            generation,
            _place: place,
        }
    }
}
