//! The binary: parse, dispatch. Everything that a command does is in `cli`, everything that a node does
//! in `node`; `up` here ties the two together, as `bench_command` does with `bench`.

mod bench_command;
mod up;

use std::process::ExitCode;

use api::{ClassInfo, ClassState};
use clap::Parser as _;
use cli::environment::Environment;
use cli::{Cli, Command, Host};
use node::NodeConfig;
use runtime::Availability;

/// Every request allocates some thirty small blocks and frees them on the same thread: what this allocator is
/// best at (docs/decisions/0006-the-request-path.md has the figures).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let environment = Environment::of_process();
    match cli.command {
        Command::Up(args) => up::run(&args, &environment).into(),
        Command::InternalCompileWasm => runtime_wasm::compile_worker::main(),
        Command::Bench(args) => bench_command::run(&args, &environment).into(),
        Command::InternalBenchServer { spec } => bench_command::serve(&spec, &environment).into(),
        Command::InternalBenchInstructions { recorded, record } => {
            let options = bench::instructions::Options { recorded, record };
            bench_command::count(&options, &environment).into()
        }
        Command::Other(command) => cli::run(command, Host { probe }, &environment).into(),
    }
}

/// Tries which classes this host can run, with the configuration that a node has by default. Engines
/// may write into their data directory, so they get one that goes away.
fn probe() -> Vec<ClassInfo> {
    let scratch = tempfile::tempdir();
    let mut config = NodeConfig::default();
    if let Ok(scratch) = &scratch {
        config.data_dir = scratch.path().to_owned();
    }
    node::probe(&config)
        .into_iter()
        .map(|(isolation, availability)| {
            let (state, detail) = match availability {
                Availability::Available(detail) => (ClassState::Available, detail),
                Availability::Weak(detail) => (ClassState::Weak, detail),
                Availability::Unavailable(detail) => (ClassState::Unavailable, detail),
            };
            ClassInfo {
                isolation,
                state,
                detail,
            }
        })
        .collect()
}
