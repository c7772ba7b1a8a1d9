//! What a function may reach over the network: rules of the manifest's `[egress] allow`. Refuses to
//! resolve names or open sockets: the `egress` crate does.

use std::fmt;
use std::str::FromStr;

/// One entry of `[egress] allow`. Its text is one of
/// `example.com`, `*.example.com`, `example.com:8443`, `10.1.2.3:80`, `[fd00::1]:80`, `*`
/// and, to grant addresses that are refused otherwise (loopback, private, link-local),
/// `private:NAME-OR-ADDRESS[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EgressRule {
    /// The host pattern, lower-case.
    pub host: HostPattern,
    /// The port; `None` allows 80 and 443.
    pub port: Option<u16>,
    /// Whether loopback, private and link-local addresses may be connected to under this rule.
    pub private: bool,
}

/// Which hosts a rule matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Every host.
    Any,
    /// This name or address literal.
    Exact(String),
    /// Every name below this one, not the name itself.
    Below(String),
}

/// The text is not an egress rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an egress rule: write a host such as `api.example.com`, `*.example.com`, \
     `10.0.0.7:8080` or `private:localhost:9000`"
)]
pub struct EgressRuleError(String);

impl EgressRule {
    /// Whether the rule covers `host` (lower-case, no brackets) at `port`.
    pub fn matches(&self, host: &str, port: u16) -> bool {
        let port_matches = match self.port {
            Some(allowed) => allowed == port,
            None => port == 80 || port == 443,
        };
        port_matches
            && match &self.host {
                HostPattern::Any => true,
                HostPattern::Exact(name) => name == host,
                HostPattern::Below(name) => host
                    .strip_suffix(name.as_str())
                    .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            }
    }
}

impl FromStr for EgressRule {
    type Err = EgressRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || EgressRuleError(text.escape_default().to_string());
        let (private, rest) = match text.strip_prefix("private:") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (host, port) = split_port(rest).ok_or_else(refuse)?;
        let host = host.to_ascii_lowercase();
        let host = match host.as_str() {
            "*" => HostPattern::Any,
            pattern => match pattern.strip_prefix("*.") {
                Some(name) if is_host(name) => HostPattern::Below(name.to_owned()),
                None if is_host(pattern) => HostPattern::Exact(pattern.to_owned()),
                _ => return Err(refuse()),
            },
        };
        Ok(Self {
            host,
            port,
            private,
        })
    }
}

/// Splits `host[:port]` with IPv6 literals in brackets.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(port.parse().ok()?))),
            None if after.is_empty() => Some((host, None)),
            None => None,
        };
    }
    match text.split_once(':') {
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
        None => Some((text, None)),
    }
}

fn is_host(host: &str) -> bool {
    if host.parse::<std::net::IpAddr>().is_ok() {
        return true;
    }
    !host.is_empty()
        && host.len() <= 253
        && host.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

impl fmt::Display for EgressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.private {
            f.write_str("private:")?;
        }
        match &self.host {
            HostPattern::Any => f.write_str("*")?,
            HostPattern::Exact(host) if host.contains(':') => write!(f, "[{host}]")?,
            HostPattern::Exact(host) => f.write_str(host)?,
            HostPattern::Below(host) => write!(f, "*.{host}")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

crate::serde_text::serde_as_text!(EgressRule);

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> EgressRule {
        text.parse().expect("a valid rule")
    }

    #[test]
    fn rules_match_hosts_and_ports() {
        assert!(rule("example.com").matches("example.com", 443));
        assert!(!rule("example.com").matches("example.com", 8443));
        assert!(rule("example.com:8443").matches("example.com", 8443));
        assert!(!rule("example.com").matches("a.example.com", 443));
        assert!(rule("*.example.com").matches("a.example.com", 443));
        assert!(!rule("*.example.com").matches("example.com", 443));
        assert!(!rule("*.example.com").matches("evilexample.com", 443));
        assert!(!rule("*.example.com").matches(".example.com", 443));
        assert!(rule("*").matches("anything", 80));
        assert!(rule("[fd00::1]:80").matches("fd00::1", 80));
    }

    #[test]
    fn rules_round_trip_and_junk_is_refused() {
        for text in [
            "*",
            "*.example.com",
            "example.com:8443",
            "[fd00::1]:80",
            "private:localhost:9000",
            "10.0.0.1",
        ] {
            assert_eq!(rule(text).to_string(), text);
        }
        for text in [
            "",
            "*.",
            "a b",
            "example.com:",
            "example.com:x",
            "http://a",
            "a*.b",
            "[::g]",
        ] {
            assert!(text.parse::<EgressRule>().is_err(), "{text}");
        }
    }
}
