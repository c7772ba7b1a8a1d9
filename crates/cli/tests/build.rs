//! Build steps with the real tools, each on the smallest project there is. A tool that this machine
//! lacks skips its test aloud.

use std::fs;
use std::path::Path;

use cli::environment::Environment;
use cli::project::{Builder, Built, LocalArtifact, Source};
use model::{Code, Failure};

fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for (file, text) in files {
        let file = dir.path().join(file);
        fs::create_dir_all(file.parent().expect("it has one")).expect("made");
        fs::write(file, text).expect("written");
    }
    dir
}

fn build(dir: &Path) -> Result<Built, Failure> {
    let source = Source::open(dir).expect("a project");
    let options = source.manifest.build.clone().unwrap_or_default();
    Builder {
        dir: &source.dir,
        options: &options,
        main: source.manifest.main.as_deref(),
        environment: &Environment::of_process(),
        on_message: &|_| {},
    }
    .run(&source.step()?)
}

/// Builds, and checks that a WebAssembly file came of it; what a machine lacks is told and skipped.
fn builds(what: &str, dir: &Path) {
    match build(dir) {
        Ok(built) => {
            let artifact = LocalArtifact::wasm(&built.file).expect("a WebAssembly file");
            assert!(artifact.artifact.size_bytes > 8);
        }
        Err(failure) if failure.code() == Code::ToolMissing => {
            testkit::skipped(what, failure.detail());
        }
        Err(failure) => panic!("{failure}"),
    }
}

const RUST_LIB: &str = "#![no_std]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! { loop {} }
#[unsafe(no_mangle)]
pub extern \"C\" fn answer() -> i32 { 42 }
";

fn cargo_toml(name: &str) -> String {
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
         [lib]\ncrate-type = [\"cdylib\"]\n[profile.release]\npanic = \"abort\"\n[workspace]\n"
    )
}

const CORE_TARGET: &str = "[build]\ntarget = \"wasm32-unknown-unknown\"\n";

#[test]
fn rust() {
    let dir = project(&[
        ("Cargo.toml", &cargo_toml("tiny-function")),
        ("src/lib.rs", RUST_LIB),
        ("holm.toml", CORE_TARGET),
    ]);
    builds("rust", dir.path());
}

#[test]
fn rust_that_does_not_compile_shows_the_compilers_message() {
    let dir = project(&[
        ("Cargo.toml", &cargo_toml("broken-function")),
        ("src/lib.rs", "#![no_std]\nthis is no Rust\n"),
        ("holm.toml", CORE_TARGET),
    ]);
    let failure = build(dir.path()).expect_err("it does not compile");
    if failure.code() == Code::ToolMissing {
        testkit::skipped("rust", failure.detail());
        return;
    }
    assert_eq!(failure.code(), Code::BuildFailed);
    assert!(failure.detail().contains("src/lib.rs:2"), "{failure}");
}

#[test]
fn a_rust_target_that_is_not_installed_is_told_with_the_way_to_get_it() {
    let dir = project(&[
        ("Cargo.toml", &cargo_toml("far-function")),
        ("src/lib.rs", RUST_LIB),
        // A target that nobody installs to build functions.
        ("holm.toml", "[build]\ntarget = \"thumbv6m-none-eabi\"\n"),
    ]);
    let failure = build(dir.path()).expect_err("no such target here");
    assert_eq!(failure.code(), Code::ToolMissing, "{failure}");
}

#[test]
fn several_rust_programs_are_listed() {
    let toml = cargo_toml("two-functions") + "[[example]]\nname = \"unused\"\n";
    let main = "#![no_std]\n#![no_main]\n#[panic_handler]\n\
                fn panic(_: &core::panic::PanicInfo) -> ! { loop {} }\n";
    let dir = project(&[
        ("Cargo.toml", &toml),
        ("src/lib.rs", RUST_LIB),
        ("src/bin/one.rs", main),
        ("src/bin/two.rs", main),
        ("examples/unused.rs", main),
        ("holm.toml", CORE_TARGET),
    ]);
    let failure = build(dir.path()).expect_err("several");
    if failure.code() == Code::ToolMissing {
        testkit::skipped("rust", failure.detail());
        return;
    }
    assert_eq!(failure.code(), Code::NothingToDeploy, "{failure}");
    for name in ["one.wasm", "two.wasm", "two_functions.wasm"] {
        assert!(failure.detail().contains(name), "{failure}");
    }
}

#[test]
fn c() {
    let dir = project(&[(
        "main.c",
        "#include <stdio.h>\nint main(void) { return puts(\"\\n\") < 0; }\n",
    )]);
    builds("c", dir.path());
}

#[test]
fn go() {
    let dir = project(&[
        ("go.mod", "module tiny\n\ngo 1.21\n"),
        ("main.go", "package main\n\nfunc main() { println() }\n"),
    ]);
    builds("go", dir.path());
}

#[test]
fn zig() {
    let build = "const std = @import(\"std\");
pub fn build(b: *std.Build) void {
    const program = b.addExecutable(.{ .name = \"tiny\", .root_module = b.createModule(.{
        .root_source_file = b.path(\"main.zig\"),
        .target = b.resolveTargetQuery(.{ .cpu_arch = .wasm32, .os_tag = .wasi }),
        .optimize = b.standardOptimizeOption(.{}),
    }) });
    b.installArtifact(program);
}
";
    let dir = project(&[
        ("build.zig", build),
        ("main.zig", "pub fn main() void {}\n"),
    ]);
    builds("zig", dir.path());
}

#[test]
fn npm() {
    let script = "const fs = require('fs'); fs.mkdirSync('build', { recursive: true }); \
                  fs.writeFileSync('build/x.wasm', Buffer.from('0061736d0100000000', 'hex'));";
    let package = "{\"name\": \"tiny\", \"private\": true, \
                   \"scripts\": {\"build\": \"node build.js\"}}";
    let dir = project(&[("package.json", package), ("build.js", script)]);
    builds("npm", dir.path());
}
