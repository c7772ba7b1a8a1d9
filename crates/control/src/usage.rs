//! Receipts with their margins, and usage.

use std::sync::Arc;

use api::{Margin, Price, ReceiptResponse, UsageBy, UsageQuery, UsageResponse, UsageRow};
use axum::Json;
use axum::extract::State;
use model::limits::Limit;
use model::{Code, Failure, FunctionKey, Limits, Receipt};
use store::UsageGroup;

use crate::extract::{InvocationPath, QueryOf};
use crate::functions::blocking;
use crate::refusal::Refusal;
use crate::state::App;

const NS_PER_MS: u64 = 1_000_000;

/// The last moment that every store can name.
const TIME_MAX: u64 = i64::MAX.unsigned_abs();

pub(crate) async fn receipt(
    State(app): State<Arc<App>>,
    InvocationPath(id): InvocationPath,
) -> Result<Json<ReceiptResponse>, Refusal> {
    let found = match app.deps.meter.find_unwritten(id) {
        Some(receipt) => Some(receipt),
        None => {
            let find = move |app: &App| Ok(app.deps.meter.find(id)?);
            blocking(Arc::clone(&app), "looking up the receipt", find).await?
        }
    };
    let receipt = found.ok_or_else(|| {
        let detail = format!("there is no receipt {id}; an invocation has one when it has ended");
        Failure::new(Code::ReceiptNotFound, detail)
    })?;
    let margins = app
        .entry(&receipt.function)
        .ok()
        .and_then(|entry| entry.version(receipt.version).cloned())
        .map(|live| margins(&receipt, &live.version.config.limits))
        .unwrap_or_default();
    let currency = &app.deps.meter.prices().currency;
    let price = Price {
        nano: receipt.price_nano,
        currency: currency.clone(),
        text: price_text(receipt.price_nano.into(), currency),
    };
    Ok(Json(ReceiptResponse {
        receipt,
        price,
        margins,
    }))
}

/// How near an invocation came to its limits.
fn margins(receipt: &Receipt, limits: &Limits) -> Vec<Margin> {
    let used = [
        (Limit::Timeout, receipt.run_ns.div_ceil(NS_PER_MS), "ms"),
        (Limit::CpuMs, receipt.cpu_ns.div_ceil(NS_PER_MS), "ms"),
        (Limit::Memory, receipt.memory_peak_bytes, "bytes"),
        (
            Limit::Body,
            receipt.bytes_in.max(receipt.bytes_out),
            "bytes",
        ),
        (Limit::Log, receipt.log_bytes, "bytes"),
    ];
    used.into_iter()
        .map(|(limit, used, unit)| {
            let max = limits.get(limit);
            Margin {
                limit: format!("limits.{}", limit.key()),
                used,
                max,
                left: max.saturating_sub(used),
                unit: unit.to_owned(),
            }
        })
        .collect()
}

pub(crate) async fn usage(
    State(app): State<Arc<App>>,
    QueryOf(query): QueryOf<UsageQuery>,
) -> Result<Json<UsageResponse>, Refusal> {
    let by = query.by;
    let function = query.function.map(|name| FunctionKey {
        namespace: query.namespace.clone().unwrap_or_default(),
        name,
    });
    let query = store::UsageQuery {
        namespace: query.namespace,
        function,
        since_unix_ms: query.since.unwrap_or(0).min(TIME_MAX),
        until_unix_ms: query.until.unwrap_or(TIME_MAX).min(TIME_MAX),
        group: match by {
            UsageBy::Total => UsageGroup::Total,
            UsageBy::Function => UsageGroup::Function,
            UsageBy::Day => UsageGroup::Day,
        },
    };
    let sum = move |app: &App| Ok(app.deps.meter.usage(&query)?);
    let rows = blocking(Arc::clone(&app), "summing usage", sum).await?;
    let currency = app.deps.meter.prices().currency.clone();
    let rows = rows.into_iter().map(|row| row_of(row, &currency)).collect();
    Ok(Json(UsageResponse { by, currency, rows }))
}

fn row_of(row: store::UsageRow, currency: &str) -> UsageRow {
    let fit = |sum: u128| u64::try_from(sum).unwrap_or(u64::MAX);
    UsageRow {
        price: price_text(row.price_nano, currency),
        key: row.key,
        n_invocations: row.n_invocations,
        n_errors: row.n_errors,
        n_cold: row.n_cold,
        run_ns: fit(row.run_ns),
        cpu_ns: fit(row.cpu_ns),
        bytes_in: fit(row.bytes_in),
        bytes_out: fit(row.bytes_out),
        price_nano: fit(row.price_nano),
    }
}

/// `0.000001250 EUR`: nine decimals, so that nothing is rounded.
fn price_text(nano: u128, currency: &str) -> String {
    const NANO: u128 = 1_000_000_000;
    let text = format!("{}.{:09} {currency}", nano / NANO, nano % NANO);
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use model::{InvocationId, Isolation, StartKind};

    use super::*;

    #[test]
    fn prices_are_exact() {
        assert_eq!(price_text(1_250, "EUR"), "0.000001250 EUR");
        assert_eq!(price_text(12_000_000_000, ""), "12.000000000");
        assert_eq!(
            price_text(u128::from(u64::MAX), "X"),
            "18446744073.709551615 X"
        );
    }

    #[test]
    fn margins_say_what_is_left_and_never_less_than_nothing() {
        let receipt = Receipt {
            id: InvocationId::new(0, [0; 10]),
            function: "f".parse().expect("a key"),
            version: 1,
            isolation: Isolation::Wasm,
            start: StartKind::Fresh,
            accepted_unix_ms: 0,
            queue_ns: 0,
            start_ns: 0,
            init_ns: 0,
            run_ns: 1,
            cpu_ns: 40_000_000_000,
            memory_peak_bytes: 1024,
            bytes_in: 5,
            bytes_out: 7,
            log_bytes: 0,
            log_dropped_bytes: 0,
            status: 200,
            error: None,
            price_nano: 0,
        };
        let margins = margins(&receipt, &Limits::defaults(Isolation::Wasm));
        let text: Vec<String> = margins
            .iter()
            .map(|margin| {
                format!(
                    "{} {} {} {}",
                    margin.limit, margin.used, margin.left, margin.unit
                )
            })
            .collect();
        assert_eq!(
            text,
            [
                "limits.timeout 1 29999 ms",
                "limits.cpu_ms 40000 0 ms",
                "limits.memory 1024 134216704 bytes",
                "limits.body 7 104857593 bytes",
                "limits.log 0 1048576 bytes",
            ]
        );
    }
}
