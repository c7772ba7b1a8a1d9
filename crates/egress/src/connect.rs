//! From a target to a socket: resolve once, check every address, connect to exactly those. Refuses to
//! know HTTP.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::address::canonical;
use crate::client::Limits;
use crate::error::{Denial, EgressError, Stage};
use crate::gate::Pass;
use crate::own::OwnListeners;
use crate::policy::Grant;
use crate::resolve::Resolver;
use crate::target::{Host, Target};

/// Addresses that may be connected to: made only by [`resolve`], which checked them.
#[derive(Debug)]
pub(crate) struct CheckedAddresses(Vec<SocketAddr>);

/// Resolves the target once and checks all of the answer. One forbidden address denies the request,
/// even beside good ones: a name that points both ways is an attack or a mistake.
pub(crate) async fn resolve(
    target: &Target,
    grant: Grant,
    own: &OwnListeners,
    resolver: &dyn Resolver,
    pass: &Pass,
    limits: &Limits,
) -> Result<CheckedAddresses, EgressError> {
    let addresses = match &target.host {
        Host::Address(ip) => vec![*ip],
        Host::Name(name) => lookup(name, resolver, pass, limits.resolve_timeout).await?,
    };
    let mut checked = Vec::new();
    for ip in addresses {
        let ip = canonical(ip);
        grant
            .check(ip, target.port, own)
            .map_err(|denial: Denial| EgressError::from(denial))?;
        let address = SocketAddr::new(ip, target.port);
        if checked.len() < limits.addresses_max && !checked.contains(&address) {
            checked.push(address);
        }
    }
    Ok(CheckedAddresses(checked))
}

async fn lookup(
    name: &str,
    resolver: &dyn Resolver,
    pass: &Pass,
    limit: Duration,
) -> Result<Vec<IpAddr>, EgressError> {
    let failed = |source| EgressError::DnsFailed {
        host: name.to_owned(),
        source,
    };
    let lookup = async {
        let ticket = pass.lookup_ticket().await;
        resolver.resolve(name.to_owned(), ticket).await
    };
    let addresses = timeout(limit, lookup)
        .await
        .map_err(|_| EgressError::Timeout {
            stage: Stage::Resolve,
            limit,
        })?
        .map_err(|error| failed(Some(error)))?;
    if addresses.is_empty() {
        return Err(failed(None));
    }
    Ok(addresses)
}

/// Connects to the first address that accepts, giving each an equal share of the time that is left.
pub(crate) async fn connect(
    target: &Target,
    addresses: &CheckedAddresses,
    deadline: Instant,
    limit: Duration,
) -> Result<TcpStream, EgressError> {
    let mut last = None;
    let n = addresses.0.len();
    for (index, address) in addresses.0.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(n - index).unwrap_or(u32::MAX);
        match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Small requests should not wait for more; a socket that refuses the option still works.
                stream.set_nodelay(true).ok();
                return Ok(stream);
            }
            Ok(Err(error)) => last = Some(error),
            Err(_elapsed) => {}
        }
    }
    match last {
        Some(source) if Instant::now() < deadline => Err(EgressError::ConnectFailed {
            target: target.to_string(),
            source,
        }),
        None if n == 0 => Err(EgressError::ConnectFailed {
            target: target.to_string(),
            source: io::ErrorKind::AddrNotAvailable.into(),
        }),
        _ => Err(EgressError::Timeout {
            stage: Stage::Connect,
            limit,
        }),
    }
}
