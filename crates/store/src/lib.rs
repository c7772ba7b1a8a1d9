//! The storage seam: catalog, blobs and receipts as small blocking traits, the in-memory catalog that
//! serves requests, and an in-memory implementation of the traits for tests.
//!
//! Refuses to know SQL, the network, and how anything is run.

pub mod blobs;
pub mod catalog;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod error;
mod functions;
pub mod live;
pub mod memory;
pub mod persist;
pub mod receipts;
pub mod snapshot;

pub use blobs::BlobStore;
pub use catalog::{Catalog, CatalogChange, Publication, SnapshotGuard};
pub use error::StoreError;
pub use live::LiveVersion;
pub use persist::{AliasMove, CatalogState, CatalogStore, FunctionState, Publish, Published};
pub use receipts::{Keep, ReceiptStore, UsageGroup, UsageQuery, UsageRow};
pub use snapshot::{FunctionEntry, Snapshot};
