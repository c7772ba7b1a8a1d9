//! Slots of the pool over their lives: nothing of one instance may be seen by the next (A21, A22; the
//! class of CVE-2022-39393 and RUSTSEC-2026-0088).

use crate::support::World;

#[tokio::test]
async fn a_dirty_slot_is_clean_for_the_next_module_without_an_image() {
    // One slot of each kind, so that the next instance gets the very same.
    let world = World::with(|config| {
        config.n_slots = 1;
        config.n_memories_per_slot = 1;
    });
    let dirty = world.function("dirty-write").await;
    let reader = world.function("dirty-read").await;
    for round in 0..20 {
        assert_eq!(
            reader.get("/").await.expect("answers").text(),
            "clean\n",
            "{round}"
        );
        assert_eq!(dirty.get("/").await.expect("answers").text(), "dirtied\n");
    }
}

#[tokio::test]
async fn a_slot_is_clean_after_a_trap_a_drop_and_an_exhausted_budget() {
    let world = World::with(|config| {
        config.n_slots = 1;
        config.n_memories_per_slot = 1;
    });
    let reader = world.function("dirty-read").await;
    // Dirties memory, then ends by the path's first letter: trap, wait, loop.
    let body = |end: &str| {
        format!(
            r#"(module
              (import "holm:core/1" "sleep_ms" (func $sleep (param i32) (result i32)))
              (memory (export "memory") 64)
              (func (export "alloc") (param i32) (result i32) (i32.const 1024))
              (func (export "handle") (param i32 i32) (result i32)
                (memory.fill (i32.const 0) (i32.const 0xa5) (i32.const 4194304))
                {end}))"#
        )
    };
    let trap = world.text(&body("unreachable")).await;
    let wait = world.text(&body("(call $sleep (i32.const 100000))")).await;
    let bytes = wat::parse_str(body("(loop $l (br $l)) unreachable")).expect("valid text");
    let spin = world
        .try_bytes(&bytes, |config| config.limits.cpu_ms_max = 20)
        .await;
    let spin = spin.expect("the module prepares");
    for _ in 0..5 {
        trap.get("/").await.expect_err("it traps");
        assert_eq!(reader.get("/").await.expect("answers").text(), "clean\n");
        let limit = std::time::Duration::from_millis(30);
        let outcome = tokio::time::timeout(limit, wait.get("/")).await;
        assert!(outcome.is_err(), "it waits");
        assert_eq!(reader.get("/").await.expect("answers").text(), "clean\n");
        spin.get("/").await.expect_err("it spins");
        assert_eq!(reader.get("/").await.expect("answers").text(), "clean\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_side_by_side_never_see_each_other() {
    let world = std::sync::Arc::new(World::with(|config| {
        config.n_slots = 8;
        config.n_memories_per_slot = 1;
    }));
    let dirty = std::sync::Arc::new(world.function("dirty-write").await);
    let reader = std::sync::Arc::new(world.function("dirty-read").await);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..4 {
        let (dirty, reader) = (dirty.clone(), reader.clone());
        tasks.spawn(async move {
            for _ in 0..25 {
                let (function, expected) = if n % 2 == 0 {
                    (&dirty, "dirtied\n")
                } else {
                    (&reader, "clean\n")
                };
                assert_eq!(function.get("/").await.expect("answers").text(), expected);
            }
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.expect("no assertion failed");
    }
}

#[tokio::test]
async fn many_fresh_instances_always_count_from_the_start() {
    let world = World::new();
    let function = world.function("counter").await;
    for _ in 0..5_000 {
        assert_eq!(function.get("/").await.expect("answers").text(), "2\n");
    }
}
