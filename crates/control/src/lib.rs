//! The admin API's server: publish, roll back, call, look inside.
//!
//! Owns one TCP listener and everything that `crates/api` describes. Who gets in is decided in one place,
//! [`guard`], before anything of a request is read; what an operation does is found in one table,
//! [`router`]; a failure becomes a problem document in one place, [`refusal`].
//!
//! Refuses to know engines, SQL, and what functions answer. Nothing here is on the path of a request
//! through the gateway.

mod artifacts;
mod changes;
mod config;
mod extract;
mod functions;
mod guard;
mod invoke;
mod logs;
mod node;
mod passed;
mod publish;
mod redact;
mod refusal;
mod router;
mod server;
mod state;
mod token;
mod usage;
mod versions;
mod view;

pub use config::ControlConfig;
pub use server::{Control, ControlError, ControlHandle};
pub use state::{ControlDeps, NodeFacts};
pub use token::{AdminToken, TOKEN_FILE, TokenError};
