//! `holm ls`.

use api::FunctionSummary;
use clap::Args;
use model::{FunctionKey, Namespace};
use serde::Serialize;

use crate::args::NodeArgs;
use crate::console::Console;
use crate::report::EXIT_DONE;
use crate::session::Session;
use crate::text::{Table, quantity};

/// Listing functions.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holm ls
  holm ls --namespace team
  holm ls --json | jq -r '.functions[].name'

Exit codes: 0 listed; 2 no node, no token.")]
pub struct ListArgs {
    /// Only this namespace [default: all]
    #[arg(long, short, value_name = "NAMESPACE")]
    pub namespace: Option<Namespace>,
    /// Which node, and how the result is printed.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// The answer for programs: as the API's page, without a next one.
#[derive(Serialize)]
struct Listed {
    functions: Vec<FunctionSummary>,
}

/// Lists all functions, or those of a namespace.
pub async fn run(
    args: &ListArgs,
    session: &Session,
    console: &mut Console,
) -> Result<u8, anyhow::Error> {
    let functions = session.client.list_all(args.namespace.as_ref()).await?;
    if args.node.json {
        console.json(&Listed { functions })?;
    } else if functions.is_empty() {
        match &args.namespace {
            Some(namespace) => console.note(format_args!("no functions in namespace {namespace}")),
            None => console.note("no functions yet; publish one with: holm deploy PATH"),
        }
    } else {
        let table = table(&functions, quantity::now_unix_ms());
        console.result(&table.render(console.style()))?;
    }
    Ok(EXIT_DONE)
}

fn table(functions: &[FunctionSummary], now_unix_ms: u64) -> Table {
    let mut table = Table::new(&[
        "NAME",
        "CLASS",
        "CONTRACT",
        "LIVE",
        "VERSIONS",
        "PUBLISHED",
        "URL",
    ])
    .right(3)
    .right(4);
    for function in functions {
        let key = FunctionKey {
            namespace: function.namespace.clone(),
            name: function.name.clone(),
        };
        table.row([
            key.to_string(),
            function.isolation.to_string(),
            function.contract.as_str().to_owned(),
            function.live.map_or("-".to_owned(), |n| n.to_string()),
            function.n_versions.to_string(),
            quantity::ago(function.updated_unix_ms, now_unix_ms),
            function.urls.first().cloned().unwrap_or_default(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Style;

    #[test]
    fn functions_are_listed_with_their_address() {
        let function = serde_json::from_value(serde_json::json!({
            "namespace": "team", "name": "hello", "live": 3, "digest": null, "isolation": "wasm",
            "contract": "wasi:http/0.2", "n_versions": 12, "updated_unix_ms": 1000,
            "urls": ["http://127.0.0.1:8080/function/hello.team/"],
        }))
        .expect("a summary");
        insta::assert_snapshot!(table(&[function], 61_000).render(Style::PLAIN), @r"
        NAME        CLASS  CONTRACT       LIVE  VERSIONS  PUBLISHED  URL
        hello.team  wasm   wasi:http/0.2     3        12  60 s ago   http://127.0.0.1:8080/function/hello.team/
        ");
    }
}
