//! Getting an instance: warm from the pool, else fresh from the template, else cold. Waiting and starting
//! have a deadline of their own and do not eat the function's.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{Code, Failure, StartKind};
use runtime::{InvocationContext, StartRequest};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::deadline;
use crate::instance::Instance;
use crate::invoke::Invoker;
use crate::pool::VersionPool;

/// An instance and how it was got.
pub(crate) struct Acquired {
    pub(crate) instance: Instance,
    pub(crate) kind: StartKind,
    pub(crate) queue: Duration,
    pub(crate) start: Duration,
    pub(crate) init: Duration,
    pub(crate) init_cpu: Duration,
    /// When it was got: the function's own time begins.
    pub(crate) at: Instant,
}

impl Invoker {
    /// An instance for `context`, from `began` on.
    pub(crate) async fn acquire(
        &self,
        pool: &VersionPool,
        context: &Arc<InvocationContext>,
        began: Instant,
    ) -> Result<Acquired, Failure> {
        if let Some(instance) = pool.take_idle() {
            return Ok(Acquired {
                instance,
                kind: StartKind::Warm,
                queue: Duration::ZERO,
                start: Duration::ZERO,
                init: Duration::ZERO,
                init_cpu: Duration::ZERO,
                at: Instant::now(),
            });
        }
        let deadline = began + Duration::from_millis(pool.version.config.limits.start_timeout_ms);
        let start = std::pin::pin!(self.start(pool, context, began, deadline));
        match deadline::until(deadline, start).await {
            Some(acquired) => acquired,
            None => Err(start_timeout(pool)),
        }
    }

    async fn start(
        &self,
        pool: &VersionPool,
        context: &Arc<InvocationContext>,
        began: Instant,
        deadline: Instant,
    ) -> Result<Acquired, Failure> {
        let generation = pool.generation();
        let (place, queue) = match Arc::clone(&pool.places.instances).try_acquire_owned() {
            Ok(place) => (place, Duration::ZERO),
            Err(_) => {
                let place = self.wait_for_place(pool).await?;
                (place, began.elapsed())
            }
        };
        let (template, loaded_now) = self.template(pool).await?;
        let request = StartRequest {
            invocation: Some(Arc::clone(context)),
            deadline,
        };
        let started = template.start(request).await?;
        let now = Instant::now();
        Ok(Acquired {
            instance: Instance::new(started.sandbox, generation, place, now),
            kind: if loaded_now {
                StartKind::Cold
            } else {
                StartKind::Fresh
            },
            queue,
            start: now.duration_since(began).saturating_sub(queue),
            init: started.init,
            init_cpu: started.init_cpu,
            at: now,
        })
    }

    /// Waits for a place in the class's budget, after making room by evicting the node's coldest idle
    /// instance of the class.
    async fn wait_for_place(&self, pool: &VersionPool) -> Result<OwnedSemaphorePermit, Failure> {
        let places = &pool.places;
        // Counted before looking for an idle instance: one that is released later sees the waiter and
        // gives its place up instead of idling on it.
        let _waiting = Waiting::enter(places, self.config.n_waiting_max)?;
        self.evict_one(places);
        let place = Arc::clone(&places.instances).acquire_owned().await;
        place.map_err(|_| at_capacity(self.config.n_waiting_max))
    }
}

/// One waiter, counted until dropped.
struct Waiting<'a>(&'a crate::pool::Places);

impl<'a> Waiting<'a> {
    fn enter(places: &'a crate::pool::Places, n_waiting_max: usize) -> Result<Self, Failure> {
        let waiting = Self(places);
        if places.n_waiting.fetch_add(1, Ordering::AcqRel) >= n_waiting_max {
            return Err(at_capacity(n_waiting_max));
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.n_waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

fn at_capacity(n_waiting_max: usize) -> Failure {
    Failure::new(
        Code::NodeAtCapacity,
        "too many invocations wait for an instance on this node",
    )
    .with_limit(
        "n_waiting_max",
        n_waiting_max,
        "invoker.n_waiting_max in the node's configuration",
    )
    .with_retry_after_s(1)
}

fn start_timeout(pool: &VersionPool) -> Failure {
    let limit_ms = pool.version.config.limits.start_timeout_ms;
    Failure::new(
        Code::StartTimeout,
        format!(
            "no instance of {} was ready within {limit_ms} ms",
            pool.version.function
        ),
    )
    .with_limit(
        "limits.start_timeout",
        format!("{limit_ms} ms"),
        "`start_timeout` under [limits] in holm.toml",
    )
    .with_retry_after_s(1)
}
