//! The commands, one file each: arguments on top, what is done, how it is printed.

pub mod alias;
pub mod bench;
pub mod completions;
pub mod deploy;
pub mod describe;
pub mod doctor;
pub mod explain;
pub mod invoke;
pub mod list;
pub mod logs;
pub mod receipt;
pub mod remove;
pub mod setup;
pub mod usage;
pub mod versions;

use crate::console::Console;
use crate::environment::Environment;
use crate::session::Session;
use crate::{Host, NodeCommand};

/// Runs one command; its exit code where it did what it should.
pub(crate) async fn run(
    command: NodeCommand,
    session: &Session,
    host: Host,
    environment: &Environment,
    console: &mut Console,
) -> Result<u8, anyhow::Error> {
    match command {
        NodeCommand::Deploy(args) => deploy::run(&args, session, environment, console).await,
        NodeCommand::Invoke(args) => invoke::run(&args, session, console).await,
        NodeCommand::Ls(args) => list::run(&args, session, console).await,
        NodeCommand::Describe(args) => describe::run(&args, session, console).await,
        NodeCommand::Versions(args) => versions::run(&args, session, console).await,
        NodeCommand::Promote(args) => alias::promote(&args, session, console).await,
        NodeCommand::Rollback(args) => alias::rollback(&args, session, console).await,
        NodeCommand::Rm(args) => remove::run(&args, session, console).await,
        NodeCommand::Logs(args) => logs::run(&args, session, console).await,
        NodeCommand::Receipt(args) => receipt::run(&args, session, console).await,
        NodeCommand::Usage(args) => usage::run(&args, session, console).await,
        NodeCommand::Doctor(args) => doctor::run(&args, session, host, environment, console).await,
    }
}
