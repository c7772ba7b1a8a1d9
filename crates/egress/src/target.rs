//! Where a request wants to go, in one spelling. Refuses to know rules and addresses of this host.
//!
//! Many programs read a host more generously than others: `2130706433`, `0x7f.1`, `0177.0.0.1` and
//! `127.1` are loopback to the C library's resolver. Here only the canonical form of an IPv4 address is
//! one, and a name whose last label is a number is refused, as the URL standard's "ends in a number"
//! check has it (<https://url.spec.whatwg.org/#ends-in-a-number-checker>).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;

use crate::address::canonical;
use crate::error::{Denial, EgressError, RequestFault};

/// The longest host name in bytes (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 253;
/// The longest label in bytes.
const LABEL_BYTES_MAX: usize = 63;

/// A host in one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// A DNS name: lower-case, without a trailing dot.
    Name(String),
    /// An address literal; never an IPv4-mapped one.
    Address(IpAddr),
}

/// Scheme, host and port of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) is_tls: bool,
    pub(crate) host: Host,
    pub(crate) port: u16,
}

impl Host {
    /// The text that rules are matched against: no brackets.
    pub(crate) fn to_rule_text(&self) -> String {
        match self {
            Host::Name(name) => name.clone(),
            Host::Address(ip) => ip.to_string(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Address(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            Host::Address(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
        }
    }
}

impl Target {
    /// Reads the target of an absolute URI.
    pub(crate) fn of(uri: &Uri) -> Result<Self, EgressError> {
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(RequestFault::Scheme.into()),
        };
        let authority = uri.authority().ok_or(RequestFault::NoHost)?.as_str();
        if authority.contains('@') {
            return Err(Denial::UserInfo.into());
        }
        let (host, port) = split_port(authority).ok_or(Denial::HostMalformed)?;
        let port = match port {
            None | Some("") => default_port(is_tls),
            Some(digits) => parse_port(digits).ok_or(Denial::HostMalformed)?,
        };
        let host = parse_host(host)?;
        Ok(Self { is_tls, host, port })
    }

    /// The value of the `host` header: the port only where it is not the scheme's own.
    pub(crate) fn to_host_header(&self) -> String {
        let mut text = self.to_string();
        if self.port == default_port(self.is_tls) {
            let end = text.rfind(':').expect("Display ends in a port");
            text.truncate(end);
        }
        text
    }
}

fn default_port(is_tls: bool) -> u16 {
    if is_tls { 443 } else { 80 }
}

/// `http` leaves the port unchecked and reads one that is none as absent; hence our own split.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.starts_with('[') {
        let end = authority.find(']')? + 1;
        let (host, after) = authority.split_at(end);
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None if after.is_empty() => Some((host, None)),
            None => None,
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((authority, None)),
    }
}

fn parse_port(digits: &str) -> Option<u16> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|port| *port != 0)
}

fn parse_host(text: &str) -> Result<Host, Denial> {
    if let Some(inner) = text.strip_prefix('[') {
        // A zone (`%eth0`) names an interface of this host; the parser refuses it, and so do we.
        let inner = inner.strip_suffix(']').ok_or(Denial::HostMalformed)?;
        let ip: Ipv6Addr = inner.parse().map_err(|_| Denial::HostMalformed)?;
        return Ok(Host::Address(canonical(IpAddr::V6(ip))));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_name = !name.is_empty()
        && name.len() <= HOST_BYTES_MAX
        && name.split('.').all(|label| {
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        });
    if !is_name {
        return Err(Denial::HostMalformed);
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if !ends_in_number(last) {
        return Ok(Host::Name(name));
    }
    // The standard library takes only the canonical form: four decimal numbers without leading zeros.
    match text.parse::<Ipv4Addr>() {
        Ok(ip) => Ok(Host::Address(IpAddr::V4(ip))),
        Err(_) => Err(Denial::AmbiguousAddress),
    }
}

fn ends_in_number(label: &str) -> bool {
    let is_decimal = label.bytes().all(|byte| byte.is_ascii_digit());
    let is_hex = label
        .strip_prefix("0x")
        .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_decimal || is_hex
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(uri: &str) -> Result<String, String> {
        let uri: Uri = uri.parse().map_err(|_| "not a URI".to_owned())?;
        Target::of(&uri)
            .map(|target| target.to_string())
            .map_err(|error| match error {
                EgressError::Denied { denial, .. } => format!("{denial:?}"),
                other => format!("{other:?}"),
            })
    }

    #[test]
    fn hosts_have_one_spelling() {
        for (uri, expected) in [
            ("http://Example.COM/a", "example.com:80"),
            ("https://example.com./", "example.com:443"),
            ("http://example.com:/", "example.com:80"),
            ("http://example.com:0443/", "example.com:443"),
            ("http://127.0.0.1/", "127.0.0.1:80"),
            ("http://[::FFFF:127.0.0.1]:8080/", "127.0.0.1:8080"),
            ("http://[::ffff:7f00:1]/", "127.0.0.1:80"),
            ("https://[2A00:0::0001]/", "[2a00::1]:443"),
            ("http://xn--bcher-kva.example/", "xn--bcher-kva.example:80"),
        ] {
            assert_eq!(target(uri).as_deref(), Ok(expected), "{uri}");
        }
    }

    #[test]
    fn odd_spellings_of_addresses_are_refused() {
        for host in [
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "0x7f.1",
            "127.1",
            "127.0.1",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.01",
            "127.0.0.1.",
            "1.2.3.4.5",
            "256.0.0.1",
            "0",
            "0x",
            "0x0",
            "a.0x7f",
            "example.1",
            "00.0.0.0",
            "4294967296",
        ] {
            assert_eq!(
                target(&format!("http://{host}/")).unwrap_err(),
                "AmbiguousAddress",
                "{host}"
            );
        }
    }

    #[test]
    fn malformed_authorities_are_refused() {
        for uri in [
            "http://user@example.com/",
            "http://user:pw@example.com/",
            "http://example.com@10.0.0.1/",
        ] {
            assert_eq!(target(uri).unwrap_err(), "UserInfo", "{uri}");
        }
        for uri in [
            "http://example.com:99999/",
            "http://example.com:0/",
            "http://example.com:+80/",
            "http://a..b/",
            "http://.example.com/",
            "http://%31%32%37.0.0.1/",
            "http://a%00b/",
            "http://[fe80::1%25eth0]/",
            "http://[::1",
            "http://[::1]x/",
            "http://a:1:2/",
            "http://::1/",
        ] {
            let error = target(uri).unwrap_err();
            assert!(
                error == "HostMalformed" || error == "not a URI",
                "{uri}: {error}"
            );
        }
        assert_eq!(
            target("ftp://example.com/").unwrap_err(),
            "InvalidRequest(Scheme)"
        );
        assert_eq!(target("/relative").unwrap_err(), "InvalidRequest(Scheme)");
        let long = format!("http://{}.example/", "a".repeat(64));
        assert_eq!(target(&long).unwrap_err(), "HostMalformed");
    }

    proptest! {
        /// What other programs' resolvers might take for an address is one here, or refused.
        #[test]
        fn no_host_hides_an_address(host in "[0-9a-fxA-FX.:%\\[\\]-]{1,24}") {
            let Ok(uri) = format!("http://{host}/").parse::<Uri>() else {
                return Ok(());
            };
            let Ok(target) = Target::of(&uri) else {
                return Ok(());
            };
            let text = target.to_host_header();
            prop_assert!(http::HeaderValue::try_from(&text).is_ok());
            if let Host::Name(name) = &target.host {
                let last = name.rsplit('.').next().unwrap_or_default();
                prop_assert!(!last.starts_with(|first: char| first.is_ascii_digit()) || !ends_in_number(last));
                prop_assert!(name.parse::<IpAddr>().is_err());
            }
            // One spelling: reading it again changes nothing.
            let again = Target::of(&format!("http://{text}/").parse().unwrap());
            prop_assert_eq!(again.ok(), Some(target));
        }
    }

    #[test]
    fn the_host_header_omits_the_default_port() {
        for (uri, expected) in [
            ("http://example.com:80/", "example.com"),
            ("https://example.com:80/", "example.com:80"),
            ("https://[2a00::1]/", "[2a00::1]"),
        ] {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(Target::of(&uri).unwrap().to_host_header(), expected);
        }
    }
}
