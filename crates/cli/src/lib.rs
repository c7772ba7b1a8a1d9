//! The command line: what can be typed, and every command but running a node.
//!
//! Owns arguments, output, exit codes and the building of functions on the user's machine. Talks to a
//! node over its admin API only, through `client`; refuses to know how a node is made: the binary gives
//! it what it needs to look at this host without one.

pub mod args;
pub mod commands;
pub mod console;
pub mod environment;
pub mod progress;
pub mod project;
pub mod report;
pub mod session;
pub mod settings;
pub mod text;

use api::ClassInfo;

pub use args::{Cli, Command, NodeCommand, OtherCommand, UpArgs};
pub use commands::bench::BenchArgs;

use console::Console;
use environment::Environment;
use report::ExitRule;
use session::Session;

/// What the binary lends to commands that look at this host without a node.
#[derive(Clone, Copy)]
pub struct Host {
    /// Tries which isolation classes this host can run.
    pub probe: fn() -> Vec<ClassInfo>,
}

/// Runs a command to its end and returns the exit code.
pub fn run(command: OtherCommand, host: Host, environment: &Environment) -> u8 {
    let mut console = Console::of_process(environment);
    run_on(command, host, environment, &mut console)
}

/// As [`run`], on other streams.
pub fn run_on(
    command: OtherCommand,
    host: Host,
    environment: &Environment,
    console: &mut Console,
) -> u8 {
    let (as_json, rule) = match &command {
        OtherCommand::Node(node) => (node.node_args().json, exit_rule(node)),
        _ => (false, ExitRule::Usual),
    };
    let outcome = match command {
        OtherCommand::Setup(args) => commands::setup::run(&args, environment, console),
        OtherCommand::Explain(args) => commands::explain::run(&args, console),
        OtherCommand::Completions(args) => commands::completions::run(&args, console),
        OtherCommand::Node(command) => run_with_node(command, host, environment, console),
    };
    outcome.unwrap_or_else(|error| report::tell(&error, console, as_json, rule))
}

fn exit_rule(command: &NodeCommand) -> ExitRule {
    match command {
        NodeCommand::Invoke(_) => ExitRule::Invoke,
        _ => ExitRule::Usual,
    }
}

fn run_with_node(
    command: NodeCommand,
    host: Host,
    environment: &Environment,
    console: &mut Console,
) -> Result<u8, anyhow::Error> {
    let session = Session::open(command.node_args().admin.as_deref(), environment)?;
    // One thread: a command makes one call after another.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(commands::run(command, &session, host, environment, console));
    // A read of stdin that nobody waits for any more must not hold up the end.
    runtime.shutdown_background();
    outcome.map_err(|error| session.explain(error))
}
