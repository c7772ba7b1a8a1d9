//! WASI preview 1 commands as CGI 1.1 programs (RFC 3875): one run of `_start` per request.
//!
//! ```text
//! request head -> environment     request body -> stdin
//! stdout -> header block, `Status:`, then the body as it is written     stderr -> log
//! ```
//! Departures from the RFC: a `Location` with a path is sent to the caller as it is instead of being
//! resolved here, and queries never become arguments (CVE-2012-1823). `docs/guide/cgi.md` tells users.

mod environment;
mod head;
mod stdio;

use std::sync::Arc;

use http::Request;
use http::uri::Scheme;
use http_body::Body as _;
use model::{Code, Contract, Failure};
use parking_lot::Mutex;
use runtime::{Body, LogStream};
use wasmtime::{Engine, ExternType, InstancePre, Linker, Module, ModuleExport, Store, TypedFunc};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::{I32Exit, WasiCtxBuilder, WasiView as _};

use crate::failure;
use crate::guest::Guest;
use crate::host::{HasHost, HostState, new_store};
use crate::stdio::LogOut;
use head::HeadReader;
use stdio::{Output, Stdin, Stdout};

/// Things that one `poll_oneoff` may wait for, and what else the host keeps for a program.
const RESOURCES_MAX: usize = 1_000;
/// Random bytes that one call may ask for.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// The host's functions, bound once per engine.
pub(crate) struct CgiLinker(Linker<CgiState>);

impl CgiLinker {
    pub(crate) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine);
        p1::add_to_linker_async(&mut linker, |state: &mut CgiState| &mut state.wasi)?;
        // The library's own takes exit codes above 125 for a host error; programs use all of them.
        linker.allow_shadowing(true);
        linker.func_wrap("wasi_snapshot_preview1", "proc_exit", |code: i32| {
            Err::<(), _>(wasmtime::Error::new(I32Exit(code)))
        })?;
        Ok(Self(linker))
    }
}

/// A command bound to the host.
pub(crate) struct CgiPrepared {
    engine: Engine,
    pre: InstancePre<CgiState>,
    start: ModuleExport,
}

impl CgiPrepared {
    /// Checks exports and imports of `module` and binds it.
    ///
    /// # Errors
    /// `WasmUnsupported`, naming the import or export at fault.
    pub(crate) fn new(linker: &CgiLinker, module: &Module) -> Result<Self, Failure> {
        let is_start = match module.get_export("_start") {
            Some(ExternType::Func(func)) => func.params().len() == 0 && func.results().len() == 0,
            _ => false,
        };
        if !is_start {
            return Err(unsupported(
                "it must export `_start` as a function () -> ()",
            ));
        }
        let is_memory = match module.get_export("memory") {
            Some(ExternType::Memory(memory)) => !memory.is_64() && !memory.is_shared(),
            _ => false,
        };
        if !is_memory {
            return Err(unsupported("it must export `memory` as a 32-bit memory"));
        }
        let start = module
            .get_export_index("_start")
            .expect("the export was just found");
        let pre = linker
            .0
            .instantiate_pre(module)
            .map_err(|error| unsupported(failure::one_line(&error)))?;
        Ok(Self {
            engine: module.engine().clone(),
            pre,
            start,
        })
    }
}

fn unsupported(what: impl std::fmt::Display) -> Failure {
    Failure::new(
        Code::WasmUnsupported,
        format!("not a WASI preview 1 command: {what}"),
    )
}

/// The data of a command's store.
pub(crate) struct CgiState {
    host: HostState,
    wasi: WasiP1Ctx,
}

impl HasHost for CgiState {
    fn host(&self) -> &HostState {
        &self.host
    }

    fn host_mut(&mut self) -> &mut HostState {
        &mut self.host
    }
}

/// An instance of a command. It runs once: what `_start` leaves behind is not meant to run again.
pub(crate) struct CgiGuest {
    store: Store<CgiState>,
    start: TypedFunc<(), ()>,
}

impl Guest for CgiGuest {
    type Prepared = CgiPrepared;

    const CONTRACT: Contract = Contract::Cgi11;
    const IS_REUSABLE: bool = false;

    async fn start(prepared: Arc<CgiPrepared>, host: HostState) -> Result<Self, Failure> {
        let state = CgiState {
            host,
            // The request brings environment and streams; nothing runs before it but a start section.
            wasi: WasiCtxBuilder::new().build_p1(),
        };
        let memory_bytes_max = state.host.function().config.limits.memory_bytes_max;
        let mut store = new_store(&prepared.engine, state)
            .map_err(|error| Failure::new(Code::Internal, failure::one_line(&error)))?;
        // Programs write what they have in one call, and here nothing of it is copied before there is
        // room: any buffer that fits into the program's memory may be written.
        store.set_hostcall_fuel(usize::try_from(memory_bytes_max).unwrap_or(usize::MAX));
        match Self::instantiate(&prepared, &mut store).await {
            Ok(start) => Ok(Self { store, start }),
            Err(error) => Err(failure::of_start(&error, store.data().host())),
        }
    }

    fn host(&mut self) -> &mut HostState {
        self.store.data_mut().host_mut()
    }

    async fn serve(&mut self, request: Request<Body>) -> Result<(), Failure> {
        let output = Arc::new(Mutex::new(Output::Head(HeadReader::default())));
        self.begin(request, output.clone())?;
        let result = self.start.call_async(&mut self.store, ()).await;
        if let Err(error) = result
            && !failure::is_clean_exit(&error)
        {
            return Err(failure::of_run(&error, self.store.data().host()));
        }
        match &*output.lock() {
            Output::Body => Ok(()),
            Output::Head(reader) => Err(reader.unfinished().unwrap_or_else(|| {
                Failure::new(Code::NoResponse, "the function ended without any output")
            })),
        }
    }
}

impl CgiGuest {
    async fn instantiate(
        prepared: &CgiPrepared,
        store: &mut Store<CgiState>,
    ) -> wasmtime::Result<TypedFunc<(), ()>> {
        let instance = prepared.pre.instantiate_async(&mut *store).await?;
        instance
            .get_module_export(&mut *store, &prepared.start)
            .and_then(|export| export.into_func())
            .expect("checked when the module was prepared")
            .typed(&mut *store)
    }

    /// Gives the program its environment and its streams.
    fn begin(&mut self, request: Request<Body>, output: Arc<Mutex<Output>>) -> Result<(), Failure> {
        let state = self.store.data_mut();
        let (parts, body) = request.into_parts();
        let invocation = state.host.invocation.as_deref();
        let environment = environment::of_request(
            &parts,
            body.size_hint().exact(),
            &state.host.function().config,
            invocation.map_or(&Scheme::HTTP, |invocation| &invocation.scheme),
            invocation.and_then(|invocation| invocation.caller),
        )?;
        let shared = state.host.shared.clone();
        state.wasi = WasiCtxBuilder::new()
            .arg(state.host.function().function.name.as_str())
            .envs(&environment)
            .stdin(Stdin::new(body))
            .stdout(Stdout {
                shared: shared.clone(),
                output,
            })
            .stderr(LogOut::new(shared, LogStream::Stderr))
            .max_random_size(RANDOM_BYTES_MAX)
            .build_p1();
        state.wasi.ctx().table.set_max_capacity(RESOURCES_MAX);
        Ok(())
    }
}
