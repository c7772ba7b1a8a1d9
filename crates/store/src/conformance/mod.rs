//! The suite that every implementation of the store traits passes, by properties and by plain cases.
//! A crate that has one writes
//!
//! ```ignore
//! store::conformance_tests!(MyHarness);
//! ```
//!
//! in a test target; the macro makes a test of each case. The suite refuses to know what is below: it
//! opens, uses and reopens through a [`Harness`].

pub mod blobs;
pub mod catalog;
pub mod data;
pub mod live;
pub mod receipts;

use std::time::Duration;

use crate::{BlobStore, CatalogStore, ReceiptStore};

/// Opens a store that is empty at first.
pub trait Harness: Sized + Sync {
    /// What is tested.
    type Store: CatalogStore + BlobStore + ReceiptStore;

    /// An empty store whose blobs without a version stay for `blob_grace`.
    fn new(blob_grace: Duration) -> Self;

    /// The open store.
    fn store(&self) -> &Self::Store;

    /// The store for the catalog, which shares it.
    fn shared(&self) -> std::sync::Arc<Self::Store>;

    /// Closes the store and opens it again, with the same content. No [`Harness::shared`] is alive.
    /// A store that keeps nothing stays open.
    fn reopen(&mut self);
}

/// Blobs without a version stay this long where a case needs them to stay.
pub(crate) const LONG_GRACE: Duration = Duration::from_secs(3600);

/// Makes a test of each case of the suite, for a [`Harness`].
#[macro_export]
macro_rules! conformance_tests {
    ($harness:ty) => {
        $crate::conformance_tests!(@each $harness,
            catalog: follows_the_model, same_content_is_one_version, numbers_are_never_used_twice,
                live_moves_and_remembers, what_is_missing_is_named, racing_publications_all_count;
            live: shows_what_the_store_has, routes_of_live_versions_exclude_each_other,
                readers_see_whole_snapshots_in_order,
                racing_changes_leave_memory_and_store_alike, garbage_is_what_no_version_needs;
            blobs: keeps_bytes_under_their_digest, refuses_what_is_not_as_announced,
                garbage_goes_and_the_rest_stays, young_and_wanted_blobs_stay, racing_uploads_agree;
            receipts: follow_the_model, sums_exceed_64_bits, a_batch_may_be_repeated,
                big_batches_are_whole, trimmed_receipts_leave_their_sums, trimming_keeps_the_newest;
        );
    };
    (@each $harness:ty, $($module:ident: $($case:ident),*;)*) => {
        $(mod $module {
            use super::*;
            $(#[test] fn $case() { $crate::conformance::$module::$case::<$harness>(); })*
        })*
    };
}
