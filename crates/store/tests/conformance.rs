//! The in-memory store passes the suite.

use std::sync::Arc;
use std::time::Duration;

use store::conformance::Harness;
use store::memory::MemoryStore;

struct Memory(Arc<MemoryStore>);

impl Harness for Memory {
    type Store = MemoryStore;

    fn new(blob_grace: Duration) -> Self {
        Self(Arc::new(
            MemoryStore::new(blob_grace).expect("a temporary directory can be made"),
        ))
    }

    fn store(&self) -> &MemoryStore {
        &self.0
    }

    fn shared(&self) -> Arc<MemoryStore> {
        self.0.clone()
    }

    fn reopen(&mut self) {}
}

store::conformance_tests!(Memory);
