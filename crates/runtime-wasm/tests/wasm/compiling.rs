//! Preparing: what is refused and how, limits of the worker, the cache on disk (A10, A11).

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{Code, FunctionConfig};
use runtime::conformance::skipped;
use tokio::time::Instant;

use crate::support::{World, fixture};

fn noop() -> Vec<u8> {
    wat::parse_str(fixture("noop")).expect("valid text")
}

/// The compiled files under a world's cache.
fn compiled_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files.extend(compiled_files(&path));
        } else {
            files.push(path);
        }
    }
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "cwasm")
    });
    files
}

#[tokio::test]
async fn junk_is_refused_with_the_offset() {
    let world = World::new();
    let good = noop();
    let mut cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("text", b"hello world, this is no module".to_vec()),
        ("elf", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\0".to_vec()),
        ("truncated", good[..good.len() - 3].to_vec()),
        ("bad version", b"\0asm\x02\0\0\0".to_vec()),
        (
            "bad LEB",
            b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        ),
    ];
    let mut body = wat::parse_str(
        r#"(module (memory (export "memory") 1)
          (func (export "alloc") (param i32) (result i32) i32.const 0)
          (func (export "handle") (param i32 i32) (result i32) i32.const 77))"#,
    )
    .expect("valid text");
    let constant = body.windows(3).position(|bytes| bytes == [0x41, 0xcd, 0]);
    body[constant.expect("i32.const 77")] = 0xff;
    cases.push(("bad opcode", body));
    for (what, bytes) in cases {
        let failure = world.try_bytes(&bytes, |_| {}).await.err();
        let failure = failure.unwrap_or_else(|| panic!("{what} was accepted"));
        assert_eq!(failure.code(), Code::WasmInvalid, "{what}: {failure}");
        assert!(failure.detail().contains("offset 0x"), "{what}: {failure}");
    }
    assert_eq!(compiled_files(world.dir.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_compiled_file_is_no_module() {
    let world = World::new();
    world.try_bytes(&noop(), |_| {}).await.expect("prepares");
    let compiled = compiled_files(world.dir.path()).pop().expect("one file");
    let failure = world
        .try_file(compiled, |_| {})
        .await
        .err()
        .expect("refused");
    assert_eq!(failure.code(), Code::WasmInvalid);
}

#[tokio::test]
async fn the_cache_serves_again_and_a_damaged_file_is_compiled_anew() {
    let world = World::new();
    let bytes = noop();
    world.try_bytes(&bytes, |_| {}).await.expect("prepares");
    let path = compiled_files(world.dir.path()).pop().expect("one file");
    assert_eq!(
        std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    let original = std::fs::read(&path).expect("readable");

    // A runtime whose worker cannot run has only the cache.
    let no_worker = |config: &mut runtime_wasm::WasmConfig| {
        config.worker.program = "/nonexistent/worker".into();
    };
    let cached = World {
        runtime: World::open(world.dir.path(), no_worker),
        dir: tempfile::tempdir().expect("a directory"),
    };
    let function = cached
        .try_bytes(&bytes, |_| {})
        .await
        .expect("from the cache");
    assert_eq!(function.get("/").await.expect("answers").text(), "ok");

    // A flipped bit, a truncation, another engine's file in its place: all recompiled.
    for damage in 0..3 {
        let mut damaged = original.clone();
        match damage {
            0 => damaged[original.len() / 2] ^= 1,
            1 => damaged.truncate(original.len() / 2),
            _ => damaged = b"\x7fELF not what it was".to_vec(),
        }
        std::fs::write(&path, &damaged).expect("writable");
        let refuses = World {
            runtime: World::open(world.dir.path(), no_worker),
            dir: tempfile::tempdir().expect("a directory"),
        };
        let failure = refuses
            .try_bytes(&bytes, |_| {})
            .await
            .err()
            .expect("no worker");
        assert_eq!(failure.code(), Code::Internal, "{damage}: {failure}");
        let heals = World {
            runtime: World::open(world.dir.path(), |_| {}),
            dir: tempfile::tempdir().expect("a directory"),
        };
        let function = heals
            .try_bytes(&bytes, |_| {})
            .await
            .expect("compiled again");
        assert_eq!(function.get("/").await.expect("answers").text(), "ok");
    }
}

#[tokio::test]
async fn one_artifact_is_compiled_once_for_all_who_ask() {
    let world = std::sync::Arc::new(World::new());
    let bytes = std::sync::Arc::new(noop());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..32 {
        let (world, bytes) = (world.clone(), bytes.clone());
        tasks.spawn(async move {
            let named = |config: &mut FunctionConfig| {
                config.env.insert("N".to_owned(), n.to_string());
            };
            world.try_bytes(&bytes, named).await.map(drop)
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.expect("no panic").expect("prepares");
    }
    let files = compiled_files(world.dir.path());
    assert_eq!(files.len(), 1);
    let inode = |path: &Path| {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(path).expect("there").ino()
    };
    let before = inode(&files[0]);
    world.try_bytes(&bytes, |_| {}).await.expect("prepares");
    assert_eq!(inode(&files[0]), before, "nothing was compiled again");
}

/// A program that behaves badly in place of the worker.
fn script(world_dir: &Path, text: &str) -> PathBuf {
    let path = world_dir.join("worker.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("writable");
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&path, mode).expect("sets");
    path
}

#[tokio::test]
async fn a_worker_that_misbehaves_is_understood() {
    for (text, expected) in [
        ("exit 3", Code::CompileLimit),
        ("kill -XCPU $$", Code::CompileLimit),
        ("kill -ABRT $$", Code::CompileLimit),
        ("echo not json", Code::Internal),
        ("head -c 1000000 /dev/zero", Code::CompileLimit),
        ("sleep 100", Code::CompileLimit),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let program = script(directory.path(), text);
        let world = World::with(|config| {
            config.worker.program = program;
            config.compile.timeout = Duration::from_secs(2);
        });
        let failure = world.try_bytes(&noop(), |_| {}).await.err().expect(text);
        assert!(
            [expected, Code::Internal].contains(&failure.code()),
            "{text}: {failure}"
        );
    }
}

/// Whether the process still runs (a zombie does not).
fn is_running(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.trim().chars().next());
    state.is_some_and(|state| state != 'Z')
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(10), "never: {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_dropped_deploy_kills_its_worker() {
    let directory = tempfile::tempdir().expect("a directory");
    let pid_file = directory.path().join("pid");
    let text = format!(
        "echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000",
        pid_file.display()
    );
    let program = script(
        directory.path(),
        &text.replace("echo", "/bin/echo").replace("mv", "/bin/mv"),
    );
    let world = World::with(|config| config.worker.program = program);
    let bytes = noop();
    let mut deploy = Box::pin(world.try_bytes(&bytes, |_| {}));
    tokio::select! {
        result = &mut deploy => panic!("it cannot end: {:?}", result.map(drop)),
        () = eventually("the worker runs", || pid_file.exists()) => {}
    }
    let pid = std::fs::read_to_string(&pid_file)
        .expect("readable")
        .trim()
        .to_owned();
    assert!(is_running(&pid));
    drop(deploy);
    eventually("the worker is gone", || !is_running(&pid)).await;
}

#[tokio::test]
async fn a_hidden_worker_limit_ends_a_compilation() {
    // 24 MiB of address space are not enough for anything; the answer must still be a clear refusal.
    let world = World::with(|config| config.compile.memory_bytes_max = 24 << 20);
    let failure = world
        .try_bytes(&noop(), |_| {})
        .await
        .err()
        .expect("too little");
    assert_eq!(failure.code(), Code::CompileLimit, "{failure}");
    let world = World::with(|config| config.compile.output_bytes_max = 1000);
    let failure = world
        .try_bytes(&noop(), |_| {})
        .await
        .err()
        .expect("too little");
    assert_eq!(failure.code(), Code::CompileLimit, "{failure}");
    assert!(failure.limit().is_some(), "{failure}");
}

const CORE: &str = r#"(memory (export "memory") 1)
    (func (export "alloc") (param i32) (result i32) i32.const 0)
    (func (export "handle") (param i32 i32) (result i32) i32.const 0)"#;

/// Modules that are cheap to write and dear to compile.
fn bombs() -> Vec<(&'static str, String)> {
    let mut locals = String::from("(func (local");
    locals.push_str(&" i64".repeat(60_000));
    locals.push_str("))");
    let mut table = String::from("(func (param i32) (block (local.get 0) (br_table");
    table.push_str(&" 0".repeat(100_000));
    table.push_str(")))");
    let nested = format!("(func {} {})", "(block ".repeat(20_000), ")".repeat(20_000));
    let functions = "(func)".repeat(100_000);
    let mut types = String::new();
    for n in 0..20_000 {
        let _ = write!(types, "(type (func (param {})))", "i32 ".repeat(n % 30));
    }
    let imports: String = (0..10_000)
        .map(|n| format!(r#"(import "holm:core/1" "f{n}" (func))"#))
        .collect();
    let live: String = {
        let mut text = String::from("(func (param i64) (result i64) ");
        for _ in 0..30_000 {
            text.push_str("local.get 0 i64.const 7 i64.mul ");
        }
        for _ in 0..29_999 {
            text.push_str("i64.xor ");
        }
        text + ")"
    };
    vec![
        ("locals", locals),
        ("br_table", table),
        ("nested blocks", nested),
        ("functions", functions),
        ("types", types),
        ("imports", imports),
        ("live values", live),
    ]
}

#[tokio::test]
async fn compile_bombs_are_refused_or_bounded() {
    for (what, text) in bombs() {
        let world = World::with(|config| {
            config.compile.cpu_s_max = 10;
            config.compile.timeout = Duration::from_secs(20);
            config.compile.memory_bytes_max = 1 << 30;
        });
        // Imports come first in a module.
        let text = if what == "imports" || what == "types" {
            format!("(module {text} {CORE})")
        } else {
            format!("(module {CORE} {text})")
        };
        let began = Instant::now();
        let bytes = match wat::parse_str(&text) {
            Ok(bytes) => bytes,
            Err(error) => {
                skipped(&format!("compile bomb {what}"), &error.to_string());
                continue;
            }
        };
        let result = world.try_bytes(&bytes, |_| {}).await;
        let outcome = result.as_ref().map(drop).map_err(ToString::to_string);
        println!("{what}: {outcome:?} after {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(40), "{what}");
        if let Err(failure) = result {
            assert!(
                (400..500).contains(&failure.code().status()),
                "{what}: {failure}"
            );
        }
        let noop = world
            .try_bytes(&noop(), |_| {})
            .await
            .expect("the next one compiles");
        assert_eq!(noop.get("/").await.expect("answers").text(), "ok");
    }
}

#[tokio::test]
async fn a_compilation_beyond_its_cpu_time_names_that_limit() {
    let (_, functions) = bombs().swap_remove(3);
    let bytes = wat::parse_str(format!("(module {CORE} {functions})")).expect("valid text");
    let world = World::with(|config| config.compile.cpu_s_max = 1);
    let failure = world.try_bytes(&bytes, |_| {}).await.err();
    let failure = failure.expect("100,000 functions take longer than a second");
    assert_eq!(failure.code(), Code::CompileLimit, "{failure}");
    assert_eq!(failure.limit().expect("named").name, "wasm.compile.cpu");
}

#[tokio::test]
async fn a_giant_function_of_locals_written_by_hand_is_refused() {
    // 2^32 - 1 locals in one declaration: 10 bytes that no text form writes.
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend_from_slice(&[1, 4, 1, 0x60, 0, 0]); // type () -> ()
    module.extend_from_slice(&[3, 2, 1, 0]); // one function of it
    module.extend_from_slice(&[7, 10, 1, 6, b'_', b's', b't', b'a', b'r', b't', 0, 0]); // _start
    module.extend_from_slice(&[10, 10, 1, 8, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7e, 0x0b]);
    let world = World::new();
    let failure = world
        .try_bytes(&module, |_| {})
        .await
        .err()
        .expect("refused");
    assert!((400..500).contains(&failure.code().status()), "{failure}");
}

#[tokio::test]
async fn a_module_that_cannot_be_read_is_no_fault_of_the_module() {
    let world = World::new();
    let path = world.dir.path().join("module.wasm");
    std::fs::write(&path, noop()).expect("writable");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).expect("sets");
    // Root reads it all the same; then it is simply compiled.
    let as_root = rustix::process::geteuid().is_root();
    let bytes = noop();
    let artifact = model::Artifact {
        digest: model::Digest::of(&bytes),
        size_bytes: bytes.len() as u64,
        kind: model::ArtifactKind::Wasm,
    };
    let request = |artifact_path: PathBuf| runtime::PrepareRequest {
        function: "guest.test".parse().expect("a valid key"),
        config: std::sync::Arc::new(FunctionConfig::defaults(model::Isolation::Wasm)),
        artifact: artifact.clone(),
        artifact_path,
    };
    use runtime::Runtime as _;
    let gone = request(world.dir.path().join("absent.wasm"));
    let failure = world
        .runtime
        .prepare(gone)
        .await
        .map(drop)
        .expect_err("absent");
    assert_eq!(failure.code(), Code::Internal, "{failure}");
    let result = world.runtime.prepare(request(path)).await.map(drop);
    assert_eq!(result.is_ok(), as_root);
}
