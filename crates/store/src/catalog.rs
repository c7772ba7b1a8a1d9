//! The catalog in memory: what the request path reads. A [`Snapshot`] is immutable; every change makes a
//! new one and swaps it in, after the store has it durably.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use model::FunctionKey;
use parking_lot::Mutex;

use crate::persist::{AliasMove, CatalogState, CatalogStore, FunctionState, Publish, Published};
use crate::{LiveVersion, StoreError};

/// A function in memory.
#[derive(Clone, Debug)]
pub struct FunctionEntry {
    /// The function.
    pub key: FunctionKey,
    /// All versions, by number.
    pub versions: Vec<Arc<LiveVersion>>,
    /// Where `live` points.
    pub live: Option<Arc<LiveVersion>>,
    /// Where it pointed before.
    pub previous_live: Option<u64>,
}

impl FunctionEntry {
    /// The version with this number.
    pub fn version(&self, number: u64) -> Option<&Arc<LiveVersion>> {
        self.versions.iter().find(|live| live.version.number == number)
    }
}

/// The catalog at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Counts changes; a later snapshot has a higher one.
    pub generation: u64,
    /// All functions.
    pub functions: HashMap<FunctionKey, Arc<FunctionEntry>>,
}

/// The catalog: reads from memory, writes through to a store.
pub struct Catalog {
    current: ArcSwap<Snapshot>,
    store: Arc<dyn CatalogStore>,
    /// Held over store write and swap, so that both have the same order.
    writing: Mutex<()>,
    next_uid: AtomicU64,
}
