//! The meter: prices a settled receipt, counts it, and brings it to the store; finds receipts and sums
//! usage.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use invoker::UsageSink;
use model::price::PriceTable;
use model::{FunctionKey, FunctionVersion, InvocationId, Receipt};
use parking_lot::Mutex;
use store::receipts::DAY_MS;
use store::{Keep, ReceiptStore, StoreError, UsageQuery, UsageRow};

use crate::batch::Batch;
use crate::config::MeterConfig;
use crate::flusher::{Flusher, Wake};
use crate::metrics::{Metrics, PrometheusText};

/// Receipts that are appended in one transaction, so that a long batch does not keep the store from
/// others.
const N_APPENDED_MAX: usize = 8_192;

/// Keeps receipts, sums usage, counts metrics. One per node.
pub struct Meter {
    prices: PriceTable,
    metrics: Metrics,
    batch: Batch,
    store: Arc<dyn ReceiptStore>,
    /// Held over taking and appending, so that there is one batch in flight.
    flushing: Mutex<()>,
    /// Held over bringing receipts to the metrics, so that whoever looks at them sees all that settled.
    counting: Mutex<()>,
    pub(crate) wake: Wake,
    keep_ms: u64,
    bytes_max: u64,
    is_failing: AtomicBool,
}

impl Meter {
    /// A meter, and the thread that brings its receipts to `store`. Stop the flusher last, when nothing
    /// settles any more.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn new(
        config: &MeterConfig,
        store: Arc<dyn ReceiptStore>,
    ) -> std::io::Result<(Arc<Self>, Flusher)> {
        let meter = Arc::new(Self {
            prices: config.prices.clone(),
            metrics: Metrics::new(config.n_functions_max),
            batch: Batch::new(config.n_receipts_max),
            store,
            flushing: Mutex::default(),
            counting: Mutex::default(),
            wake: Wake::default(),
            keep_ms: config.receipts_keep_days.saturating_mul(DAY_MS),
            bytes_max: config.receipts_bytes_max,
            is_failing: AtomicBool::new(false),
        });
        let flusher = Flusher::start(&meter, config.flush_interval_ms)?;
        Ok((meter, flusher))
    }

    /// The price table that receipts are priced by.
    pub fn prices(&self) -> &PriceTable {
        &self.prices
    }

    /// The receipt of an invocation, from the moment that it settled. May block on the store.
    ///
    /// # Errors
    /// Those of the store.
    pub fn find(&self, id: InvocationId) -> Result<Option<Receipt>, StoreError> {
        match self.find_unwritten(id) {
            Some(receipt) => Ok(Some(receipt)),
            None => self.store.find(id),
        }
    }

    /// The receipt of an invocation where it is not in the store yet. Does not block.
    pub fn find_unwritten(&self, id: InvocationId) -> Option<Receipt> {
        self.batch.find(id)
    }

    /// Sums over all receipts that match, exact: those settled before the call are in. Blocks.
    ///
    /// # Errors
    /// Those of the store; also when the waiting receipts cannot be written, as the sums would lack them.
    pub fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        self.flush()?;
        self.store.usage(query)
    }

    /// Writes everything that was settled before the call. Blocks.
    ///
    /// # Errors
    /// Those of the store; what was not written stays and is written later.
    pub fn flush(&self) -> Result<(), StoreError> {
        let _flushing = self.flushing.lock();
        let written = self.write_all();
        self.note_outcome(written.as_ref().err());
        written
    }

    /// Drops the metrics of a function that was removed.
    pub fn forget(&self, function: &FunctionKey) {
        // Counted later, a receipt would bring them back.
        self.count_all();
        self.metrics.forget(function);
    }

    /// Writes all metrics of invocations and receipts.
    pub fn render(&self, text: &mut PrometheusText) {
        self.count_all();
        self.metrics.render(text, self.batch.n_unwritten());
    }

    /// One step of removing what is not kept any more; whether the next may find more.
    pub(crate) fn trim(&self) -> Result<bool, StoreError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.store.trim(Keep {
            since_unix_ms: now_ms.saturating_sub(self.keep_ms),
            bytes_max: self.bytes_max,
        })
    }

    /// Takes no more receipts.
    pub(crate) fn close(&self) {
        self.batch.close();
    }

    /// Brings everything that settled to the metrics.
    fn count_all(&self) {
        let _counting = self.counting.lock();
        self.batch.collect();
        self.batch.count(|receipts| self.metrics.record(receipts));
    }

    fn write_all(&self) -> Result<(), StoreError> {
        self.write(self.batch.in_flight())?;
        loop {
            let counting = self.counting.lock();
            let is_all = self.batch.collect();
            let (taken, n_counted) = self.batch.take();
            self.metrics.record(&taken[n_counted..]);
            drop(counting);
            self.write(taken)?;
            if is_all {
                return Ok(());
            }
        }
    }

    /// Brings what is in flight to the store, in the same pieces however often it is tried: the store
    /// leaves out those that are there already.
    fn write(&self, in_flight: Arc<Vec<Receipt>>) -> Result<(), StoreError> {
        for piece in in_flight.chunks(N_APPENDED_MAX) {
            self.store.append(piece)?;
        }
        self.metrics.receipts_written(in_flight.len());
        drop(in_flight);
        self.batch.appended();
        Ok(())
    }

    /// One line when writing begins to fail and one when it works again, not one per attempt.
    fn note_outcome(&self, error: Option<&StoreError>) {
        let was_failing = self.is_failing.swap(error.is_some(), Ordering::Relaxed);
        match error {
            Some(error) => {
                self.metrics.receipts_failed();
                if !was_failing {
                    tracing::error!(%error, "receipts cannot be written; they wait in memory");
                }
            }
            None if was_failing => tracing::info!("receipts are written again"),
            None => {}
        }
    }
}

impl UsageSink for Meter {
    fn settle(&self, mut receipt: Receipt, version: &FunctionVersion) {
        let memory_bytes_max = version.config.limits.memory_bytes_max;
        receipt.price_nano = self.prices.price_nano(&receipt, memory_bytes_max);
        let Some(mut room) = self.batch.room() else {
            self.metrics.record(std::slice::from_ref(&receipt));
            self.metrics.receipt_dropped();
            return;
        };
        room.shard.push(receipt);
        let is_among_many = room.is_among_many;
        drop(room);
        match is_among_many {
            true => self.wake.hurry(),
            false => self.wake.wake(),
        }
    }
}
