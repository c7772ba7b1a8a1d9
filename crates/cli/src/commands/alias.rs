//! `holm promote` and `holm rollback`: where `live` points.

use api::{AliasResponse, VersionRef};
use clap::Args;
use model::FunctionKey;

use crate::args::{FunctionArgs, NodeArgs};
use crate::console::Console;
use crate::report::{EXIT_DONE, UsageError};
use crate::session::Session;

/// Pointing `live` at a version.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holm promote hello          the newest version
  holm promote hello 3
  holm promote hello 4f9c21   by the beginning of its digest

Exit codes: 0 moved, or it was there already; 1 no such function or version; 2 no node, no token.")]
pub struct PromoteArgs {
    /// Which function.
    #[command(flatten)]
    pub function: FunctionArgs,
    /// The version: its number or the beginning of its digest [default: the newest]
    #[arg(value_name = "VERSION")]
    pub version: Option<VersionRef>,
    /// Which node, and how the result is printed.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Pointing `live` back.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holm rollback hello         what `live` pointed to before
  holm rollback hello 2

Exit codes: 0 moved; 1 no such function or version, or nothing to go back to; 2 no node, no token.")]
pub struct RollbackArgs {
    /// Which function.
    #[command(flatten)]
    pub function: FunctionArgs,
    /// The version: its number or the beginning of its digest [default: what was live before]
    #[arg(value_name = "VERSION")]
    pub version: Option<VersionRef>,
    /// Which node, and how the result is printed.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Points `live` at a version.
pub async fn promote(
    args: &PromoteArgs,
    session: &Session,
    console: &mut Console,
) -> Result<u8, anyhow::Error> {
    let function = args.function.key()?;
    let version = match &args.version {
        Some(version) => version.clone(),
        None => {
            let list = session.client.versions(&function).await?;
            let newest = list.versions.iter().map(|version| version.number).max();
            let none = || UsageError(format!("{function} has no version"));
            newest.ok_or_else(none)?.into()
        }
    };
    let moved = session.client.set_live(&function, version).await?;
    tell(moved, args.node.json, console)
}

/// Points `live` at what it pointed to before, or at a version.
pub async fn rollback(
    args: &RollbackArgs,
    session: &Session,
    console: &mut Console,
) -> Result<u8, anyhow::Error> {
    let function = args.function.key()?;
    let moved = session
        .client
        .rollback(&function, args.version.clone())
        .await?;
    tell(moved, args.node.json, console)
}

fn tell(moved: AliasResponse, as_json: bool, console: &mut Console) -> Result<u8, anyhow::Error> {
    if as_json {
        console.json(&moved)?;
    } else {
        console.result_line(sentence(moved))?;
    }
    Ok(EXIT_DONE)
}

fn sentence(moved: AliasResponse) -> String {
    let key = FunctionKey {
        namespace: moved.namespace,
        name: moved.name,
    };
    let (to, digest) = (moved.to, moved.digest.short());
    match moved.from {
        Some(from) if from == to => format!("{key} v{to} was live already ({digest})"),
        Some(from) => format!("{key} v{to} is live, before it v{from} ({digest})"),
        None => format!("{key} v{to} is live ({digest})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_says_from_where_to_where() {
        let moved = |from| AliasResponse {
            namespace: "team".parse().expect("a namespace"),
            name: "hello".parse().expect("a name"),
            from,
            to: 2,
            digest: model::Digest::of(b"x"),
            urls: Vec::new(),
        };
        assert_eq!(
            sentence(moved(Some(3))),
            "hello.team v2 is live, before it v3 (2d711642b726)"
        );
        assert_eq!(
            sentence(moved(Some(2))),
            "hello.team v2 was live already (2d711642b726)"
        );
        assert_eq!(
            sentence(moved(None)),
            "hello.team v2 is live (2d711642b726)"
        );
    }
}
