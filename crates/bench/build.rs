//! Builds the guests that rows measure, each for its wasm target, and says why one is left out. A machine
//! without the targets builds everything else.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folder in `guests`, file that cargo makes, target, constant in the generated source.
const GUESTS: [(&str, &str, &str, &str); 3] = [
    ("http-hello", "http_hello", "wasm32-wasip2", "HTTP_HELLO"),
    (
        "core-hello",
        "core_hello",
        "wasm32-unknown-unknown",
        "CORE_HELLO",
    ),
    ("core-cpu", "core_cpu", "wasm32-unknown-unknown", "CORE_CPU"),
];

/// What the build around this one sets for itself, and the guests' must not inherit.
const FOREIGN_VARIABLES: [&str; 7] = [
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_LINKER",
];

fn main() {
    let guests = Path::new(&variable("CARGO_MANIFEST_DIR")).join("guests");
    let out = PathBuf::from(variable("OUT_DIR"));
    let mut source = String::new();
    println!("cargo::rerun-if-changed=build.rs");
    for (folder, product, target, constant) in GUESTS {
        for part in ["Cargo.toml", "Cargo.lock", "src"] {
            let path = guests.join(folder).join(part);
            println!("cargo::rerun-if-changed={}", path.display());
        }
        let value = match build(&guests.join(folder), product, target, &out) {
            Ok(module) => format!("Ok(include_bytes!({:?}))", module.display().to_string()),
            Err(reason) => {
                println!(
                    "cargo::warning=holm bench will skip rows, {folder} is not built: {reason}"
                );
                format!("Err({reason:?})")
            }
        };
        writeln!(
            source,
            "pub(crate) const {constant}: Result<&[u8], &str> = {value};"
        )
        .expect("a string takes any text");
    }
    fs::write(out.join("guests.rs"), source).expect("the output directory is cargo's for us");
}

fn variable(name: &str) -> String {
    env::var(name).expect("cargo sets it")
}

/// Builds one guest; the path of its module, or one line that says what is in the way.
fn build(directory: &Path, product: &str, target: &str, out: &Path) -> Result<PathBuf, String> {
    let rustc = variable("RUSTC");
    let installed = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", target])
        .output()
        .map_err(|error| format!("{rustc}: {error}"))?;
    if !Path::new(String::from_utf8_lossy(&installed.stdout).trim()).is_dir() {
        return Err(format!(
            "the target is missing, `rustup target add {target}` installs it"
        ));
    }
    let products = out.join("guests");
    let mut cargo = Command::new(variable("CARGO"));
    cargo
        .args([
            "build",
            "--release",
            "--locked",
            "--quiet",
            "--target",
            target,
        ])
        .arg("--target-dir")
        .arg(&products)
        .current_dir(directory);
    for name in FOREIGN_VARIABLES {
        cargo.env_remove(name);
    }
    let output = cargo.output().map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let first = text.lines().find(|line| line.starts_with("error"));
        return Err(first.unwrap_or("cargo failed").to_owned());
    }
    Ok(products
        .join(target)
        .join("release")
        .join(format!("{product}.wasm")))
}
