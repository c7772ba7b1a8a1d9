//! Components that export `wasi:http/incoming-handler` 0.2.

use std::sync::Arc;

use http::{Request, uri};
use http_body_util::BodyExt as _;
use model::{Code, Contract, Failure};
use runtime::Body;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyPre};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use crate::component::{self, ComponentState, response_body_failure};
use crate::failure;
use crate::guest::Guest;
use crate::host::{HasHost, HostState, SandboxShared, new_store};

/// The host's functions, bound once per engine.
pub(crate) struct P2Linker(Linker<ComponentState>);

impl P2Linker {
    pub(crate) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine);
        component::add_common_to(&mut linker)?;
        Ok(Self(linker))
    }
}

/// A component bound to the host.
pub(crate) struct P2Prepared {
    engine: Engine,
    pre: ProxyPre<ComponentState>,
}

impl P2Prepared {
    /// Checks exports and imports of `component` and binds it.
    ///
    /// # Errors
    /// `WasmUnsupported`, naming the import or export at fault.
    pub(crate) fn new(linker: &P2Linker, component: &Component) -> Result<Self, Failure> {
        let pre = linker
            .0
            .instantiate_pre(component)
            .and_then(ProxyPre::new)
            .map_err(|error| {
                let what = failure::one_line(&error);
                let detail = format!("not a wasi:http 0.2 component: {what}");
                Failure::new(Code::WasmUnsupported, detail)
            })?;
        Ok(Self {
            engine: component.engine().clone(),
            pre,
        })
    }
}

/// An instance of a component.
pub(crate) struct P2Guest {
    store: Store<ComponentState>,
    proxy: Proxy,
}

impl Guest for P2Guest {
    type Prepared = P2Prepared;

    const CONTRACT: Contract = Contract::WasiHttp02;

    async fn start(prepared: Arc<P2Prepared>, host: HostState) -> Result<Self, Failure> {
        let mut store = new_store(&prepared.engine, ComponentState::new(host))
            .map_err(|error| Failure::new(Code::Internal, failure::one_line(&error)))?;
        match prepared.pre.instantiate_async(&mut store).await {
            Ok(proxy) => Ok(Self { store, proxy }),
            Err(error) => Err(failure::of_start(&error, store.data().host())),
        }
    }

    fn host(&mut self) -> &mut HostState {
        self.store.data_mut().host_mut()
    }

    async fn serve(&mut self, request: Request<Body>) -> Result<(), Failure> {
        match self.call(request).await {
            Ok(()) => Ok(()),
            // A program that ends itself well, after it answered or not.
            Err(error) if failure::is_clean_exit(&error) => {
                self.host().is_spent = true;
                Ok(())
            }
            Err(error) => Err(failure::of_run(&error, self.store.data().host())),
        }
    }
}

impl P2Guest {
    async fn call(&mut self, request: Request<Body>) -> wasmtime::Result<()> {
        let state = self.store.data_mut();
        let host = state.host();
        let shared = host.shared.clone();
        let scheme = match &host.invocation {
            Some(invocation) if invocation.scheme == uri::Scheme::HTTPS => Scheme::Https,
            _ => Scheme::Http,
        };
        let request = request.map(component::IncomingBody);
        let mut view = state.http();
        let request = view.new_incoming_request(scheme, request)?;
        let response = view.new_response_outparam_from_callback(move |result| {
            hand_out(result, &shared);
        })?;
        self.proxy
            .wasi_http_incoming_handler()
            .call_handle(&mut self.store, request, response)
            .await
    }
}

/// The guest has set its response: its head is there, its body follows through a channel.
fn hand_out(result: Result<http::Response<HyperOutgoingBody>, ErrorCode>, shared: &SandboxShared) {
    let mut exchange = shared.exchange.lock();
    match result {
        Ok(response) => {
            let (parts, body) = response.into_parts();
            exchange.head = Some(Ok(parts));
            let body = body.map_err(|error| response_body_failure(&error));
            exchange.source = Some(Box::pin(body));
        }
        Err(code) => {
            let detail = format!("the handler answered with the error {code:?}");
            exchange.head = Some(Err(Failure::new(Code::FunctionError, detail)));
        }
    }
}
