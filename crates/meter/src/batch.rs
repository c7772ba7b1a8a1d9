//! Receipts between settlement and the store. A receipt is in exactly one place and moves forward only:
//!
//! ```text
//! shard of a thread --(collected)--> collected --(taken)--> in flight --(appended)--> store
//! ```
//!
//! Each move happens under the locks of both places, so a reader who looks in that order never misses one.
//! Settling takes the lock of its own thread's shard, which nobody else wants but now and then the writer:
//! the lock and the memory behind it stay in the core's cache. A full shard is emptied by its thread, a few
//! hundred receipts in one copy. Everything else that is to be done with receipts is the writer's.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use model::{InvocationId, Receipt};
use parking_lot::{Mutex, MutexGuard};

/// A power of two, more than the threads that settle at once on the machines we know. Threads beyond share.
const N_SHARDS: usize = 32;

/// Receipts of a full shard: few enough to stay in a core's own cache until they leave.
const N_PER_SHARD_MAX: usize = 256;

/// Memory for this many receipts is kept for the next batch; a burst's is given back.
const N_SPARE_MAX: usize = 8_192;

/// Receipts that wait, and receipts that are being written.
pub(crate) struct Batch {
    shards: [Shard; N_SHARDS],
    n_per_shard_max: usize,
    n_collected_max: usize,
    /// Those in `behind.collected`, and those on the way there: they have their place before they move.
    n_collected: AtomicUsize,
    behind: Mutex<Behind>,
    is_closed: AtomicBool,
}

/// On a cache line of its own, so that cores do not fight over neighbours.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<Vec<Receipt>>);

/// What has left the shards.
#[derive(Default)]
struct Behind {
    collected: Vec<Receipt>,
    /// Of `collected`, the first so many are in the metrics.
    n_counted: usize,
    in_flight: Arc<Vec<Receipt>>,
    /// An empty vector with memory.
    spare: Vec<Receipt>,
}

/// A place for one receipt.
pub(crate) struct Room<'b> {
    /// To be pushed to, once.
    pub(crate) shard: MutexGuard<'b, Vec<Receipt>>,
    /// So many wait that the writer should not.
    pub(crate) is_among_many: bool,
}

impl Batch {
    /// At most `n_receipts_max` wait: one half in the shards, one half collected.
    pub(crate) fn new(n_receipts_max: usize) -> Self {
        let n_per_shard = n_receipts_max / 2 / N_SHARDS;
        Self {
            shards: Default::default(),
            n_per_shard_max: n_per_shard.clamp(1, N_PER_SHARD_MAX),
            n_collected_max: n_receipts_max / 2,
            n_collected: AtomicUsize::new(0),
            behind: Mutex::default(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// A place for a receipt; `None` when there is none, or nobody will write it any more. The receipt is
    /// not an argument, so that it is copied once, to its place.
    pub(crate) fn room(&self) -> Option<Room<'_>> {
        let mut shard = self.shards[own_shard()].0.lock();
        // Closing takes every shard's lock after setting this, so nothing slips in behind it.
        if self.is_closed.load(Ordering::Relaxed) {
            return None;
        }
        let mut is_among_many = false;
        if shard.len() >= self.n_per_shard_max {
            if !self.collect_shard(&mut shard) {
                return None;
            }
            let n_collected = self.n_collected.load(Ordering::Relaxed);
            is_among_many = n_collected > self.n_collected_max / 4;
        }
        Some(Room {
            shard,
            is_among_many,
        })
    }

    /// From now on nothing is taken.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        for shard in &self.shards {
            drop(shard.0.lock());
        }
    }

    /// The receipt, while it is not in the store.
    pub(crate) fn find(&self, id: InvocationId) -> Option<Receipt> {
        let find = |receipts: &[Receipt]| receipts.iter().find(|found| found.id == id).cloned();
        let in_shard = self.shards.iter().find_map(|shard| find(&shard.0.lock()));
        if in_shard.is_some() {
            return in_shard;
        }
        let behind = self.behind.lock();
        let collected = find(&behind.collected);
        if collected.is_some() {
            return collected;
        }
        let in_flight = Arc::clone(&behind.in_flight);
        drop(behind);
        find(&in_flight)
    }

    /// Moves everything out of the shards, as far as there is room. Returns whether all had some.
    pub(crate) fn collect(&self) -> bool {
        let mut is_all = true;
        for shard in &self.shards {
            is_all &= self.collect_shard(&mut shard.0.lock());
        }
        is_all
    }

    /// Shows `count` what was collected and is not in the metrics yet. One thread at a time.
    pub(crate) fn count(&self, count: impl FnOnce(&[Receipt])) {
        let mut behind = self.behind.lock();
        count(&behind.collected[behind.n_counted..]);
        behind.n_counted = behind.collected.len();
    }

    /// What is to be written now, if an earlier write left it.
    pub(crate) fn in_flight(&self) -> Arc<Vec<Receipt>> {
        Arc::clone(&self.behind.lock().in_flight)
    }

    /// Moves what was collected to in flight, where nothing is at the moment; and how many of it, from the
    /// first on, are in the metrics.
    pub(crate) fn take(&self) -> (Arc<Vec<Receipt>>, usize) {
        let mut behind = self.behind.lock();
        debug_assert!(
            behind.in_flight.is_empty(),
            "the last batch is settled first"
        );
        let spare = mem::take(&mut behind.spare);
        let batch = mem::replace(&mut behind.collected, spare);
        self.n_collected.fetch_sub(batch.len(), Ordering::Relaxed);
        behind.in_flight = Arc::new(batch);
        let n_counted = mem::take(&mut behind.n_counted);
        (Arc::clone(&behind.in_flight), n_counted)
    }

    /// What was in flight is in the store. Its memory serves again, unless a reader still looks at it.
    pub(crate) fn appended(&self) {
        let written = mem::take(&mut self.behind.lock().in_flight);
        let Some(mut memory) = Arc::into_inner(written) else {
            return;
        };
        // Outside the lock: it may be long.
        memory.clear();
        memory.shrink_to(N_SPARE_MAX);
        self.behind.lock().spare = memory;
    }

    /// How many are not in the store.
    pub(crate) fn n_unwritten(&self) -> usize {
        let n_in_shards: usize = self.shards.iter().map(|shard| shard.0.lock().len()).sum();
        let behind = self.behind.lock();
        n_in_shards + behind.collected.len() + behind.in_flight.len()
    }

    /// Moves a shard's receipts, if all of them fit.
    fn collect_shard(&self, shard: &mut Vec<Receipt>) -> bool {
        let n = shard.len();
        if n == 0 {
            return true;
        }
        let n_before = self.n_collected.fetch_add(n, Ordering::Relaxed);
        // One shard fits into the emptiest place, whatever the configuration.
        if n_before > 0 && n_before + n > self.n_collected_max {
            self.n_collected.fetch_sub(n, Ordering::Relaxed);
            return false;
        }
        self.behind.lock().collected.append(shard);
        true
    }
}

/// The shard of this thread.
fn own_shard() -> usize {
    static N_THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: usize = N_THREADS.fetch_add(1, Ordering::Relaxed) % N_SHARDS;
    }
    SHARD.with(|shard| *shard)
}
