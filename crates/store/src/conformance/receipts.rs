//! Cases for [`ReceiptStore`].

use std::collections::HashMap;

use model::{InvocationId, Receipt};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::data::{any_receipt, function};
use super::{Harness, LONG_GRACE};
use crate::receipts::utc_day;
use crate::{ReceiptStore, UsageGroup, UsageQuery, UsageRow};

const DAY_MS: u64 = 86_400_000;

fn everything(group: UsageGroup) -> UsageQuery {
    UsageQuery {
        namespace: None,
        function: None,
        since_unix_ms: 0,
        until_unix_ms: u64::MAX,
        group,
    }
}

fn any_query() -> impl Strategy<Value = UsageQuery> {
    let groups = prop_oneof![
        Just(UsageGroup::Total),
        Just(UsageGroup::Function),
        Just(UsageGroup::Day)
    ];
    let times = prop_oneof![
        Just(0),
        0..5 * DAY_MS,
        Just(u64::MAX),
        Just(i64::MAX as u64)
    ];
    let who = (
        proptest::option::of(0..5_usize),
        proptest::option::of(0..5_usize),
    );
    (who, times.clone(), times, groups).prop_map(
        |((namespace, function_n), since, until, group)| UsageQuery {
            namespace: namespace.map(|n| function(n).namespace),
            function: function_n.map(function),
            since_unix_ms: since,
            until_unix_ms: until,
            group,
        },
    )
}

/// The sums by the words of [`UsageQuery`], over a plain list.
fn expected(receipts: &HashMap<InvocationId, Receipt>, query: &UsageQuery) -> Vec<UsageRow> {
    let mut rows: Vec<UsageRow> = Vec::new();
    if query.group == UsageGroup::Total {
        rows.push(UsageRow::default());
    }
    for receipt in receipts.values() {
        let of_namespace = match &query.namespace {
            Some(namespace) => receipt.function.namespace == *namespace,
            None => true,
        };
        let of_function = match &query.function {
            Some(function) => receipt.function == *function,
            None => true,
        };
        let at = receipt.accepted_unix_ms;
        if !of_namespace || !of_function || at < query.since_unix_ms || at >= query.until_unix_ms {
            continue;
        }
        let key = match query.group {
            UsageGroup::Total => String::new(),
            UsageGroup::Function => receipt.function.to_string(),
            UsageGroup::Day => utc_day(at),
        };
        let index = rows
            .iter()
            .position(|row| row.key == key)
            .unwrap_or_else(|| {
                rows.push(UsageRow {
                    key,
                    ..UsageRow::default()
                });
                rows.len() - 1
            });
        rows[index].add(receipt);
    }
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    rows
}

/// Any receipts in any batches are found as they were, and any question has the right sums.
pub fn follow_the_model<H: Harness>() {
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let batches = proptest::collection::vec(proptest::collection::vec(any_receipt(), 0..30), 0..5);
    let queries = proptest::collection::vec(any_query(), 10);
    let result = runner.run(&(batches, queries), |(batches, queries)| {
        let mut harness = H::new(LONG_GRACE);
        let mut kept = HashMap::new();
        for batch in &batches {
            harness.store().append(batch).expect("works");
            for receipt in batch {
                kept.entry(receipt.id).or_insert_with(|| receipt.clone());
            }
        }
        harness.reopen();
        for receipt in kept.values() {
            let found = ReceiptStore::find(harness.store(), receipt.id).expect("works");
            prop_assert_eq!(found.as_ref(), Some(receipt));
        }
        for query in &queries {
            let rows = harness.store().usage(query).expect("works");
            prop_assert_eq!(rows, expected(&kept, query), "{:?}", query);
        }
        Ok(())
    });
    result.expect("the store and the model agree");
    let harness = H::new(LONG_GRACE);
    let missing = InvocationId::new(1, [1; 10]);
    assert_eq!(
        ReceiptStore::find(harness.store(), missing).expect("works"),
        None
    );
}

/// Sums of the largest values do not wrap, saturate or round.
pub fn sums_exceed_64_bits<H: Harness>() {
    let harness = H::new(LONG_GRACE);
    let receipts = sample(300, |receipt| {
        receipt.run_ns = u64::MAX;
        receipt.cpu_ns = i64::MAX as u64;
        receipt.bytes_in = u64::from(u32::MAX);
        receipt.bytes_out = 1 << 63;
        receipt.price_nano = u64::MAX - 1;
    });
    harness.store().append(&receipts).expect("works");
    let rows = harness
        .store()
        .usage(&everything(UsageGroup::Total))
        .expect("works");
    let [row] = rows.as_slice() else {
        panic!("a total is one row: {rows:?}")
    };
    assert_eq!(row.n_invocations, 300);
    assert_eq!(row.run_ns, 300 * u128::from(u64::MAX));
    assert_eq!(row.cpu_ns, 300 * (i64::MAX as u128));
    assert_eq!(row.bytes_in, 300 * u128::from(u32::MAX));
    assert_eq!(row.bytes_out, 300 << 63);
    assert_eq!(row.price_nano, 300 * u128::from(u64::MAX - 1));
}

/// The meter repeats a batch whose fate it does not know.
pub fn a_batch_may_be_repeated<H: Harness>() {
    let harness = H::new(LONG_GRACE);
    let receipts = sample(40, |_| {});
    harness.store().append(&receipts[..20]).expect("works");
    harness.store().append(&receipts).expect("works");
    harness.store().append(&[]).expect("works");
    let rows = harness
        .store()
        .usage(&everything(UsageGroup::Total))
        .expect("works");
    assert_eq!(rows[0].n_invocations, 40);
    let total_ns: u128 = receipts
        .iter()
        .map(|receipt| u128::from(receipt.run_ns))
        .sum();
    assert_eq!(rows[0].run_ns, total_ns);
}

/// Receipts with ids of their own.
fn sample(n: u64, change: impl Fn(&mut Receipt)) -> Vec<Receipt> {
    let mut runner = TestRunner::deterministic();
    (0..n)
        .map(|index| {
            let tree = any_receipt()
                .new_tree(&mut runner)
                .expect("nothing is filtered");
            let mut receipt = tree.current();
            receipt.id = InvocationId::new(index, [0; 10]);
            change(&mut receipt);
            receipt
        })
        .collect()
}
