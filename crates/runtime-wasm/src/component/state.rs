//! The data of a component's store.

use std::cell::OnceCell;

use runtime::LogStream;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_config::WasiConfigVariables;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::hooks::Hooks;
use crate::host::{HasHost, HostState};
use crate::stdio::LogOut;

/// Resources (requests, header sets, pollables, ...) that a guest may hold at the same time.
const RESOURCES_MAX: usize = 1_000;
/// Random bytes that one call gives; more traps.
const RANDOM_BYTES_MAX: u64 = 1 << 20;
/// Bytes that one set of headers may take in the host's memory.
const FIELDS_BYTES_MAX: usize = 64 << 10;

/// The data of a component's store: the common part, and an otherwise empty world. No directories, no
/// sockets, no names: the network is `hooks`.
pub(crate) struct ComponentState {
    host: HostState,
    table: ResourceTable,
    /// Made when first asked for: a guest that only speaks HTTP does without.
    wasi: Option<WasiCtx>,
    http: WasiHttpCtx,
    hooks: Hooks,
    /// Made when first asked for: few guests do.
    config_variables: OnceCell<WasiConfigVariables>,
}

impl ComponentState {
    pub(crate) fn new(host: HostState) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_BYTES_MAX);
        Self {
            table,
            wasi: None,
            http,
            hooks: Hooks::new(&host),
            host,
            config_variables: OnceCell::new(),
        }
    }

    /// `wasi:config`: the variables of the manifest's `[env]`.
    pub(super) fn config_variables(&self) -> &WasiConfigVariables {
        self.config_variables.get_or_init(|| {
            let env = &self.host.function().config.env;
            env.iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        })
    }
}

impl HasHost for ComponentState {
    fn host(&self) -> &HostState {
        &self.host
    }

    fn host_mut(&mut self) -> &mut HostState {
        &mut self.host
    }
}

impl WasiView for ComponentState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let host = &self.host;
        WasiCtxView {
            ctx: self.wasi.get_or_insert_with(|| new_wasi(host)),
            table: &mut self.table,
        }
    }
}

fn new_wasi(host: &HostState) -> WasiCtx {
    let log = |stream| LogOut::new(host.shared.clone(), stream);
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdout(log(LogStream::Stdout))
        .stderr(log(LogStream::Stderr))
        .max_random_size(RANDOM_BYTES_MAX);
    for (name, value) in &host.function().config.env {
        wasi.env(name, value);
    }
    wasi.build()
}

impl WasiHttpView for ComponentState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.hooks,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}
