//! From what wasmtime reports to the stable codes. The only place that looks into its errors.

use model::{Code, Failure};
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::host::HostState;

/// The longest backtrace that goes to the function's log, in bytes.
const BACKTRACE_BYTES_MAX: usize = 8 << 10;

/// What ended a running guest.
pub(crate) fn of_run(error: &wasmtime::Error, host: &HostState) -> Failure {
    let failure = classify(error, host);
    match error.downcast_ref::<WasmBacktrace>() {
        Some(backtrace) if failure.log_detail().is_none() => {
            let mut text = format!("{}\n{backtrace}", failure.detail());
            if text.len() > BACKTRACE_BYTES_MAX {
                text.truncate(text.floor_char_boundary(BACKTRACE_BYTES_MAX));
            }
            failure.with_log_detail(text.trim_end())
        }
        _ => failure,
    }
}

/// What kept an instance from starting.
pub(crate) fn of_start(error: &wasmtime::Error, host: &HostState) -> Failure {
    let is_full = error.is::<PoolConcurrencyLimitError>();
    if host.limiter.was_denied() && !is_full && !error.is::<Trap>() {
        return memory_exhausted(host);
    }
    let failure = of_run(error, host);
    match failure.code() {
        Code::Trap | Code::Exited => {
            let log_detail = failure.log_detail().map(str::to_owned);
            let failed = Failure::new(
                Code::InitFailed,
                format!("the function failed while starting: {}", failure.detail()),
            );
            match log_detail {
                Some(text) => failed.with_log_detail(text),
                None => failed,
            }
        }
        _ => failure,
    }
}

/// Whether the guest ended itself, and well.
pub(crate) fn is_clean_exit(error: &wasmtime::Error) -> bool {
    error
        .downcast_ref::<I32Exit>()
        .is_some_and(|exit| exit.0 == 0)
}

fn classify(error: &wasmtime::Error, host: &HostState) -> Failure {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.clone();
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Failure::new(Code::NodeAtCapacity, "all WebAssembly slots are in use")
            .with_retry_after_s(1);
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        let is_stack = matches!(trap, Trap::StackOverflow);
        if host.limiter.was_denied() && !is_stack {
            return memory_exhausted(host);
        }
        return Failure::new(Code::Trap, trap.to_string());
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        if host.limiter.was_denied() {
            return memory_exhausted(host);
        }
        return Failure::new(
            Code::Exited,
            format!("the function exited with code {}", exit.0),
        );
    }
    if matches!(
        error.downcast_ref::<ResourceTableError>(),
        Some(ResourceTableError::Full)
    ) {
        return hostcall_limit("too many open resources");
    }
    let text = one_line(error);
    if text.contains("fuel allocated for hostcalls") {
        return hostcall_limit("too many bytes in one host call");
    }
    if text.starts_with("requested len") {
        return hostcall_limit("too many random bytes in one call");
    }
    // What is left are errors that host functions return for misuse: the guest's doing, and a trap.
    Failure::new(Code::Trap, format!("host call failed: {text}"))
}

/// The function ran out of memory.
pub(crate) fn memory_exhausted(host: &HostState) -> Failure {
    let bytes = host.function().config.limits.memory_bytes_max;
    let mib = bytes / model::limits::MIB;
    Failure::new(
        Code::MemoryExhausted,
        format!("the function asked for more than {mib} MiB of memory"),
    )
    .with_limit(
        "limits.memory",
        format_args!("{mib} MiB"),
        "memory under [limits] in holm.toml",
    )
}

fn hostcall_limit(what: &str) -> Failure {
    Failure::new(
        Code::HostcallLimit,
        format!("the function exceeded a limit on host calls: {what}"),
    )
}

/// The error and its causes without the backtrace, on one line.
pub(crate) fn one_line(error: &wasmtime::Error) -> String {
    let root = error.root_cause().to_string();
    let mut line = root.lines().next().unwrap_or_default().to_owned();
    line.truncate(line.floor_char_boundary(400));
    line
}
