//! A `holm:core/1` module in wasmtime with nothing around it: a fresh instance per request from the same
//! kind of pool, but no epochs, no limits, no accounts. What limits cost is the distance to this.

use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use model::Failure;
use wasmtime::{
    Caller, Config, Enabled, Engine, Extern, InstanceAllocationStrategy, InstancePre, Linker,
    Module, PoolingAllocationConfig, Store,
};

use super::{internal, raw};

/// As the `wasm` class keeps of a slot's memory, so that resetting costs both the same.
const MEMORY_KEEP_RESIDENT_BYTES: usize = 2 << 20;

/// The request's head; the modules measured here do not look at it.
const HEAD: &[u8] = b"GET / HTTP/1.1\nhost: bench\n";

/// What a guest answered so far.
type Answer = Vec<u8>;

pub(super) fn run(module: &Path) -> Result<(), Failure> {
    let instance = prepare(module).map_err(|error| internal("the module", &error))?;
    let instance = Rc::new(instance);
    raw::serve(move |_| {
        let answered = call(&instance);
        async move {
            let (status, body) = match answered {
                Ok(body) => (StatusCode::OK, body),
                Err(error) => (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    error.to_string().into_bytes(),
                ),
            };
            let mut response = Response::new(Full::new(Bytes::from(body)));
            *response.status_mut() = status;
            response
        }
    })
}

fn prepare(module: &Path) -> wasmtime::Result<InstancePre<Answer>> {
    let mut pool = PoolingAllocationConfig::new();
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Auto)
            .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT_BYTES);
    }
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config)?;
    let module = Module::from_file(&engine, module)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("holm:core/1", "response_write", response_write)?;
    linker.instantiate_pre(&module)
}

fn response_write(mut caller: Caller<'_, Answer>, ptr: u32, len: u32) -> wasmtime::Result<i32> {
    let memory = caller
        .get_export("memory")
        .and_then(Extern::into_memory)
        .ok_or_else(|| wasmtime::Error::msg("no memory"))?;
    let (bytes, answer) = memory.data_and_store_mut(&mut caller);
    let end = ptr as usize + len as usize;
    let written = bytes
        .get(ptr as usize..end)
        .ok_or_else(|| wasmtime::Error::msg("outside the memory"))?;
    answer.extend_from_slice(written);
    Ok(0)
}

fn call(instance: &InstancePre<Answer>) -> wasmtime::Result<Answer> {
    let mut store = Store::new(instance.module().engine(), Answer::new());
    let instance = instance.instantiate(&mut store)?;
    let alloc = instance.get_typed_func::<u32, u32>(&mut store, "alloc")?;
    let handle = instance.get_typed_func::<(u32, u32), i32>(&mut store, "handle")?;
    let memory = instance
        .get_memory(&mut store, "memory")
        .ok_or_else(|| wasmtime::Error::msg("no memory"))?;
    let length = HEAD.len() as u32;
    let ptr = alloc.call(&mut store, length)?;
    memory.write(&mut store, ptr as usize, HEAD)?;
    match handle.call(&mut store, (ptr, length))? {
        0 => Ok(store.into_data()),
        number => Err(wasmtime::Error::msg(format!("the guest says {number}"))),
    }
}
