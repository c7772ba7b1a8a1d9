//! Admission: how many invocations may be under way, on the node, per namespace and per function. A [`Permit`] is the
//! proof of having been admitted, and gives its places back when dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use model::{Code, Failure, FunctionVersion};

/// Counts of the node.
#[derive(Debug)]
pub(crate) struct Gate {
    n_in_flight: AtomicUsize,
    n_in_flight_max: usize,
    n_per_namespace_max: u32,
    draining: AtomicBool,
    /// Woken when the last invocation of a draining node ends.
    pub(crate) drained: tokio::sync::Notify,
}

/// Counts of one namespace, over all its functions.
#[derive(Debug, Default)]
pub(crate) struct NamespaceGate {
    n_running: AtomicU32,
}

/// Counts of one function, over all its versions.
#[derive(Debug)]
pub(crate) struct FunctionGate {
    n_running: AtomicU32,
    namespace: Arc<NamespaceGate>,
}

impl FunctionGate {
    pub(crate) fn new(namespace: Arc<NamespaceGate>) -> Self {
        Self {
            n_running: AtomicU32::new(0),
            namespace,
        }
    }
}

/// One admitted invocation.
pub(crate) struct Permit {
    gate: Arc<Gate>,
    function: Arc<FunctionGate>,
}

impl Gate {
    pub(crate) fn new(n_in_flight_max: usize, n_per_namespace_max: u32) -> Self {
        Self {
            n_in_flight: AtomicUsize::new(0),
            n_in_flight_max,
            n_per_namespace_max,
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
        // from the first count on: a refusal below gives all counts back by its drop.
        let n_in_flight = self.n_in_flight.fetch_add(1, Ordering::AcqRel);
        let n_of_namespace = function.namespace.n_running.fetch_add(1, Ordering::AcqRel);
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
        if n_of_namespace >= self.n_per_namespace_max {
            return Err(Failure::new(
                Code::TooManyConcurrent,
                format!(
                    "namespace {} already runs {} invocations on this node",
                    version.function.namespace, self.n_per_namespace_max
                ),
            )
            .with_limit(
                "n_per_namespace_max",
                self.n_per_namespace_max,
                "invoker.n_per_namespace_max in the node's configuration",
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
        let namespace = &self.function.namespace;
        namespace.n_running.fetch_sub(1, Ordering::AcqRel);
        if self.gate.n_in_flight.fetch_sub(1, Ordering::AcqRel) == 1
            && self.gate.draining.load(Ordering::Acquire)
        {
            self.gate.drained.notify_waiters();
        }
    }
}
