//! Components that export `wasi:http/handler` 0.3: asynchronous functions on the engine with
//! component-model concurrency. One request at a time per instance, as in every contract here.

mod body;

use std::sync::Arc;

use http::Request;
use http::uri::Scheme;
use model::{Code, Contract, Failure};
use runtime::Body;
use wasmtime::component::{Accessor, Component, Linker};
use wasmtime::{AsContextMut as _, Engine, Store};
use wasmtime_wasi_http::p3::bindings::{Service, ServicePre};
use wasmtime_wasi_http::p3::{Request as WasiRequest, Response as WasiResponse};
use wasmtime_wasi_http::{WasiBody, WasiHttpView as _};

use crate::component::{self, ComponentState};
use crate::failure;
use crate::guest::Guest;
use crate::host::{HasHost, HostState, SandboxShared, new_store};

/// Tasks, threads, streams, futures and sets of them that one instance may have at the same time: the host
/// keeps a few hundred bytes of its own for each.
const CONCURRENT_MAX: usize = 10_000;

/// The host's functions, bound once per engine.
pub(crate) struct P3Linker(Linker<ComponentState>);

impl P3Linker {
    pub(crate) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine);
        component::add_common_to(&mut linker)?;
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        Ok(Self(linker))
    }
}

/// A component bound to the host.
pub(crate) struct P3Prepared {
    engine: Engine,
    pre: ServicePre<ComponentState>,
}

impl P3Prepared {
    /// Checks exports and imports of `component` and binds it.
    ///
    /// # Errors
    /// `WasmUnsupported`, naming the import or export at fault.
    pub(crate) fn new(linker: &P3Linker, component: &Component) -> Result<Self, Failure> {
        let pre = linker
            .0
            .instantiate_pre(component)
            .and_then(ServicePre::new)
            .map_err(|error| {
                let what = failure::one_line(&error);
                let detail = format!("not a wasi:http 0.3 component: {what}");
                Failure::new(Code::WasmUnsupported, detail)
            })?;
        Ok(Self {
            engine: component.engine().clone(),
            pre,
        })
    }
}

/// An instance of a component.
pub(crate) struct P3Guest {
    store: Store<ComponentState>,
    service: Service,
}

impl Guest for P3Guest {
    type Prepared = P3Prepared;

    const CONTRACT: Contract = Contract::WasiHttp03;

    async fn start(prepared: Arc<P3Prepared>, host: HostState) -> Result<Self, Failure> {
        let mut store = new_store(&prepared.engine, ComponentState::new(host))
            .map_err(|error| Failure::new(Code::Internal, failure::one_line(&error)))?;
        if let Some(table) = store.concurrent_resource_table() {
            table.set_max_capacity(CONCURRENT_MAX);
        }
        match prepared.pre.instantiate_async(&mut store).await {
            Ok(service) => Ok(Self { store, service }),
            Err(error) => Err(failure::of_start(&error, store.data().host())),
        }
    }

    fn host(&mut self) -> &mut HostState {
        self.store.data_mut().host_mut()
    }

    async fn serve(&mut self, request: Request<Body>) -> Result<(), Failure> {
        let Self { store, service } = self;
        let host = store.data().host();
        let scheme = match &host.invocation {
            Some(invocation) => invocation.scheme.clone(),
            None => Scheme::HTTP,
        };
        let shared = host.shared.clone();
        let request = component::incoming_request(request, &scheme);
        let run = store
            .run_concurrent(async |accessor| serve_one(accessor, service, request, &shared).await);
        match run.await.and_then(|result| result) {
            Ok(served) => served,
            // A program that ends itself well after it answered.
            Err(error) if failure::is_clean_exit(&error) => {
                self.host().is_spent = true;
                Ok(())
            }
            Err(error) => Err(failure::of_run(&error, self.store.data().host())),
        }
    }
}

/// Calls the handler, hands its response out, and stays until the guest has nothing left to do.
async fn serve_one(
    accessor: &Accessor<ComponentState>,
    service: &Service,
    request: Request<WasiBody>,
    shared: &SandboxShared,
) -> wasmtime::Result<Result<(), Failure>> {
    let request = accessor.with(|mut store| {
        let view = store.data_mut().http();
        // The future tells what the guest says of the request's body, which nobody asks for.
        WasiRequest::from_http(view.hooks, request).0
    });
    let response = match service.handle(accessor, request).await? {
        Ok(response) => response,
        Err(code) => {
            let detail = format!("the handler returned the error {code:?}");
            return Ok(Err(Failure::new(Code::FunctionError, detail)));
        }
    };
    hand_out(accessor, response, shared)?;
    // A task goes on after it returned its response: it writes the body, and what else it has to do.
    std::future::poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
    Ok(Ok(()))
}

fn hand_out(
    accessor: &Accessor<ComponentState>,
    response: WasiResponse,
    shared: &SandboxShared,
) -> wasmtime::Result<()> {
    let (sent, when_sent) = body::sent_signal();
    let response =
        accessor.with(|mut store| response.into_http(store.as_context_mut(), when_sent))?;
    let (parts, body) = response.into_parts();
    let mut exchange = shared.exchange.lock();
    exchange.head = Some(Ok(parts));
    exchange.source = Some(Box::pin(body::Outgoing::new(body, sent)));
    exchange.is_relay = true;
    Ok(())
}
