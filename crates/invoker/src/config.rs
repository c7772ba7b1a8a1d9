//! The invoker's knobs. The doc comments are the operator's manual.

use serde::{Deserialize, Serialize};

/// Limits of the node as a whole; those of a function are in its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InvokerConfig {
    /// Invocations in flight on the node, waiting ones included. More are refused with H3002.
    pub n_in_flight_max: usize,
    /// Invocations of one namespace in flight. More are refused with H1009: below the places of a class,
    /// so that no owner can take them all.
    pub n_per_namespace_max: u32,
    /// Invocations that may wait for an instance of one class. More are refused with H3002.
    pub n_waiting_max: usize,
    /// Templates (loaded compiled code) kept in memory; the least recently used goes first. The code is
    /// mapped from disk, and functions with the same code share it: one more function takes some KiB.
    pub n_templates_max: usize,
    /// Seconds after its last use that a template stays in memory.
    pub template_keep_alive_s: u64,
    /// The `wasm` class.
    pub wasm: ClassConfig,
    /// The `v8` class.
    pub v8: ClassConfig,
    /// The `container` class.
    pub container: ClassConfig,
    /// The `gvisor` class.
    pub gvisor: ClassConfig,
    /// The `microvm` class.
    pub microvm: ClassConfig,
}

/// Limits of one class on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassConfig {
    /// Instances alive at once, idle ones included.
    pub n_instances_max: usize,
    /// Seconds that an idle instance is kept.
    pub keep_alive_s: u64,
}

impl Default for ClassConfig {
    fn default() -> Self {
        Self {
            n_instances_max: 100,
            keep_alive_s: 300,
        }
    }
}

impl Default for InvokerConfig {
    fn default() -> Self {
        Self {
            n_in_flight_max: 20_000,
            n_per_namespace_max: 700,
            n_waiting_max: 10_000,
            n_templates_max: 16_384,
            template_keep_alive_s: 600,
            // The engine's pool has a few slots more than this, so that its own limit is never met first.
            wasm: ClassConfig {
                n_instances_max: 900,
                keep_alive_s: 10,
            },
            v8: ClassConfig {
                n_instances_max: 200,
                keep_alive_s: 60,
            },
            container: ClassConfig::default(),
            gvisor: ClassConfig::default(),
            microvm: ClassConfig {
                n_instances_max: 50,
                keep_alive_s: 60,
            },
        }
    }
}

impl InvokerConfig {
    /// The limits of `isolation`.
    pub fn class(&self, isolation: model::Isolation) -> &ClassConfig {
        match isolation {
            model::Isolation::Wasm => &self.wasm,
            model::Isolation::V8 => &self.v8,
            model::Isolation::Container => &self.container,
            model::Isolation::Gvisor => &self.gvisor,
            model::Isolation::Microvm => &self.microvm,
        }
    }
}
