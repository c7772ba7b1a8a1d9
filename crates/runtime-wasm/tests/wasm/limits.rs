//! Limits of one sandbox: memory, CPU time, traps, host calls (failure catalogue A1, A2, A6, A12 to A17).

use std::sync::atomic::Ordering;
use std::time::Duration;

use model::limits::MIB;
use model::{Code, Failure, FunctionConfig, Side};
use runtime::LogStream;
use tokio::time::Instant;

use crate::support::{World, collect, get};

fn memory(mib: u64) -> impl FnOnce(&mut FunctionConfig) {
    move |config| config.limits.memory_bytes_max = mib * MIB
}

#[tokio::test]
async fn memory_ends_at_its_limit_and_the_peak_is_recorded() {
    let world = World::new();
    let function = world.adjusted("memory-bomb", memory(16)).await;
    let sandbox = function.sandbox().await;
    let context = function.context();
    let answer = function.call_as(&sandbox, context.clone(), get("/")).await;
    let answer = collect(answer.expect("grow gives -1"))
        .await
        .expect("whole");
    let n_pages: u64 = answer.text().trim().parse().expect("a number");
    assert!(
        (n_pages * 65536).abs_diff(16 * MIB) <= MIB,
        "{n_pages} pages"
    );
    let peak = context.meter.memory_peak_bytes.load(Ordering::Relaxed);
    assert_eq!(peak, n_pages * 65536);

    let function = world.adjusted("many-grows", memory(8)).await;
    let answer = function.get("/?n=1000").await.expect("answers");
    assert_eq!(
        answer.text().trim(),
        "126",
        "8 MiB are 128 pages, 2 to begin with"
    );
}

#[tokio::test]
async fn a_trap_after_denied_memory_names_the_memory() {
    let world = World::new();
    let function = world
        .text(
            r#"(module (memory (export "memory") 2)
              (func (export "alloc") (param i32) (result i32) (i32.const 1024))
              (func (export "handle") (param i32 i32) (result i32)
                (if (i32.eq (memory.grow (i32.const 60000)) (i32.const -1)) (then unreachable))
                (i32.const 0)))"#,
        )
        .await;
    let failure = function.get("/").await.expect_err("out of memory");
    assert_eq!(failure.code(), Code::MemoryExhausted);
    let limit = failure.limit().expect("named");
    assert_eq!(
        (limit.name.as_str(), limit.value.as_str()),
        ("limits.memory", "128 MiB")
    );
}

#[tokio::test]
async fn more_memory_than_allowed_to_begin_with_is_refused_at_deploy() {
    let world = World::new();
    let bytes = wat::parse_str(
        r#"(module (memory (export "memory") 1000)
          (func (export "alloc") (param i32) (result i32) (i32.const 0))
          (func (export "handle") (param i32 i32) (result i32) (i32.const 0)))"#,
    );
    let bytes = bytes.expect("valid text");
    let failure = world
        .try_bytes(&bytes, memory(32))
        .await
        .err()
        .expect("refused");
    assert_eq!(failure.limit().expect("named").name, "limits.memory");
    assert!(world.try_bytes(&bytes, memory(64)).await.is_ok());
}

#[tokio::test]
async fn traps_are_named_with_their_backtrace_in_the_log_detail() {
    let world = World::new();
    for (name, words) in [
        ("trap-unreachable", "unreachable"),
        ("trap-oob", "out of bounds memory access"),
        ("trap-div0", "integer divide by zero"),
        ("trap-indirect", "indirect call type mismatch"),
        ("trap-host-pointer", "out of bounds memory access"),
        ("stack-overflow", "call stack exhausted"),
    ] {
        let failure = world.function(name).await.get("/").await;
        let failure = failure.expect_err(name);
        assert_eq!(failure.code(), Code::Trap, "{name}");
        assert_eq!(failure.code().side(), Side::Function);
        assert!(failure.detail().contains(words), "{name}: {failure}");
        let backtrace = failure
            .log_detail()
            .unwrap_or_else(|| panic!("{name}: no backtrace"));
        assert!(backtrace.contains("wasm"), "{name}: {backtrace}");
        assert!(
            !failure.detail().contains("wasm backtrace"),
            "{name}: {failure}"
        );
    }
}

fn spin_for(cpu_ms: u64) -> impl FnOnce(&mut FunctionConfig) {
    move |config| config.limits.cpu_ms_max = cpu_ms
}

#[tokio::test]
async fn cpu_time_ends_within_50_ms_of_its_limit_also_with_host_calls() {
    let world = World::new();
    for name in ["cpu-loop", "cpu-loop-with-calls"] {
        let function = world.adjusted(name, spin_for(100)).await;
        let sandbox = function.sandbox().await;
        let context = function.context();
        let result = function.call_as(&sandbox, context.clone(), get("/")).await;
        let failure = result.map(drop).expect_err(name);
        assert_eq!(failure.code(), Code::CpuExhausted, "{name}");
        assert_eq!(failure.limit().expect("named").name, "limits.cpu_ms");
        let cpu_ms = context.meter.cpu_ns.load(Ordering::Relaxed) / 1_000_000;
        assert!((100..150).contains(&cpu_ms), "{name}: {cpu_ms} ms");
        assert!(!sandbox.is_reusable());
    }
}

#[tokio::test]
async fn each_invocation_of_a_reused_instance_has_its_own_cpu_budget() {
    let world = World::new();
    let function = world
        .adjusted("spin", |config| {
            config.limits.cpu_ms_max = 2_000;
            config.reuse = 100;
        })
        .await;
    let sandbox = function.sandbox().await;
    let mut total_ns = 0;
    for _ in 0..4 {
        let context = function.context();
        let answer = function
            .call_as(&sandbox, context.clone(), get("/?n=20"))
            .await;
        collect(answer.expect("within the budget"))
            .await
            .expect("whole");
        total_ns += context.meter.cpu_ns.load(Ordering::Relaxed);
    }
    assert!(total_ns > 4_000_000, "{total_ns} ns");
}

#[tokio::test]
async fn start_has_the_limits_of_a_run_and_a_deadline() {
    let world = World::new();
    for name in ["start-loop", "initialize-loop"] {
        let function = world.adjusted(name, spin_for(50)).await;
        let failure = function.start().await.map(drop).expect_err(name);
        assert_eq!(failure.code(), Code::CpuExhausted, "{name}");
        let function = world.adjusted(name, spin_for(60_000)).await;
        let began = Instant::now();
        let failure = function.start_within(Duration::from_millis(100)).await;
        let failure = failure.map(drop).expect_err(name);
        assert_eq!(failure.code(), Code::InitFailed, "{name}");
        assert!(began.elapsed() < Duration::from_secs(5), "{name}");
    }
    for name in ["start-trap", "initialize-trap"] {
        let failure = world.function(name).await.start().await;
        assert_eq!(failure.map(drop).expect_err(name).code(), Code::InitFailed);
    }
}

#[tokio::test]
async fn dropping_the_future_ends_a_spinning_guest() {
    let world = World::new();
    let function = world.function("cpu-loop").await;
    let sandbox = function.sandbox().await;
    let context = function.context();
    let call = function.call_as(&sandbox, context.clone(), get("/"));
    let outcome = tokio::time::timeout(Duration::from_millis(50), call).await;
    assert!(outcome.is_err(), "it never answers");
    let spent = context.meter.cpu_ns.load(Ordering::Relaxed);
    assert!(spent > 0);
    assert!(!sandbox.is_reusable());
    // Nothing of it runs on: other guests have the thread.
    let noop = world.function("noop").await;
    for _ in 0..100 {
        noop.get("/").await.expect("answers");
    }
    assert_eq!(context.meter.cpu_ns.load(Ordering::Relaxed), spent);
}

#[tokio::test]
async fn log_floods_and_giant_lines_stay_bounded() {
    let world = World::new();
    let function = world.function("huge-log-line").await;
    let answer = function.get("/?n=8000000").await.expect("answers");
    assert_eq!(answer.text(), "ok");
    let kept: usize = function
        .log
        .lines()
        .iter()
        .map(|(_, _, text)| text.len())
        .sum();
    assert!(kept as u64 <= 2 * MIB, "{kept} bytes");

    let function = world.function("log-flood").await;
    assert_eq!(
        function.get("/?n=100000").await.expect("answers").text(),
        "ok"
    );
    let lines = function.log.lines();
    let platform = lines
        .iter()
        .filter(|(_, stream, _)| *stream == LogStream::Platform);
    assert_eq!(platform.count(), 1, "one notice about what was dropped");
    let kept: usize = lines.iter().map(|(_, _, text)| text.len()).sum();
    assert!(kept as u64 <= 2 * MIB, "{kept} bytes");
    assert!(function.log_text().iter().all(|line| !line.contains('\n')));
}

#[tokio::test]
async fn random_floods_are_refused() {
    let world = World::new();
    let answer = world.function("random-flood").await.get("/").await;
    assert_eq!(answer.expect("answers").text().trim(), "-5");
}

#[tokio::test]
async fn slots_run_out_with_a_retryable_answer_and_come_back() {
    let world = World::with(|config| {
        config.n_slots = 4;
        config.n_memories_per_slot = 1;
    });
    let function = world.function("counter").await;
    let mut sandboxes = Vec::new();
    let failure: Failure = loop {
        match function.start().await {
            Ok(started) => sandboxes.push(started.sandbox),
            Err(failure) => break failure,
        }
        assert!(sandboxes.len() <= 4, "there are four slots");
    };
    assert_eq!(failure.code(), Code::NodeAtCapacity);
    assert!(failure.code().retryable() && failure.retry_after_s().is_some());
    sandboxes.pop();
    assert_eq!(
        function.get("/").await.expect("a slot is free").text(),
        "2\n"
    );
}
