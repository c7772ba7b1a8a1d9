//! An invocation under way, and its settlement: exactly one receipt, whatever happens to it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{Code, Failure, Receipt};
use runtime::{InvocationContext, LogStream};
use store::LiveVersion;
use tokio::time::Instant;

use crate::admit::Permit;
use crate::call::Timings;
use crate::instance::Instance;
use crate::invoke::Invoker;
use crate::pool::VersionPool;

/// An invocation between admission and settlement. Dropping it unsettled means that the caller went
/// away: the instance is discarded and the receipt says so.
pub(crate) struct Flight {
    invoker: Arc<Invoker>,
    target: Arc<LiveVersion>,
    pub(crate) context: Arc<InvocationContext>,
    accepted_unix_ms: u64,
    /// The permit and the instance go when the flight settles, not when the body is dropped.
    permit: Option<Permit>,
    instance: Option<Instance>,
    pub(crate) timings: Timings,
    init: Duration,
    run_began: Option<Instant>,
    head_at: Option<Instant>,
    status: u16,
    settled: bool,
}

impl Flight {
    pub(crate) fn new(
        invoker: &Arc<Invoker>,
        target: Arc<LiveVersion>,
        context: Arc<InvocationContext>,
        accepted_unix_ms: u64,
    ) -> Self {
        Self {
            invoker: Arc::clone(invoker),
            target,
            context,
            accepted_unix_ms,
            permit: None,
            instance: None,
            timings: Timings::default(),
            init: Duration::ZERO,
            run_began: None,
            head_at: None,
            status: Code::CallerGone.status(),
            settled: false,
        }
    }

    pub(crate) fn pool(&self) -> &VersionPool {
        self.invoker.pool(&self.target)
    }

    pub(crate) fn admitted(&mut self, permit: Permit) {
        self.permit = Some(permit);
    }

    /// Takes over an instance; the function's own time begins.
    pub(crate) fn begin_run(&mut self, acquired: crate::acquire::Acquired) -> Instant {
        let now = acquired.at;
        self.timings.queue = acquired.queue;
        self.timings.start = acquired.start;
        self.timings.kind = acquired.kind;
        self.init = acquired.init;
        let init_cpu_ns = u64::try_from(acquired.init_cpu.as_nanos()).unwrap_or(u64::MAX);
        if init_cpu_ns > 0 {
            self.context.meter.add_cpu_ns(init_cpu_ns);
        }
        let mut instance = acquired.instance;
        instance.n_served += 1;
        self.instance = Some(instance);
        self.pool().n_busy.fetch_add(1, Ordering::Relaxed);
        self.run_began = Some(now);
        now
    }

    pub(crate) fn instance(&self) -> &Instance {
        self.instance
            .as_ref()
            .expect("begin_run put it there and settling takes it last")
    }

    /// The response's head is there.
    pub(crate) fn head(&mut self, status: u16) {
        self.status = status;
        if let Some(began) = self.run_began {
            let now = Instant::now();
            self.timings.run_until_head = now.duration_since(began);
            self.head_at = Some(now);
        }
    }

    /// The answer ended well with its head: as [`Flight::settle`], without another look at the clock.
    pub(crate) fn settle_with_head(&mut self) {
        self.settle_at(self.head_at.unwrap_or_else(Instant::now));
    }

    /// The answer ended well: the instance may serve again.
    pub(crate) fn settle(&mut self) {
        self.settle_at(Instant::now());
    }

    fn settle_at(&mut self, now: Instant) {
        if self.settled {
            return;
        }
        if let Some(instance) = self.instance.take() {
            let pool = self.invoker.pool(&self.target);
            pool.n_busy.fetch_sub(1, Ordering::Relaxed);
            pool.release(instance, now);
        }
        self.finish(None, now);
    }

    /// The invocation failed: the instance is discarded, the function's log says why.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        if self.settled {
            return;
        }
        if failure.code() != Code::CallerGone {
            self.log(failure);
        }
        // A head that was sent keeps its status: it is what the caller saw.
        if self.status == Code::CallerGone.status() {
            self.status = failure.code().status();
        }
        self.discard();
        self.finish(Some(failure.code()), Instant::now());
    }

    fn log(&self, failure: &Failure) {
        let mut text = failure.to_string();
        if let Some(limit) = failure.limit() {
            text.push_str(&format!(" ({} = {})", limit.name, limit.value));
        }
        for line in text
            .lines()
            .chain(failure.log_detail().into_iter().flat_map(str::lines))
        {
            self.context.log(LogStream::Platform, line.as_bytes());
        }
    }

    fn discard(&mut self) {
        if let Some(instance) = self.instance.take() {
            self.pool().n_busy.fetch_sub(1, Ordering::Relaxed);
            drop(instance);
        }
    }

    fn finish(&mut self, error: Option<Code>, now: Instant) {
        self.settled = true;
        self.permit = None;
        let meter = &self.context.meter;
        let version = &self.target.version;
        let receipt = Receipt {
            id: self.context.id,
            function: version.function.clone(),
            version: version.number,
            isolation: version.config.isolation,
            start: self.timings.kind,
            accepted_unix_ms: self.accepted_unix_ms,
            queue_ns: nanos(self.timings.queue),
            start_ns: nanos(self.timings.start),
            init_ns: nanos(self.init),
            run_ns: self
                .run_began
                .map_or(0, |began| nanos(now.duration_since(began))),
            cpu_ns: meter.cpu_ns.load(Ordering::Relaxed),
            memory_peak_bytes: meter.memory_peak_bytes.load(Ordering::Relaxed),
            bytes_in: meter.bytes_in.load(Ordering::Relaxed),
            bytes_out: meter.bytes_out.load(Ordering::Relaxed),
            log_bytes: meter.log_bytes.load(Ordering::Relaxed),
            log_dropped_bytes: meter.log_dropped_bytes.load(Ordering::Relaxed),
            status: self.status,
            error,
            price_nano: 0,
        };
        tracing::debug!(
            invocation = %receipt.id,
            function = %receipt.function,
            status = receipt.status,
            start = receipt.start.as_str(),
            "invocation ended"
        );
        self.invoker.usage.settle(receipt, version);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        self.discard();
        self.finish(Some(Code::CallerGone), Instant::now());
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
