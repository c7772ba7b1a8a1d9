//! `holm bench`: how fast a node is, as ratios against baselines that run in the same minutes on the same
//! machine. Owns the load generator, the statistics, the rows and the report; knows a node from outside,
//! by its binary, its sockets and the parts that [`node::Parts`] lets replace.

mod guests;
pub mod instructions;
mod lab;
pub mod load;
pub mod machine;
mod peers;
mod progress;
pub mod report;
mod rows;
mod run;
mod serve;
mod servers;
pub mod stats;

pub use run::{Options, Outcome, row_names, run};
pub use serve::run as serve;
