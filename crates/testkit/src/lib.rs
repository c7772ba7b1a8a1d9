//! What end-to-end tests share: a real node as a child process, the command line against it, an HTTP
//! client that can be as rude as it likes, guests built from source, and a look at a process's resources.
//!
//! Knows the product only from outside: its binary, its sockets, its files.

pub mod guests;
pub mod http;
pub mod node;
pub mod resources;

pub use http::{Answer, HttpClient, get, post};
pub use node::{Node, NodeOptions, Output};
pub use resources::{Resources, eventually};

/// Says aloud that a test was skipped, and why: on stderr, and in the file that `HOLM_TEST_SKIPS` names,
/// which `make test` prints and counts at its end.
pub fn skipped(what: &str, reason: &str) {
    use std::io::Write as _;
    eprintln!("SKIPPED {what}: {reason}");
    if let Some(path) = std::env::var_os("HOLM_TEST_SKIPS") {
        let file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path);
        let mut file = file.expect("the file of skips can be written");
        writeln!(file, "SKIPPED {what}: {reason}").expect("the file of skips can be written");
    }
}
