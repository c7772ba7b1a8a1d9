//! The limits of one function: what may be set, and what holds when nothing is set.

use serde::{Deserialize, Serialize};

use crate::Isolation;

/// One mebibyte in bytes.
pub const MIB: u64 = 1024 * 1024;

/// The limits under which every invocation of a function runs. All of them are visible in
/// `holm describe`, and the error that a limit causes names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory of one instance, in bytes.
    pub memory_bytes_max: u64,
    /// CPU time of one invocation in milliseconds, apart from the wall clock.
    pub cpu_ms_max: u64,
    /// Wall-clock time from the start of the run to the end of the answer, in milliseconds.
    pub timeout_ms: u64,
    /// Time a request may wait for an instance and its init, in milliseconds; not part of `timeout_ms`.
    pub start_timeout_ms: u64,
    /// Invocations of the function that run at the same time on one node.
    pub concurrency_max: u32,
    /// Bytes of a request body, and of a response body.
    pub body_bytes_max: u64,
    /// Bytes of log that one invocation may write; what exceeds it is dropped and counted.
    pub log_bytes_max: u64,
}

impl Limits {
    /// The defaults of `isolation`: see `docs/guide/limits.md`.
    pub fn defaults(isolation: Isolation) -> Self {
        let (memory_mib, start_timeout_s) = match isolation {
            Isolation::Wasm | Isolation::V8 => (128, 10),
            Isolation::Container | Isolation::Gvisor => (256, 60),
            Isolation::Microvm => (256, 120),
        };
        Self {
            memory_bytes_max: memory_mib * MIB,
            cpu_ms_max: 30_000,
            timeout_ms: 30_000,
            start_timeout_ms: start_timeout_s * 1_000,
            concurrency_max: 250,
            body_bytes_max: 100 * MIB,
            log_bytes_max: MIB,
        }
    }
}
