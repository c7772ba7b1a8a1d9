//! `holm receipt`.

use api::{Margin, Price, ReceiptResponse};
use clap::Args;
use model::InvocationId;

use crate::args::NodeArgs;
use crate::console::Console;
use crate::report::EXIT_DONE;
use crate::session::Session;
use crate::text::table::fields;
use crate::text::{Style, Table, quantity};

/// Showing a receipt.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holm receipt 0192f0c1-9f3b-7cc2-8a55-3c1d1f0a9b11
  holm receipt $(curl -sI http://localhost:8080/function/hello | tr -d '\\r' |
      sed -n 's/^holm-invocation-id: //p')

The id is in the header holm-invocation-id of every answer.
Exit codes: 0 shown; 1 no such receipt; 2 no node, no token.")]
pub struct ReceiptArgs {
    /// The invocation
    #[arg(value_name = "ID")]
    pub id: InvocationId,
    /// Which node, and how the result is printed.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Shows what one invocation took and cost.
pub async fn run(
    args: &ReceiptArgs,
    session: &Session,
    console: &mut Console,
) -> Result<u8, anyhow::Error> {
    let response = session.client.receipt(args.id).await?;
    if args.node.json {
        console.json(&response)?;
    } else {
        console.result(&text(&response, console.style()))?;
    }
    Ok(EXIT_DONE)
}

fn text(response: &ReceiptResponse, style: Style) -> String {
    let receipt = &response.receipt;
    let outcome = match receipt.error {
        Some(code) => format!("status {}, {code}: {}", receipt.status, code.title()),
        None => format!("status {}", receipt.status),
    };
    let mut start = quantity::duration_ns(receipt.start_ns);
    if receipt.init_ns > 0 {
        start = format!(
            "{start}, of it init {}",
            quantity::duration_ns(receipt.init_ns)
        );
    }
    let mut log = quantity::bytes(receipt.log_bytes);
    if receipt.log_dropped_bytes > 0 {
        let dropped = quantity::bytes(receipt.log_dropped_bytes);
        log = format!("{log}, {dropped} dropped at the limit");
    }
    let (function, version) = (&receipt.function, receipt.version);
    let rows = [
        ("function", format!("{function} v{version}")),
        ("class", receipt.isolation.to_string()),
        ("accepted", quantity::moment(receipt.accepted_unix_ms)),
        ("outcome", outcome),
        ("instance", receipt.start.as_str().to_owned()),
        ("queue", quantity::duration_ns(receipt.queue_ns)),
        ("start", start),
        ("run", quantity::duration_ns(receipt.run_ns)),
        ("cpu", quantity::duration_ns(receipt.cpu_ns)),
        (
            "memory",
            format!("{} at most", quantity::bytes(receipt.memory_peak_bytes)),
        ),
        ("body in", quantity::bytes(receipt.bytes_in)),
        ("body out", quantity::bytes(receipt.bytes_out)),
        ("log", log),
        ("price", price(&response.price)),
    ];
    let head = format!("{}\n{}", style.bold(receipt.id), fields(&rows, style));
    if response.margins.is_empty() {
        return head;
    }
    format!("{head}\n{}", margins(&response.margins).render(style))
}

fn price(price: &Price) -> String {
    if price.nano == 0 && price.currency.is_empty() {
        return "none: the node has no price table".to_owned();
    }
    price.text.clone()
}

fn margins(margins: &[Margin]) -> Table {
    let mut table = Table::new(&["LIMIT", "USED", "OF", "SHARE", "LEFT"])
        .right(1)
        .right(2)
        .right(3)
        .right(4);
    for margin in margins {
        let in_unit = |value: u64| match margin.unit.as_str() {
            "bytes" => quantity::bytes(value),
            "ms" => quantity::duration_ms(value),
            unit => format!("{value} {unit}"),
        };
        table.row([
            margin.limit.clone(),
            in_unit(margin.used),
            in_unit(margin.max),
            quantity::percent(margin.used, margin.max),
            in_unit(margin.left),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_reads_like_one() {
        let response = serde_json::from_value(serde_json::json!({
            "receipt": {
                "id": "0192f0c1-9f3b-7cc2-8a55-3c1d1f0a9b11",
                "function": {"namespace": "default", "name": "hello"},
                "version": 3, "isolation": "wasm", "start": "fresh",
                "accepted_unix_ms": 1_795_449_600_000_u64, "queue_ns": 1_200, "start_ns": 12_400,
                "init_ns": 0, "run_ns": 30_000_400_000_u64, "cpu_ns": 29_800_000_000_u64,
                "memory_peak_bytes": 1_114_112, "bytes_in": 0, "bytes_out": 42, "log_bytes": 0,
                "log_dropped_bytes": 10, "status": 504, "error": "H2002", "price_nano": 1250,
            },
            "price": {"nano": 1250, "currency": "EUR", "text": "0.000001250 EUR"},
            "margins": [
                {"limit": "limits.memory", "used": 1_114_112, "max": 134_217_728,
                 "left": 133_103_616, "unit": "bytes"},
                {"limit": "limits.cpu_ms", "used": 29_800, "max": 30_000, "left": 200, "unit": "ms"},
            ],
        }))
        .expect("a receipt");
        insta::assert_snapshot!(text(&response, Style::PLAIN), @r"
        0192f0c1-9f3b-7cc2-8a55-3c1d1f0a9b11
          function  hello v3
          class     wasm
          accepted  2026-11-23T16:00:00.000Z
          outcome   status 504, H2002: The function did not finish in time
          instance  fresh
          queue     1.20 µs
          start     12.4 µs
          run       30.0 s
          cpu       29.8 s
          memory    1.1 MiB at most
          body in   0 B
          body out  42 B
          log       0 B, 10 B dropped at the limit
          price     0.000001250 EUR

        LIMIT             USED       OF   SHARE       LEFT
        limits.memory  1.1 MiB  128 MiB   0.8 %  126.9 MiB
        limits.cpu_ms   29.8 s     30 s  99.3 %     200 ms
        ");
    }
}
