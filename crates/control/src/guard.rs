//! Who gets in. Judged from the head alone, before any operation is looked up or a body byte is read, and
//! denying by default: what the table of operations does not call anonymous needs the token, known path or
//! not.
//!
//! The API is for programs, not for web pages. A page that a browser shows could reach a loopback address
//! on its visitor's behalf, so requests from pages are refused by what browsers cannot help sending
//! (`origin`, `sec-fetch-site`), and host names that are not the node's by the `host` header: that ends
//! DNS rebinding. There is no CORS.

use std::net::{IpAddr, SocketAddr};

use api::{Auth, Operation};
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, Method, Uri};
use model::http_path::canonical_authority;
use model::{Code, Failure};

use crate::token::AdminToken;

/// The rules of one server.
pub(crate) struct Guard {
    token: AdminToken,
    /// Canonical names besides `localhost`.
    hosts: Vec<String>,
    bound: IpAddr,
}

impl Guard {
    /// `hosts` are the operator's further names.
    pub(crate) fn new(token: AdminToken, hosts: &[String], bound: SocketAddr) -> Self {
        let hosts = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        Self {
            token,
            hosts,
            bound: bound.ip(),
        }
    }

    /// Whether a request may go on.
    ///
    /// # Errors
    /// `BadRequest`, `HostNotAllowed`, `Forbidden` or `Unauthorized`, in this order.
    pub(crate) fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(), Failure> {
        if uri.authority().is_some() || uri.scheme().is_some() {
            let detail = "the request target must be a path: this is no proxy";
            return Err(Failure::new(Code::BadRequest, detail));
        }
        self.check_host(headers)?;
        check_not_from_page(headers)?;
        if is_anonymous(method, uri.path()) || self.has_token(headers) {
            return Ok(());
        }
        let detail = "send the node's token as `authorization: Bearer TOKEN`; it is in admin.token of \
                      the node's data directory";
        Err(Failure::new(Code::Unauthorized, detail))
    }

    fn check_host(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let mut values = headers.get_all(HOST).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Failure::new(
                Code::BadRequest,
                "exactly one `host` header is needed",
            ));
        };
        let host = value
            .to_str()
            .ok()
            .and_then(|text| canonical_authority(text).ok());
        if host.is_some_and(|authority| self.is_own_host(&authority.host)) {
            return Ok(());
        }
        let detail = "the admin API does not answer under this host name: use the node's address, or \
                      add the name to `hosts` under [admin] in the node's configuration";
        Err(Failure::new(Code::HostNotAllowed, detail))
    }

    /// Names can be pointed here by anybody who owns them; address literals cannot, so where the server
    /// listens on all addresses every literal is its own.
    fn is_own_host(&self, host: &str) -> bool {
        if host == "localhost" || self.hosts.iter().any(|own| own == host) {
            return true;
        }
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        literal.parse::<IpAddr>().is_ok_and(|address| {
            address.is_loopback() || self.bound.is_unspecified() || address == self.bound
        })
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return false;
        };
        let Some((scheme, token)) = split_at_blank(value.as_bytes()) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"bearer") && self.token.matches(token)
    }
}

fn split_at_blank(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = value.iter().position(|byte| *byte == b' ')?;
    Some((&value[..at], value[at..].trim_ascii()))
}

fn is_anonymous(method: &Method, path: &str) -> bool {
    let method = if method == Method::HEAD {
        "GET"
    } else {
        method.as_str()
    };
    Operation::ALL.iter().any(|operation| {
        operation.auth() == Auth::Anonymous
            && operation.path() == path
            && operation.method().as_str() == method
    })
}

fn check_not_from_page(headers: &HeaderMap) -> Result<(), Failure> {
    let is_cross_site = headers
        .get("sec-fetch-site")
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"none"));
    if headers.contains_key(ORIGIN) || is_cross_site {
        let detail = "the admin API does not answer web pages";
        return Err(Failure::new(Code::Forbidden, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn code(bound: &str, path: &str, pairs: &[(&str, &str)]) -> Option<Code> {
        let bound = bound.parse().expect("an address");
        let hosts = ["Admin.Example".to_owned()];
        let guard = Guard::new(AdminToken::new(TOKEN), &hosts, bound);
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::try_from(*name).expect("a name");
            headers.append(name, HeaderValue::try_from(*value).expect("a value"));
        }
        let uri = path.parse().expect("a URI");
        guard
            .check(&Method::GET, &uri, &headers)
            .err()
            .map(|failure| failure.code())
    }

    fn with_host(bound: &str, host: &str) -> Option<Code> {
        code(bound, "/live", &[("host", host)])
    }

    #[test]
    fn own_hosts_pass_and_others_do_not() {
        let loopback = "127.0.0.1:8081";
        for host in [
            "localhost",
            "localhost:1",
            "LOCALHOST:8081",
            "127.0.0.1:8081",
            "127.9.9.9",
            "[::1]:8081",
            "admin.example:443",
            "localhost.",
        ] {
            assert_eq!(with_host(loopback, host), None, "{host}");
        }
        for host in [
            "evil.example",
            "10.0.0.1",
            "localhost.evil.example",
            "evil-localhost",
            "a@localhost",
            "127.0.0.1.nip.io",
            "",
            "0.0.0.0",
            "admin.example.evil",
            "2130706433",
        ] {
            assert_eq!(
                with_host(loopback, host),
                Some(Code::HostNotAllowed),
                "{host}"
            );
        }
        assert_eq!(with_host("0.0.0.0:1", "10.0.0.1"), None);
        assert_eq!(with_host("10.0.0.1:1", "10.0.0.1:1"), None);
        assert_eq!(
            with_host("10.0.0.1:1", "10.0.0.2:1"),
            Some(Code::HostNotAllowed)
        );
        assert_eq!(
            with_host("0.0.0.0:1", "evil.example"),
            Some(Code::HostNotAllowed)
        );
    }

    #[test]
    fn odd_heads_are_malformed() {
        let bound = "127.0.0.1:1";
        assert_eq!(code(bound, "/live", &[]), Some(Code::BadRequest));
        let twice = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(code(bound, "/live", &twice), Some(Code::BadRequest));
        let absolute = "http://localhost/live";
        assert_eq!(
            code(bound, absolute, &[("host", "localhost")]),
            Some(Code::BadRequest)
        );
    }

    #[test]
    fn web_pages_are_refused() {
        let token = format!("Bearer {TOKEN}");
        let bound = "127.0.0.1:1";
        for (name, value) in [
            ("origin", "http://localhost:8081"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-origin"),
        ] {
            let headers = [
                ("host", "localhost"),
                ("authorization", &token),
                (name, value),
            ];
            assert_eq!(
                code(bound, "/v1/node", &headers),
                Some(Code::Forbidden),
                "{name}: {value}"
            );
        }
        let typed = [("host", "localhost"), ("sec-fetch-site", "none")];
        assert_eq!(code(bound, "/live", &typed), None);
    }

    #[test]
    fn everything_but_the_health_checks_needs_the_one_token() {
        let bound = "127.0.0.1:1";
        let host = ("host", "localhost");
        for path in [
            "/v1/node", "/metrics", "/", "/nothing", "/live/", "/live/x", "/Live", "//live",
        ] {
            assert_eq!(
                code(bound, path, &[host]),
                Some(Code::Unauthorized),
                "{path}"
            );
        }
        for good in [format!("Bearer {TOKEN}"), format!("bearer   {TOKEN} ")] {
            assert_eq!(
                code(bound, "/v1/node", &[host, ("authorization", &good)]),
                None,
                "{good}"
            );
        }
        let long = format!("Bearer {}", "a".repeat(100_000));
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            TOKEN,
            &format!("Basic {TOKEN}"),
            &format!("Bearer {TOKEN}x"),
            &format!("Bearer {}", &TOKEN[1..]),
            &format!("Bearer {TOKEN},{TOKEN}"),
            &long,
        ] {
            let headers = [host, ("authorization", bad)];
            assert_eq!(
                code(bound, "/v1/node", &headers),
                Some(Code::Unauthorized),
                "{bad:.60}"
            );
        }
        let good = format!("Bearer {TOKEN}");
        let twice = [host, ("authorization", &*good), ("authorization", &good)];
        assert_eq!(code(bound, "/v1/node", &twice), Some(Code::Unauthorized));
    }
}
