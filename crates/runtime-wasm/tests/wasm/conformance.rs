//! The suite that every engine passes, for `holm:core/1`.

use std::path::PathBuf;
use std::sync::Arc;

use model::ArtifactKind;
use runtime::Runtime;
use runtime::conformance::{Guest, Subject};

use crate::support::World;

struct CoreModules(World);

impl CoreModules {
    fn new() -> Self {
        Self(World::new())
    }
}

const HEAD: &str = r#"
    (import "holm:core/1" "request_read" (func $read (param i32 i32) (result i32)))
    (import "holm:core/1" "response_head" (func $head (param i32 i32 i32) (result i32)))
    (import "holm:core/1" "response_write" (func $write (param i32 i32) (result i32)))
    (import "holm:core/1" "log" (func $log (param i32 i32 i32)))
    (import "holm:core/1" "env_get" (func $env (param i32 i32 i32 i32) (result i32)))
    (import "holm:core/1" "sleep_ms" (func $sleep (param i32) (result i32)))
    (memory (export "memory") 2)
    (func (export "alloc") (param i32) (result i32) (i32.const 65536))"#;

fn handle(guest: Guest) -> &'static str {
    match guest {
        Guest::Hello => {
            r#"(data (i32.const 0) "x-guest: hello\nhello")
            (func (export "handle") (param i32 i32) (result i32)
              (drop (call $head (i32.const 201) (i32.const 0) (i32.const 15)))
              (call $write (i32.const 15) (i32.const 5)))"#
        }
        Guest::Echo => {
            r#"(func (export "handle") (param i32 i32) (result i32) (local $n i32)
              (loop $next
                (local.set $n (call $read (i32.const 0) (i32.const 16384)))
                (if (i32.gt_s (local.get $n) (i32.const 0)) (then
                  (drop (call $write (i32.const 0) (local.get $n))) (br $next))))
              (local.get $n))"#
        }
        Guest::Count => {
            r#"(global $n (mut i32) (i32.const 48))
            (func (export "handle") (param i32 i32) (result i32)
              (global.set $n (i32.add (global.get $n) (i32.const 1)))
              (i32.store8 (i32.const 0) (global.get $n))
              (call $write (i32.const 0) (i32.const 1)))"#
        }
        Guest::Trap => r#"(func (export "handle") (param i32 i32) (result i32) unreachable)"#,
        Guest::TrapLate => {
            r#"(func (export "handle") (param i32 i32) (result i32)
              (drop (call $write (i32.const 0) (i32.const 5)))
              (drop (call $sleep (i32.const 1))) unreachable)"#
        }
        Guest::Hang => {
            r#"(func (export "handle") (param i32 i32) (result i32)
              (call $sleep (i32.const 2000000000)))"#
        }
        Guest::Spin => {
            r#"(func (export "handle") (param i32 i32) (result i32) (loop $l (br $l)) unreachable)"#
        }
        Guest::Log => {
            r#"(data (i32.const 0) "a lineok")
            (func (export "handle") (param i32 i32) (result i32)
              (call $log (i32.const 2) (i32.const 0) (i32.const 6))
              (call $write (i32.const 6) (i32.const 2)))"#
        }
        Guest::LogFlood => {
            r#"(data (i32.const 100) "ok") (func (export "handle") (param i32 i32) (result i32)
              (local $n i32) (local.set $n (i32.const 16384))
              (loop $next
                (call $log (i32.const 2) (i32.const 0) (i32.const 63))
                (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
              (call $write (i32.const 100) (i32.const 2)))"#
        }
        Guest::Env => {
            r#"(data (i32.const 0) "GREETING")
            (func (export "handle") (param i32 i32) (result i32)
              (call $write (i32.const 100)
                (call $env (i32.const 0) (i32.const 8) (i32.const 100) (i32.const 100))))"#
        }
        Guest::Big => {
            r#"(func (export "handle") (param i32 i32) (result i32) (local $n i32)
              (memory.fill (i32.const 0) (i32.const 120) (i32.const 50000))
              (local.set $n (i32.const 20))
              (loop $next
                (drop (call $write (i32.const 0) (i32.const 50000)))
                (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
              (i32.const 0))"#
        }
        Guest::InitFail => {
            r#"(func (export "_initialize") unreachable)
            (func (export "handle") (param i32 i32) (result i32) (i32.const 0))"#
        }
        Guest::Junk => unreachable!("junk is no module"),
    }
}

impl Subject for CoreModules {
    fn runtime(&self) -> Arc<dyn Runtime> {
        self.0.runtime.clone()
    }

    fn artifact(&self, guest: Guest) -> Result<(PathBuf, ArtifactKind), String> {
        let bytes = match guest {
            Guest::Junk => b"\0asm\x01\0\0\0junk".to_vec(),
            guest => wat::parse_str(format!("(module {HEAD} {})", handle(guest)))
                .map_err(|error| error.to_string())?,
        };
        let path = self.0.dir.path().join(format!("{guest:?}.wasm"));
        std::fs::write(&path, bytes).map_err(|error| error.to_string())?;
        Ok((path, ArtifactKind::Wasm))
    }
}

runtime::conformance_suite!(CoreModules::new());
