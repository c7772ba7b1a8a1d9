//! `holm usage`.

use api::{UsageBy, UsageQuery, UsageResponse};
use clap::{Args, ValueEnum};
use model::{FunctionKey, Namespace};

use crate::args::NodeArgs;
use crate::console::Console;
use crate::report::{EXIT_DONE, UsageError};
use crate::session::Session;
use crate::text::{Table, quantity};

/// Showing usage.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holm usage
  holm usage --by function --since 24h
  holm usage --by day --since 2026-11-01 --function hello

The sums are exact: every receipt that was written counts.
Exit codes: 0 shown; 2 wrong usage, no node, no token.")]
pub struct UsageArgs {
    /// What makes a row [default: one row for everything]
    #[arg(long, value_enum)]
    pub by: Option<By>,
    /// From when: an age (24h, 7d), a day (2026-11-01, UTC) or a time (2026-11-01T12:30:00Z)
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Until when, not included
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// Only this namespace
    #[arg(long, short, value_name = "NAMESPACE")]
    pub namespace: Option<Namespace>,
    /// Only this function: NAME, or NAME.NAMESPACE
    #[arg(long, value_name = "NAME")]
    pub function: Option<FunctionKey>,
    /// Which node, and how the result is printed.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// What makes a row.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum By {
    /// A row per function
    Function,
    /// A row per UTC day
    Day,
}

impl UsageArgs {
    fn query(&self, now_unix_ms: u64) -> Result<UsageQuery, UsageError> {
        let moment = |name: &str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => quantity::parse_moment(text, now_unix_ms)
                .map(Some)
                .map_err(|why| UsageError(format!("--{name} `{text}`: {why}"))),
        };
        let in_function = self.function.as_ref().map(|key| key.namespace.clone());
        if let (Some(flag), Some(key)) = (&self.namespace, &in_function)
            && *key != Namespace::default()
            && flag != key
        {
            return Err(UsageError(format!(
                "--function names the namespace {key}, --namespace names {flag}"
            )));
        }
        Ok(UsageQuery {
            by: match self.by {
                None => UsageBy::Total,
                Some(By::Function) => UsageBy::Function,
                Some(By::Day) => UsageBy::Day,
            },
            since: moment("since", &self.since)?,
            until: moment("until", &self.until)?,
            namespace: self.namespace.clone().or(in_function),
            function: self.function.as_ref().map(|key| key.name.clone()),
        })
    }
}

/// Shows sums over receipts.
pub async fn run(
    args: &UsageArgs,
    session: &Session,
    console: &mut Console,
) -> Result<u8, anyhow::Error> {
    let query = args.query(quantity::now_unix_ms())?;
    let response = session.client.usage(&query).await?;
    if args.node.json {
        console.json(&response)?;
    } else if response.rows.is_empty() {
        console.note("nothing was used in this time");
    } else {
        console.result(&table(&response).render(console.style()))?;
    }
    Ok(EXIT_DONE)
}

fn table(response: &UsageResponse) -> Table {
    let key = match response.by {
        UsageBy::Total => "",
        UsageBy::Function => "FUNCTION",
        UsageBy::Day => "DAY",
    };
    let headings = [
        key, "CALLS", "ERRORS", "COLD", "RUN", "CPU", "IN", "OUT", "PRICE",
    ];
    let mut table = (1..headings.len()).fold(Table::new(&headings), Table::right);
    let is_free = response.currency.is_empty() && response.rows.iter().all(|r| r.price_nano == 0);
    for row in &response.rows {
        let key = if row.key.is_empty() {
            "total"
        } else {
            &row.key
        };
        table.row([
            key.to_owned(),
            row.n_invocations.to_string(),
            row.n_errors.to_string(),
            row.n_cold.to_string(),
            quantity::duration_ns(row.run_ns),
            quantity::duration_ns(row.cpu_ns),
            quantity::bytes(row.bytes_in),
            quantity::bytes(row.bytes_out),
            if is_free {
                "-".to_owned()
            } else {
                row.price.clone()
            },
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command, NodeCommand, OtherCommand};
    use crate::text::Style;

    fn query(arguments: &str) -> Result<UsageQuery, UsageError> {
        let arguments = ["holm", "usage"]
            .into_iter()
            .chain(arguments.split_whitespace());
        let cli = Cli::try_parse_from(arguments).expect("valid arguments");
        let Command::Other(OtherCommand::Node(NodeCommand::Usage(args))) = cli.command else {
            panic!("usage was typed");
        };
        args.query(1_795_449_600_000)
    }

    #[test]
    fn arguments_become_a_query() {
        let typed = query("--by day --since 24h --until 2026-11-23 --function a.team");
        let typed = typed.expect("a query");
        assert_eq!(typed.by, UsageBy::Day);
        assert_eq!(typed.since, Some(1_795_363_200_000));
        assert_eq!(typed.until, Some(1_795_392_000_000));
        assert_eq!(typed.namespace.expect("one").as_str(), "team");
        assert_eq!(typed.function.expect("one").as_str(), "a");
        assert!(query("--since soon").is_err());
        assert!(query("--function a.team -n other").is_err());
        assert_eq!(query("").expect("a query"), UsageQuery::default());
    }

    #[test]
    fn sums_are_listed() {
        let response = serde_json::from_value(serde_json::json!({
            "by": "function", "currency": "EUR",
            "rows": [
                {"key": "hello", "n_invocations": 1200, "n_errors": 3, "n_cold": 1,
                 "run_ns": 5_000_000_000_u64, "cpu_ns": 1_234_000_000, "bytes_in": 0,
                 "bytes_out": 2_097_152, "price_nano": 1250, "price": "0.000001250 EUR"},
            ],
        }))
        .expect("usage");
        insta::assert_snapshot!(table(&response).render(Style::PLAIN), @r"
        FUNCTION  CALLS  ERRORS  COLD  RUN     CPU   IN    OUT            PRICE
        hello      1200       3     1  5 s  1.23 s  0 B  2 MiB  0.000001250 EUR
        ");
    }
}
