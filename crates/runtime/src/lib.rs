//! The seam between the platform and its isolation engines: [`Runtime`], [`Template`], [`Sandbox`], the
//! body and context types that cross it, the conformance suite that every engine passes, and `sim`, a
//! scripted engine for tests.
//!
//! Refuses to know any engine, the gateway, pools, or storage.

pub mod body;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod invocation;
pub mod log;
pub mod seam;
pub mod sim;
pub mod trace;

pub use body::Body;
pub use invocation::{Event, Invocation, InvocationContext, Meter};
pub use log::{LogLine, LogSink, LogStream};
pub use seam::{
    Availability, BoxFuture, PrepareRequest, Runtime, Sandbox, StartRequest, Started, Template,
};
pub use trace::TraceContext;
