//! Admission: how many invocations may be under way, on the node and per function. A [`Permit`] is the
//! proof of having been admitted, and gives its places back when dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use model::{Code, Failure, FunctionVersion};

/// Counts of the node.
#[derive(Debug)]
pub(crate) struct Gate {
    n_in_flight: AtomicUsize,
    n_in_flight_max: usize,
    draining: AtomicBool,
    /// Woken when the last invocation of a draining node ends.
    pub(crate) drained: tokio::sync::Notify,
}

/// Counts of one function, over all its versions.
#[derive(Debug, Default)]
pub(crate) struct FunctionGate {
    n_running: AtomicU32,
}

/// One admitted invocation.
pub(crate) struct Permit {
    gate: Arc<Gate>,
    function: Arc<FunctionGate>,
}

impl Gate {
    pub(crate) fn new(n_in_flight_max: usize) -> Self {
        Self {
            n_in_flight: AtomicUsize::new(0),
            n_in_flight_max,
            draining: AtomicBool::new(false),
            drained: tokio::sync::Notify::new(),
        }
    }

    pub(crate) fn n_in_flight(&self) -> usize {
        self.n_in_flight.load(Ordering::Acquire)
    }

    /// Refuses new invocations from now on.
    pub(crate) fn close(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Admits an invocation of `version`, or says which limit refuses it.
    pub(crate) fn admit(
        self: &Arc<Self>,
        function: &Arc<FunctionGate>,
        version: &FunctionVersion,
    ) -> Result<Permit, Failure> {
        if self.draining.load(Ordering::Acquire) {
            return Err(
                Failure::new(Code::Draining, "the node is shutting down").with_retry_after_s(1)
            );
        }
        // Counted first and checked then, so that two at the border cannot both pass. The permit exists
        // from the first count on: a refusal below gives both counts back by its drop.
        let n_in_flight = self.n_in_flight.fetch_add(1, Ordering::AcqRel);
        let n_running = function.n_running.fetch_add(1, Ordering::AcqRel);
        let permit = Permit {
            gate: Arc::clone(self),
            function: Arc::clone(function),
        };
        if n_in_flight >= self.n_in_flight_max {
            return Err(Failure::new(
                Code::NodeAtCapacity,
                "too many invocations are in flight on this node",
            )
            .with_limit(
                "n_in_flight_max",
                self.n_in_flight_max,
                "invoker.n_in_flight_max in the node's configuration",
            )
            .with_retry_after_s(1));
        }
        let concurrency_max = version.config.limits.concurrency_max;
        if n_running >= concurrency_max {
            return Err(Failure::new(
                Code::TooManyConcurrent,
                format!(
                    "function {} already runs {concurrency_max} invocations",
                    version.function
                ),
            )
            .with_limit(
                "limits.concurrency",
                concurrency_max,
                "`concurrency` under [limits] in holm.toml",
            )
            .with_retry_after_s(1));
        }
        Ok(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.function.n_running.fetch_sub(1, Ordering::AcqRel);
        if self.gate.n_in_flight.fetch_sub(1, Ordering::AcqRel) == 1
            && self.gate.draining.load(Ordering::Acquire)
        {
            self.gate.drained.notify_waiters();
        }
    }
}
