//! `holm rm`.

use clap::Args;
use model::FunctionKey;

use crate::args::{FunctionArgs, NodeArgs};
use crate::console::Console;
use crate::report::EXIT_DONE;
use crate::session::Session;

/// Removing a function.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holm rm hello
  holm rm hello.team

All versions go; running invocations finish; receipts and usage stay.
Exit codes: 0 removed; 1 no such function; 2 no node, no token.")]
pub struct RemoveArgs {
    /// Which function.
    #[command(flatten)]
    pub function: FunctionArgs,
    /// Which node, and how the result is printed.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Removes a function with all its versions.
pub async fn run(
    args: &RemoveArgs,
    session: &Session,
    console: &mut Console,
) -> Result<u8, anyhow::Error> {
    let removed = session.client.remove(&args.function.key()?).await?;
    if args.node.json {
        console.json(&removed)?;
    } else {
        let n_versions = removed.n_versions;
        let key = FunctionKey {
            namespace: removed.namespace,
            name: removed.name,
        };
        let plural = if n_versions == 1 { "" } else { "s" };
        console.result_line(format_args!("removed {key} ({n_versions} version{plural})"))?;
    }
    Ok(EXIT_DONE)
}
