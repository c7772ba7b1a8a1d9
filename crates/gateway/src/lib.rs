//! The HTTP gateway: HTTP/1.1 and HTTP/2 in, invocations out.
//!
//! Owns sockets, HTTP, and what callers may do to them; the one place where errors become status and code
//! for callers of functions. Thread per core: each worker has its own event loop, listener and
//! connections, and a request never changes threads. The life of a request reads top to bottom in
//! [`request`].
//!
//! ```text
//! socket -> guard -> hyper -> request::handle: accept -> resolve -> admit -> (invoker) -> respond
//!            \ supervised by connection::supervise, which has the timers
//! ```
//!
//! Refuses to know engines, pools, storage, and the admin API.

mod config;
mod connection;
mod gateway;
mod guard;
mod headers;
mod hosts;
mod listen;
mod overload;
mod random;
mod request;
mod request_body;
mod resolve;
mod respond;
mod response_body;
mod stack_text;
mod stats;
mod worker;

pub use config::{ConfigError, EventLoopConfig, GatewayConfig, Http2Config};
pub use gateway::{Gateway, GatewayDeps, GatewayError, GatewayHandle};
pub use stats::GatewayStats;
