//! The meter against the store in memory: nothing settled is lost, everything is found at once, sums are
//! exact, and what must be dropped is counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use invoker::UsageSink;
use meter::{Flusher, Logs, LogsConfig, Meter, MeterConfig, metrics};
use model::price::PriceTable;
use model::{
    Artifact, ArtifactKind, Code, Contract, Digest, FunctionConfig, FunctionKey, FunctionVersion,
    InvocationId, Isolation, Receipt, StartKind,
};
use proptest::prelude::*;
use store::memory::MemoryStore;
use store::{Keep, ReceiptStore, StoreError, UsageGroup, UsageQuery, UsageRow};

fn key(text: &str) -> FunctionKey {
    text.parse().expect("a valid name")
}

fn version(function: &str) -> FunctionVersion {
    let digest = Digest::of(b"x");
    FunctionVersion {
        function: key(function),
        number: 1,
        digest,
        artifact: Artifact {
            digest,
            size_bytes: 1,
            kind: ArtifactKind::Wasm,
        },
        contract: Contract::HolmCore1,
        config: FunctionConfig::defaults(Isolation::Wasm),
        created_unix_ms: 0,
    }
}

fn id(n: u64) -> InvocationId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    InvocationId::new(n, random)
}

fn receipt(n: u64, function: &str) -> Receipt {
    Receipt {
        id: id(n),
        function: key(function),
        version: 1,
        isolation: Isolation::Wasm,
        start: StartKind::Fresh,
        accepted_unix_ms: n,
        queue_ns: 1,
        start_ns: 2,
        init_ns: 0,
        run_ns: 1_000_000,
        cpu_ns: 500_000,
        memory_peak_bytes: 1 << 20,
        bytes_in: 3,
        bytes_out: 4,
        log_bytes: 0,
        log_dropped_bytes: 0,
        status: 200,
        error: None,
        price_nano: 0,
    }
}

fn memory_store() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(Duration::ZERO).expect("a temporary directory"))
}

/// The clock of these tests begins in 1970: nothing is too old.
fn config() -> MeterConfig {
    MeterConfig {
        receipts_keep_days: u64::MAX,
        ..MeterConfig::default()
    }
}

fn meter(config: &MeterConfig, store: Arc<dyn ReceiptStore>) -> (Arc<Meter>, Flusher) {
    Meter::new(config, store).expect("a thread")
}

fn total() -> UsageQuery {
    UsageQuery {
        namespace: None,
        function: None,
        since_unix_ms: 0,
        until_unix_ms: u64::MAX,
        group: UsageGroup::Total,
    }
}

fn metric(meter: &Meter, line: &str) -> u64 {
    let logs = Logs::new(LogsConfig::default(), Arc::new(|| 0));
    let text = metrics::render(meter, &logs, |_| {});
    let value = text
        .lines()
        .find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
    value
        .unwrap_or_else(|| panic!("no {line} in\n{text}"))
        .parse()
        .expect("a number")
}

/// The store in memory with a switch: while it is off, every call fails.
struct Switched {
    inner: Arc<MemoryStore>,
    is_off: AtomicBool,
}

impl Switched {
    fn check(&self) -> Result<(), StoreError> {
        match self.is_off.load(Ordering::SeqCst) {
            true => Err(StoreError::Full("switched off".to_owned())),
            false => Ok(()),
        }
    }
}

impl ReceiptStore for Switched {
    fn append(&self, receipts: &[Receipt]) -> Result<(), StoreError> {
        self.check()?;
        self.inner.append(receipts)
    }

    fn find(&self, id: InvocationId) -> Result<Option<Receipt>, StoreError> {
        self.check()?;
        ReceiptStore::find(&*self.inner, id)
    }

    fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        self.check()?;
        self.inner.usage(query)
    }

    fn trim(&self, keep: Keep) -> Result<bool, StoreError> {
        self.check()?;
        self.inner.trim(keep)
    }
}

fn switched(is_off: bool) -> Arc<Switched> {
    Arc::new(Switched {
        inner: memory_store(),
        is_off: AtomicBool::new(is_off),
    })
}

#[test]
fn a_receipt_is_found_from_the_moment_that_it_settled() {
    let (meter, flusher) = meter(&config(), memory_store());
    let version = version("hello");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (meter, version) = (&meter, &version);
            scope.spawn(move || {
                for n in 0..5_000 {
                    let n = thread * 1_000_000 + n;
                    meter.settle(receipt(n, "hello"), version);
                    let found = meter.find(id(n)).expect("the store works");
                    assert_eq!(found.expect("it settled").id, id(n));
                }
            });
        }
    });
    assert_eq!(meter.find(id(77_777_777)).expect("the store works"), None);
    let usage = meter.usage(&total()).expect("the store works");
    assert_eq!(usage[0].n_invocations, 20_000);
    assert_eq!(usage[0].run_ns, 20_000 * 1_000_000);
    assert_eq!(metric(&meter, "holm_receipts_written_total"), 20_000);
    assert_eq!(metric(&meter, "holm_receipts_dropped_total"), 0);
    flusher.stop().expect("the store works");
}

#[test]
fn the_flusher_writes_by_itself_and_stopping_writes_the_rest() {
    let store = memory_store();
    let (meter, flusher) = meter(&config(), store.clone());
    let version = version("hello");
    meter.settle(receipt(1, "hello"), &version);
    // Nothing but the flusher's own timer brings it to the store.
    while ReceiptStore::find(&*store, id(1)).expect("works").is_none() {
        std::thread::yield_now();
    }
    meter.settle(receipt(2, "hello"), &version);
    flusher.stop().expect("the store works");
    assert!(ReceiptStore::find(&*store, id(2)).expect("works").is_some());
    // Too late: counted, not silently lost.
    meter.settle(receipt(3, "hello"), &version);
    assert_eq!(metric(&meter, "holm_receipts_dropped_total"), 1);
}

#[test]
fn dropping_the_flusher_writes_the_rest() {
    let store = memory_store();
    let config = MeterConfig {
        flush_interval_ms: 3_600_000,
        ..config()
    };
    let (meter, flusher) = meter(&config, store.clone());
    meter.settle(receipt(1, "hello"), &version("hello"));
    drop(flusher);
    assert!(ReceiptStore::find(&*store, id(1)).expect("works").is_some());
}

#[test]
fn a_failing_store_loses_nothing_and_drops_are_counted() {
    let store = switched(true);
    let config = MeterConfig {
        n_receipts_max: 320,
        ..config()
    };
    let (meter, flusher) = meter(&config, store.clone());
    let version = version("hello");
    meter.settle(receipt(0, "hello"), &version);
    assert!(matches!(meter.flush(), Err(StoreError::Full(_))));
    // Sums without what waits would be wrong: better none.
    assert!(meter.usage(&total()).is_err());
    assert!(meter.find(id(0)).expect("not from the store").is_some());
    for n in 1..1_000 {
        meter.settle(receipt(n, "hello"), &version);
    }
    let n_dropped = metric(&meter, "holm_receipts_dropped_total");
    let n_unwritten = metric(&meter, "holm_receipts_unwritten");
    assert_eq!(n_dropped + n_unwritten, 1_000);
    assert!(
        n_dropped > 0 && n_unwritten <= 640,
        "{n_dropped} {n_unwritten}"
    );

    store.is_off.store(false, Ordering::SeqCst);
    let usage = meter.usage(&total()).expect("it works again");
    assert_eq!(usage[0].n_invocations, n_unwritten);
    assert_eq!(metric(&meter, "holm_receipts_unwritten"), 0);
    assert!(metric(&meter, "holm_receipts_write_failures_total") >= 2);
    flusher.stop().expect("the store works");
}

/// Receipts that are too old go as new ones come; their sums stay.
#[test]
fn old_receipts_go_and_their_sums_stay() {
    let store = memory_store();
    let (meter, flusher) = meter(&MeterConfig::default(), store.clone());
    // Of 1970, and from far in the future: kept.
    let future = Receipt {
        accepted_unix_ms: u64::MAX / 2,
        ..receipt(2, "hello")
    };
    let version = version("hello");
    meter.settle(receipt(1, "hello"), &version);
    meter.settle(future, &version);
    // The flusher's own thread trims after it wrote.
    while ReceiptStore::find(&*store, id(2)).expect("works").is_none()
        || ReceiptStore::find(&*store, id(1)).expect("works").is_some()
    {
        std::thread::yield_now();
    }
    assert_eq!(meter.find(id(1)).expect("works"), None);
    let usage = meter.usage(&total()).expect("works");
    assert_eq!(usage[0].n_invocations, 2);
    flusher.stop().expect("the store works");
}

#[test]
fn the_flusher_goes_on_when_the_store_works_again() {
    let store = switched(true);
    let (meter, flusher) = meter(&config(), store.clone());
    meter.settle(receipt(1, "hello"), &version("hello"));
    while metric(&meter, "holm_receipts_write_failures_total") < 2 {
        std::thread::yield_now();
    }
    store.is_off.store(false, Ordering::SeqCst);
    // Nobody settles or asks: the flusher tries again by itself.
    while ReceiptStore::find(&*store.inner, id(1))
        .expect("works")
        .is_none()
    {
        std::thread::yield_now();
    }
    flusher.stop().expect("the store works");
}

#[test]
fn labels_are_bounded() {
    let config = MeterConfig {
        n_functions_max: 10,
        ..config()
    };
    let (meter, _flusher) = meter(&config, memory_store());
    for n in 0..100 {
        let function = format!("f{n}");
        meter.settle(receipt(n, &function), &version(&function));
    }
    assert_eq!(
        metric(&meter, "faas_invocations_total{faas_name=\"f3\"}"),
        1
    );
    assert_eq!(
        metric(&meter, "faas_invocations_total{faas_name=\"_other\"}"),
        90
    );
    // A removed function makes room.
    meter.forget(&key("f3"));
    meter.settle(receipt(200, "f50"), &version("f50"));
    assert_eq!(
        metric(&meter, "faas_invocations_total{faas_name=\"f50\"}"),
        1
    );
    assert_eq!(
        metric(&meter, "faas_invocations_total{faas_name=\"_other\"}"),
        90
    );
}

#[test]
fn metrics_are_counted_from_receipts() {
    let (meter, _flusher) = meter(&config(), memory_store());
    let version = version("hello");
    let settle = |n: u64, start: StartKind, error: Option<Code>| {
        let receipt = Receipt {
            start,
            error,
            ..receipt(n, "hello")
        };
        meter.settle(receipt, &version);
    };
    settle(1, StartKind::Fresh, None);
    settle(2, StartKind::Cold, None);
    settle(3, StartKind::Warm, Some(Code::CpuExhausted));
    settle(4, StartKind::None, Some(Code::TooManyConcurrent));
    for (line, value) in [
        ("faas_invocations_total{faas_name=\"hello\"}", 4),
        ("faas_coldstarts_total{faas_name=\"hello\"}", 1),
        ("faas_timeouts_total{faas_name=\"hello\"}", 1),
        ("faas_errors_total{faas_name=\"hello\",side=\"caller\"}", 1),
        (
            "faas_errors_total{faas_name=\"hello\",side=\"function\"}",
            1,
        ),
        (
            "faas_errors_total{faas_name=\"hello\",side=\"platform\"}",
            0,
        ),
        // The refused one did not run.
        ("faas_invoke_duration_seconds_count{faas_name=\"hello\"}", 3),
        (
            "faas_invoke_duration_seconds_bucket{faas_name=\"hello\",le=\"0.0005\"}",
            0,
        ),
        (
            "faas_invoke_duration_seconds_bucket{faas_name=\"hello\",le=\"0.001\"}",
            3,
        ),
        ("faas_mem_usage_bytes_sum{faas_name=\"hello\"}", 3 << 20),
        (
            "faas_net_io_bytes_total{faas_name=\"hello\",direction=\"in\"}",
            12,
        ),
        (
            "holm_invocations_total{isolation=\"wasm\",start=\"fresh\"}",
            1,
        ),
        (
            "holm_invocations_total{isolation=\"wasm\",start=\"none\"}",
            1,
        ),
        ("holm_queue_duration_seconds_count{isolation=\"wasm\"}", 4),
        (
            "holm_start_duration_seconds_count{isolation=\"wasm\",start=\"cold\"}",
            1,
        ),
        ("holm_errors_total{code=\"H2003\"}", 1),
    ] {
        assert_eq!(metric(&meter, line), value, "{line}");
    }
}

/// The exposition format: every family announced once, its samples together, no series twice.
#[test]
fn the_whole_text_is_well_formed() {
    let (meter, _flusher) = meter(&config(), memory_store());
    for (n, function) in (0..).zip(["a", "b", "c.team", "a"]) {
        meter.settle(receipt(n, function), &version(function));
    }
    let logs = Logs::new(LogsConfig::default(), Arc::new(|| 0));
    let text = metrics::render(&meter, &logs, |text| {
        text.single(
            "holm_more",
            metrics::MetricKind::Gauge,
            "Added by others.",
            1,
        );
    });
    let mut families = BTreeMap::new();
    let mut series = std::collections::BTreeSet::new();
    let mut family = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("name and kind");
            assert!(families.insert(name, kind).is_none(), "{name} twice");
            family = name;
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').expect("name and value");
            assert!(series.insert(name), "{name} twice");
            assert!(name.starts_with(family), "{name} under {family}");
            value.parse::<f64>().expect("a number");
        }
    }
    assert_eq!(families["faas_invoke_duration_seconds"], "histogram");
    assert_eq!(families["holm_more"], "gauge");
    assert!(families.len() >= 20, "{families:?}");
    assert!(series.contains("faas_invocations_total{faas_name=\"c.team\"}"));
}

fn receipt_strategy() -> impl Strategy<Value = Receipt> {
    let starts = [
        StartKind::None,
        StartKind::Warm,
        StartKind::Fresh,
        StartKind::Cold,
    ];
    (
        "[a-c](\\.[xy])?",
        proptest::sample::select(starts.to_vec()),
        0_u64..400_000_000,
        proptest::option::of(proptest::sample::select(Code::ALL.to_vec())),
        // Large enough that 64 bits overflow, were sums in 64 bits.
        (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()),
    )
        .prop_map(
            |(function, start, accepted, error, (run, cpu, bytes_in, bytes_out))| Receipt {
                start,
                accepted_unix_ms: accepted,
                error,
                run_ns: run,
                cpu_ns: cpu,
                bytes_in,
                bytes_out,
                ..receipt(0, &function)
            },
        )
}

/// The sums, by the word.
fn naive(receipts: &[Receipt], query: &UsageQuery) -> Vec<UsageRow> {
    let mut rows: BTreeMap<String, UsageRow> = BTreeMap::new();
    if query.group == UsageGroup::Total {
        rows.insert(String::new(), UsageRow::default());
    }
    for receipt in receipts {
        let namespace = query.namespace.as_ref();
        let function = query.function.as_ref();
        if namespace.is_some_and(|namespace| *namespace != receipt.function.namespace)
            || function.is_some_and(|function| *function != receipt.function)
            || receipt.accepted_unix_ms < query.since_unix_ms
            || receipt.accepted_unix_ms >= query.until_unix_ms
        {
            continue;
        }
        let key = match query.group {
            UsageGroup::Total => String::new(),
            UsageGroup::Function => receipt.function.to_string(),
            UsageGroup::Day => format!("1970-01-{:02}", receipt.accepted_unix_ms / 86_400_000 + 1),
        };
        let row = rows.entry(key.clone()).or_default();
        row.key = key;
        row.n_invocations += 1;
        row.n_errors += u64::from(receipt.error.is_some());
        row.n_cold += u64::from(receipt.start == StartKind::Cold);
        row.run_ns += u128::from(receipt.run_ns);
        row.cpu_ns += u128::from(receipt.cpu_ns);
        row.bytes_in += u128::from(receipt.bytes_in);
        row.bytes_out += u128::from(receipt.bytes_out);
        row.price_nano += u128::from(receipt.price_nano);
    }
    rows.into_values().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn usage_is_the_sum_of_the_receipts(
        receipts in proptest::collection::vec(receipt_strategy(), 0..60),
        asked_after in proptest::collection::vec(0_usize..60, 0..4),
        (since, length) in (0_u64..300_000_000, 0_u64..400_000_000),
        prices in (0_u64..1_000, 0_u64..1_000_000, any::<u64>()),
    ) {
        let config = MeterConfig {
            prices: PriceTable {
                currency: "EUR".to_owned(),
                request_nano: prices.0,
                gb_second_nano: prices.1,
                cpu_second_nano: prices.2,
            },
            ..config()
        };
        let (meter, flusher) = meter(&config, memory_store());
        let mut settled = Vec::new();
        let mut queries = Vec::new();
        for group in [UsageGroup::Total, UsageGroup::Function, UsageGroup::Day] {
            let range = UsageQuery {
                since_unix_ms: since,
                until_unix_ms: since + length,
                group,
                ..total()
            };
            queries.push(UsageQuery { namespace: Some("x".parse().expect("a name")), ..range.clone() });
            queries.push(UsageQuery { function: Some(key("a")), ..range.clone() });
            queries.push(range);
            queries.push(UsageQuery { group, ..total() });
        }
        for (n, receipt) in receipts.into_iter().enumerate() {
            let receipt = Receipt { id: id(n as u64), ..receipt };
            let version = version(&receipt.function.to_string());
            meter.settle(receipt.clone(), &version);
            let found = meter.find(receipt.id).expect("the store works").expect("it settled");
            let price_nano = config.prices.price_nano(&receipt, version.config.limits.memory_bytes_max);
            prop_assert_eq!(&found, &Receipt { price_nano, ..receipt });
            settled.push(found);
            if asked_after.contains(&n) {
                let sums = meter.usage(&total()).expect("the store works");
                prop_assert_eq!(sums, naive(&settled, &total()));
            }
        }
        for query in &queries {
            let sums = meter.usage(query).expect("the store works");
            prop_assert_eq!(sums, naive(&settled, query), "{:?}", query);
        }
        flusher.stop().expect("the store works");
    }
}
