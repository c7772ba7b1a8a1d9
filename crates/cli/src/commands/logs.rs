//! `holm logs`.

use api::{LOG_TAIL_MAX, LogRecord, LogSource, LogsQuery};
use clap::Args;
use model::InvocationId;

use crate::args::{FunctionArgs, NodeArgs};
use crate::console::Console;
use crate::report::EXIT_DONE;
use crate::session::Session;
use crate::text::{Escaped, Style, quantity};

/// Showing a function's log.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holm logs hello
  holm logs hello -f
  holm logs hello --invocation 0192f0c1-9f3b-7cc2-8a55-3c1d1f0a9b11
  holm logs hello --tail 1000 --json | jq -r .text

Control characters and escape sequences of functions are shown escaped; --json has the text as the
function wrote it, one JSON value per line.
Exit codes: 0 shown; 1 no such function; 2 no node, no token.")]
pub struct LogsArgs {
    /// Which function.
    #[command(flatten)]
    pub function: FunctionArgs,
    /// Go on with new lines until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
    /// Only what this invocation wrote
    #[arg(long, value_name = "ID")]
    pub invocation: Option<InvocationId>,
    /// How many of the kept lines to start with [default: 100; all of --invocation]
    #[arg(long, value_name = "N", value_parser = parse_tail)]
    pub tail: Option<usize>,
    /// Which node, and how the result is printed.
    #[command(flatten)]
    pub node: NodeArgs,
}

fn parse_tail(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n <= LOG_TAIL_MAX => Ok(n),
        _ => Err(format!("a number from 0 to {LOG_TAIL_MAX} is needed")),
    }
}

/// Prints the log as it comes.
pub async fn run(
    args: &LogsArgs,
    session: &Session,
    console: &mut Console,
) -> Result<u8, anyhow::Error> {
    let query = LogsQuery {
        follow: args.follow,
        invocation: args.invocation,
        tail: args.tail,
    };
    let mut stream = session.client.logs(&args.function.key()?, &query).await?;
    let mut is_empty = true;
    while let Some(record) = stream.next().await? {
        is_empty = false;
        if args.node.json {
            console.result_line(serde_json::to_string(&record)?)?;
            continue;
        }
        if record.n_missed > 0 {
            let n_missed = record.n_missed;
            console.warn(format_args!(
                "{n_missed} lines were missed here: they came faster than they could be shown"
            ));
        }
        let line = line(&record, console.style());
        console.result_line(line)?;
    }
    if is_empty && !args.node.json {
        console.note("nothing was written, or nothing of it is kept any more");
    }
    Ok(EXIT_DONE)
}

fn line(record: &LogRecord, style: Style) -> String {
    let time = quantity::moment(record.time_unix_ms);
    let invocation = record
        .invocation
        .map_or_else(|| "-".to_owned(), |id| id.to_string());
    let text = Escaped(&record.text);
    let time = style.dim(time);
    let invocation = style.dim(invocation);
    match record.stream {
        LogSource::Stdout => format!("{time} {invocation} out {text}"),
        LogSource::Stderr => format!("{time} {invocation} {} {text}", style.yellow("err")),
        LogSource::Platform => format!("{time} {invocation} {} {text}", style.red("sys")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cannot_act_on_the_terminal() {
        let record = LogRecord {
            time_unix_ms: 1_795_449_600_000,
            invocation: Some(InvocationId::from_bytes([7; 16])),
            version: Some(1),
            stream: LogSource::Stderr,
            text: "\u{1b}[2Jgone\r\u{9b}H\tend".to_owned(),
            n_missed: 0,
        };
        assert_eq!(
            line(&record, Style::PLAIN),
            "2026-11-23T16:00:00.000Z 07070707-0707-0707-0707-070707070707 err \
             \\x1b[2Jgone\\r\\x9bH\tend"
        );
    }

    #[test]
    fn a_tail_has_a_limit() {
        assert_eq!(parse_tail("0"), Ok(0));
        assert_eq!(parse_tail("10000"), Ok(LOG_TAIL_MAX));
        assert!(parse_tail("10001").is_err());
        assert!(parse_tail("x").is_err());
    }
}
