//! What runs of one version: its template, its idle instances, its counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use model::FunctionVersion;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::admit::FunctionGate;
use crate::instance::Instance;
use crate::templates::TemplateCell;

/// The budget of a class on this node.
pub(crate) struct Places {
    /// One permit per instance that may live.
    pub(crate) instances: Arc<Semaphore>,
    /// Who waits for one.
    pub(crate) n_waiting: AtomicUsize,
}

/// What runs of one version.
pub(crate) struct VersionPool {
    pub(crate) version: Arc<FunctionVersion>,
    pub(crate) function: Arc<FunctionGate>,
    pub(crate) places: Arc<Places>,
    pub(crate) template: TemplateCell,
    /// Newest last: the warmest is taken first, the coldest is evicted first.
    idle: Mutex<Vec<Instance>>,
    pub(crate) n_busy: AtomicUsize,
    /// Moves on at every retirement: an instance of an earlier generation is not kept when released.
    generation: AtomicU64,
    /// When it was last used, in milliseconds after the invoker's start.
    pub(crate) last_used_ms: AtomicU64,
}

impl VersionPool {
    pub(crate) fn new(
        version: Arc<FunctionVersion>,
        function: Arc<FunctionGate>,
        places: Arc<Places>,
    ) -> Self {
        Self {
            version,
            function,
            places,
            template: TemplateCell::default(),
            idle: Mutex::default(),
            n_busy: AtomicUsize::new(0),
            generation: AtomicU64::new(0),
            last_used_ms: AtomicU64::new(0),
        }
    }

    pub(crate) fn n_idle(&self) -> usize {
        self.idle.lock().len()
    }

    /// Takes the warmest idle instance.
    pub(crate) fn take_idle(&self) -> Option<Instance> {
        // Fresh-per-request functions never have one: spare them the lock.
        if self.version.config.reuse == 1 {
            return None;
        }
        self.idle.lock().pop()
    }

    /// Keeps an instance for the next invocation, or lets it go.
    pub(crate) fn release(&self, mut instance: Instance, now: Instant) {
        let spent = instance.n_served >= self.version.config.reuse;
        if spent || !instance.sandbox.is_reusable() {
            return;
        }
        instance.idle_since = now;
        let mut idle = self.idle.lock();
        // Both are checked under the lock that retiring and evicting take: an instance cannot slip in
        // after either. Whoever waits for a place must not wait for an idle instance to expire.
        let is_wanted = self.places.n_waiting.load(Ordering::Acquire) == 0;
        if is_wanted && instance.generation == self.generation() {
            idle.push(instance);
        }
    }

    /// Lets all idle instances go, and every busy one when it is released.
    pub(crate) fn retire(&self) {
        let idle = {
            let mut idle = self.idle.lock();
            self.generation.fetch_add(1, Ordering::AcqRel);
            std::mem::take(&mut *idle)
        };
        self.template.clear();
        drop(idle);
    }

    /// The generation that instances started now belong to.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Takes out the instances that have idled since before `since`.
    pub(crate) fn expired(&self, since: Instant) -> Vec<Instance> {
        let mut idle = self.idle.lock();
        let n_expired = idle.partition_point(|instance| instance.idle_since < since);
        idle.drain(..n_expired).collect()
    }

    /// Takes out the coldest idle instance.
    pub(crate) fn evict_coldest(&self) -> Option<Instance> {
        let mut idle = self.idle.lock();
        (!idle.is_empty()).then(|| idle.remove(0))
    }

    pub(crate) fn coldest_since(&self) -> Option<Instant> {
        self.idle.lock().first().map(|instance| instance.idle_since)
    }
}
