//! Ten thousand functions: how long a node takes to have them in memory, and what they take there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use store::conformance::data::publish;
use store::{Catalog, CatalogStore};

use crate::child::open;

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

/// The process's resident memory (proc_pid_statm(5)).
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this is Linux");
    let pages = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("the second number") * rustix::param::page_size()
}
