//! Chores of the repository, run as `cargo xtask NAME`. Owns the rules about the repository itself, and
//! refuses to know anything about the product.

mod demo;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => match tidy::check(&root) {
            Ok(faults) if faults.is_empty() => {
                eprintln!("tidy: nothing to mend");
                ExitCode::SUCCESS
            }
            Ok(faults) => {
                for fault in &faults {
                    eprintln!("tidy: {fault}");
                }
                eprintln!("tidy: {} faults", faults.len());
                ExitCode::FAILURE
            }
            Err(error) => {
                eprintln!("tidy: {error:#}");
                ExitCode::FAILURE
            }
        },
        ["demo", ref rest @ ..] => {
            let demo = demo::Demo::parse(rest).and_then(|demo| demo.run(&root));
            demo.unwrap_or_else(|error| {
                eprintln!("demo: {error:#}");
                ExitCode::FAILURE
            })
        }
        _ => {
            eprintln!(
                "usage: cargo xtask tidy                          hold the repository against its rules\n       \
                 cargo xtask demo --holm PATH [--check]    a node with every example"
            );
            ExitCode::from(2)
        }
    }
}
