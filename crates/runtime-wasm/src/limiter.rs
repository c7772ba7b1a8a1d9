//! Memory, tables and instances of one sandbox.

use model::Limits;
use wasmtime::ResourceLimiter;

use crate::engine::{
    CORE_INSTANCES_PER_STORE_MAX, MEMORIES_PER_STORE_MAX, TABLE_ELEMENTS_MAX, TABLES_PER_STORE_MAX,
};

/// Counts what a store's instances hold, over all memories and tables together.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_bytes_max: usize,
    memory_bytes: usize,
    memory_peak_bytes: usize,
    table_elements: usize,
    last_growth: usize,
    denied: bool,
}

impl Limiter {
    /// A limiter for one sandbox of a function with `limits`.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes_max: usize::try_from(limits.memory_bytes_max).unwrap_or(usize::MAX),
            memory_bytes: 0,
            memory_peak_bytes: 0,
            table_elements: 0,
            last_growth: 0,
            denied: false,
        }
    }

    /// The most memory that was held at one time. Wasm memory never shrinks.
    pub(crate) fn memory_peak_bytes(&self) -> u64 {
        self.memory_peak_bytes as u64
    }

    /// Whether memory was asked for and not given: a trap that follows is most likely the guest's way
    /// of saying so.
    pub(crate) fn was_denied(&self) -> bool {
        self.denied
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let total = self.memory_bytes.saturating_add(growth);
        if total > self.memory_bytes_max {
            self.denied = true;
            return Ok(false);
        }
        self.last_growth = growth;
        self.memory_bytes = total;
        self.memory_peak_bytes = self.memory_peak_bytes.max(total);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // Denied above (nothing was counted), or granted and then refused by the memory's own maximum.
        self.memory_bytes -= std::mem::take(&mut self.last_growth);
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self
            .table_elements
            .saturating_add(desired.saturating_sub(current));
        if total > TABLE_ELEMENTS_MAX * 2 {
            return Ok(false);
        }
        self.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_PER_STORE_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_PER_STORE_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_PER_STORE_MAX as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_share_one_limit_and_failed_growth_is_given_back() {
        let limits = Limits {
            memory_bytes_max: 10,
            ..Limits::defaults(model::Isolation::Wasm)
        };
        let mut limiter = Limiter::new(&limits);
        assert!(limiter.memory_growing(0, 6, None).expect("never fails"));
        assert!(limiter.memory_growing(0, 4, None).expect("never fails"));
        limiter
            .memory_grow_failed(wasmtime::Error::msg("beyond the memory's own maximum"))
            .expect("never fails");
        assert!(!limiter.was_denied());
        assert!(limiter.memory_growing(6, 10, None).expect("never fails"));
        assert!(!limiter.memory_growing(10, 11, None).expect("never fails"));
        limiter
            .memory_grow_failed(wasmtime::Error::msg("denied"))
            .expect("never fails");
        assert!(limiter.was_denied());
        assert_eq!(limiter.memory_peak_bytes(), 10);
    }
}
