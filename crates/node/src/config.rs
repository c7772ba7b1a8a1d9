//! The node's configuration: a TOML file over defaults, and the command line over both. The doc comments
//! are the operator's manual.

use std::path::{Path, PathBuf};
use std::time::Duration;

use control::ControlConfig;
use egress::EgressConfig;
use gateway::GatewayConfig;
use invoker::InvokerConfig;
use meter::{LogsConfig, MeterConfig};
use model::limits::Ceilings;
use model::{Code, Failure};
use serde::{Deserialize, Serialize};

use crate::engines::CompileCommand;

/// Everything that can be set on a node. Every part has defaults; unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// Where functions, receipts and the admin token are kept.
    pub data_dir: PathBuf,
    /// Engine files, shared by all nodes of the host.
    pub engines_dir: Option<PathBuf>,
    /// Refuse weaker sandboxes and engines with known holes, where otherwise they run with a warning.
    pub production: bool,
    /// Seconds that a stopping node gives its invocations.
    pub drain_s: u64,
    /// The HTTP edge.
    pub gateway: GatewayConfig,
    /// The admin API.
    pub admin: ControlConfig,
    /// Admission and instances.
    pub invoker: InvokerConfig,
    /// The `wasm` class.
    pub wasm: WasmSettings,
    /// Outbound requests of functions.
    pub egress: EgressSettings,
    /// Logs of functions.
    pub logs: LogsConfig,
    /// Receipts, prices and metrics.
    pub meter: MeterConfig,
    /// The most that a manifest may ask for.
    pub ceilings: Ceilings,
    /// The program that compiles modules: this one, under another command.
    #[serde(skip)]
    pub compile: CompileCommand,
}

/// The `wasm` class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WasmSettings {
    /// Instances that may exist at once. Each reserves 4 GiB of address space and next to no memory.
    pub n_slots: u32,
    /// Address space of one compilation, in bytes.
    pub compile_memory_bytes_max: u64,
    /// CPU time of one compilation, in seconds over all its threads.
    pub compile_cpu_s_max: u64,
    /// Size of a compiled file, in bytes.
    pub compile_output_bytes_max: u64,
    /// Wall-clock time of one compilation, in seconds.
    pub compile_timeout_s: u64,
    /// Compilations at once; others wait.
    pub n_compile_workers: usize,
}

impl Default for WasmSettings {
    fn default() -> Self {
        let limits = runtime_wasm::CompileLimits::default();
        Self {
            n_slots: 1_000,
            compile_memory_bytes_max: limits.memory_bytes_max,
            compile_cpu_s_max: limits.cpu_s_max,
            compile_output_bytes_max: limits.output_bytes_max,
            compile_timeout_s: limits.timeout.as_secs(),
            n_compile_workers: limits.n_workers,
        }
    }
}

/// Outbound requests of functions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EgressSettings {
    /// Milliseconds for connecting and the TLS handshake together.
    pub connect_timeout_ms: u64,
    /// Milliseconds until the response's head.
    pub head_timeout_ms: u64,
    /// Milliseconds that a response's body may stand still.
    pub between_bytes_timeout_ms: u64,
    /// Open connections of one function.
    pub connections_per_function_max: u32,
    /// Open connections of all functions.
    pub connections_max: u32,
}

impl Default for EgressSettings {
    fn default() -> Self {
        let config = EgressConfig::default();
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            connect_timeout_ms: ms(config.connect_timeout),
            head_timeout_ms: ms(config.head_timeout),
            between_bytes_timeout_ms: ms(config.between_bytes_timeout),
            connections_per_function_max: config.connections_per_function_max,
            connections_max: config.connections_max,
        }
    }
}

impl EgressSettings {
    pub(crate) fn to_config(&self) -> EgressConfig {
        EgressConfig {
            connect_timeout: Duration::from_millis(self.connect_timeout_ms),
            head_timeout: Duration::from_millis(self.head_timeout_ms),
            between_bytes_timeout: Duration::from_millis(self.between_bytes_timeout_ms),
            connections_per_function_max: self.connections_per_function_max,
            connections_max: self.connections_max,
            ..EgressConfig::default()
        }
    }
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            data_dir: default_data_dir(),
            engines_dir: None,
            production: false,
            drain_s: 30,
            gateway: GatewayConfig::default(),
            admin: ControlConfig::default(),
            invoker: InvokerConfig::default(),
            wasm: WasmSettings::default(),
            egress: EgressSettings::default(),
            logs: LogsConfig::default(),
            meter: MeterConfig::default(),
            ceilings: Ceilings::default(),
            compile: CompileCommand::default(),
        }
    }
}

impl NodeConfig {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// `ConfigInvalid` with file, line and key.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::new(Code::ConfigInvalid, format!("{}: {error}", path.display()))
        })?;
        let config: Self = toml::from_str(&text).map_err(|error| {
            Failure::new(Code::ConfigInvalid, format!("{}: {error}", path.display()))
        })?;
        config.check()?;
        Ok(config)
    }

    /// Refuses values that cannot work together.
    ///
    /// # Errors
    /// `ConfigInvalid` naming the key.
    pub fn check(&self) -> Result<(), Failure> {
        self.gateway
            .check()
            .map_err(|error| Failure::new(Code::ConfigInvalid, error.to_string()))?;
        let n_slots = self.wasm.n_slots as usize;
        if self.invoker.wasm.n_instances_max > n_slots {
            return Err(Failure::new(
                Code::ConfigInvalid,
                format!(
                    "`invoker.wasm.n_instances_max` is {}, but `wasm.n_slots` is {n_slots}: every \
                     instance needs a slot",
                    self.invoker.wasm.n_instances_max
                ),
            ));
        }
        Ok(())
    }
}

/// `HOLM_DATA_DIR` is the command line's; this is what holds without it.
fn default_data_dir() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/share"));
    std::env::var_os("XDG_DATA_HOME")
        .filter(|directory| !directory.is_empty())
        .map(PathBuf::from)
        .or_else(home)
        .unwrap_or_else(|| PathBuf::from("/var/lib"))
        .join("holm")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<NodeConfig, Failure> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("node.toml");
        std::fs::write(&path, text).expect("writable");
        NodeConfig::read(&path)
    }

    #[test]
    fn an_empty_file_is_the_defaults_and_parts_may_be_set() {
        assert_eq!(read("").expect("valid"), NodeConfig::default());
        let config =
            read("[meter.prices]\ncurrency = \"EUR\"\n[wasm]\nn_slots = 2000\n").expect("valid");
        assert_eq!(
            (config.meter.prices.currency.as_str(), config.wasm.n_slots),
            ("EUR", 2000)
        );
    }

    /// The page shows every key with its default; where it does not, this prints what it should show.
    #[test]
    fn the_guide_shows_every_key_with_its_default() {
        let page = include_str!("../../../docs/guide/configuration.md");
        let (_, rest) = page.split_once("```toml\n").expect("the page has a block");
        let (block, _) = rest.split_once("```").expect("the block ends");
        let shown: toml::Table = block.parse().expect("the block is TOML");
        let mut defaults = toml::Table::try_from(NodeConfig::default()).expect("TOML can hold it");
        // This one depends on the user: the page says how.
        defaults.remove("data_dir");
        let expected = toml::to_string(&defaults).expect("a table");
        assert_eq!(shown, defaults, "the block should be:\n{expected}");
    }

    #[test]
    fn faults_name_file_line_and_key() {
        for (text, parts) in [
            ("a = 1\n", &["node.toml", "line 1", "`a`"][..]),
            ("[wasm]\nn_slots = \"x\"\n", &["line 2", "n_slots"]),
            ("[wasm]\nn_slots = 1\n", &["n_instances_max", "n_slots"]),
            (
                "[gateway]\nhead_timeout_ms = 0\n",
                &["gateway.head_timeout_ms"],
            ),
        ] {
            let failure = read(text).expect_err(text);
            assert_eq!(failure.code(), Code::ConfigInvalid);
            for part in parts {
                assert!(
                    failure.detail().contains(part),
                    "{part} in {}",
                    failure.detail()
                );
            }
        }
    }
}
