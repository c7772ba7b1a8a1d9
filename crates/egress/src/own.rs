//! The addresses on which this node itself listens, and whether an address belongs to this host at all.
//! Refuses to know rules.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use parking_lot::RwLock;

use crate::address::{canonical, embedded_v4};

/// A listener of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The admin API: never reachable for a function.
    Admin,
    /// The gateway: reachable under a `private:` rule.
    Gateway,
}

/// The node's listeners. Shared between the node, which adds what it binds (and the public addresses
/// that it was told it has), and the client, which looks at every connect.
#[derive(Debug, Default)]
pub struct OwnListeners {
    listeners: RwLock<Vec<(Listener, SocketAddr)>>,
}

impl OwnListeners {
    /// Adds a bound address. One with an unspecified IP stands for every address of this host.
    pub fn add(&self, listener: Listener, address: SocketAddr) {
        self.listeners.write().push((listener, address));
    }

    /// The listener that a connection to `ip` and `port` would reach; the admin API where it could be
    /// both.
    pub(crate) fn find(&self, ip: IpAddr, port: u16) -> Option<Listener> {
        let listeners = self.listeners.read();
        let carried = match ip {
            IpAddr::V6(v6) => embedded_v4(v6).map(IpAddr::V4),
            IpAddr::V4(_) => None,
        };
        let hit = |wanted: Listener| {
            listeners.iter().any(|(listener, address)| {
                *listener == wanted
                    && address.port() == port
                    && std::iter::once(ip)
                        .chain(carried)
                        .any(|ip| reaches(address.ip(), ip))
            })
        };
        [Listener::Admin, Listener::Gateway]
            .into_iter()
            .find(|listener| hit(*listener))
    }
}

fn reaches(bound: IpAddr, ip: IpAddr) -> bool {
    let (bound, ip) = (canonical(bound), canonical(ip));
    bound == ip || (bound.is_unspecified() && is_local(ip))
}

/// Whether the kernel would deliver packets for `ip` to this host.
///
/// Binding is the one question that covers every interface, secondary addresses and address ranges
/// routed to this host, without reading the tables of any; it costs three cheap system calls. Whatever
/// else goes wrong counts as local, so that doubt denies.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    match UdpSocket::bind((ip, 0)) {
        Ok(_) => true,
        Err(error) => {
            !matches!(
                error.kind(),
                std::io::ErrorKind::AddrNotAvailable | std::io::ErrorKind::Unsupported
            ) && !is_family_missing(&error)
        }
    }
}

/// The kernel has no IPv6: then no IPv6 address is its own, and connecting will say so.
fn is_family_missing(error: &std::io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_kernel_knows_its_own_addresses() {
        assert!(is_local(ip("127.0.0.1")));
        assert!(is_local(ip("127.7.7.7")));
        assert!(!is_local(ip("8.8.8.8")));
        assert!(!is_local(ip("192.0.2.1")));
    }

    #[test]
    fn listeners_are_found_by_every_way_to_reach_them() {
        let own = OwnListeners::default();
        own.add(Listener::Gateway, "0.0.0.0:8080".parse().unwrap());
        own.add(Listener::Admin, "127.0.0.1:8081".parse().unwrap());
        own.add(Listener::Admin, "203.0.113.9:443".parse().unwrap());
        for (address, port, expected) in [
            ("127.0.0.1", 8080, Some(Listener::Gateway)),
            ("127.9.9.9", 8080, Some(Listener::Gateway)),
            ("8.8.8.8", 8080, None),
            ("127.0.0.1", 8081, Some(Listener::Admin)),
            ("::ffff:127.0.0.1", 8081, Some(Listener::Admin)),
            ("64:ff9b::127.0.0.1", 8081, Some(Listener::Admin)),
            ("127.0.0.2", 8081, None),
            ("127.0.0.1", 8082, None),
            ("203.0.113.9", 443, Some(Listener::Admin)),
        ] {
            assert_eq!(own.find(ip(address), port), expected, "{address}:{port}");
        }
    }

    #[test]
    fn admin_wins_where_both_are_possible() {
        let own = OwnListeners::default();
        own.add(Listener::Gateway, "127.0.0.1:80".parse().unwrap());
        own.add(Listener::Admin, "0.0.0.0:80".parse().unwrap());
        assert_eq!(own.find(ip("127.0.0.1"), 80), Some(Listener::Admin));
    }
}
