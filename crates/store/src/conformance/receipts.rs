//! Cases for [`ReceiptStore`].

use std::collections::HashMap;

use model::{InvocationId, Receipt};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::data::{any_receipt, function};
use super::{Harness, LONG_GRACE};
use crate::receipts::{DAY_MS, HOUR_MS, utc_day};
use crate::{Keep, ReceiptStore, StoreError, UsageGroup, UsageQuery, UsageRow};

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
        (0..5_u64).prop_map(|day| day * DAY_MS),
        (0..120_u64).prop_map(|hour| hour * HOUR_MS),
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

/// The meter repeats a batch whose fate it does not know, as it was.
pub fn a_batch_may_be_repeated<H: Harness>() {
    let mut harness = H::new(LONG_GRACE);
    let receipts = sample(40, |_| {});
    harness.store().append(&receipts[..20]).expect("works");
    harness.store().append(&receipts[..20]).expect("works");
    harness.store().append(&receipts[20..]).expect("works");
    harness.store().append(&receipts[..20]).expect("works");
    harness.reopen();
    harness.store().append(&receipts[20..]).expect("works");
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

/// More than any implementation writes in one piece.
pub fn big_batches_are_whole<H: Harness>() {
    let mut harness = H::new(LONG_GRACE);
    let receipts = sample(20_000, |_| {});
    harness.store().append(&receipts).expect("works");
    harness.store().append(&receipts).expect("works");
    harness.reopen();
    let kept: HashMap<_, _> = receipts
        .iter()
        .map(|receipt| (receipt.id, receipt.clone()))
        .collect();
    for group in [UsageGroup::Total, UsageGroup::Function, UsageGroup::Day] {
        let query = UsageQuery {
            since_unix_ms: 1_000,
            until_unix_ms: 300_000_000,
            ..everything(group)
        };
        let rows = harness.store().usage(&query).expect("works");
        assert_eq!(rows, expected(&kept, &query), "{group:?}");
    }
    for receipt in receipts.iter().step_by(977) {
        let found = ReceiptStore::find(harness.store(), receipt.id).expect("works");
        assert_eq!(found.as_ref(), Some(receipt));
    }
}

/// Receipts of `n` consecutive half hours from the first day on, each with an id of its time, in batches
/// of one.
fn half_hours<H: Harness>(harness: &H, n: u64) -> HashMap<InvocationId, Receipt> {
    let mut receipts = sample(n, |_| {});
    for (index, receipt) in (0..).zip(&mut receipts) {
        let at = DAY_MS + index * HOUR_MS / 2;
        receipt.accepted_unix_ms = at;
        receipt.id = InvocationId::new(at, [7; 10]);
        let batch = std::slice::from_ref(receipt);
        harness.store().append(batch).expect("works");
    }
    let by_id = receipts.into_iter().map(|receipt| (receipt.id, receipt));
    by_id.collect()
}

fn trim_all<H: Harness>(harness: &H, keep: Keep) {
    while harness.store().trim(keep).expect("works") {}
}

/// What is too old goes; sums over whole days stay exact, and sums that cannot be are refused.
pub fn trimmed_receipts_leave_their_sums<H: Harness>() {
    let mut harness = H::new(LONG_GRACE);
    // Two days.
    let receipts = half_hours(&harness, 96);
    let cutoff = DAY_MS + 10 * HOUR_MS;
    let keep = Keep {
        since_unix_ms: cutoff,
        bytes_max: u64::MAX,
    };
    trim_all(&harness, keep);
    harness.reopen();
    for receipt in receipts.values() {
        let found = ReceiptStore::find(harness.store(), receipt.id).expect("works");
        let is_kept = receipt.accepted_unix_ms >= cutoff;
        assert_eq!(found.as_ref(), is_kept.then_some(receipt));
    }
    let ask = |since_unix_ms, until_unix_ms, group| {
        let query = UsageQuery {
            since_unix_ms,
            until_unix_ms,
            ..everything(group)
        };
        let rows = harness.store().usage(&query);
        (rows, expected(&receipts, &query))
    };
    for group in [UsageGroup::Total, UsageGroup::Function, UsageGroup::Day] {
        for (since, until) in [
            (0, u64::MAX),
            (DAY_MS, 2 * DAY_MS),
            // The first that is kept, to the millisecond; and within an hour that is.
            (cutoff, u64::MAX),
            (cutoff + 1, 2 * DAY_MS + 5 * HOUR_MS + 1),
            // Nothing was there, so nothing is missing.
            (1, DAY_MS),
            (5 * DAY_MS + 1, 6 * DAY_MS),
        ] {
            let (rows, expected) = ask(since, until, group);
            assert_eq!(rows.expect("all is there"), expected, "{since} {until}");
        }
    }
    for (since, until) in [(DAY_MS + 1, u64::MAX), (0, DAY_MS + HOUR_MS / 2 + 7)] {
        let (rows, _) = ask(since, until, UsageGroup::Total);
        let refused = rows.expect_err("it cannot be exact");
        assert!(matches!(refused, StoreError::Trimmed(_)), "{refused}");
    }
}

/// A bound in bytes takes the oldest first and ends; the sums stay, and writing goes on.
pub fn trimming_keeps_the_newest<H: Harness>() {
    let harness = H::new(LONG_GRACE);
    let receipts = half_hours(&harness, 96);
    let keep = Keep {
        since_unix_ms: 0,
        bytes_max: 0,
    };
    trim_all(&harness, keep);
    for id in receipts.keys() {
        let found = ReceiptStore::find(harness.store(), *id).expect("works");
        assert_eq!(found, None);
    }
    let all = everything(UsageGroup::Function);
    let rows = harness.store().usage(&all).expect("works");
    assert_eq!(rows, expected(&receipts, &all));
    // Hours stay while they are not too old.
    let hours = UsageQuery {
        since_unix_ms: DAY_MS + 3 * HOUR_MS,
        until_unix_ms: 2 * DAY_MS + 7 * HOUR_MS,
        ..all
    };
    let rows = harness.store().usage(&hours).expect("works");
    assert_eq!(rows, expected(&receipts, &hours));
    let mut late = sample(1, |receipt| receipt.accepted_unix_ms = DAY_MS);
    late[0].id = InvocationId::new(DAY_MS, [8; 10]);
    harness.store().append(&late).expect("works");
    let found = ReceiptStore::find(harness.store(), late[0].id).expect("works");
    assert_eq!(found.as_ref(), Some(&late[0]));
    trim_all(&harness, keep);
    let total = everything(UsageGroup::Total);
    let rows = harness.store().usage(&total).expect("works");
    assert_eq!(rows[0].n_invocations, 97);
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
