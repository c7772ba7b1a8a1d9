//! The words of Holm as types: ids, names, functions, versions, limits, receipts, error codes.
//!
//! Owns what the terms mean and what values are valid. Refuses to know how anything is stored, run or
//! sent: no IO, no clock, no randomness, no tokio. Every other crate depends on this one and it depends
//! on none of them.

mod serde_text;

pub mod code;
pub mod digest;
pub mod egress;
pub mod env;
pub mod failure;
pub mod function;
pub mod http_path;
pub mod ids;
pub mod isolation;
pub mod limits;
pub mod manifest;
pub mod names;
pub mod price;
pub mod receipt;
pub mod route;
pub mod units;

pub use code::{Code, Side, explain};
pub use digest::Digest;
pub use failure::{Failure, LimitHit, Problem};
pub use function::{Artifact, ArtifactKind, Contract, FunctionConfig, FunctionVersion};
pub use ids::InvocationId;
pub use isolation::Isolation;
pub use limits::{Ceilings, Limits};
pub use manifest::{Manifest, ManifestError};
pub use names::{FunctionKey, FunctionName, NameError, Namespace};
pub use receipt::{Receipt, StartKind};
pub use route::{Route, RouteTable};
