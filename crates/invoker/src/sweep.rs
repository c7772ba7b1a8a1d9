//! Housekeeping off the request path: idle instances and unused templates go, retired versions let go,
//! and a draining node waits for its last invocation.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::instance::{InstanceInfo, InstanceState};
use crate::invoke::Invoker;
use crate::pool::{Places, VersionPool};

impl Invoker {
    /// Lets a version go that no longer serves: its idle instances now, busy ones when they end.
    pub fn retire(&self, uid: u64) {
        let pool = self
            .pools
            .lock()
            .get(&uid)
            .and_then(std::sync::Weak::upgrade);
        if let Some(pool) = pool {
            pool.retire();
        }
    }

    /// Discards what was idle for too long at `now`. The node calls it about once a second.
    pub fn sweep(&self, now: Instant) {
        let pools = self.live_pools();
        for pool in &pools {
            let keep_alive_s = self
                .config
                .class(pool.version.config.isolation)
                .keep_alive_s;
            if let Some(since) = now.checked_sub(Duration::from_secs(keep_alive_s)) {
                // Dropped here, with no lock held: destroying a sandbox may take a while.
                drop(pool.expired(since));
            }
        }
        self.sweep_templates(pools, now);
        self.pools.lock().retain(|_, pool| pool.strong_count() > 0);
        self.forget_unused_gates();
    }

    fn sweep_templates(&self, pools: Vec<Arc<VersionPool>>, now: Instant) {
        let now_ms = u64::try_from(now.saturating_duration_since(self.began).as_millis())
            .unwrap_or(u64::MAX);
        let keep_alive_ms = self.config.template_keep_alive_s.saturating_mul(1_000);
        let mut loaded: Vec<(u64, Arc<VersionPool>)> = pools
            .into_iter()
            .filter(|pool| pool.template.is_loaded())
            .map(|pool| (pool.last_used_ms.load(Ordering::Relaxed), pool))
            .collect();
        loaded.sort_by_key(|(last_used_ms, _)| std::cmp::Reverse(*last_used_ms));
        for (rank, (last_used_ms, pool)) in loaded.into_iter().enumerate() {
            let unused = now_ms.saturating_sub(last_used_ms) > keep_alive_ms;
            if unused || rank >= self.config.n_templates_max {
                pool.template.clear();
            }
        }
    }

    /// Discards every idle instance and every template, as a long idle time would: for measurements of
    /// the cold path, and for an operator who wants the memory back.
    pub fn evict_all(&self) {
        self.deployed.clear();
        for pool in self.live_pools() {
            pool.retire();
        }
    }

    /// Makes room in a class's budget by discarding the instance that has idled longest.
    pub(crate) fn evict_one(&self, places: &Arc<Places>) {
        let coldest = self
            .live_pools()
            .into_iter()
            .filter(|pool| Arc::ptr_eq(&pool.places, places))
            .filter_map(|pool| pool.coldest_since().map(|since| (since, pool)))
            .min_by_key(|(since, _)| *since);
        if let Some((_, pool)) = coldest {
            drop(pool.evict_coldest());
        }
    }

    /// What is alive, by version and state.
    pub fn instances(&self) -> Vec<InstanceInfo> {
        let mut infos = Vec::new();
        for pool in self.live_pools() {
            let counts = [
                (InstanceState::Busy, pool.n_busy.load(Ordering::Relaxed)),
                (InstanceState::Idle, pool.n_idle()),
            ];
            for (state, n_instances) in counts {
                if n_instances > 0 {
                    infos.push(InstanceInfo {
                        function: pool.version.function.to_string(),
                        version: pool.version.number,
                        isolation: pool.version.config.isolation,
                        state,
                        n_instances,
                    });
                }
            }
        }
        infos.sort_by(|a, b| (&a.function, a.version).cmp(&(&b.function, b.version)));
        infos
    }

    /// Invocations in flight.
    pub fn n_running(&self) -> usize {
        self.gate.n_in_flight()
    }

    /// Refuses new invocations and waits at most `grace` for the last one to end. Returns how many are
    /// left.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.gate.close();
        let _ = tokio::time::timeout(grace, async {
            loop {
                let drained = self.gate.drained.notified();
                if self.gate.n_in_flight() == 0 {
                    return;
                }
                drained.await;
            }
        })
        .await;
        self.evict_all();
        self.gate.n_in_flight()
    }

    fn live_pools(&self) -> Vec<Arc<VersionPool>> {
        let pools = self.pools.lock();
        pools
            .values()
            .filter_map(std::sync::Weak::upgrade)
            .collect()
    }
}
