//! Assembles a node: store, engines, invoker, gateway, meter, admin API. The only crate that names an
//! engine or a store by type. Refuses to know the command line.

mod config;
mod engines;
mod housekeeping;
mod metrics;
mod node;
mod parts;

pub use config::{EgressSettings, NodeConfig, WasmSettings};
pub use engines::{CompileCommand, engines, probe};
pub use node::Node;
pub use parts::Parts;
