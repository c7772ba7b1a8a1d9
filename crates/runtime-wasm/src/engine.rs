//! The two wasmtime engines of a node and their settings. The compile worker builds its settings from the
//! same function, so that what it writes loads here.
//!
//! Two engines, because component-model concurrency, which `wasi:http` 0.3 needs, costs every 0.2 call
//! 9 of its 22 microseconds.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::config::WasmConfig;
use crate::epoch::Ticker;

/// Bytes of linear memory that a slot keeps resident after use, so that the next instance in it meets no
/// page faults. Sized to the dirty set of Rust, Go and C guests.
const MEMORY_KEEP_RESIDENT_BYTES: usize = 2 << 20;
/// The same for tables.
const TABLE_KEEP_RESIDENT_BYTES: usize = 64 << 10;
/// The same for stacks.
const STACK_KEEP_RESIDENT_BYTES: usize = 128 << 10;
/// Slots returned to the kernel in one go where the page-map scan is not to be had.
const DECOMMIT_BATCH: usize = 32;
/// Slots kept warm for a module that does not run just now: as many as distinct modules that share a node
/// without remapping images.
const UNUSED_WARM_SLOTS: u32 = 128;
/// Stack of a guest, in bytes.
const GUEST_STACK_BYTES: usize = 512 << 10;
/// Guest stack plus what host calls on it may use.
const FIBER_STACK_BYTES: usize = 1 << 20;
/// Frames of a backtrace.
const BACKTRACE_FRAMES_MAX: usize = 32;

/// Elements of one table; SpiderMonkey and CPython components stay below 20,000.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 100_000;
/// Core instances of one component: componentize-py makes about 30.
pub(crate) const CORE_INSTANCES_PER_STORE_MAX: u32 = 200;
/// Memories of one store, over all its core instances; a composed component has one per part.
pub(crate) const MEMORIES_PER_STORE_MAX: u32 = 4;
/// Tables of one store, over all its core instances.
pub(crate) const TABLES_PER_STORE_MAX: u32 = 40;
/// Bytes of an instance's own bookkeeping: grows with its functions and globals.
const INSTANCE_BYTES_MAX: usize = 8 << 20;

/// Which engine a contract runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineKind {
    /// Component-model concurrency off: `holm:core/1`, CGI, `wasi:http` 0.2.
    Plain,
    /// Component-model concurrency on: `wasi:http` 0.3.
    Concurrent,
}

impl EngineKind {
    /// The engine that runs `contract`.
    pub(crate) fn of(contract: model::Contract) -> Self {
        match contract {
            model::Contract::WasiHttp03 => Self::Concurrent,
            _ => Self::Plain,
        }
    }
}

/// Everything that shapes compiled code. No allocator here: the worker must not reserve terabytes.
pub(crate) fn compile_settings(kind: EngineKind) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(kind == EngineKind::Concurrent)
        // A smaller reservation makes every access check its bounds: +74 % in a hot loop.
        .memory_reservation(4 << 30)
        .memory_init_cow(true)
        // Our backtraces walk frame pointers; registering unwind tables costs time per load.
        .native_unwind_info(false)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(BACKTRACE_FRAMES_MAX));
    config
}

/// Whether dirty pages can be found by the page-map scan. It does not see pages that are swapped out, so
/// a host with swap goes without.
fn page_map_scan_is_safe() -> bool {
    match std::fs::read_to_string("/proc/swaps") {
        // The first line is the heading.
        Ok(swaps) => swaps.lines().count() <= 1,
        Err(_) => false,
    }
}

fn run_settings(kind: EngineKind, config: &WasmConfig, scan: bool) -> Config {
    let n_slots = config.n_slots;
    let mut pool = PoolingAllocationConfig::new();
    // Enough of each kind for every slot to hold its most: a function whose instances have many memories
    // or tables must not use up what other functions need. All of it is address space only.
    pool.total_memories(n_slots.saturating_mul(config.n_memories_per_slot))
        // One for the call; a 0.3 guest may have several tasks on stacks of their own.
        .total_stacks(n_slots.saturating_mul(2))
        .total_tables(n_slots.saturating_mul(TABLES_PER_STORE_MAX))
        .total_component_instances(n_slots)
        .total_core_instances(n_slots.saturating_mul(CORE_INSTANCES_PER_STORE_MAX))
        .max_core_instances_per_component(CORE_INSTANCES_PER_STORE_MAX)
        .max_memories_per_component(MEMORIES_PER_STORE_MAX)
        .max_memories_per_module(MEMORIES_PER_STORE_MAX)
        .max_tables_per_component(TABLES_PER_STORE_MAX)
        .max_tables_per_module(TABLES_PER_STORE_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_unused_warm_slots(UNUSED_WARM_SLOTS.min(n_slots))
        .async_stack_keep_resident(STACK_KEEP_RESIDENT_BYTES);
    if scan {
        pool.pagemap_scan(Enabled::Auto)
            .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT_BYTES)
            .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES);
    } else {
        // Without the scan a kept page is cleared whether dirty or not: worse than giving it back.
        pool.pagemap_scan(Enabled::No)
            .decommit_batch_size(DECOMMIT_BATCH);
    }
    let mut settings = compile_settings(kind);
    settings.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    settings
}

/// A name for everything that compiled code depends on: engine version, settings, processor features.
pub(crate) fn compatibility_name(engine: &Engine) -> String {
    // `DefaultHasher::new` has fixed keys; another release of the standard library may hash
    // differently, which costs a recompilation and nothing else.
    let mut hasher = std::collections::hash_map::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// The name for an engine of `kind`, without its pool: allocation does not shape compiled code.
pub(crate) fn compatibility(kind: EngineKind) -> wasmtime::Result<String> {
    let engine = Engine::new(&compile_settings(kind))?;
    Ok(compatibility_name(&engine))
}

/// The engines of a node. The second one is made when first needed.
pub(crate) struct Engines {
    config: WasmConfig,
    scan: bool,
    plain: Engine,
    concurrent: OnceLock<Result<Engine, String>>,
    compatibility: [String; 2],
    pub(crate) ticker: Arc<Ticker>,
}

impl Engines {
    pub(crate) fn new(config: &WasmConfig) -> wasmtime::Result<Self> {
        let scan = page_map_scan_is_safe() && PoolingAllocationConfig::is_pagemap_scan_available();
        let plain = Engine::new(&run_settings(EngineKind::Plain, config, scan))?;
        let ticker = Ticker::start(plain.clone())?;
        Ok(Self {
            config: config.clone(),
            scan,
            plain,
            concurrent: OnceLock::new(),
            compatibility: [
                compatibility(EngineKind::Plain)?,
                compatibility(EngineKind::Concurrent)?,
            ],
            ticker,
        })
    }

    /// The engine of `kind`.
    pub(crate) fn get(&self, kind: EngineKind) -> wasmtime::Result<&Engine> {
        match kind {
            EngineKind::Plain => Ok(&self.plain),
            EngineKind::Concurrent => self
                .concurrent
                .get_or_init(|| {
                    let engine = Engine::new(&run_settings(kind, &self.config, self.scan))
                        .map_err(|error| format!("{error:#}"))?;
                    self.ticker.add(engine.clone());
                    Ok(engine)
                })
                .as_ref()
                .map_err(|error| wasmtime::Error::msg(error.clone())),
        }
    }

    /// What compiled files for the engine of `kind` are named by. Does not make the engine.
    pub(crate) fn compatibility(&self, kind: EngineKind) -> &str {
        match kind {
            EngineKind::Plain => &self.compatibility[0],
            EngineKind::Concurrent => &self.compatibility[1],
        }
    }

    /// Whether slots are reset by the page-map scan (fast) or by giving pages back.
    pub(crate) fn has_page_map_scan(&self) -> bool {
        self.scan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WorkerCommand;

    #[test]
    fn the_pool_does_not_change_what_compiled_code_depends_on() {
        let worker = WorkerCommand {
            program: "/nonexistent".into(),
            args: Vec::new(),
        };
        let config = WasmConfig::new("/nonexistent".into(), worker);
        let engines = Engines::new(&config).expect("engines can be made");
        for kind in [EngineKind::Plain, EngineKind::Concurrent] {
            let engine = engines.get(kind).expect("the engine can be made");
            assert_eq!(engines.compatibility(kind), compatibility_name(engine));
        }
        let [plain, concurrent] = &engines.compatibility;
        assert_ne!(plain, concurrent);
    }
}
