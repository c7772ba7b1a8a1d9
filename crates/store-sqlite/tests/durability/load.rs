//! Ten thousand functions: how long a node takes to have them in memory, and what they take there; and
//! how fast receipts come and go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use store::conformance::data::publish;
use store::{Catalog, CatalogStore, ReceiptStore, UsageGroup, UsageQuery};

use crate::child::{open, receipts_of};

const N_FUNCTIONS: usize = 10_000;

/// Generous: for an unoptimised build on a busy machine.
const LOAD_MAX: Duration = Duration::from_secs(3);

/// Memory per function that nobody calls, with one version.
const IDLE_BYTES_MAX: usize = 8 * 1024;

#[test]
fn ten_thousand_functions_load_in_a_blink() {
    // In memory where there is such a place: the many syncs of the preparation are not the question.
    let memory = std::path::Path::new("/dev/shm");
    let directory = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    let directory = directory.expect("a temporary directory");
    let store = open(directory.path()).expect("opens");
    for n in 0..N_FUNCTIONS {
        store.publish(&publish(n, n, true, 1)).expect("works");
    }
    drop(store);

    let before_bytes = resident_bytes();
    let started = Instant::now();
    let store = open(directory.path()).expect("opens");
    let opened = started.elapsed();
    let catalog = Catalog::open(Arc::new(store)).expect("loads");
    let loaded = started.elapsed();
    let per_function_bytes = resident_bytes().saturating_sub(before_bytes) / N_FUNCTIONS;
    println!(
        "{N_FUNCTIONS} functions: opened and checked in {opened:?}, in memory after {loaded:?}, \
         {per_function_bytes} bytes each"
    );
    assert_eq!(catalog.snapshot().n_functions(), N_FUNCTIONS);
    assert!(loaded < LOAD_MAX, "{loaded:?}");
    assert!(per_function_bytes < IDLE_BYTES_MAX, "{per_function_bytes}");

    let started = Instant::now();
    catalog.publish(&publish(4242, 1, true, 2)).expect("works");
    println!("one more deploy takes {:?}", started.elapsed());
}

/// Batches as the meter writes them; the rates are for the eye, the bounds for a slow and busy machine.
#[test]
fn receipts_keep_up_with_the_request_path() {
    const N_BATCHES: u64 = 40;
    const N_PER_BATCH: u64 = 500;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path()).expect("opens");
    let batches: Vec<Vec<_>> = (0..N_BATCHES)
        .map(|batch| {
            let steps =
                (0..N_PER_BATCH).map(|index| receipts_of(batch * N_PER_BATCH + index).remove(0));
            steps.collect()
        })
        .collect();
    let started = Instant::now();
    for batch in &batches {
        store.append(batch).expect("works");
    }
    let appended = started.elapsed();

    let started = Instant::now();
    for batch in &batches {
        assert!(
            ReceiptStore::find(&store, batch[0].id)
                .expect("works")
                .is_some()
        );
    }
    let found = started.elapsed();

    let query = UsageQuery {
        namespace: None,
        function: None,
        since_unix_ms: 0,
        until_unix_ms: u64::MAX,
        group: UsageGroup::Function,
    };
    let started = Instant::now();
    let rows = store.usage(&query).expect("works");
    let summed = started.elapsed();
    let n_receipts = N_BATCHES * N_PER_BATCH;
    assert_eq!(
        rows.iter().map(|row| row.n_invocations).sum::<u64>(),
        n_receipts
    );

    let per_second = |time: Duration| (n_receipts as f64 / time.as_secs_f64()) as u64;
    println!(
        "{} receipts/s appended, {} summed; {:?} to find one",
        per_second(appended),
        per_second(summed),
        found / N_BATCHES as u32
    );
    assert!(per_second(appended) > 1000 && per_second(summed) > 10_000);
    assert!(found / (N_BATCHES as u32) < Duration::from_millis(20));
}

/// The process's resident memory (proc_pid_statm(5)).
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this is Linux");
    let pages = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("the second number") * rustix::param::page_size()
}
