//! `holm:core/1` (`docs/guide/core-abi.md`): functions as plain core modules. The fastest contract: no
//! component model, one fiber switch in and out, no allocation but the request head and the answer.

mod fetch;
mod head;
mod imports;
mod input;
mod memory;
mod state;

use std::sync::Arc;

use http::Request;
use model::{Code, Contract, Failure};
use runtime::Body;
use wasmtime::{
    Engine, ExternType, FuncType, Instance, InstancePre, Linker, Module, ModuleExport, Store,
    TypedFunc, ValType,
};

use crate::failure;
use crate::guest::Guest;
use crate::host::{HasHost, HostState, new_store};
use state::CoreState;

/// The host's functions, bound once per engine.
pub(crate) struct CoreLinker(Linker<CoreState>);

impl CoreLinker {
    pub(crate) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine);
        imports::add_to(&mut linker)?;
        Ok(Self(linker))
    }
}

/// A module bound to the host, and where its exports are.
pub(crate) struct CorePrepared {
    engine: Engine,
    pre: InstancePre<CoreState>,
    memory: ModuleExport,
    alloc: ModuleExport,
    handle: ModuleExport,
    initialize: Option<ModuleExport>,
}

impl CorePrepared {
    /// Checks exports and imports of `module` and binds it.
    ///
    /// # Errors
    /// `WasmUnsupported`, naming the import or export at fault.
    pub(crate) fn new(linker: &CoreLinker, module: &Module) -> Result<Self, Failure> {
        let engine = module.engine();
        let export = |name: &str, expected: &str, is_right: &dyn Fn(&ExternType) -> bool| {
            let found = module.get_export(name);
            if !found.as_ref().is_some_and(is_right) {
                return Err(unsupported(format!(
                    "it must export `{name}` as {expected}"
                )));
            }
            Ok(module
                .get_export_index(name)
                .expect("the export was just found"))
        };
        let is_func = |params: &[ValType], results: &[ValType]| {
            let expected = FuncType::new(engine, params.to_vec(), results.to_vec());
            move |found: &ExternType| match found {
                ExternType::Func(found) => FuncType::eq(found, &expected),
                _ => false,
            }
        };
        let is_memory = |found: &ExternType| match found {
            ExternType::Memory(memory) => !memory.is_64() && !memory.is_shared(),
            _ => false,
        };
        let i32 = ValType::I32;
        let memory = export("memory", "a 32-bit memory", &is_memory)?;
        let alloc = export(
            "alloc",
            "a function (i32) -> i32",
            &is_func(std::slice::from_ref(&i32), std::slice::from_ref(&i32)),
        )?;
        let handle = export(
            "handle",
            "a function (i32, i32) -> i32",
            &is_func(&[i32.clone(), i32.clone()], &[i32]),
        )?;
        let initialize = match module.get_export_index("_initialize") {
            Some(_) => Some(export(
                "_initialize",
                "a function () -> ()",
                &is_func(&[], &[]),
            )?),
            None => None,
        };
        let pre = linker
            .0
            .instantiate_pre(module)
            .map_err(|error| unsupported(failure::one_line(&error)))?;
        Ok(Self {
            engine: engine.clone(),
            pre,
            memory,
            alloc,
            handle,
            initialize,
        })
    }
}

fn unsupported(what: impl std::fmt::Display) -> Failure {
    Failure::new(
        Code::WasmUnsupported,
        format!("not a holm:core/1 module: {what}"),
    )
}

/// An instance of a core module.
pub(crate) struct CoreGuest {
    store: Store<CoreState>,
    alloc: TypedFunc<u32, u32>,
    handle: TypedFunc<(u32, u32), i32>,
}

impl Guest for CoreGuest {
    type Prepared = CorePrepared;

    const CONTRACT: Contract = Contract::HolmCore1;

    async fn start(prepared: Arc<CorePrepared>, host: HostState) -> Result<Self, Failure> {
        let mut store = new_store(&prepared.engine, CoreState::new(host))
            .map_err(|error| Failure::new(Code::Internal, failure::one_line(&error)))?;
        match Self::instantiate(&prepared, &mut store).await {
            Ok((alloc, handle)) => Ok(Self {
                store,
                alloc,
                handle,
            }),
            Err(error) => Err(failure::of_start(&error, store.data().host())),
        }
    }

    fn host(&mut self) -> &mut HostState {
        self.store.data_mut().host_mut()
    }

    async fn serve(&mut self, request: Request<Body>) -> Result<(), Failure> {
        let (parts, body) = request.into_parts();
        let text = head::request_head(&parts);
        let result = self.call(&text, body).await;
        let state = self.store.data_mut();
        state.end_request();
        match result {
            Ok(number) => state.outcome(number),
            Err(error) => Err(failure::of_run(&error, state.host())),
        }
    }
}

impl CoreGuest {
    async fn instantiate(
        prepared: &CorePrepared,
        store: &mut Store<CoreState>,
    ) -> wasmtime::Result<(TypedFunc<u32, u32>, TypedFunc<(u32, u32), i32>)> {
        let instance: Instance = prepared.pre.instantiate_async(&mut *store).await?;
        let mut export = |index: &ModuleExport| {
            instance
                .get_module_export(&mut *store, index)
                .expect("the module has this export")
        };
        let memory = export(&prepared.memory)
            .into_memory()
            .expect("checked when the module was prepared");
        let alloc = export(&prepared.alloc)
            .into_func()
            .expect("checked when the module was prepared");
        let handle = export(&prepared.handle)
            .into_func()
            .expect("checked when the module was prepared");
        let initialize = prepared
            .initialize
            .as_ref()
            .and_then(|index| export(index).into_func());
        store.data_mut().memory = Some(memory);
        // SAFETY: `CorePrepared::new` compared both exports of this very module with these types. Comparing
        // them again takes the engine's type registry, which all cores share, for every instance.
        let (alloc, handle) = unsafe {
            (
                TypedFunc::new_unchecked(&*store, alloc),
                TypedFunc::new_unchecked(&*store, handle),
            )
        };
        if let Some(initialize) = initialize {
            let initialize = initialize.typed::<(), ()>(&mut *store)?;
            initialize.call_async(&mut *store, ()).await?;
        }
        Ok((alloc, handle))
    }

    async fn call(&mut self, head: &[u8], body: Body) -> wasmtime::Result<i32> {
        let length = u32::try_from(head.len())?;
        let pointer = self.alloc.call_async(&mut self.store, length).await?;
        let memory = self.store.data().memory.expect("set at instantiation");
        let target = memory::range(memory.data_mut(&mut self.store), pointer, length);
        let Ok(target) = target else {
            return Err(wasmtime::Error::new(Failure::new(
                Code::FunctionError,
                format!("`alloc({length})` gave a range outside the memory"),
            )));
        };
        target.copy_from_slice(head);
        self.store.data_mut().begin_request(body);
        self.handle
            .call_async(&mut self.store, (pointer, length))
            .await
    }
}
