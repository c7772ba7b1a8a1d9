//! A published version in memory, with a place where the platform keeps what it has running of it.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use model::FunctionVersion;

/// A published version in memory.
pub struct LiveVersion {
    /// Unique in this process, also after a function was removed and made again: the key of warm
    /// instances.
    pub uid: u64,
    /// The version.
    pub version: Arc<FunctionVersion>,
    /// What the invoker has running of this version. It lives here so that the request path, which has
    /// the version in hand, needs no second lookup; the store knows nothing of what it holds.
    slot: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl LiveVersion {
    /// A version that nothing runs of yet.
    pub fn new(uid: u64, version: Arc<FunctionVersion>) -> Self {
        Self {
            uid,
            version,
            slot: OnceLock::new(),
        }
    }

    /// What the slot holds, made by `make` at the first call. One crate owns the slot, so a value of
    /// another type is a bug.
    pub fn slot<T: Any + Send + Sync>(&self, make: impl FnOnce() -> Arc<T>) -> &T {
        self.slot
            .get_or_init(|| make())
            .downcast_ref()
            .expect("the slot has one owner and so one type")
    }
}

impl fmt::Debug for LiveVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveVersion")
            .field("uid", &self.uid)
            .field("function", &self.version.function)
            .field("number", &self.version.number)
            .finish_non_exhaustive()
    }
}
