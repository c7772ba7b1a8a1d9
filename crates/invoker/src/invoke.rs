//! The path of one invocation.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use http::{Request, Response};
use model::{Code, Failure, FunctionKey, FunctionVersion, Isolation, Namespace, Receipt};
use parking_lot::Mutex;
use runtime::{Availability, Body, Event, Invocation, InvocationContext, LogSink, Meter, Runtime};
use store::{BlobStore, LiveVersion};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::admit::{FunctionGate, Gate, NamespaceGate};
use crate::body::{reply_body, request_body, request_too_large, timed_out};
use crate::call::{Answer, Call};
use crate::config::InvokerConfig;
use crate::deadline;
use crate::flight::Flight;
use crate::pool::{Places, VersionPool};
use crate::templates::Deployed;

/// Takes receipts. The port to whoever keeps them.
pub trait UsageSink: Send + Sync + 'static {
    /// Takes the receipt of an ended invocation and prices it. On the request path: must not block.
    fn settle(&self, receipt: Receipt, version: &FunctionVersion);
}

/// What the invoker works with.
pub struct InvokerDeps {
    /// The engines of this node.
    pub runtimes: Vec<Arc<dyn Runtime>>,
    /// Where artifacts are.
    pub blobs: Arc<dyn BlobStore>,
    /// Where receipts go.
    pub usage: Arc<dyn UsageSink>,
    /// Where log lines go.
    pub log: Arc<dyn LogSink>,
}

/// Runs invocations. One per node.
pub struct Invoker {
    pub(crate) config: InvokerConfig,
    runtimes: Vec<Arc<dyn Runtime>>,
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) usage: Arc<dyn UsageSink>,
    log: Arc<dyn LogSink>,
    pub(crate) gate: Arc<Gate>,
    functions: Mutex<HashMap<FunctionKey, Weak<FunctionGate>>>,
    namespaces: Mutex<HashMap<Namespace, Weak<NamespaceGate>>>,
    /// Pools by version uid, for whoever walks them; the request path finds its own in the version.
    pub(crate) pools: Mutex<HashMap<u64, Weak<VersionPool>>>,
    places: Vec<(Isolation, Arc<Places>)>,
    pub(crate) deployed: Deployed,
    pub(crate) began: Instant,
}

impl Invoker {
    /// An invoker with no instance yet.
    pub fn new(config: InvokerConfig, deps: InvokerDeps) -> Arc<Self> {
        let places = Isolation::ALL
            .into_iter()
            .map(|class| {
                let places = Places {
                    instances: Arc::new(Semaphore::new(config.class(class).n_instances_max)),
                    n_waiting: AtomicUsize::new(0),
                };
                (class, Arc::new(places))
            })
            .collect();
        Arc::new(Self {
            gate: Arc::new(Gate::new(
                config.n_in_flight_max,
                config.n_per_namespace_max,
            )),
            config,
            runtimes: deps.runtimes,
            blobs: deps.blobs,
            usage: deps.usage,
            log: deps.log,
            functions: Mutex::default(),
            namespaces: Mutex::default(),
            pools: Mutex::default(),
            places,
            deployed: Deployed::default(),
            began: Instant::now(),
        })
    }

    /// Runs one invocation. Never fails itself: the answer holds the function's response or the failure,
    /// and the receipt is written in every case. Dropping the future, or later the response's body,
    /// cancels the invocation.
    pub async fn invoke(self: &Arc<Self>, call: Call) -> Answer {
        let context = Arc::new(InvocationContext {
            id: call.id,
            version: Arc::clone(&call.target.version),
            timeout_at: OnceLock::new(),
            trace: call.trace,
            scheme: call.scheme,
            caller: call.caller,
            caller_failure: OnceLock::new(),
            meter: Meter::default(),
            log: Arc::clone(&self.log),
        });
        let mut flight = Flight::new(self, call.target, context, call.accepted_unix_ms);
        let response = self.run(&mut flight, call.accepted, call.request).await;
        let timings = flight.timings;
        let response = match response {
            Ok((response, timeout_at)) => {
                let (head, body) = response.into_parts();
                reply_body(body, flight, timeout_at).map(|body| Response::from_parts(head, body))
            }
            Err(failure) => {
                flight.fail(&failure);
                Err(failure)
            }
        };
        Answer { response, timings }
    }

    /// From admission to the response's head.
    async fn run(
        self: &Arc<Self>,
        flight: &mut Flight,
        accepted: Instant,
        request: Request<Body>,
    ) -> Result<(Response<Body>, Instant), Failure> {
        let context = Arc::clone(&flight.context);
        let limits = &context.version.config.limits;
        check_announced_length(request.body(), limits.body_bytes_max)?;

        let pool = flight.pool();
        pool.last_used_ms
            .store(self.now_ms(accepted), Ordering::Relaxed);
        let permit = self.gate.admit(&pool.function, &context.version)?;
        let acquired = {
            flight.admitted(permit);
            self.acquire(flight.pool(), &context, accepted).await?
        };
        let run_began = flight.begin_run(acquired);
        let timeout_at = run_began + Duration::from_millis(limits.timeout_ms);
        // Set here and nowhere else, once per context.
        let _ = context.timeout_at.set(timeout_at);

        let request = request.map(|body| request_body(body, &context));
        let invocation = Invocation {
            context: Arc::clone(&context),
            event: Event::Http(request),
        };
        let sandbox = Arc::clone(&flight.instance().sandbox);
        let reply = match deadline::until(timeout_at, sandbox.invoke(invocation)).await {
            Some(reply) => reply,
            None => Err(timed_out(&context)),
        };
        // Whatever the function made of a broken upload, the caller hears what was wrong with it.
        if let Some(failure) = context.caller_failure.get() {
            return Err(failure.clone());
        }
        let response = reply?;
        flight.head(response.status().as_u16());
        Ok((response, timeout_at))
    }

    /// The engine of a class.
    ///
    /// # Errors
    /// `ClassUnavailable` with the reason.
    pub(crate) fn runtime(&self, isolation: Isolation) -> Result<&Arc<dyn Runtime>, Failure> {
        let runtime = self
            .runtimes
            .iter()
            .find(|runtime| runtime.isolation() == isolation);
        let reason = match runtime {
            None => "this release has no engine for it".to_owned(),
            Some(runtime) => match runtime.availability() {
                Availability::Unavailable(reason) => reason,
                Availability::Available(_) | Availability::Weak(_) => return Ok(runtime),
            },
        };
        Err(Failure::new(
            Code::ClassUnavailable,
            format!("isolation class `{isolation}` is unavailable on this node: {reason}"),
        ))
    }

    /// All classes and whether this node can run them.
    pub fn classes(&self) -> Vec<(Isolation, Availability)> {
        Isolation::ALL
            .into_iter()
            .map(|class| {
                let availability = self
                    .runtimes
                    .iter()
                    .find(|runtime| runtime.isolation() == class)
                    .map_or_else(
                        || {
                            Availability::Unavailable(
                                "this release has no engine for it".to_owned(),
                            )
                        },
                        |runtime| runtime.availability(),
                    );
                (class, availability)
            })
            .collect()
    }

    /// What runs of a version; made at its first invocation.
    pub(crate) fn pool<'a>(&self, target: &'a LiveVersion) -> &'a VersionPool {
        target.slot(|| {
            let version = &target.version;
            let places = self
                .places
                .iter()
                .find(|(class, _)| *class == version.config.isolation)
                .map(|(_, places)| Arc::clone(places))
                .expect("there are places for every class");
            let pool = Arc::new(VersionPool::new(
                Arc::clone(version),
                self.function_gate(&version.function),
                places,
            ));
            self.pools.lock().insert(target.uid, Arc::downgrade(&pool));
            pool
        })
    }

    fn function_gate(&self, function: &FunctionKey) -> Arc<FunctionGate> {
        let mut functions = self.functions.lock();
        if let Some(gate) = functions.get(function).and_then(Weak::upgrade) {
            return gate;
        }
        let gate = Arc::new(FunctionGate::new(self.namespace_gate(&function.namespace)));
        functions.insert(function.clone(), Arc::downgrade(&gate));
        gate
    }

    fn namespace_gate(&self, namespace: &Namespace) -> Arc<NamespaceGate> {
        let mut namespaces = self.namespaces.lock();
        if let Some(gate) = namespaces.get(namespace).and_then(Weak::upgrade) {
            return gate;
        }
        let gate = Arc::new(NamespaceGate::default());
        namespaces.insert(namespace.clone(), Arc::downgrade(&gate));
        gate
    }

    pub(crate) fn forget_unused_gates(&self) {
        self.functions
            .lock()
            .retain(|_, gate| gate.strong_count() > 0);
        self.namespaces
            .lock()
            .retain(|_, gate| gate.strong_count() > 0);
    }

    fn now_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }
}

/// Refuses a body whose announced length is above the limit before any of it is read.
fn check_announced_length(body: &Body, bytes_max: u64) -> Result<(), Failure> {
    use http_body::Body as _;
    if body.size_hint().lower() > bytes_max {
        return Err(request_too_large(bytes_max));
    }
    Ok(())
}
