//! `holm explain`.

use clap::Args;
use model::{Code, Side};
use serde::Serialize;

use crate::console::Console;
use crate::report::EXIT_DONE;
use crate::text::Table;

/// Explaining an error code.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holm explain H2003
  holm explain --list

Exit codes: 0 explained; 2 no such code.")]
pub struct ExplainArgs {
    /// The code, as errors show it
    #[arg(value_name = "CODE", required_unless_present = "list")]
    pub code: Option<Code>,
    /// List all codes
    #[arg(long, conflicts_with = "code")]
    pub list: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Prints what a code means, or all codes.
pub fn run(args: &ExplainArgs, console: &mut Console) -> Result<u8, anyhow::Error> {
    let codes = args.code.as_slice();
    let codes = if args.list { Code::ALL } else { codes };
    if args.json {
        let values: Vec<Explanation> = codes.iter().map(|code| explanation(*code)).collect();
        if args.list {
            console.json(&values)?;
        } else {
            console.json(&values.first())?;
        }
    } else if args.list {
        let mut table = Table::new(&["CODE", "SIDE", "STATUS", "RETRY", "TITLE"]);
        for code in codes {
            let retry = if code.retryable() { "yes" } else { "" };
            table.row([
                code.to_string(),
                side(*code).to_owned(),
                code.status().to_string(),
                retry.to_owned(),
                code.title().to_owned(),
            ]);
        }
        console.result(&table.render(console.style()))?;
    } else {
        for code in codes {
            console.result(&page(*code))?;
        }
    }
    Ok(EXIT_DONE)
}

/// A code for programs.
#[derive(Debug, Serialize)]
struct Explanation {
    code: Code,
    title: &'static str,
    side: Side,
    status: u16,
    retryable: bool,
    page: String,
}

fn explanation(code: Code) -> Explanation {
    Explanation {
        code,
        title: code.title(),
        side: code.side(),
        status: code.status(),
        retryable: code.retryable(),
        page: page(code),
    }
}

fn side(code: Code) -> &'static str {
    match code.side() {
        Side::Caller => "caller",
        Side::Function => "function",
        Side::Platform => "platform",
    }
}

/// The page of `docs/errors`, its line end included.
fn page(code: Code) -> String {
    format!("{}\n", model::explain(code).trim_end())
}
