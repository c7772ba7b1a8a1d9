//! A live instance behind the seam.
//!
//! ```text
//! idle --invoke--> running --guest ended well, reuse > 1--> idle
//!                     |
//!                     +--anything else, dropped, stopped--> gone
//! ```

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Response};
use model::{Code, Failure};
use parking_lot::Mutex;
use runtime::{Body, BoxFuture, Event, Invocation, Sandbox};

use crate::guest::Guest;
use crate::host::FunctionShared;
use crate::run::{Run, no_response};

/// An instance of contract `G`. The guest is inside while it is idle; a run takes it out.
pub(crate) struct WasmSandbox<G> {
    guest: Mutex<Option<Box<G>>>,
    keeps_guests: bool,
}

impl<G: Guest> WasmSandbox<G> {
    pub(crate) fn new(guest: Box<G>, function: &FunctionShared) -> Self {
        Self {
            guest: Mutex::new(Some(guest)),
            keeps_guests: G::IS_REUSABLE && function.config.reuse > 1,
        }
    }

    async fn run(self: Arc<Self>, invocation: Invocation) -> Result<Response<Body>, Failure> {
        let Some(mut guest) = self.guest.lock().take() else {
            return Err(Failure::new(Code::Internal, "the instance is not idle"));
        };
        let Invocation { context, event } = invocation;
        let Event::Http(request) = event;
        let is_head_request = request.method() == Method::HEAD;
        guest.host().begin(context.clone());
        let shared = guest.host().shared.clone();
        let future = Box::pin(async move {
            let result = guest.serve(request).await;
            let host = guest.host();
            host.end();
            let is_answered = host.shared.exchange.lock().is_answered();
            let result = result.and_then(|()| is_answered.then_some(()).ok_or_else(no_response));
            if result.is_ok() && !host.is_spent && self.keeps_guests {
                *self.guest.lock() = Some(guest);
            }
            result
        });
        let mut run = Run::new(future, shared, context);
        let head = std::future::poll_fn(|cx| run.poll_head(cx)).await?;
        run.into_response(head, is_head_request).await
    }
}

impl<G: Guest> Sandbox for WasmSandbox<G> {
    fn invoke(
        self: Arc<Self>,
        invocation: Invocation,
    ) -> BoxFuture<Result<Response<Body>, Failure>> {
        Box::pin(self.run(invocation))
    }

    fn is_reusable(&self) -> bool {
        self.keeps_guests && self.guest.lock().is_some()
    }

    fn stop(self: Arc<Self>, _grace: Duration) -> BoxFuture<()> {
        // A running guest lives in the future or body that its caller holds, and ends with it.
        drop(self.guest.lock().take());
        Box::pin(std::future::ready(()))
    }
}
