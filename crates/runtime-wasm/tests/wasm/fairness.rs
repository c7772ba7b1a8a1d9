//! CPU-bound guests beside short ones, on one thread (A9, "blocking").

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::support::{Function, World, get};

/// CPU time of this thread.
fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.cast_unsigned(),
        u32::try_from(time.tv_nsec).expect("below 10^9"),
    )
}

/// How long before the next request of a client.
const PAUSE: Duration = Duration::from_millis(3);

/// The delays of `n` calls beyond `expected`, from the moment each is due, sorted. By the CPU time of
/// the thread, which is never idle beside hogs: so other work on the machine, which takes the thread off
/// its core, does not count.
async fn delays(
    canary: &Rc<Function>,
    target: &str,
    expected: Duration,
    n: usize,
) -> Vec<Duration> {
    let mut delays = Vec::new();
    for _ in 0..n {
        let began = thread_cpu();
        tokio::time::sleep(PAUSE).await;
        canary.get(target).await.expect("the canary answers");
        delays.push((thread_cpu() - began).saturating_sub(PAUSE + expected));
    }
    delays.sort();
    delays
}

fn percentile(delays: &[Duration], percent: usize) -> Duration {
    delays[(delays.len() * percent / 100).min(delays.len() - 1)]
}

/// One thread with `n_hogs` guests that never end.
fn beside_hogs<T>(n_hogs: usize, test: impl AsyncFnOnce(&World, Vec<Arc<Function>>) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let world = World::new();
        let hog = Arc::new(
            world
                .adjusted("cpu-loop", |config| config.limits.cpu_ms_max = 600_000)
                .await,
        );
        let hogs: Vec<_> = (0..n_hogs)
            .map(|_| {
                let hog = hog.clone();
                tokio::task::spawn_local(async move { hog.get("/").await.map(drop) })
            })
            .collect();
        let result = test(&world, vec![hog]).await;
        for hog in hogs {
            assert!(!hog.is_finished(), "a hog never ends by itself");
            hog.abort();
        }
        result
    })
}

#[test]
fn short_requests_are_delayed_little_beside_five_hogs_on_their_thread() {
    // Ten on two cores are five on each.
    let delays = beside_hogs(5, async |world, _| {
        let canary = Rc::new(world.function("noop").await);
        delays(&canary, "/", Duration::ZERO, 200).await
    });
    let (p50, p99) = (percentile(&delays, 50), percentile(&delays, 99));
    println!("beside five hogs: p50 {p50:?}, p99 {p99:?}");
    assert!(p99 <= Duration::from_millis(10), "p50 {p50:?}, p99 {p99:?}");
}

#[test]
fn sleeping_requests_keep_their_p99_within_twice() {
    let delays = beside_hogs(5, async |world, _| {
        let canary = Rc::new(world.function("sleep").await);
        delays(&canary, "/?ms=20", Duration::from_millis(20), 100).await
    });
    let p99 = percentile(&delays, 99);
    assert!(p99 <= Duration::from_millis(20), "p99 {p99:?} beyond 20 ms");
}

#[test]
fn hogs_share_their_thread_evenly() {
    let shares = beside_hogs(0, async |world, _| {
        let hog = Arc::new(world.function("cpu-loop").await);
        let mut tasks = Vec::new();
        let mut contexts = Vec::new();
        for _ in 0..4 {
            let context = hog.context();
            contexts.push(context.clone());
            let hog = hog.clone();
            tasks.push(tokio::task::spawn_local(async move {
                let sandbox = hog.sandbox().await;
                hog.call_as(&sandbox, context, get("/")).await.map(drop)
            }));
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
        for task in tasks {
            task.abort();
        }
        contexts
            .iter()
            .map(|context| {
                context
                    .meter
                    .cpu_ns
                    .load(std::sync::atomic::Ordering::Relaxed)
            })
            .collect::<Vec<_>>()
    });
    let (least, most) = (shares.iter().min(), shares.iter().max());
    let (least, most) = (*least.expect("four"), *most.expect("four"));
    assert!(least > 0 && most < least * 2, "{shares:?}");
}

#[test]
fn a_hog_whose_caller_reads_nothing_does_not_hold_the_lane() {
    beside_hogs(2, async |world, hogs| {
        // A guest that computes, writes, and computes: its body is polled once and then left alone.
        let writer = world
            .text(
                r#"(module
                  (import "holm:core/1" "response_write" (func $write (param i32 i32) (result i32)))
                  (memory (export "memory") 2)
                  (func (export "alloc") (param i32) (result i32) (i32.const 1024))
                  (func (export "handle") (param i32 i32) (result i32)
                    (drop (call $write (i32.const 0) (i32.const 5)))
                    (loop $l (br $l)) unreachable))"#,
            )
            .await;
        let sandbox = writer.sandbox().await;
        let answer = writer.call(&sandbox, get("/")).await.expect("a head");
        let mut body = answer.into_body();
        // Until it has become a hog with a seat in the lane.
        let poll = |body: &mut runtime::Body| {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let _ = http_body::Body::poll_frame(std::pin::Pin::new(body), &mut cx);
        };
        for _ in 0..20 {
            poll(&mut body);
            tokio::task::yield_now().await;
        }
        // Nobody polls it any more; the others must get on.
        let context = hogs[0].context();
        let progress = context.clone();
        let hog = hogs[0].clone();
        let task = tokio::task::spawn_local(async move {
            let sandbox = hog.sandbox().await;
            hog.call_as(&sandbox, context, get("/")).await.map(drop)
        });
        let began = Instant::now();
        let cpu = || {
            progress
                .meter
                .cpu_ns
                .load(std::sync::atomic::Ordering::Relaxed)
        };
        while cpu() < 30_000_000 {
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "only {} ns",
                cpu()
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        task.abort();
        drop(body);
    });
}

#[test]
fn the_lane_goes_on_when_hogs_end_and_are_dropped() {
    beside_hogs(1, async |world, _| {
        let spin = Arc::new(world.function("spin").await);
        for round in 0..5 {
            let dropped = {
                let spin = spin.clone();
                tokio::task::spawn_local(async move { spin.get("/?n=100000").await.map(drop) })
            };
            let mut tasks = Vec::new();
            for _ in 0..4 {
                let spin = spin.clone();
                tasks.push(tokio::task::spawn_local(
                    async move { spin.get("/?n=30").await },
                ));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            dropped.abort();
            for task in tasks {
                let answer = task.await.expect("no panic").expect("it ends");
                assert_eq!(answer.text(), "spun", "round {round}");
            }
        }
    });
}
