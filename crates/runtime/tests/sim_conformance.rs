//! The scripted engine passes the suite that every engine passes: the suite itself is right.

use std::path::PathBuf;
use std::sync::Arc;

use model::{ArtifactKind, Isolation};
use runtime::Runtime;
use runtime::conformance::{Guest, Subject};
use runtime::sim::SimRuntime;

struct Sim {
    runtime: Arc<SimRuntime>,
    directory: tempfile::TempDir,
}

impl Sim {
    fn new() -> Self {
        Self {
            runtime: SimRuntime::new(Isolation::Wasm),
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }
}

impl Subject for Sim {
    fn runtime(&self) -> Arc<dyn Runtime> {
        self.runtime.clone()
    }

    fn artifact(&self, guest: Guest) -> Result<(PathBuf, ArtifactKind), String> {
        let flood = "log 0123456789012345678901234567890123456789012345678901234567890123\n";
        let flood = flood.repeat(17_000) + "write ok";
        let script = match guest {
            Guest::Hello => "status 201\nheader x-guest hello\nwrite hello",
            Guest::Echo => "echo",
            Guest::Count => "count",
            Guest::Trap => "trap",
            Guest::TrapLate => "write part\ntrap",
            Guest::Hang => "hang",
            Guest::Spin => return Err("the sim engine does not run code".to_owned()),
            Guest::Log => "log a line\nwrite ok",
            Guest::LogFlood => &flood,
            Guest::Env => "env GREETING",
            Guest::Big => "big 1000000",
            Guest::InitFail => "init fail",
            Guest::Junk => "rm -rf",
        };
        let path = self.directory.path().join("script");
        std::fs::write(&path, script).map_err(|error| error.to_string())?;
        Ok((path, ArtifactKind::Wasm))
    }
}

runtime::conformance_suite!(Sim::new());
