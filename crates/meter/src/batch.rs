//! Receipts between settlement and the store. A receipt is in exactly one place and moves forward only:
//!
//! ```text
//! shard --(take, under the in-flight lock)--> in flight --(appended)--> store
//! ```
//!
//! so a reader who looks in that order never misses one. Settling takes one shard's lock and nothing
//! else; shards are chosen by the id's random bits, so finding takes one shard's lock, too.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::{InvocationId, Receipt};
use parking_lot::Mutex;

/// A power of two, more than the cores that settle at once on the machines we know.
const N_SHARDS: usize = 32;

/// Receipts that wait, and receipts that are being written.
pub(crate) struct Batch {
    shards: [Shard; N_SHARDS],
    n_per_shard_max: usize,
    in_flight: Mutex<Arc<Vec<Receipt>>>,
    is_closed: AtomicBool,
}

/// On a cache line of its own, so that cores do not fight over neighbours.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<Vec<Receipt>>);

/// Empty vectors that take the shards' places: in the steady state nothing is allocated.
pub(crate) type Spares = [Vec<Receipt>; N_SHARDS];

impl Batch {
    pub(crate) fn new(n_receipts_max: usize) -> Self {
        Self {
            shards: Default::default(),
            n_per_shard_max: n_receipts_max.div_ceil(N_SHARDS),
            in_flight: Mutex::default(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Takes a receipt; false when it does not fit, or nobody will write it any more.
    pub(crate) fn push(&self, receipt: Receipt) -> bool {
        let mut shard = self.shard(receipt.id).0.lock();
        // Closing takes every shard's lock after setting this, so nothing slips in behind it.
        if shard.len() >= self.n_per_shard_max || self.is_closed.load(Ordering::Relaxed) {
            return false;
        }
        shard.push(receipt);
        true
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
        let is_it = |receipt: &&Receipt| receipt.id == id;
        if let Some(receipt) = self.shard(id).0.lock().iter().find(is_it) {
            return Some(receipt.clone());
        }
        let in_flight = Arc::clone(&self.in_flight.lock());
        in_flight.iter().find(is_it).cloned()
    }

    /// What is to be written now: what an earlier write left, else everything that waits.
    pub(crate) fn in_flight(&self) -> Arc<Vec<Receipt>> {
        Arc::clone(&self.in_flight.lock())
    }

    /// Moves everything that waits to in flight, where nothing is at the moment.
    pub(crate) fn take(&self, spares: &mut Spares) -> Arc<Vec<Receipt>> {
        /// Beyond, a vector that a burst made large is given back.
        const N_KEPT: usize = 256;
        let mut in_flight = self.in_flight.lock();
        debug_assert!(in_flight.is_empty(), "the last batch is settled first");
        let mut batch = Vec::new();
        for (shard, spare) in self.shards.iter().zip(spares) {
            mem::swap(&mut *shard.0.lock(), spare);
            batch.append(spare);
            spare.shrink_to(N_KEPT);
        }
        *in_flight = Arc::new(batch);
        Arc::clone(&in_flight)
    }

    /// What was in flight is in the store.
    pub(crate) fn appended(&self) {
        let written = mem::take(&mut *self.in_flight.lock());
        // Outside the lock: it may be long.
        drop(written);
    }

    /// How many are not in the store.
    pub(crate) fn n_unwritten(&self) -> usize {
        let n_waiting: usize = self.shards.iter().map(|shard| shard.0.lock().len()).sum();
        n_waiting + self.in_flight.lock().len()
    }

    fn shard(&self, id: InvocationId) -> &Shard {
        // The last byte of a UUIDv7 is random.
        &self.shards[usize::from(id.to_bytes()[15]) % N_SHARDS]
    }
}
