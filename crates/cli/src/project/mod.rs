//! From what lies in a directory to one artifact: the manifest, the name, the build step, its output.
//! Runs the user's build tools on the user's machine; knows nothing of nodes.

pub mod artifact;
pub mod build;
pub mod detect;
pub mod name;
pub mod process;
pub mod source;
pub mod tool;

pub use artifact::LocalArtifact;
pub use build::{Builder, Built};
pub use detect::Step;
pub use source::Source;
