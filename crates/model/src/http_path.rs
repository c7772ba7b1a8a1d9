//! The one canonical form of request paths and hosts. The gateway canonicalises a request once, and
//! routing, authorization and the function all see the result; there is no second spelling of a path
//! that passes one and not the other.
//!
//! Refuses to know HTTP libraries. Input that is canonical already is borrowed: no allocation.
//!
//! The rule for paths (RFC 3986, sections 5.2.4 and 6.2.2, made stricter where a stranger could profit):
//! - Percent-encoded unreserved characters are decoded, once: `%7Euser` is `~user`, `%252e` stays.
//! - Other percent-escapes stay, with upper-case digits: `%c3` is `%C3`.
//! - Characters that a path may not hold raw, but that clients send (`"<>^{|}`, backtick, anything beyond
//!   ASCII), are percent-encoded.
//! - `.` and `..` segments are resolved, however they are encoded; climbing above the root is refused.
//! - Empty segments are dropped: `//a///b` is `/a/b`. Behind the gateway nearly everything merges
//!   slashes, so a rule for `/admin/` that `//admin/` walks past would protect nothing.
//! - Refused: encoded `/`, `\`, NUL and other control characters, raw ones, invalid percent-escapes,
//!   blanks, `?` and `#`. A segment's `;parameters` are part of the segment.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest host name in bytes (RFC 1035, section 2.3.4, as text).
pub const HOST_BYTES_MAX: usize = 253;

/// Why a path has no canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not start with a slash.
    #[error("a path starts with `/`")]
    NotAbsolute,
    /// A percent sign without two hexadecimal digits.
    #[error("the path holds a `%` without two hexadecimal digits")]
    BadEscape,
    /// An encoded slash or backslash, or a raw backslash: programs differ in whether it separates.
    #[error("the path holds a backslash, or an encoded slash or backslash")]
    HiddenSeparator,
    /// NUL or another control character, raw or encoded.
    #[error("the path holds a control character")]
    Control,
    /// A blank, `?` or `#`.
    #[error("the path holds a blank, `?` or `#`")]
    Delimiter,
    /// `..` climbs above the root.
    #[error("the path climbs above its root with `..`")]
    AboveRoot,
}

/// Why a text is not a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing before the port.
    #[error("the host is empty")]
    Empty,
    /// `user@` before the host.
    #[error("the host holds user information")]
    UserInfo,
    /// The port is not a number up to 65535.
    #[error("the port is not a number up to 65535")]
    BadPort,
    /// Not an IPv6 address in brackets.
    #[error("not an IPv6 address in brackets")]
    BadIpv6,
    /// Neither a DNS name nor an address.
    #[error(
        "not a host name: labels of letters, digits, `-` and `_`, joined by dots (international names as `xn--`)"
    )]
    BadName,
}

/// A canonical host with its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority<'a> {
    /// Lower-case, no trailing dot; IPv6 in brackets, in the form of RFC 5952.
    pub host: Cow<'a, str>,
    /// The port where one was given.
    pub port: Option<u16>,
}

/// The canonical form of `path`, which holds no query.
///
/// # Errors
/// [`PathError`] where the path has no safe reading: answer 400.
pub fn canonical_path(path: &str) -> Result<Cow<'_, str>, PathError> {
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if is_canonical_path(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = normalise_escapes(path.as_bytes())?;
    let resolved = resolve_segments(&decoded)?;
    Ok(if resolved == path {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(resolved)
    })
}

/// The canonical form of a `Host` header's value or of a URI's authority.
///
/// # Errors
/// [`HostError`] where it names no host: answer 400.
pub fn canonical_authority(text: &str) -> Result<Authority<'_>, HostError> {
    if text.contains('@') {
        return Err(HostError::UserInfo);
    }
    if text.starts_with('[') {
        return canonical_ipv6(text);
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, parse_port(port)?),
        None => (text, None),
    };
    if name.is_empty() {
        return Err(HostError::Empty);
    }
    Ok(Authority {
        host: canonical_name(name)?,
        port,
    })
}

/// The host alone of [`canonical_authority`].
///
/// # Errors
/// [`HostError`] as there.
pub fn canonical_host(text: &str) -> Result<Cow<'_, str>, HostError> {
    canonical_authority(text).map(|authority| authority.host)
}

/// True for paths that are canonical without doubt: the hot path's one pass. False only means that the
/// slow way must look.
fn is_canonical_path(path: &[u8]) -> bool {
    let mut after_slash = false;
    for byte in path {
        match byte {
            b'/' if after_slash => return false,
            b'/' => after_slash = true,
            // A segment that starts with a dot may be a dot segment.
            b'.' if after_slash => return false,
            byte if is_path_char(*byte) => after_slash = false,
            _ => return false,
        }
    }
    true
}

/// `pchar` of RFC 3986 without percent-escapes.
fn is_path_char(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        )
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// First half: every character in its canonical encoding, segments as they were.
fn normalise_escapes(path: &[u8]) -> Result<String, PathError> {
    let mut out = String::with_capacity(path.len() + 16);
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let &[high, low, ref after @ ..] = rest else {
                    return Err(PathError::BadEscape);
                };
                let value = (hex_value(high)? << 4) | hex_value(low)?;
                rest = after;
                match value {
                    b'/' | b'\\' => return Err(PathError::HiddenSeparator),
                    0..=0x1f | 0x7f => return Err(PathError::Control),
                    value if is_unreserved(value) => out.push(char::from(value)),
                    value => push_escape(&mut out, value),
                }
            }
            b'/' => out.push('/'),
            b'\\' => return Err(PathError::HiddenSeparator),
            b' ' | b'?' | b'#' => return Err(PathError::Delimiter),
            0..=0x1f | 0x7f => return Err(PathError::Control),
            byte if is_path_char(byte) => out.push(char::from(byte)),
            byte => push_escape(&mut out, byte),
        }
    }
    Ok(out)
}

fn hex_value(digit: u8) -> Result<u8, PathError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(PathError::BadEscape),
    }
}

fn push_escape(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Second half: dot segments resolved (RFC 3986, section 5.2.4), empty segments dropped. A path that
/// ends in a slash or a dot segment ends in a slash.
fn resolve_segments(path: &str) -> Result<String, PathError> {
    let mut out = String::with_capacity(path.len());
    let mut ends_in_slash = true;
    for segment in path.split('/') {
        match segment {
            "" | "." => ends_in_slash = true,
            ".." => {
                let parent = out.rfind('/').ok_or(PathError::AboveRoot)?;
                out.truncate(parent);
                ends_in_slash = true;
            }
            segment => {
                out.push('/');
                out.push_str(segment);
                ends_in_slash = false;
            }
        }
    }
    if ends_in_slash {
        out.push('/');
    }
    Ok(out)
}

fn canonical_ipv6(text: &str) -> Result<Authority<'_>, HostError> {
    let end = text.find(']').ok_or(HostError::BadIpv6)?;
    let address: Ipv6Addr = text[1..end].parse().map_err(|_| HostError::BadIpv6)?;
    let port = match &text[end + 1..] {
        "" => None,
        after => parse_port(after.strip_prefix(':').ok_or(HostError::BadIpv6)?)?,
    };
    let canonical = format!("[{address}]");
    let host = if canonical == text[..=end] {
        Cow::Borrowed(&text[..=end])
    } else {
        Cow::Owned(canonical)
    };
    Ok(Authority { host, port })
}

/// An empty port is allowed and means none (RFC 3986, section 3.2.3).
fn parse_port(text: &str) -> Result<Option<u16>, HostError> {
    if text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(HostError::BadPort);
    }
    text.parse().map(Some).map_err(|_| HostError::BadPort)
}

fn canonical_name(name: &str) -> Result<Cow<'_, str>, HostError> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if !is_dns_name(name) {
        return Err(HostError::BadName);
    }
    // A name whose last label is a number is an IPv4 address in some spelling (WHATWG URL, host
    // parsing); only the usual spelling is served, so that nobody slips past a rule for the others.
    let last = name.rsplit('.').next().unwrap_or(name);
    let numeric = last.bytes().all(|b| b.is_ascii_digit())
        || last
            .strip_prefix("0x")
            .or_else(|| last.strip_prefix("0X"))
            .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    if numeric && name.parse::<Ipv4Addr>().is_err() {
        return Err(HostError::BadName);
    }
    Ok(if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    })
}

/// Labels of letters, digits, hyphens and underscores, which are no host name's by RFC 1123 but are in
/// use.
pub(crate) fn is_dns_name(name: &str) -> bool {
    name.len() <= HOST_BYTES_MAX
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn canonical_paths_are_borrowed() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/function/hello/x-y_z~1",
            "/a;p=1/b@c:d",
            "/a.b/c",
            "/.well-known/x",
            "/%C3%A4",
        ] {
            let canonical = canonical_path(path).expect("valid");
            assert!(matches!(canonical, Cow::Borrowed(_)), "{path}");
            assert_eq!(canonical, path);
        }
    }

    #[test]
    fn every_spelling_has_one_canonical_form() {
        for (path, canonical) in [
            ("//", "/"),
            ("//a///b", "/a/b"),
            ("/a//", "/a/"),
            ("/./a", "/a"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/../b", "/b"),
            ("/a/b/../../c/./d", "/c/d"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a//../b", "/b"),
            ("/%61dmin", "/admin"),
            ("/%7euser", "/~user"),
            ("/%c3%a4", "/%C3%A4"),
            ("/ä", "/%C3%A4"),
            ("/{x}", "/%7Bx%7D"),
            ("/%252e%252e/", "/%252e%252e/"),
            ("/%3Fq", "/%3Fq"),
            ("/a/...", "/a/..."),
            ("/a;..", "/a;.."),
        ] {
            assert_eq!(canonical_path(path).as_deref(), Ok(canonical), "{path}");
        }
    }

    #[test]
    fn unsafe_paths_are_refused() {
        for (path, error) in [
            ("", PathError::NotAbsolute),
            ("a", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("/..", PathError::AboveRoot),
            ("/a/../..", PathError::AboveRoot),
            ("/%2e%2e/a", PathError::AboveRoot),
            ("/a%2fb", PathError::HiddenSeparator),
            ("/a%2Fb", PathError::HiddenSeparator),
            ("/%2e%2e%2f", PathError::HiddenSeparator),
            ("/a%5cb", PathError::HiddenSeparator),
            ("/a\\b", PathError::HiddenSeparator),
            ("/a%00", PathError::Control),
            ("/a%0d%0a", PathError::Control),
            ("/a%7f", PathError::Control),
            ("/a\u{0}", PathError::Control),
            ("/a\tb", PathError::Control),
            ("/a b", PathError::Delimiter),
            ("/a?b", PathError::Delimiter),
            ("/a#b", PathError::Delimiter),
            ("/%", PathError::BadEscape),
            ("/%4", PathError::BadEscape),
            ("/%zz", PathError::BadEscape),
            ("/%u0041", PathError::BadEscape),
            ("/%+1", PathError::BadEscape),
        ] {
            assert_eq!(canonical_path(path), Err(error), "{path}");
        }
    }

    #[test]
    fn hosts_have_one_canonical_form() {
        for (text, host, port) in [
            ("example.com", "example.com", None),
            ("Example.COM:8080", "example.com", Some(8080)),
            ("example.com.", "example.com", None),
            ("example.com.:80", "example.com", Some(80)),
            ("example.com:", "example.com", None),
            ("127.0.0.1:1", "127.0.0.1", Some(1)),
            ("[::1]", "[::1]", None),
            ("[0:0::1]:80", "[::1]", Some(80)),
            ("[FD00::A]", "[fd00::a]", None),
            ("hello.localhost:8080", "hello.localhost", Some(8080)),
            ("a_b.test", "a_b.test", None),
            ("xn--bcher-kva.example", "xn--bcher-kva.example", None),
        ] {
            let authority = canonical_authority(text).expect(text);
            assert_eq!(
                (authority.host.as_ref(), authority.port),
                (host, port),
                "{text}"
            );
        }
        let borrowed = canonical_host("example.com:80").expect("valid");
        assert!(matches!(borrowed, Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = "a.".repeat(127) + "com";
        for (text, error) in [
            ("", HostError::Empty),
            (":80", HostError::Empty),
            ("user@example.com", HostError::UserInfo),
            ("a:b@example.com", HostError::UserInfo),
            ("example.com:x", HostError::BadPort),
            ("example.com:65536", HostError::BadPort),
            ("example.com:+1", HostError::BadPort),
            ("a:1:2", HostError::BadPort),
            ("::1", HostError::BadPort),
            ("[::1", HostError::BadIpv6),
            ("[::1]80", HostError::BadIpv6),
            ("[fe80::1%25eth0]", HostError::BadIpv6),
            ("[127.0.0.1]", HostError::BadIpv6),
            (".", HostError::BadName),
            ("example.com..", HostError::BadName),
            ("a..b", HostError::BadName),
            ("-a.com", HostError::BadName),
            ("a b", HostError::BadName),
            ("a/b", HostError::BadName),
            ("a%2eb", HostError::BadName),
            ("bücher.example", HostError::BadName),
            ("a\0b", HostError::BadName),
            ("127.1", HostError::BadName),
            ("2130706433", HostError::BadName),
            ("0x7f000001", HostError::BadName),
            ("0177.0.0.1", HostError::BadName),
            (long.as_str(), HostError::BadName),
        ] {
            assert_eq!(canonical_authority(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn canonical_paths_are_safe_and_stay_the_same(path in "/[ -~ä]{0,40}|/([./a%2eEfF5cC0]|%2e|//){0,30}") {
            if let Ok(canonical) = canonical_path(&path) {
                prop_assert_eq!(canonical_path(&canonical), Ok(Cow::Borrowed(canonical.as_ref())));
                prop_assert!(canonical.starts_with('/'));
                prop_assert!(!canonical.contains("//"));
                prop_assert!(canonical.split('/').all(|segment| segment != "." && segment != ".."));
                let lower = canonical.to_ascii_lowercase();
                for hidden in ["%2f", "%5c", "%00", "%2e", "\\"] {
                    prop_assert!(!lower.contains(hidden), "{}", canonical);
                }
            }
        }

        #[test]
        fn nothing_panics(text: String) {
            let _ = canonical_path(&text);
            if let Ok(authority) = canonical_authority(&text) {
                let host = authority.host.into_owned();
                prop_assert_eq!(canonical_host(&host), Ok(Cow::Borrowed(host.as_str())));
            }
        }
    }
}
