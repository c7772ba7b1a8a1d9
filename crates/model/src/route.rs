//! Routes: which requests reach a function besides its own address, and the table that finds the
//! function of a request. Refuses to know HTTP libraries; paths and hosts come canonical from
//! [`crate::http_path`].
//!
//! # Precedence
//! A route matches a request when every part that it gives matches. Of all that match, the winner is
//! 1. one with the request's host before one for every host,
//! 2. then an exact path before a prefix, and a longer prefix before a shorter one,
//! 3. then one that lists the method before one for every method.
//!
//! Where routes match but for the method, the answer is 405 with the methods of all of them. No two
//! functions can hold equal routes: [`RouteTable::conflicts`] finds them at deploy.
//!
//! Paths at and below `/function/` are functions' own addresses: no route for every host may be there,
//! and none matches there (a `/*` does not swallow them). A route with a host may: that host is its own.

mod table;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::http_path::{canonical_host, canonical_path};
use crate::units::shown;

pub use table::{Conflict, Match, RouteTable};

/// Routes of one function.
pub const ROUTES_MAX: usize = 100;
/// Methods of one route.
pub const ROUTE_METHODS_MAX: usize = 16;
/// Length of a route's path in bytes.
pub const ROUTE_PATH_BYTES_MAX: usize = 1024;
/// Length of a method in bytes.
pub const METHOD_BYTES_MAX: usize = 32;

/// One `[[routes]]` entry. A request matches when every given part matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Route {
    /// The host name, lower-case, without port; `None` matches every host.
    pub host: Option<String>,
    /// The path.
    pub path: PathPattern,
    /// Upper-case methods; empty matches every method.
    pub methods: Vec<String>,
}

/// How a route matches a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathPattern {
    /// The path itself and nothing else. Written without a trailing `*`.
    Exact(String),
    /// The path and everything below it, at segment borders. Written `/prefix/*` and kept without the
    /// trailing `/*`; kept as `/` for `/*`, which matches every path.
    Prefix(String),
}

/// Why a text is no part of a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The path is malformed.
    #[error("`{path}` is not a route's path: {why}")]
    Path {
        /// As given.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The path lies where functions' own addresses are.
    #[error(
        "`{0}` is reserved: paths below `/function/` are the functions' own addresses; \
         give the route a `host` of its own"
    )]
    Reserved(String),
    /// The host is malformed.
    #[error("`{host}` is not a route's host: {why}")]
    Host {
        /// As given.
        host: String,
        /// What is wrong.
        why: String,
    },
    /// The method is malformed.
    #[error("`{method}` is not a method: {why}")]
    Method {
        /// As given.
        method: String,
        /// What is wrong.
        why: String,
    },
}

impl PathPattern {
    /// Whether `path` (canonical, without query) matches.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            PathPattern::Exact(exact) => exact == path,
            PathPattern::Prefix(prefix) if prefix == "/" => true,
            PathPattern::Prefix(prefix) => path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }

    /// The path without the trailing `/*`.
    pub fn as_str(&self) -> &str {
        match self {
            PathPattern::Exact(path) | PathPattern::Prefix(path) => path,
        }
    }
}

impl FromStr for PathPattern {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |why: String| RouteError::Path {
            path: shown(text),
            why,
        };
        if text.len() > ROUTE_PATH_BYTES_MAX {
            return Err(refuse(format!(
                "it is longer than {ROUTE_PATH_BYTES_MAX} bytes"
            )));
        }
        let (path, is_prefix) = match text.strip_suffix("/*") {
            Some("") => ("/", true),
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        if path.contains('*') {
            return Err(refuse(
                "`*` may only stand at the end, as in `/prefix/*`".to_owned(),
            ));
        }
        let canonical = canonical_path(path).map_err(|error| refuse(error.to_string()))?;
        let has_end_slash = is_prefix && text != "/*" && path.ends_with('/');
        if canonical != path || has_end_slash {
            let canonical = canonical.trim_end_matches('/');
            let end = match (is_prefix, path.ends_with('/')) {
                (true, _) => "/*",
                (false, true) => "/",
                (false, false) => "",
            };
            return Err(refuse(format!("write it as `{canonical}{end}`")));
        }
        let path = path.to_owned();
        Ok(if is_prefix {
            PathPattern::Prefix(path)
        } else {
            PathPattern::Exact(path)
        })
    }
}

/// As written in the manifest.
impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathPattern::Exact(path) => f.write_str(path),
            PathPattern::Prefix(path) if path == "/" => f.write_str("/*"),
            PathPattern::Prefix(path) => write!(f, "{path}/*"),
        }
    }
}

impl Route {
    /// Whether a request (canonical host and path) matches in every part.
    pub fn matches(&self, host: &str, path: &str, method: &str) -> bool {
        self.matches_address(host, path)
            && (self.methods.is_empty() || self.methods.iter().any(|allowed| allowed == method))
    }

    /// Whether host and path match, whatever the method.
    pub fn matches_address(&self, host: &str, path: &str) -> bool {
        match &self.host {
            Some(own) => own == host && self.path.matches(path),
            None => self.path.matches(path) && !is_function_address(path),
        }
    }

    /// Refuses a route for every host where functions' own addresses are.
    ///
    /// # Errors
    /// [`RouteError::Reserved`].
    pub fn check_reserved(&self) -> Result<(), RouteError> {
        if self.host.is_none() && is_function_address(self.path.as_str()) {
            return Err(RouteError::Reserved(shown(&self.path.to_string())));
        }
        Ok(())
    }
}

/// As people write it in one line: `GET,POST example.com/path/*`.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.methods.is_empty() {
            write!(f, "{} ", self.methods.join(","))?;
        }
        write!(f, "{}{}", self.host.as_deref().unwrap_or(""), self.path)
    }
}

/// Whether a canonical path is a function's own address, `/function` or anything below it.
pub fn is_function_address(path: &str) -> bool {
    path.strip_prefix("/function")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Checks a route's host: a lower-case DNS name or an address literal, without port.
///
/// # Errors
/// [`RouteError::Host`], saying how to write it where that is known.
pub fn check_host(host: &str) -> Result<(), RouteError> {
    let refuse = |why: String| {
        Err(RouteError::Host {
            host: shown(host),
            why,
        })
    };
    match canonical_host(host) {
        Err(error) => refuse(error.to_string()),
        Ok(canonical) if canonical != host => refuse(format!("write it as `{canonical}`")),
        Ok(canonical) if canonical.ends_with(".localhost") => {
            refuse("names below `localhost` are the functions' own addresses".to_owned())
        }
        Ok(_) => Ok(()),
    }
}

/// Checks a method: an upper-case token (RFC 9110, sections 5.6.2 and 9.1).
///
/// # Errors
/// [`RouteError::Method`].
pub fn check_method(method: &str) -> Result<(), RouteError> {
    let is_token = (1..=METHOD_BYTES_MAX).contains(&method.len())
        && method
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    let why = if !is_token {
        "expected one such as `GET` or `POST`".to_owned()
    } else if method.bytes().any(|b| b.is_ascii_lowercase()) {
        format!(
            "methods are upper-case, write `{}`",
            method.to_ascii_uppercase()
        )
    } else if method == "CONNECT" {
        "it opens tunnels, which functions cannot serve".to_owned()
    } else {
        return Ok(());
    };
    Err(RouteError::Method {
        method: shown(method),
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_exact_or_prefixes() {
        for (text, pattern) in [
            ("/", PathPattern::Exact("/".into())),
            ("/a", PathPattern::Exact("/a".into())),
            ("/a/", PathPattern::Exact("/a/".into())),
            ("/*", PathPattern::Prefix("/".into())),
            ("/a/b/*", PathPattern::Prefix("/a/b".into())),
        ] {
            assert_eq!(text.parse(), Ok(pattern.clone()), "{text}");
            assert_eq!(pattern.to_string(), text);
        }
    }

    #[test]
    fn bad_paths_say_what_to_write() {
        let long = format!("/{}", "a".repeat(ROUTE_PATH_BYTES_MAX));
        for (text, part) in [
            ("", "starts with `/`"),
            ("a", "starts with `/`"),
            ("*", "`*` may only stand at the end"),
            ("/a*", "`*` may only stand at the end"),
            ("/*/a", "`*` may only stand at the end"),
            ("/a/../b", "write it as `/b`"),
            ("/a/./*", "write it as `/a/*`"),
            ("/a//*", "write it as `/a/*`"),
            ("//*", "write it as `/*`"),
            ("//", "write it as `/`"),
            ("/%61", "write it as `/a`"),
            ("/ä", "write it as `/%C3%A4`"),
            ("/a?b", "`?`"),
            ("/a%2fb", "encoded slash"),
            ("/..", "above its root"),
            (long.as_str(), "longer than 1024"),
        ] {
            let error = text.parse::<PathPattern>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn prefixes_end_at_segment_borders() {
        let pattern: PathPattern = "/a/b/*".parse().expect("valid");
        for path in ["/a/b", "/a/b/", "/a/b/c"] {
            assert!(pattern.matches(path), "{path}");
        }
        for path in ["/a/bc", "/a", "/", "/x/a/b"] {
            assert!(!pattern.matches(path), "{path}");
        }
    }

    #[test]
    fn function_addresses_are_reserved_on_every_host_only() {
        for (host, path, reserved) in [
            (None, "/function", true),
            (None, "/function/*", true),
            (None, "/function/hello/*", true),
            (None, "/functional", false),
            (None, "/*", false),
            (Some("shop.test"), "/function/*", false),
        ] {
            let route = Route {
                host: host.map(str::to_owned),
                path: path.parse().expect("valid"),
                methods: Vec::new(),
            };
            assert_eq!(route.check_reserved().is_err(), reserved, "{route}");
        }
    }

    #[test]
    fn hosts_and_methods_are_checked() {
        for host in ["example.com", "localhost", "10.0.0.1", "[::1]"] {
            assert_eq!(check_host(host), Ok(()), "{host}");
        }
        for (host, part) in [
            ("Example.com", "write it as `example.com`"),
            ("example.com:80", "write it as `example.com`"),
            ("example.com.", "write it as `example.com`"),
            ("*.example.com", "not a host name"),
            ("http://example.com", "port"),
            ("a/b", "not a host name"),
            ("", "empty"),
            ("hello.localhost", "own addresses"),
        ] {
            let error = check_host(host).expect_err(host).to_string();
            assert!(error.contains(part), "{host}: {error}");
        }
        for method in ["GET", "M-SEARCH", "X1"] {
            assert_eq!(check_method(method), Ok(()), "{method}");
        }
        for method in ["", "get", "G T", "G\n", "CONNECT", "GÄT", &"A".repeat(33)] {
            assert!(check_method(method).is_err(), "{method}");
        }
    }
}
