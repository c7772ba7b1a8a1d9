//! The `wasm` isolation class on wasmtime: compiles modules in a separate process, keeps them mapped from
//! disk, and runs every request in a fresh instance from a pool of slots.
//!
//! ```text
//! WasmRuntime::prepare   sniff, validate, compile (worker process) -> .cwasm cache -> map -> InstancePre
//!   -> WasmTemplate::start   Store + instantiate + init                        a few microseconds
//!        -> WasmSandbox::invoke   the guest runs inside the caller's poll; the response body drives it on
//! ```
//!
//! What a guest may use is bounded in one place each: memory and tables in `limiter`, CPU time in `cpu`
//! and `epoch`, turns on a shared thread in `lane`, output in `exchange`, host calls in the contract's own
//! module (`core_abi`, `p2`, ...).
//!
//! Refuses to know the gateway, instance pools, deadlines of invocations (the caller drops the future),
//! storage and routes.

mod cache;
mod cgi;
mod compile;
pub mod compile_worker;
mod component;
pub mod config;
mod core_abi;
mod cpu;
mod engine;
mod epoch;
mod exchange;
mod failure;
mod garbage;
mod guest;
mod head;
mod host;
mod lane;
mod limiter;
mod load;
mod p2;
mod p3;
mod run;
mod runtime;
mod sandbox;
pub mod sniff;
mod stdio;
mod template;

pub use config::{CompileLimits, WasmConfig, WorkerCommand};
pub use garbage::collect_garbage;
pub use runtime::WasmRuntime;
