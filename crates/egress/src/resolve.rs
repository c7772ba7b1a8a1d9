//! Names to addresses. Refuses to judge addresses, and to remember them: one answer serves one request.

use std::future::Future;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::pin::Pin;

use tokio::sync::OwnedSemaphorePermit;

/// A place among the lookups of a function and of the node. Whoever resolves keeps it until the work
/// has really ended, also when nobody waits for the answer any more.
#[derive(Debug)]
pub struct LookupTicket {
    pub(crate) _function: OwnedSemaphorePermit,
    pub(crate) _node: OwnedSemaphorePermit,
}

/// The future of [`Resolver::resolve`].
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Turns names into addresses.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of `name`, in the order in which they should be tried. Called once per request.
    fn resolve(&self, name: String, ticket: LookupTicket) -> Resolving;
}

/// The resolver of the host: `/etc/hosts`, `nsswitch.conf` and all.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, name: String, ticket: LookupTicket) -> Resolving {
        Box::pin(async move {
            // getaddrinfo blocks and cannot be stopped: the ticket goes with it, so that a guest that
            // gives up on slow names cannot pile up threads.
            let lookup = tokio::task::spawn_blocking(move || {
                let _ticket = ticket;
                let addresses = (name.as_str(), 0).to_socket_addrs()?;
                Ok(addresses.map(|address| address.ip()).collect())
            });
            lookup.await.map_err(io::Error::other)?
        })
    }
}
