//! Telling a file's contract from its bytes, and checking it against the WebAssembly proposals that the
//! engine supports for production (wasmtime's tier 1). Reads, never compiles; runs in the compile worker,
//! since it parses what strangers wrote.

use model::{Code, Contract, Failure};
use wasmparser::{BinaryReaderError, Encoding, ExternalKind, Parser, Payload, Validator};
use wasmtime::Engine;

/// Names shown in a message before it says "and more".
const NAMES_SHOWN_MAX: usize = 12;
/// Characters shown of one name.
const NAME_CHARS_MAX: usize = 80;

/// What a file exports and imports at its top level.
#[derive(Debug, Default)]
struct Surface {
    is_component: bool,
    exports: Vec<String>,
    functions: Vec<String>,
    memories: Vec<String>,
    import_modules: Vec<String>,
}

/// Tells the contract of `bytes`, without validating them.
///
/// # Errors
/// `WasmInvalid` with the parser's message and offset where it is not WebAssembly; `WasmUnsupported`,
/// saying what was found and what is accepted, where it is no function.
pub fn sniff(bytes: &[u8]) -> Result<Contract, Failure> {
    let surface = surface(bytes).map_err(|error| invalid(&error))?;
    if surface.is_component {
        sniff_component(&surface)
    } else {
        sniff_module(&surface)
    }
}

/// Validates `bytes` whole against the proposals that `engine` has on.
///
/// # Errors
/// `WasmInvalid` with the validator's message and offset.
pub(crate) fn validate(bytes: &[u8], engine: &Engine) -> Result<(), Failure> {
    Validator::new_with_features(engine.get_wasm_features())
        .validate_all(bytes)
        .map(drop)
        .map_err(|error| invalid(&error))
}

fn invalid(error: &BinaryReaderError) -> Failure {
    Failure::new(
        Code::WasmInvalid,
        format!("{} (at offset {:#x})", error.message(), error.offset()),
    )
}

fn surface(bytes: &[u8]) -> Result<Surface, BinaryReaderError> {
    let mut surface = Surface::default();
    // Modules and components inside a component are not its surface.
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version { encoding, .. } => {
                if depth == 0 {
                    surface.is_component = encoding == Encoding::Component;
                }
                depth += 1;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    surface.exports.push(export?.name.name.to_owned());
                }
            }
            Payload::ExportSection(section) if depth == 1 => {
                for export in section {
                    let export = export?;
                    match export.kind {
                        ExternalKind::Func => surface.functions.push(export.name.to_owned()),
                        ExternalKind::Memory => surface.memories.push(export.name.to_owned()),
                        _ => {}
                    }
                    surface.exports.push(export.name.to_owned());
                }
            }
            Payload::ImportSection(section) if depth == 1 => {
                for import in section.into_imports() {
                    let module = import?.module;
                    if !surface.import_modules.iter().any(|known| known == module) {
                        surface.import_modules.push(module.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    Ok(surface)
}

fn sniff_component(surface: &Surface) -> Result<Contract, Failure> {
    let exports = |prefix: &str| surface.exports.iter().any(|name| name.starts_with(prefix));
    // A component that speaks both is served by the cheaper engine.
    if exports("wasi:http/incoming-handler@0.2.") {
        return Ok(Contract::WasiHttp02);
    }
    if exports("wasi:http/handler@0.3.") {
        return Ok(Contract::WasiHttp03);
    }
    let hint = if exports("wasi:cli/run@") {
        "; it is a command: build an HTTP component, or the same program for wasip1 as a CGI function"
    } else {
        ""
    };
    Err(Failure::new(
        Code::WasmUnsupported,
        format!(
            "the component exports {}, but neither wasi:http/incoming-handler@0.2.x nor \
             wasi:http/handler@0.3.x{hint}",
            list(&surface.exports)
        ),
    ))
}

fn sniff_module(surface: &Surface) -> Result<Contract, Failure> {
    let has_function = |name: &str| surface.functions.iter().any(|export| export == name);
    let has_memory = surface.memories.iter().any(|export| export == "memory");
    let imports = |module: &str| surface.import_modules.iter().any(|name| name == module);
    if has_function("_start") {
        if imports("wasi_snapshot_preview1") {
            return Ok(Contract::Cgi11);
        }
        return Err(Failure::new(
            Code::WasmUnsupported,
            format!(
                "the module exports _start but imports {} instead of wasi_snapshot_preview1, so it \
                 cannot read a request",
                list(&surface.import_modules)
            ),
        ));
    }
    if has_memory && has_function("alloc") && has_function("handle") {
        return Ok(Contract::HolmCore1);
    }
    Err(Failure::new(
        Code::WasmUnsupported,
        format!(
            "the module exports {}; a function is a wasi:http component (0.2 or 0.3), a wasip1 command \
             (_start), or a holm:core/1 module (memory, alloc and handle)",
            list(&surface.exports)
        ),
    ))
}

/// Names for a message: few, short, and harmless in a terminal.
fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let mut shown: Vec<String> = names
        .iter()
        .take(NAMES_SHOWN_MAX)
        .map(|name| {
            name.chars()
                .take(NAME_CHARS_MAX)
                .flat_map(char::escape_default)
                .collect()
        })
        .collect();
    if names.len() > NAMES_SHOWN_MAX {
        shown.push(format!("{} more", names.len() - NAMES_SHOWN_MAX));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Result<Contract, Code> {
        let bytes = wat::parse_str(text).expect("valid text");
        sniff(&bytes).map_err(|failure| failure.code())
    }

    #[test]
    fn contracts_are_told_from_exports_and_imports() {
        let core = r#"(module (memory (export "memory") 1)
            (func (export "alloc") (param i32) (result i32) i32.const 0)
            (func (export "handle") (param i32 i32) (result i32) i32.const 0))"#;
        assert_eq!(code(core), Ok(Contract::HolmCore1));
        let cgi = r#"(module (import "wasi_snapshot_preview1" "fd_write"
            (func (param i32 i32 i32 i32) (result i32)))
            (func (export "_start")))"#;
        assert_eq!(code(cgi), Ok(Contract::Cgi11));
        let p2 = r#"(component (instance $i) (export "wasi:http/incoming-handler@0.2.10" (instance $i)))"#;
        assert_eq!(code(p2), Ok(Contract::WasiHttp02));
        let p3 = r#"(component (instance $i) (export "wasi:http/handler@0.3.2" (instance $i)))"#;
        assert_eq!(code(p3), Ok(Contract::WasiHttp03));
        // An inner component's exports are not the outer's.
        let nested = format!(
            "(component (component {}))",
            &p2["(component ".len()..p2.len() - 1]
        );
        assert_eq!(code(&nested), Err(Code::WasmUnsupported));
        for other in [
            "(module)",
            "(component)",
            r#"(module (func (export "_start")))"#,
            r#"(module (func (export "alloc")) (func (export "handle")))"#,
        ] {
            assert_eq!(code(other), Err(Code::WasmUnsupported), "{other}");
        }
    }

    #[test]
    fn messages_say_what_was_found_and_where() {
        let bytes = wat::parse_str(r#"(module (func (export "main\u{1b}[31m")))"#).expect("valid");
        let failure = sniff(&bytes).expect_err("no contract");
        assert!(failure.detail().contains("main\\u{1b}"), "{failure}");
        let failure = sniff(b"\0asm\x01\0\0\0\x07\x01").expect_err("truncated");
        assert_eq!(failure.code(), Code::WasmInvalid);
        assert!(failure.detail().contains("offset 0x"), "{failure}");
        assert_eq!(sniff(b"hello").expect_err("text").code(), Code::WasmInvalid);
    }

    #[test]
    fn proposals_outside_tier_one_are_refused() {
        let settings = crate::engine::compile_settings(crate::engine::EngineKind::Plain);
        let engine = Engine::new(&settings).expect("an engine");
        for text in [
            "(module (memory 1 1 shared))",
            "(module (type (struct (field i32))))",
            "(module (memory 1 (pagesize 1)))",
        ] {
            let Ok(bytes) = wat::parse_str(text) else {
                panic!("{text}");
            };
            let failure = validate(&bytes, &engine).expect_err(text);
            assert_eq!(failure.code(), Code::WasmInvalid, "{text}");
        }
        let simd = wat::parse_str("(module (func (result v128) v128.const i32x4 0 0 0 0))");
        validate(&simd.expect("valid"), &engine).expect("tier one");
    }

    /// A small generator (xorshift64*), so that a failure can be repeated from its seed.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
        }
    }

    fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
        let mut mutant = bytes.to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(mutant.len().max(1));
            match random.below(5) {
                0 => mutant.truncate(at),
                1 => mutant.insert(at.min(mutant.len()), random.below(256) as u8),
                2 if !mutant.is_empty() => {
                    mutant.remove(at);
                }
                3 if !mutant.is_empty() => mutant[at] = 0xff,
                _ if !mutant.is_empty() => mutant[at] ^= 1 << random.below(8),
                _ => {}
            }
        }
        mutant
    }

    #[test]
    fn a_hundred_thousand_mutants_cause_no_panic() {
        let settings = crate::engine::compile_settings(crate::engine::EngineKind::Concurrent);
        let engine = Engine::new(&settings).expect("an engine");
        let seeds = [
            r#"(module (import "holm:core/1" "log" (func (param i32 i32 i32)))
                (memory (export "memory") 1) (table 3 funcref) (global (mut i64) (i64.const 1))
                (type $log (func (param i32 i32 i32)))
                (func (export "alloc") (param i32) (result i32)
                  (block (loop (br_if 1 (local.get 0)))) i32.const 0)
                (func (export "handle") (param i32 i32) (result i32)
                  (block (block (br_table 0 1 0 (local.get 0))))
                  (call_indirect (type $log) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
                  i32.const 0)
                (elem (i32.const 0) 0 1) (data (i32.const 0) "hello"))"#,
            r#"(component
                (type $t (instance (export "r" (type (sub resource))) (type (list string)) (export "l" (type (eq 1)))))
                (import "wasi:http/types@0.2.0" (instance (type $t)))
                (core module $m (func (export "f") (param i32) (result i32) local.get 0))
                (core instance $i (instantiate $m))
                (func $f (param "x" u32) (result u32) (canon lift (core func $i "f")))
                (component $c (type (record (field "a" (tuple u8 string)))))
                (instance $x (export "handle" (func $f)))
                (export "wasi:http/incoming-handler@0.2.0" (instance $x)))"#,
        ];
        let mut n_sniffed = 0;
        for (index, text) in seeds.iter().enumerate() {
            let bytes = wat::parse_str(text).expect("valid text");
            for seed in 1..=50_000_u64 {
                let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
                let mutant = mutate(&bytes, &mut random);
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    let sniffed = sniff(&mutant).is_ok();
                    let _ = validate(&mutant, &engine);
                    sniffed
                }));
                match outcome {
                    Ok(sniffed) => n_sniffed += usize::from(sniffed),
                    Err(_) => panic!("mutant {seed} of text {index} caused a panic"),
                }
            }
        }
        assert!(
            n_sniffed > 100,
            "the mutants reach past the first checks: {n_sniffed}"
        );
    }
}
