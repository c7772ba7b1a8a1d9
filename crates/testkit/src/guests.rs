//! Guests from source: WebAssembly text is assembled in process, crates are built by cargo once per
//! checkout.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `tests/fixtures/wat/NAME.wat`, assembled.
#[track_caller]
pub fn wat(name: &str) -> Vec<u8> {
    let path = root()
        .join("tests/fixtures/wat")
        .join(format!("{name}.wat"));
    wat::parse_file(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// WebAssembly text, assembled.
#[track_caller]
pub fn wat_text(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Builds the crate in `directory` (from the repository's root) for `target` and returns the module's
/// bytes, or why it cannot be built on this machine. Cargo's own lock keeps parallel tests apart.
pub fn cargo(directory: &str, target: &str) -> Result<Vec<u8>, String> {
    let directory = root().join(directory);
    let installed = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", target])
        .output()
        .map_err(|error| format!("rustc: {error}"))?;
    let libraries = String::from_utf8_lossy(&installed.stdout).trim().to_owned();
    if !Path::new(&libraries).is_dir() {
        return Err(format!("rustup target {target} is not installed"));
    }
    let output = Command::new("cargo")
        .args(["build", "--release", "--locked", "--target", target])
        .current_dir(&directory)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let products = directory.join("target").join(target).join("release");
    let mut modules = std::fs::read_dir(&products)
        .expect("cargo made it")
        .map(|entry| entry.expect("a readable directory").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "wasm")
        });
    let module = modules.next().expect("the crate makes one module");
    assert!(modules.next().is_none(), "the crate makes one module");
    Ok(std::fs::read(module).expect("cargo made it"))
}
