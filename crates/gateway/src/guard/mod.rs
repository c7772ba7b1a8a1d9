//! What stands between a socket and the HTTP/1 server: it follows the framing of the byte stream itself
//! and lets nothing through that two programs could read differently.
//!
//! hyper is lenient where RFC 9112 permits it (bare line feeds, `Transfer-Encoding` beside
//! `Content-Length`, codings before `chunked`, ...), and each leniency is a request that a proxy before
//! this node may have framed otherwise: smuggling. So every head is judged here first. One that is fine
//! passes unchanged, in the server's own buffer; one that is not never reaches the server, which gets a
//! harmless request in its place and is told to refuse it ([`refusal`]). That way a refusal is an
//! ordinary answer, in order behind the answers to the requests before it, with a problem document.
//!
//! Refuses to know functions, routes and timers. HTTP/2 passes by: the h2 crate frames it.

mod chunked;
mod framer;
mod head;
mod io;
mod outbox;
mod raw;
mod refusal;
#[cfg(test)]
mod tests;

pub(crate) use framer::FramerLimits;
pub(crate) use io::{GuardedIo, Protocol, Transport};
pub(crate) use refusal::Refusal;
