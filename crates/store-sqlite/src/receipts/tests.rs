//! Receipts in a real file: plans of the statements, damage, and files of older releases.

use model::{Isolation, StartKind};
use store::UsageGroup;

use super::*;

fn open() -> (tempfile::TempDir, ReceiptDb) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let receipts = ReceiptDb::open(&directory.path().join("r.db")).expect("opens");
    (directory, receipts)
}

fn receipt(at: u64, n: u8) -> Receipt {
    Receipt {
        id: InvocationId::new(at, [n; 10]),
        function: format!("f{}", n % 3).parse().expect("a key"),
        version: 1,
        isolation: Isolation::Wasm,
        start: StartKind::Cold,
        accepted_unix_ms: at,
        queue_ns: 1,
        start_ns: 2,
        init_ns: 3,
        run_ns: u64::MAX,
        cpu_ns: 5,
        memory_peak_bytes: 6,
        bytes_in: 7,
        bytes_out: 8,
        log_bytes: 9,
        log_dropped_bytes: 10,
        status: 200,
        error: None,
        price_nano: 11,
    }
}

fn total(receipts: &ReceiptDb) -> Result<u64, StoreError> {
    let query = UsageQuery {
        namespace: None,
        function: None,
        since_unix_ms: 0,
        until_unix_ms: u64::MAX,
        group: UsageGroup::Total,
    };
    receipts.usage(&query).map(|rows| rows[0].n_invocations)
}

#[test]
fn receipts_are_found_and_summed_without_reading_all() {
    let (_directory, receipts) = open();
    let plan_of = |sql: &str, n_parameters: usize| {
        let plan = receipts.read(|connection| {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let nothing = rusqlite::params_from_iter(vec![0; n_parameters]);
            let rows = statement.query_map(nothing, |row| row.get::<_, String>(3))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        plan.expect("is planned").join("; ")
    };
    let find = plan_of(Covering::SQL, 5);
    assert!(
        find.contains("segments_by_time (width=? AND first>? AND first<?)"),
        "{find}"
    );
    let sum = plan_of(usage::ROWS, 3);
    assert!(
        sum.contains("USING PRIMARY KEY (span=? AND start>? AND start<?)"),
        "{sum}"
    );
}

/// Slow invocations do not make the segments of quick ones wide.
#[test]
fn a_late_receipt_has_a_segment_of_its_own() {
    let (_directory, receipts) = open();
    let now = 1_790_000_000_000;
    for n in 0..20_u64 {
        let at = now + n * 50;
        let batch = [
            receipt(at, 1),
            receipt(at - 600_000, 2),
            receipt(at - 20, 3),
        ];
        receipts.append(&batch).expect("works");
    }
    let widths = receipts.read(|connection| {
        let mut statement =
            connection.prepare("SELECT width, count(*), sum(n) FROM segments GROUP BY 1")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.collect::<rusqlite::Result<Vec<(i64, i64, i64)>>>()
    });
    assert_eq!(widths.expect("reads"), [(0, 20, 20), (5, 20, 40)]);
    for n in 0..20 {
        for (at, n) in [(now + n * 50, 1), (now + n * 50 - 600_000, 2)] {
            let id = receipt(at, n).id;
            assert_eq!(
                receipts.find(id).expect("works"),
                Some(receipt(at, n)),
                "{at}"
            );
        }
    }
}

#[test]
fn a_damaged_segment_is_left_out_and_the_rest_stays() {
    let (directory, receipts) = open();
    for n in 0..3 {
        let batch = [receipt(1_000_000 * u64::from(n), n)];
        receipts.append(&batch).expect("works");
    }
    drop(receipts);
    let path = directory.path().join("r.db");
    let other = Connection::open(&path).expect("opens");
    other
        .execute(
            "UPDATE segments SET content = x'0102030405060708' WHERE seq = 2",
            [],
        )
        .expect("works");
    drop(other);
    let receipts = ReceiptDb::open(&path).expect("opens");
    let find = |n: u8| receipts.find(receipt(1_000_000 * u64::from(n), n).id);
    assert!(find(0).expect("whole").is_some() && find(2).expect("whole").is_some());
    let damaged = find(1).expect_err("it is damaged");
    assert!(
        matches!(&damaged, StoreError::Corrupt(text) if text.contains("segment 2")),
        "{damaged}"
    );
    assert_eq!(total(&receipts).expect("the rest"), 2);
    // Also those whose sums become rows only now.
    receipts.append(&[receipt(9_000_000, 9)]).expect("works");
    let keep = Keep {
        since_unix_ms: 500_000,
        bytes_max: u64::MAX,
    };
    while receipts.trim(keep).expect("works") {}
    assert_eq!(total(&receipts).expect("the rest"), 3);
}

/// A file as the releases before segments wrote it.
#[test]
fn rows_of_version_1_become_segments() {
    const N: u64 = 10_000;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("r.db");
    let old = Connection::open(&path).expect("opens");
    old.execute_batch(migrate::VERSION_1).expect("works");
    let numbers = "INSERT INTO functions (namespace, name)
            VALUES ('default', 'f0'), ('default', 'f1'), ('team', 'f2');
        PRAGMA application_id = 0x486f6c52; PRAGMA user_version = 1;";
    old.execute_batch(numbers).expect("works");
    old.execute_batch("BEGIN").expect("works");
    let sql = "INSERT INTO receipts VALUES
        (?1, ?2, ?3, 1, 'wasm', 'cold', 1, 2, 3, -1, 5, 6, 7, 8, 9, 10, 200, ?4, 11)";
    for n in 0..N {
        let error = (n % 10 == 0).then_some(2001);
        let id = InvocationId::new(n * 1_000, [1; 10]).to_bytes();
        let values = rusqlite::params![(n * 1_000).cast_signed(), id, (n % 3 + 1) as i64, error];
        old.execute(sql, values).expect("works");
    }
    // Words that no release wrote.
    let broken = "UPDATE receipts SET isolation = 'magic' WHERE accepted_unix_ms = 5000";
    old.execute_batch(broken).expect("works");
    old.execute_batch("COMMIT").expect("works");
    drop(old);

    let receipts = ReceiptDb::open(&path).expect("is carried over");
    assert_eq!(total(&receipts).expect("sums"), N - 1);
    let query = UsageQuery {
        namespace: Some("team".parse().expect("a name")),
        function: None,
        since_unix_ms: 1_234_567,
        until_unix_ms: 9_000_001,
        group: UsageGroup::Function,
    };
    let rows = receipts.usage(&query).expect("sums");
    let counted = (1_235..=9_000).filter(|n| n % 3 == 2);
    let n_errors = counted.clone().filter(|n| n % 10 == 0).count() as u64;
    let n_counted = counted.count() as u64;
    assert_eq!(rows[0].key, "f2.team");
    assert_eq!(
        (rows[0].n_invocations, rows[0].n_errors),
        (n_counted, n_errors)
    );
    assert_eq!(rows[0].run_ns, u128::from(u64::MAX) * u128::from(n_counted));
    for n in [0, 1, 4_095, 4_096, N - 1] {
        let id = InvocationId::new(n * 1_000, [1; 10]);
        let found = receipts.find(id).expect("reads").expect("is there");
        assert_eq!(found.accepted_unix_ms, n * 1_000);
        assert_eq!((found.run_ns, found.start), (u64::MAX, StartKind::Cold));
        assert_eq!(found.error.is_some(), n % 10 == 0);
    }
    let left = receipts.find(InvocationId::new(5_000, [1; 10]));
    assert_eq!(left.expect("reads"), None);
    receipts.append(&[receipt(1, 1)]).expect("works");
    drop(receipts);
    let receipts = ReceiptDb::open(&path).expect("opens again");
    assert_eq!(total(&receipts).expect("sums"), N);
}
