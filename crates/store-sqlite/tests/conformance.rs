//! The SQLite store passes the suite of the store traits, and reopens its files each time for real.

use std::sync::Arc;
use std::time::Duration;

use store::conformance::Harness;
use store_sqlite::{Options, SqliteStore};
use tempfile::TempDir;

struct Sqlite {
    /// `None` only while it is being reopened.
    store: Option<Arc<SqliteStore>>,
    options: Options,
    directory: TempDir,
}

impl Harness for Sqlite {
    type Store = SqliteStore;

    fn new(blob_grace: Duration) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let options = Options { blob_grace };
        let store = SqliteStore::open_with(directory.path(), options).expect("opens");
        Self {
            store: Some(Arc::new(store)),
            options,
            directory,
        }
    }

    fn store(&self) -> &SqliteStore {
        self.store.as_ref().expect("it is open")
    }

    fn shared(&self) -> Arc<SqliteStore> {
        self.store.clone().expect("it is open")
    }

    fn reopen(&mut self) {
        let closed = self.store.take().and_then(Arc::into_inner);
        drop(closed.expect("nobody else has it"));
        let store = SqliteStore::open_with(self.directory.path(), self.options).expect("reopens");
        self.store = Some(Arc::new(store));
    }
}

store::conformance_tests!(Sqlite);
