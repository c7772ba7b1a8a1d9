//! The thread that writes receipts and removes old ones. It sleeps while there is nothing to write: an
//! idle node does not wake. The first receipt of a batch wakes it; it waits for company, as long as the
//! interval or until there are many, then writes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use store::StoreError;

use crate::meter::Meter;

/// The longest wait between attempts while the store fails.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(1);

/// How often old receipts are looked for, while new ones come.
const TRIM_INTERVAL: Duration = Duration::from_secs(1);

/// How a settlement wakes the thread.
#[derive(Default)]
pub(crate) struct Wake {
    /// True from the first receipt until the thread begins to take the batch.
    has_work: AtomicBool,
    must_stop: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Wake {
    /// There is something to write. Cheap but for the first receipt of a batch. To be called after the
    /// receipt was pushed: the thread clears the flag before it takes, so either it takes the receipt or
    /// this sees the flag cleared.
    pub(crate) fn wake(&self) {
        if !self.has_work.load(Ordering::Acquire) && !self.has_work.swap(true, Ordering::AcqRel) {
            self.unpark();
        }
    }

    /// As [`Wake::wake`], and the wait for company ends.
    pub(crate) fn hurry(&self) {
        self.has_work.store(true, Ordering::Release);
        self.unpark();
    }

    fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Waits for work; false when the thread must stop.
    fn wait(&self) -> bool {
        while !self.has_work.load(Ordering::Acquire) {
            if self.must_stop.load(Ordering::Acquire) {
                return false;
            }
            thread::park();
        }
        !self.must_stop.load(Ordering::Acquire)
    }
}

/// The running thread. Dropping it stops the thread and writes what is left.
pub struct Flusher {
    meter: Arc<Meter>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    pub(crate) fn start(meter: &Arc<Meter>, interval_ms: u64) -> std::io::Result<Self> {
        let interval = Duration::from_millis(interval_ms.max(1));
        let thread = thread::Builder::new()
            .name("holm-receipts".to_owned())
            .spawn({
                let meter = Arc::clone(meter);
                move || run(&meter, interval)
            })?;
        meter.wake.thread.get_or_init(|| thread.thread().clone());
        // A receipt may have settled before the thread was known.
        thread.thread().unpark();
        Ok(Self {
            meter: Arc::clone(meter),
            thread: Some(thread),
        })
    }

    /// Stops the thread and writes what is left. Receipts that settle later are dropped and counted.
    ///
    /// # Errors
    /// Those of the store: what could not be written is lost.
    pub fn stop(mut self) -> Result<(), StoreError> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        self.meter.close();
        self.meter.wake.must_stop.store(true, Ordering::Release);
        self.meter.wake.unpark();
        if thread.join().is_err() {
            tracing::error!("the thread that writes receipts had panicked");
        }
        self.meter.flush()
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::error!(%error, "the last receipts could not be written");
        }
    }
}

fn run(meter: &Meter, interval: Duration) {
    let mut retry_wait = interval;
    let mut trimming = Trimming {
        looked: Instant::now(),
        has_more: true,
        is_failing: false,
    };
    while meter.wake.wait() {
        thread::park_timeout(retry_wait);
        meter.wake.has_work.store(false, Ordering::Release);
        if meter.flush().is_ok() {
            retry_wait = interval;
            trimming.step(meter);
        } else {
            retry_wait = (retry_wait * 2).min(RETRY_WAIT_MAX);
            // What failed is still there.
            meter.wake.has_work.store(true, Ordering::Release);
        }
    }
}

/// Removing old receipts, a step after a flush: as fast as new ones come, and never long at once.
struct Trimming {
    looked: Instant,
    has_more: bool,
    is_failing: bool,
}

impl Trimming {
    fn step(&mut self, meter: &Meter) {
        if !self.has_more && self.looked.elapsed() < TRIM_INTERVAL {
            return;
        }
        self.looked = Instant::now();
        let trimmed = meter.trim();
        if let Err(error) = &trimmed
            && !self.is_failing
        {
            tracing::error!(%error, "old receipts cannot be removed");
        }
        self.is_failing = trimmed.is_err();
        self.has_more = trimmed.unwrap_or(false);
    }
}
