//! A prepared version: the artifact bound to the host's functions, shared by all functions with the same
//! artifact, and this function's configuration.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use model::{Code, Contract, Failure};
use runtime::{BoxFuture, StartRequest, Started, Template};

use crate::guest::Guest;
use crate::host::{FunctionShared, HostState, SandboxShared};
use crate::sandbox::WasmSandbox;

/// A prepared version that speaks `G`'s contract.
pub(crate) struct WasmTemplate<G: Guest> {
    prepared: Arc<G::Prepared>,
    function: Arc<FunctionShared>,
}

impl<G: Guest> WasmTemplate<G> {
    pub(crate) fn new(prepared: Arc<G::Prepared>, function: Arc<FunctionShared>) -> Self {
        Self { prepared, function }
    }
}

impl<G: Guest> Template for WasmTemplate<G> {
    fn contract(&self) -> Contract {
        G::CONTRACT
    }

    fn start(&self, request: StartRequest) -> BoxFuture<Result<Started, Failure>> {
        let prepared = self.prepared.clone();
        let function = self.function.clone();
        Box::pin(start::<G>(prepared, function, request))
    }
}

async fn start<G: Guest>(
    prepared: Arc<G::Prepared>,
    function: Arc<FunctionShared>,
    request: StartRequest,
) -> Result<Started, Failure> {
    let shared = SandboxShared::new(function);
    let host = HostState::new(shared.clone(), request.invocation.clone());
    let mut starting = pin!(G::start(prepared, host));
    let mut poll = |cx: &mut Context<'_>| shared.poll_guest(|| starting.as_mut().poll(cx)).0;

    // Nearly every start is over within its first poll: only others need a timer, and a clock beside that
    // of the poll.
    let first = std::future::poll_fn(|cx| Poll::Ready(poll(cx))).await;
    let first_ns = shared.cpu.used_ns();
    let mut waited = Duration::ZERO;
    let result = match first {
        Poll::Ready(result) => result,
        Poll::Pending => {
            let began = Instant::now();
            let rest = std::future::poll_fn(&mut poll);
            let rest = tokio::time::timeout_at(request.deadline, rest).await;
            waited = began.elapsed();
            match rest {
                Ok(result) => result,
                Err(_elapsed) => Err(Failure::new(
                    Code::InitFailed,
                    "the function did not finish starting in time",
                )
                .with_limit(
                    "limits.start_timeout",
                    format_args!("{} ms", shared.function.config.limits.start_timeout_ms),
                    "start_timeout under [limits] in holm.toml",
                )),
            }
        }
    };
    let cpu_ns = shared.cpu.used_ns();
    match result {
        Ok(mut guest) => {
            guest.host().end();
            Ok(Started {
                sandbox: Arc::new(WasmSandbox::new(Box::new(guest), &shared.function)),
                init: Duration::from_nanos(first_ns) + waited,
                init_cpu: Duration::from_nanos(cpu_ns),
            })
        }
        Err(failure) => {
            if let Some(invocation) = &request.invocation {
                invocation.meter.add_cpu_ns(cpu_ns);
            }
            Err(failure)
        }
    }
}
