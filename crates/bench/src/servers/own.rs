//! Servers of this same binary: ordinary nodes, nodes with replaced parts, floors and stages.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::spawn::Addresses;
use super::{Launch, Server, ServerError, Stream};
use crate::serve::{EngineSpec, NodeSpec, Ready, ServerSpec};

/// This program, also after an upgrade replaced its file.
const SELF: &str = "/proc/self/exe";

/// The hidden command that [`crate::serve::run`] is behind.
const SERVE_COMMAND: &str = "internal-bench-server";

/// Variables of the user's that would change what a node does.
const FOREIGN_VARIABLES: [&str; 4] = [
    "HOLM_DATA_DIR",
    "HOLM_ENGINES_DIR",
    "HOLM_ADMIN",
    "HOLM_LOG",
];

/// Whose engine a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// Its own.
    Usual,
    /// One that answers without a guest.
    Noop,
}

/// How a node differs from an ordinary one.
#[derive(Clone, Debug)]
pub(crate) struct NodeOptions {
    /// The engine of class `wasm`.
    pub(crate) engine: Engine,
    /// Whether receipts are made.
    pub(crate) metering: bool,
    /// Whether log lines are kept.
    pub(crate) logs: bool,
    /// Its data directory; one of its own where there is none.
    pub(crate) data_dir: Option<PathBuf>,
    /// More of its configuration, as TOML tables.
    pub(crate) more_config: &'static str,
    /// The core it is bound to.
    pub(crate) core: Option<usize>,
}

impl NodeOptions {
    /// An ordinary node on `core`.
    pub(crate) fn usual(core: usize) -> Self {
        Self {
            engine: Engine::Usual,
            metering: true,
            logs: true,
            data_dir: None,
            more_config: "",
            core: Some(core),
        }
    }

    fn is_usual(&self) -> bool {
        self.engine == Engine::Usual && self.metering && self.logs
    }
}

impl Server {
    /// Starts a node. An ordinary one is `holm up`, as everybody runs it.
    pub(crate) fn node(options: &NodeOptions) -> Result<Self, ServerError> {
        let scratch = scratch()?;
        let data_dir = options
            .data_dir
            .clone()
            .unwrap_or_else(|| scratch.path().join("data"));
        let config = scratch.path().join("node.toml");
        write(&config, config_text(&data_dir, options.more_config))?;
        let command = match options.is_usual() {
            true => {
                let mut command = Command::new(SELF);
                command.args(["up", "--json", "--config"]).arg(&config);
                command
            }
            false => serve_command(&ServerSpec::Node(NodeSpec {
                config,
                engine: match options.engine {
                    Engine::Usual => EngineSpec::Usual,
                    Engine::Noop => EngineSpec::Noop,
                },
                metering: options.metering,
                logs: options.logs,
            })),
        };
        let mut server = launch("a node", command, options.core, scratch)?;
        server.data_dir = Some(data_dir);
        Ok(server)
    }

    /// Starts a floor or a stage on `core`. `files` are written to its directory first; `spec` is told
    /// where that is.
    pub(crate) fn floor(
        core: usize,
        files: &[(&str, &[u8])],
        spec: impl FnOnce(&Path) -> ServerSpec,
    ) -> Result<Self, ServerError> {
        let scratch = scratch()?;
        for (name, content) in files {
            write(&scratch.path().join(name), content)?;
        }
        let command = serve_command(&spec(scratch.path()));
        launch("a floor", command, Some(core), scratch)
    }
}

fn launch(
    name: &str,
    mut command: Command,
    core: Option<usize>,
    scratch: TempDir,
) -> Result<Server, ServerError> {
    for variable in FOREIGN_VARIABLES {
        command.env_remove(variable);
    }
    command.env("HOLM_LOG", "warn");
    let launch = Launch {
        name,
        command,
        core,
        scratch,
        stream: Stream::Stdout,
        address: |line| addresses(&serde_json::from_str(line).ok()?),
    };
    launch.start()
}

fn serve_command(spec: &ServerSpec) -> Command {
    let spec = serde_json::to_string(spec).expect("plain data");
    let mut command = Command::new(SELF);
    command.arg(SERVE_COMMAND).arg(spec);
    command
}

fn addresses(ready: &Ready) -> Option<Addresses> {
    let parse = |url: &str| url.strip_prefix("http://")?.parse().ok();
    let admin = ready.admin.as_deref().and_then(parse);
    Some((parse(&ready.gateway)?, admin))
}

/// Everything but addresses, directory and what a row needs is as by default.
fn config_text(data_dir: &Path, more: &str) -> String {
    let data_dir = toml::Value::String(data_dir.display().to_string());
    format!(
        "data_dir = {data_dir}\ndrain_s = 1\n[gateway]\naddress = \"127.0.0.1:0\"\n\
         [admin]\naddress = \"127.0.0.1:0\"\n{more}"
    )
}

/// A directory that goes with its server.
pub(crate) fn scratch() -> Result<TempDir, ServerError> {
    tempfile::Builder::new()
        .prefix("holm-bench-")
        .tempdir()
        .map_err(|error| ServerError(format!("a temporary directory: {error}")))
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), ServerError> {
    std::fs::write(path, content)
        .map_err(|error| ServerError(format!("{}: {error}", path.display())))
}
