//! `wasmtime serve`: the reference host of `wasi:http`. Reuse of instances is off by its own default for
//! 0.2 components, and said again here; the pooling allocator is on by default, too.

use std::process::Command;

use crate::lab::{Lab, RowError};
use crate::peers::Peer;
use crate::servers::{Launch, Server, ServerError, Stream, scratch};

const PEER: Peer = Peer {
    program: "wasmtime",
    version_argument: "--version",
    remedy: "`make bench-peers` builds it",
};

/// The allocator as it comes. Guests from Rust's standard library ask for `wasi:cli`.
pub(crate) const DEFAULT: &[&str] = &["-Scli", "-Opooling-allocator=y"];

/// What its own flags make of it: slots are reset by the page-map scan and keep their pages.
pub(crate) const TUNED: &[&str] = &[
    "-Scli",
    "-Opooling-allocator=y",
    "-Opooling-pagemap-scan=y",
    "-Opooling-memory-keep-resident=2097152",
    "-Opooling-table-keep-resident=65536",
    "-Opooling-async-stack-keep-resident=131072",
];

/// Serves `module` with `flags`.
///
/// # Errors
/// `Missing` where it is not installed, or where this kernel cannot do what a flag asks for.
pub(crate) fn serve(lab: &mut Lab, module: &[u8], flags: &[&str]) -> Result<Server, RowError> {
    let program = PEER.find(lab)?;
    let scratch = scratch()?;
    let file = scratch.path().join("module.wasm");
    std::fs::write(&file, module)
        .map_err(|error| ServerError(format!("{}: {error}", file.display())))?;
    let mut command = Command::new(program);
    command
        .args([
            "serve",
            "--addr",
            "127.0.0.1:0",
            "--max-instance-reuse-count",
            "1",
        ])
        .args(flags)
        .arg(file);
    let launch = Launch {
        name: "wasmtime serve",
        command,
        core: Some(lab.server_core),
        scratch,
        stream: Stream::Stderr,
        address: |line| {
            let address = line.strip_prefix("Serving HTTP on http://")?;
            Some((address.trim_end_matches('/').parse().ok()?, None))
        },
    };
    Ok(launch.start()?)
}
