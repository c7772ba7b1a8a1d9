//! The environment of a CGI program: the meta-variables of RFC 3875, section 4.1, around the function's
//! own variables. Refuses to know WASI.
//!
//! Who wins where names meet: meta-variables over the function's variables, those over headers
//! (`HTTP_*`), so that no caller can replace what the manifest sets.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderValue, Version};
use model::{Code, Failure, FunctionConfig};

/// What a program is told about its host.
const SERVER_SOFTWARE: &str = concat!("Holm/", env!("CARGO_PKG_VERSION"));

/// Name and value pairs, each name once.
pub(super) type Environment = Vec<(String, String)>;

/// The environment for one request.
///
/// # Errors
/// `BadRequest` where the path cannot be told by a variable: not UTF-8 once decoded, or with a NUL in it.
pub(super) fn of_request(
    parts: &Parts,
    body_bytes: Option<u64>,
    config: &FunctionConfig,
    scheme: &Scheme,
    caller: Option<IpAddr>,
) -> Result<Environment, Failure> {
    let mut environment = meta_variables(parts, body_bytes, scheme, caller)?;
    for (name, value) in &config.env {
        put_if_absent(&mut environment, name.clone(), || value.clone());
    }
    for name in parts.headers.keys() {
        if let Some(variable) = header_variable(name) {
            put_if_absent(&mut environment, variable, || joined(&parts.headers, name));
        }
    }
    Ok(environment)
}

fn put_if_absent(environment: &mut Environment, name: String, value: impl FnOnce() -> String) {
    if environment.iter().all(|(known, _)| *known != name) {
        environment.push((name, value()));
    }
}

fn meta_variables(
    parts: &Parts,
    body_bytes: Option<u64>,
    scheme: &Scheme,
    caller: Option<IpAddr>,
) -> Result<Environment, Failure> {
    let path = decoded_path(parts.uri.path())?;
    let (server_name, server_port) = server(parts, scheme);
    let protocol = match parts.version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    };
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let mut environment: Environment = [
        ("GATEWAY_INTERFACE", "CGI/1.1".to_owned()),
        ("SERVER_SOFTWARE", SERVER_SOFTWARE.to_owned()),
        ("SERVER_PROTOCOL", protocol.to_owned()),
        ("SERVER_NAME", server_name),
        ("SERVER_PORT", server_port),
        ("REQUEST_METHOD", parts.method.as_str().to_owned()),
        // The whole path is the function's: the part that found the function is not told here.
        ("SCRIPT_NAME", String::new()),
        ("PATH_INFO", path),
        (
            "QUERY_STRING",
            parts.uri.query().unwrap_or_default().to_owned(),
        ),
        // Not in the RFC, but what programs use to see the path before decoding.
        ("REQUEST_URI", target.to_owned()),
        (
            "REMOTE_ADDR",
            caller.map(|ip| ip.to_string()).unwrap_or_default(),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if *scheme == Scheme::HTTPS {
        environment.push(("HTTPS".to_owned(), "on".to_owned()));
    }
    if let Some(content_type) = parts.headers.get(header::CONTENT_TYPE) {
        environment.push(("CONTENT_TYPE".to_owned(), text(content_type)));
    }
    // Absent for a body of unknown length, which a program reads to its end.
    if let Some(bytes) = body_bytes.filter(|bytes| *bytes > 0) {
        environment.push(("CONTENT_LENGTH".to_owned(), bytes.to_string()));
    }
    Ok(environment)
}

/// The path with its percent escapes decoded (RFC 3875, section 4.1.5).
fn decoded_path(path: &str) -> Result<String, Failure> {
    let refuse = || {
        Failure::new(
            Code::BadRequest,
            "the path cannot be passed to a CGI program: decoded, it must be UTF-8 without NUL",
        )
    };
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let escaped = match (byte, after) {
            (b'%', [high, low, ..]) => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = &after[2..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    match String::from_utf8(bytes) {
        Ok(path) if !path.contains('\0') => Ok(path),
        _ => Err(refuse()),
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// `SERVER_NAME` and `SERVER_PORT`, from the `host` header, which the caller chose: only what can be a
/// host is passed on.
fn server(parts: &Parts, scheme: &Scheme) -> (String, String) {
    let default_port = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let authority = parts
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .and_then(|host| host.parse::<http::uri::Authority>().ok())
        .filter(|authority| !authority.as_str().contains('@'));
    match authority {
        Some(authority) => {
            let port = authority.port_u16().unwrap_or(default_port);
            (authority.host().to_owned(), port.to_string())
        }
        None => ("localhost".to_owned(), default_port.to_string()),
    }
}

/// The variable for a request header; none for those that have their own, or that could pass for others.
fn header_variable(name: &HeaderName) -> Option<String> {
    // `proxy` would become HTTP_PROXY, which HTTP libraries take for their proxy: httpoxy,
    // CVE-2016-5385 and its kin.
    if matches!(*name, header::CONTENT_TYPE | header::CONTENT_LENGTH) || name.as_str() == "proxy" {
        return None;
    }
    // `x_real_ip` and `x-real-ip` would be one variable: only the second may set it.
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !name.as_str().bytes().all(is_plain) {
        return None;
    }
    Some(format!(
        "HTTP_{}",
        name.as_str().to_ascii_uppercase().replace('-', "_")
    ))
}

/// All values of a header in one (RFC 9110, section 5.2; cookies: RFC 9113, section 8.2.3).
fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let separator = if *name == header::COOKIE { "; " } else { ", " };
    let values: Vec<String> = headers.get_all(name).iter().map(text).collect();
    values.join(separator)
}

/// A header value as text. Bytes that are not UTF-8 are read as ISO 8859-1, as HTTP once had it.
fn text(value: &HeaderValue) -> String {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => value.as_bytes().iter().copied().map(char::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http::Request;
    use model::Isolation;

    use super::*;

    fn environment(
        request: http::request::Builder,
        env: &[(&str, &str)],
    ) -> Result<BTreeMap<String, String>, Failure> {
        let (parts, ()) = request.body(()).expect("a valid request").into_parts();
        let mut config = FunctionConfig::defaults(Isolation::Wasm);
        for (name, value) in env {
            config.env.insert((*name).to_owned(), (*value).to_owned());
        }
        let caller = Some("192.0.2.7".parse().expect("an address"));
        let pairs = of_request(&parts, Some(5), &config, &Scheme::HTTPS, caller)?;
        let n_pairs = pairs.len();
        let map: BTreeMap<String, String> = pairs.into_iter().collect();
        assert_eq!(map.len(), n_pairs, "each name is there once");
        Ok(map)
    }

    #[test]
    fn the_meta_variables_are_those_of_the_rfc() {
        let request = Request::post("/a%20b/c?d=e%20f")
            .header("host", "example.com:8443")
            .header("content-type", "text/plain")
            .header("content-length", "5")
            .header("x-one", "1")
            .header("x-one", "2")
            .header("cookie", "a=b")
            .header("cookie", "c=d");
        let map = environment(request, &[("GREETING", "hi")]).expect("a good request");
        let lines: Vec<String> = map
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let expected = format!(
            "CONTENT_LENGTH=5
CONTENT_TYPE=text/plain
GATEWAY_INTERFACE=CGI/1.1
GREETING=hi
HTTPS=on
HTTP_COOKIE=a=b; c=d
HTTP_HOST=example.com:8443
HTTP_X_ONE=1, 2
PATH_INFO=/a b/c
QUERY_STRING=d=e%20f
REMOTE_ADDR=192.0.2.7
REQUEST_METHOD=POST
REQUEST_URI=/a%20b/c?d=e%20f
SCRIPT_NAME=
SERVER_NAME=example.com
SERVER_PORT=8443
SERVER_PROTOCOL=HTTP/1.1
SERVER_SOFTWARE={SERVER_SOFTWARE}"
        );
        assert_eq!(lines.join("\n"), expected);
    }

    #[test]
    fn headers_replace_nothing_and_cannot_pass_for_others() {
        let request = Request::get("/")
            .header("proxy", "http://evil.example")
            .header("x_real_ip", "6.6.6.6")
            .header("mode", "debug")
            .header("host", "a b")
            .header(
                "x-latin",
                HeaderValue::from_bytes(b"caf\xe9").expect("obs-text"),
            );
        let env = [("HTTP_MODE", "safe"), ("REQUEST_METHOD", "DELETE")];
        let map = environment(request, &env).expect("a good request");
        assert!(!map.contains_key("HTTP_PROXY"));
        assert!(!map.contains_key("HTTP_X_REAL_IP"));
        assert_eq!(map["HTTP_MODE"], "safe");
        assert_eq!(map["REQUEST_METHOD"], "GET");
        assert_eq!(map["SERVER_NAME"], "localhost");
        assert_eq!(map["HTTP_X_LATIN"], "caf\u{e9}");
    }

    #[test]
    fn paths_that_no_variable_can_hold_are_refused() {
        for path in ["/%00", "/a%00b", "/%ff", "/%c3%28"] {
            let failure = environment(Request::get(path), &[]).expect_err(path);
            assert_eq!(failure.code(), Code::BadRequest, "{path}");
        }
        for (path, decoded) in [
            ("/%c3%a9", "/\u{e9}"),
            ("/100%", "/100%"),
            ("/%zz%4", "/%zz%4"),
        ] {
            let map = environment(Request::get(path), &[]).expect(path);
            assert_eq!(map["PATH_INFO"], decoded);
        }
    }
}
