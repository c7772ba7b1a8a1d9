//! `holm bench`: how fast a node is, as ratios against baselines that run in the same minutes on the same
//! machine. Owns the load generator, the statistics and the report; refuses to know how a node works
//! inside.

pub mod load;
pub mod machine;
pub mod report;
pub mod stats;
