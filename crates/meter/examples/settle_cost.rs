//! What receipts cost, measured on the real store: `cargo run --release -p meter --example settle_cost`.
//!
//! Two numbers per case. *settle*: time on the gateway's thread, from a loop that settles as fast as it
//! can and lets the batch be written between rounds, outside the clock. *all*: CPU time of the whole process per
//! receipt at a steady rate, less that of the same loop without a meter: settling, batching, encoding,
//! writing, syncing.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use invoker::UsageSink;
use meter::{Meter, MeterConfig};
use model::price::PriceTable;
use model::{
    Artifact, ArtifactKind, Contract, Digest, FunctionConfig, FunctionVersion, InvocationId,
    Isolation, Receipt, StartKind,
};
use rustix::time::{ClockId, clock_gettime};
use store_sqlite::SqliteStore;

const RATE_PER_S: u64 = 50_000;
const STEADY_S: u64 = 10;
const N_ROUNDS: u64 = 400;
const N_PER_ROUND: u64 = 2_500;

fn main() {
    println!("functions threads   settle ns   flush ns   all ns at {RATE_PER_S}/s   bytes each");
    for (n_functions, n_threads) in [(1, 1), (1, 2), (100, 1), (1_000, 1)] {
        let (settle_ns, flush_ns, _) = bursts(n_functions, n_threads);
        let (all_ns, file_bytes) = steady(n_functions);
        println!(
            "{n_functions:9} {n_threads:7} {settle_ns:11.1} {flush_ns:10.1} {all_ns:16.1} {file_bytes:16.1}"
        );
    }
}

/// Settles rounds on `n_threads` at once; nanoseconds per receipt of settling and of writing.
fn bursts(n_functions: usize, n_threads: u64) -> (f64, f64, u64) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Arc::new(SqliteStore::open(directory.path()).expect("opens"));
    let config = MeterConfig {
        // By hand, between the rounds.
        flush_interval_ms: 3_600_000,
        ..config()
    };
    let (meter, flusher) = Meter::new(&config, store).expect("a thread");
    let versions = versions(n_functions);
    let (mut settling, mut flushing) = (Duration::ZERO, Duration::ZERO);
    let mut seed = 0;
    for _ in 0..N_ROUNDS {
        let clocks = std::thread::scope(|scope| {
            let mut workers = Vec::new();
            for _ in 0..n_threads {
                seed += 1;
                let (meter, versions) = (&meter, &versions);
                workers.push(scope.spawn(move || {
                    let receipts: Vec<Receipt> = (0..N_PER_ROUND / n_threads)
                        .map(|n| receipt(seed * 1_000_000 + n, versions))
                        .collect();
                    let started = Instant::now();
                    for receipt in receipts {
                        let index = (receipt.bytes_in as usize) % versions.len();
                        meter.settle(receipt, &versions[index]);
                    }
                    started.elapsed()
                }));
            }
            let joined = workers.into_iter().map(|worker| worker.join());
            joined
                .map(|clock| clock.expect("no panic"))
                .sum::<Duration>()
        });
        settling += clocks;
        let before = cpu();
        meter.flush().expect("writes");
        flushing += cpu() - before;
    }
    drop(flusher);
    let per_receipt = |time: Duration| time.as_nanos() as f64 / (N_ROUNDS * N_PER_ROUND) as f64;
    (per_receipt(settling), per_receipt(flushing), seed)
}

/// CPU nanoseconds per receipt at a steady rate, and bytes of the file.
fn steady(n_functions: usize) -> (f64, f64) {
    let versions = versions(n_functions);
    let pace = |settle: &mut dyn FnMut(Receipt, &FunctionVersion)| {
        let before = cpu();
        let started = Instant::now();
        for tick in 0..STEADY_S * 200 {
            for n in 0..RATE_PER_S / 200 {
                let receipt = receipt(tick * 5_000 + n, &versions);
                let index = (receipt.bytes_in as usize) % versions.len();
                settle(receipt, &versions[index]);
            }
            let next = started + Duration::from_millis(5 * (tick + 1));
            std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
        }
        cpu() - before
    };
    let empty = pace(&mut |receipt, _| drop(black_box(receipt)));
    let directory = tempfile::tempdir().expect("a directory");
    let store = Arc::new(SqliteStore::open(directory.path()).expect("opens"));
    let (meter, flusher) = Meter::new(&config(), store).expect("a thread");
    let full = pace(&mut |receipt, version| meter.settle(receipt, version));
    drop(flusher);
    drop(meter);
    let file = std::fs::metadata(directory.path().join("receipts.db")).expect("it is there");
    let n_receipts = (RATE_PER_S * STEADY_S) as f64;
    let all_ns = full.saturating_sub(empty).as_nanos() as f64 / n_receipts;
    (all_ns, file.len() as f64 / n_receipts)
}

fn config() -> MeterConfig {
    MeterConfig {
        prices: PriceTable {
            currency: "EUR".to_owned(),
            request_nano: 200,
            gb_second_nano: 16_667,
            cpu_second_nano: 50_000,
        },
        // The receipts' times are made up.
        receipts_keep_days: u64::MAX,
        ..MeterConfig::default()
    }
}

/// CPU time of all threads of the process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

fn versions(n: usize) -> Vec<FunctionVersion> {
    let digest = Digest::of(b"x");
    (0..n)
        .map(|n| FunctionVersion {
            function: format!("function-{n}.team").parse().expect("a name"),
            number: 1 + n as u64 % 7,
            digest,
            artifact: Artifact {
                digest,
                size_bytes: 1,
                kind: ArtifactKind::Wasm,
            },
            contract: Contract::HolmCore1,
            config: FunctionConfig::defaults(Isolation::Wasm),
            created_unix_ms: 0,
        })
        .collect()
}

/// As a small function's: microseconds, kilobytes, numbers that differ.
fn receipt(n: u64, versions: &[FunctionVersion]) -> Receipt {
    // SplitMix64.
    let mut bits = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    let mut random = [0; 10];
    random[..8].copy_from_slice(&bits.to_le_bytes());
    random[8..].copy_from_slice(&(n as u16).to_le_bytes());
    let now = 1_790_000_000_000 + n / 1_000;
    let bytes_in = bits % 1_000;
    let version = &versions[bytes_in as usize % versions.len()];
    Receipt {
        id: InvocationId::new(now, random),
        function: version.function.clone(),
        version: version.number,
        isolation: Isolation::Wasm,
        start: StartKind::Fresh,
        accepted_unix_ms: now,
        queue_ns: 300 + (bits >> 8) % 200,
        start_ns: 4_000 + (bits >> 16) % 2_000,
        init_ns: 0,
        run_ns: 20_000 + (bits >> 24) % 50_000,
        cpu_ns: 15_000 + (bits >> 32) % 30_000,
        memory_peak_bytes: 1 << 20,
        bytes_in,
        bytes_out: (bits >> 40) % 4_000,
        log_bytes: 0,
        log_dropped_bytes: 0,
        status: 200,
        error: None,
        price_nano: 0,
    }
}
