//! The meter: prices a settled receipt, counts it, and brings it to the store; finds receipts and sums
//! usage.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use invoker::UsageSink;
use model::price::PriceTable;
use model::{FunctionKey, FunctionVersion, InvocationId, Receipt};
use parking_lot::Mutex;
use store::{ReceiptStore, StoreError, UsageQuery, UsageRow};

use crate::batch::{Batch, Spares};
use crate::config::MeterConfig;
use crate::flusher::{Flusher, Wake};
use crate::metrics::{Metrics, PrometheusText};

/// Receipts that are appended in one transaction, so that a long batch does not keep the store from
/// others.
const N_APPENDED_MAX: usize = 2_048;

/// Keeps receipts, sums usage, counts metrics. One per node.
pub struct Meter {
    prices: PriceTable,
    metrics: Metrics,
    batch: Batch,
    store: Arc<dyn ReceiptStore>,
    /// Held over taking and appending, so that there is one batch in flight.
    flushing: Mutex<Spares>,
    pub(crate) wake: Wake,
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
            wake: Wake::default(),
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
        let mut spares = self.flushing.lock();
        let written = self
            .append(&self.batch.in_flight())
            .and_then(|()| self.append(&self.batch.take(&mut spares)));
        self.note_outcome(written.as_ref().err());
        written
    }

    /// Drops the metrics of a function that was removed.
    pub fn forget(&self, function: &FunctionKey) {
        self.metrics.forget(function);
    }

    /// Writes all metrics of invocations and receipts.
    pub fn render(&self, text: &mut PrometheusText) {
        self.metrics.render(text, self.batch.n_unwritten());
    }

    /// Takes no more receipts.
    pub(crate) fn close(&self) {
        self.batch.close();
    }

    /// Brings a batch to the store. Receipts that are there already are left out by it, so a batch that
    /// failed in the middle is simply appended again.
    fn append(&self, batch: &[Receipt]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        for chunk in batch.chunks(N_APPENDED_MAX) {
            self.store.append(chunk)?;
        }
        self.metrics.receipts_written(batch.len());
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
        self.metrics.record(&receipt);
        if self.batch.push(receipt) {
            self.wake.wake();
        } else {
            self.metrics.receipt_dropped();
        }
    }
}
