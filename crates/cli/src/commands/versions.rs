//! `holm versions`.

use api::VersionDetail;
use clap::Args;

use crate::args::{FunctionArgs, NodeArgs};
use crate::console::Console;
use crate::report::EXIT_DONE;
use crate::session::Session;
use crate::text::{Table, quantity};

/// Listing a function's versions.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holm versions hello
  holm versions hello --json | jq '.versions[0].digest'

Exit codes: 0 listed; 1 no such function; 2 no node, no token.")]
pub struct VersionsArgs {
    /// Which function.
    #[command(flatten)]
    pub function: FunctionArgs,
    /// Which node, and how the result is printed.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Lists a function's versions, the newest first.
pub async fn run(
    args: &VersionsArgs,
    session: &Session,
    console: &mut Console,
) -> Result<u8, anyhow::Error> {
    let list = session.client.versions(&args.function.key()?).await?;
    if args.node.json {
        console.json(&list)?;
    } else {
        let table = table(&list.versions, quantity::now_unix_ms());
        console.result(&table.render(console.style()))?;
    }
    Ok(EXIT_DONE)
}

fn table(versions: &[VersionDetail], now_unix_ms: u64) -> Table {
    let mut table = Table::new(&[
        "VERSION",
        "LIVE",
        "DIGEST",
        "CLASS",
        "CONTRACT",
        "SIZE",
        "PUBLISHED",
    ])
    .right(0)
    .right(5);
    for version in versions {
        table.row([
            version.number.to_string(),
            if version.is_live { "live" } else { "" }.to_owned(),
            version.digest.short(),
            version.isolation.to_string(),
            version.contract.as_str().to_owned(),
            quantity::bytes(version.artifact.size_bytes),
            quantity::ago(version.created_unix_ms, now_unix_ms),
        ]);
    }
    table
}
