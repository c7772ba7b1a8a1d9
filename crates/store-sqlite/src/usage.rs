//! Sums over receipts. They are made here and not in SQL, whose integers end at 63 bits, and whose
//! grouping would sort all rows first.

use std::collections::{BTreeMap, HashMap};

use model::FunctionKey;
use rusqlite::Connection;
use store::receipts::{DAY_MS, UsageGroup, UsageQuery, UsageRow, utc_day};

use crate::receipts::to_time;

pub(crate) const SUM: &str = "SELECT function, accepted_unix_ms, error IS NOT NULL, start = 'cold',
        run_ns, cpu_ns, bytes_in, bytes_out, price_nano
    FROM receipts WHERE accepted_unix_ms >= ?1 AND accepted_unix_ms < ?2";

/// Adds up the receipts that match. Reads those of the query's time once, keeps sums only.
pub(crate) fn sum(connection: &Connection, query: &UsageQuery) -> rusqlite::Result<Vec<UsageRow>> {
    let functions = functions_of(connection, query)?;
    let mut statement = connection.prepare_cached(SUM)?;
    let mut rows = statement.query([to_time(query.since_unix_ms), to_time(query.until_unix_ms)])?;
    // By function's row number or by day; the keys' texts come at the end.
    let mut sums = BTreeMap::<i64, UsageRow>::new();
    while let Some(row) = rows.next()? {
        let function: i64 = row.get(0)?;
        if !functions.contains_key(&function) {
            continue;
        }
        let group = match query.group {
            UsageGroup::Total => 0,
            UsageGroup::Function => function,
            UsageGroup::Day => row.get::<_, i64>(1)? / DAY_MS.cast_signed(),
        };
        let number = |index: usize| {
            row.get::<_, i64>(index)
                .map(|n| u128::from(n.cast_unsigned()))
        };
        let sum = sums.entry(group).or_default();
        sum.n_invocations += 1;
        sum.n_errors += u64::from(row.get::<_, bool>(2)?);
        sum.n_cold += u64::from(row.get::<_, bool>(3)?);
        sum.run_ns += number(4)?;
        sum.cpu_ns += number(5)?;
        sum.bytes_in += number(6)?;
        sum.bytes_out += number(7)?;
        sum.price_nano += number(8)?;
    }
    if query.group == UsageGroup::Total {
        sums.entry(0).or_default();
    }
    let mut rows: Vec<UsageRow> = sums
        .into_iter()
        .map(|(group, sum)| UsageRow {
            key: key_of(query.group, group, &functions),
            ..sum
        })
        .collect();
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(rows)
}

/// The functions that the query asks for, with the text of their rows.
fn functions_of(
    connection: &Connection,
    query: &UsageQuery,
) -> rusqlite::Result<HashMap<i64, String>> {
    let mut statement = connection.prepare_cached("SELECT id, namespace, name FROM functions")?;
    let mut rows = statement.query([])?;
    let mut functions = HashMap::new();
    while let Some(row) = rows.next()? {
        let (namespace, name) = (row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?);
        let of_namespace = query
            .namespace
            .as_ref()
            .is_none_or(|wanted| wanted.as_str() == namespace);
        let of_function = query.function.as_ref().is_none_or(|wanted| {
            (wanted.namespace.as_str(), wanted.name.as_str()) == (namespace, name)
        });
        if of_namespace && of_function {
            let text = format!("{name}.{namespace}");
            let key = text.parse().map(|key: FunctionKey| key.to_string());
            let text = key.unwrap_or(text);
            functions.insert(row.get(0)?, text);
        }
    }
    Ok(functions)
}

fn key_of(kind: UsageGroup, group: i64, functions: &HashMap<i64, String>) -> String {
    match kind {
        UsageGroup::Total => String::new(),
        UsageGroup::Function => functions.get(&group).cloned().unwrap_or_default(),
        UsageGroup::Day => utc_day(group.cast_unsigned() * DAY_MS),
    }
}
