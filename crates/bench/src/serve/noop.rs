//! An engine that answers at once: what remains of a request's cost is the platform's own. Sandboxes are
//! made like any engine's, one per request unless the function says `reuse`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use model::{Contract, Failure, Isolation};
use runtime::{
    Availability, Body, BoxFuture, Invocation, LogStream, PrepareRequest, Runtime, Sandbox,
    StartRequest, Started, Template,
};

/// The log line that each request writes.
const LOG_LINE: &[u8] = b"answered without a guest";

/// The engine.
pub(super) struct NoopRuntime;

impl Runtime for NoopRuntime {
    fn isolation(&self) -> Isolation {
        Isolation::Wasm
    }

    fn availability(&self) -> Availability {
        Availability::Available("answers at once, for benchmarks".to_owned())
    }

    fn prepare(&self, _request: PrepareRequest) -> BoxFuture<Result<Arc<dyn Template>, Failure>> {
        let template: Arc<dyn Template> = Arc::new(NoopTemplate);
        Box::pin(std::future::ready(Ok(template)))
    }
}

struct NoopTemplate;

impl Template for NoopTemplate {
    fn contract(&self) -> Contract {
        Contract::HolmCore1
    }

    fn start(&self, _request: StartRequest) -> BoxFuture<Result<Started, Failure>> {
        Box::pin(std::future::ready(Ok(Started {
            sandbox: Arc::new(NoopSandbox),
            init: Duration::ZERO,
            init_cpu: Duration::ZERO,
        })))
    }
}

struct NoopSandbox;

impl Sandbox for NoopSandbox {
    fn invoke(
        self: Arc<Self>,
        invocation: Invocation,
    ) -> BoxFuture<Result<Response<Body>, Failure>> {
        invocation.context.log(LogStream::Stdout, LOG_LINE);
        let body = Body::from(Bytes::from_static(b"1"));
        Box::pin(std::future::ready(Ok(Response::new(body))))
    }

    fn is_reusable(&self) -> bool {
        true
    }

    fn stop(self: Arc<Self>, _grace: Duration) -> BoxFuture<()> {
        Box::pin(std::future::ready(()))
    }
}
