//! The rules for headers at the edge, in both directions. What concerns one connection stays on it, what
//! the platform says of itself only the platform may say, and what a function says of the whole origin is
//! dropped, as functions may share one.
//!
//! Refuses to know connections and functions: headers in, headers out.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The caller's address, as the function shall read it.
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The scheme that the caller used.
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The host that the caller asked for.
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// W3C Trace Context.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Longer names than this are none of those that we know.
const KNOWN_NAME_BYTES_MAX: usize = 32;

/// What one look at a request's headers shows: most requests have few, so that looking at each is cheaper
/// than looking for five.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Survey<'a> {
    /// The first `Host`.
    pub(crate) host: Option<&'a HeaderValue>,
    /// There is a second `Host`.
    pub(crate) has_more_hosts: bool,
    /// The caller's `Traceparent`.
    pub(crate) traceparent: Option<&'a HeaderValue>,
    /// Something is expected that is not met here.
    pub(crate) expects_too_much: bool,
    /// What [`clean_request`] has to do.
    pub(crate) cleaning: Cleaning,
}

/// What must be removed from a request's headers, as far as one look shows it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cleaning {
    /// Some header must not reach a function.
    has_forbidden: bool,
    has_tracestate: bool,
}

impl<'a> Survey<'a> {
    /// Looks at all headers.
    pub(crate) fn of(headers: &'a HeaderMap) -> Self {
        let mut survey = Self::default();
        for (name, value) in headers {
            match name.as_str() {
                "host" if survey.host.is_some() => survey.has_more_hosts = true,
                "host" => survey.host = Some(value),
                "tracestate" => survey.cleaning.has_tracestate = true,
                // Replaced by the invocation's own.
                "traceparent" => survey.traceparent = survey.traceparent.or(Some(value)),
                "expect" => {
                    survey.cleaning.has_forbidden = true;
                    let is_met = value.as_bytes().eq_ignore_ascii_case(b"100-continue");
                    survey.expects_too_much |= !is_met;
                }
                name => survey.cleaning.has_forbidden |= is_not_for_functions(name),
            }
        }
        survey
    }
}

/// Removes what must not pass from a caller to a function. `keeps_tracestate` says whether the caller's
/// trace goes on; its state is of no use otherwise (Trace Context, section 3.3). `traceparent` is left to
/// whoever sets the invocation's own.
pub(crate) fn clean_request(headers: &mut HeaderMap, cleaning: Cleaning, keeps_tracestate: bool) {
    if cleaning.has_forbidden {
        remove_connection_named(headers);
        remove_where(headers, is_not_for_functions);
    }
    if cleaning.has_tracestate && !keeps_tracestate {
        headers.remove(TRACESTATE);
    }
}

/// Removes what must not pass from a function to a caller. `shares_origin` says whether the function was
/// called by path, where its answer speaks for an origin that other functions have too.
pub(crate) fn clean_response(headers: &mut HeaderMap, shares_origin: bool) {
    if headers.is_empty() {
        return;
    }
    remove_connection_named(headers);
    remove_where(headers, |name| is_not_for_callers(name, shares_origin));
    make_cookies_host_only(headers);
}

/// Removes from trailers what must not come late: framing, routing, and what heads may not hold either
/// (RFC 9110, section 6.5.1).
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    remove_where(trailers, |name| {
        is_not_for_functions(name)
            || matches!(
                name,
                "host"
                    | "content-length"
                    | "content-type"
                    | "content-encoding"
                    | "authorization"
                    | "cookie"
                    | "set-cookie"
                    | "trailer"
            )
    });
}

/// Whether a request's header is for this hop only, or one that only the platform may set. Names with
/// underscores are judged as if they had hyphens: CGI makes both into the same variable.
fn is_not_for_functions(name: &str) -> bool {
    if !name.contains('_') {
        return is_of_connection(name) || is_of_platform(name);
    }
    let mut buffer = [0; KNOWN_NAME_BYTES_MAX];
    let known = &name.as_bytes()[..name.len().min(KNOWN_NAME_BYTES_MAX)];
    for (to, from) in buffer.iter_mut().zip(known) {
        *to = if *from == b'_' { b'-' } else { *from };
    }
    let Ok(name) = std::str::from_utf8(&buffer[..known.len()]) else {
        return true;
    };
    is_of_connection(name)
        || is_of_platform(name)
        || matches!(
            name,
            "host" | "content-length" | "content-type" | "authorization" | "cookie"
        )
}

/// Hop-by-hop headers (RFC 9110, section 7.6.1, and those that RFC 2616, section 13.5.1 had).
fn is_of_connection(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// What callers could forge: where they are, who vouched for them, what the platform said of them. `proxy`
/// would become the variable `HTTP_PROXY` of a CGI program (CVE-2016-5385). `expect` is answered here.
fn is_of_platform(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'x') => {
            name.starts_with("x-forwarded-")
                || name.starts_with("x-amz")
                || matches!(name, "x-real-ip" | "x-function-error")
        }
        Some(b'h') => name.starts_with("holm-"),
        Some(b'f') => name == "forwarded",
        Some(b't') => name == "traceparent",
        Some(b'p') => name == "proxy",
        Some(b'e') => name == "expect",
        _ => false,
    }
}

fn is_not_for_callers(name: &str, shares_origin: bool) -> bool {
    is_of_connection(name)
        || name == "content-length"
        || name.starts_with("holm-")
        // Sends the origin's callers to another address, of all functions alike.
        || name == "alt-svc"
        || (shares_origin && matches!(name, "service-worker-allowed" | "clear-site-data"))
}

fn remove_where(headers: &mut HeaderMap, is_to_go: impl Fn(&str) -> bool) {
    // Mostly there is nothing to remove: look first, without an allocation.
    let Some(first) = headers.keys().position(|name| is_to_go(name.as_str())) else {
        return;
    };
    let names: Vec<HeaderName> = headers
        .keys()
        .skip(first)
        .filter(|name| is_to_go(name.as_str()))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// Removes the headers that a `Connection` header names; never `host`, without which a request means
/// nothing.
fn remove_connection_named(headers: &mut HeaderMap) {
    if !headers.contains_key(header::CONNECTION) {
        return;
    }
    let values: Vec<HeaderValue> = headers
        .get_all(header::CONNECTION)
        .iter()
        .cloned()
        .collect();
    for value in &values {
        for token in value.as_bytes().split(|byte| *byte == b',') {
            if let Ok(name) = HeaderName::from_bytes(token.trim_ascii())
                && name != header::HOST
            {
                headers.remove(name);
            }
        }
    }
}

/// Cookies are for the host that set them: a `Domain` would hand them to other functions, or set theirs.
fn make_cookies_host_only(headers: &mut HeaderMap) {
    if !headers.contains_key(header::SET_COOKIE) {
        return;
    }
    let has_domain = |value: &HeaderValue| attributes(value.as_bytes()).skip(1).any(is_domain);
    if !headers.get_all(header::SET_COOKIE).iter().any(has_domain) {
        return;
    }
    let cookies: Vec<HeaderValue> = headers
        .get_all(header::SET_COOKIE)
        .iter()
        .map(without_domain)
        .collect();
    headers.remove(header::SET_COOKIE);
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
}

fn attributes(cookie: &[u8]) -> impl Iterator<Item = &[u8]> {
    cookie.split(|byte| *byte == b';')
}

fn is_domain(attribute: &[u8]) -> bool {
    let name = attribute
        .split(|byte| *byte == b'=')
        .next()
        .unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(b"domain")
}

fn without_domain(cookie: &HeaderValue) -> HeaderValue {
    let mut parts = attributes(cookie.as_bytes());
    // The first part is the cookie itself, even where its name is `domain`.
    let mut kept = parts.next().unwrap_or_default().to_vec();
    for attribute in parts.filter(|attribute| !is_domain(attribute)) {
        kept.push(b';');
        kept.extend_from_slice(attribute);
    }
    HeaderValue::from_bytes(&kept).expect("parts of a valid value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::try_from(*name).expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn forged_and_hop_headers_go_in_every_spelling() {
        let mut headers = map(&[
            ("host", "a.test"),
            ("accept", "*/*"),
            ("x-custom_name", "stays"),
            ("content-type", "text/plain"),
            ("connection", "close, X-Secret , host"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("keep-alive", "1"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAA"),
            ("proxy", "http://evil"),
            ("proxy-authorization", "x"),
            ("x-forwarded-for", "1.2.3.4"),
            ("X_Forwarded_For", "1.2.3.4"),
            ("x-forwarded_host", "evil"),
            ("forwarded", "for=1.2.3.4"),
            ("x-real-ip", "1.2.3.4"),
            ("x-amz-security-token", "x"),
            ("x-amzn-trace-id", "x"),
            ("x-function-error", "x"),
            ("holm-invocation-id", "x"),
            ("holm_invocation_id", "x"),
            ("content_length", "5"),
            ("transfer_encoding", "chunked"),
            ("traceparent", "x"),
            ("tracestate", "x"),
            ("expect", "100-continue"),
        ]);
        let cleaning = Survey::of(&headers).cleaning;
        clean_request(&mut headers, cleaning, false);
        assert_eq!(
            names(&headers),
            ["accept", "content-type", "host", "x-custom_name"]
        );
    }

    #[test]
    fn each_forbidden_header_is_seen_where_it_is_alone() {
        for name in [
            "connection",
            "keep-alive",
            "te",
            "upgrade",
            "proxy",
            "x-forwarded-for",
            "X_Forwarded_For",
            "forwarded",
            "x-amz-security-token",
            "holm-invocation-id",
            "content_length",
            "expect",
            "tracestate",
        ] {
            let mut headers = map(&[("host", "a.test"), (name, "x")]);
            let cleaning = Survey::of(&headers).cleaning;
            clean_request(&mut headers, cleaning, false);
            assert_eq!(names(&headers), ["host"], "{name}");
        }
    }

    #[test]
    fn a_survey_finds_hosts_traces_and_expectations() {
        let headers = map(&[
            ("host", "a.test"),
            ("traceparent", "00-1"),
            ("expect", "100-Continue"),
        ]);
        let survey = Survey::of(&headers);
        assert_eq!(survey.host.expect("there is one"), "a.test");
        assert_eq!(survey.traceparent.expect("there is one"), "00-1");
        assert!(!survey.has_more_hosts && !survey.expects_too_much);
        let headers = map(&[("host", "a.test"), ("host", "b.test"), ("expect", "more")]);
        let survey = Survey::of(&headers);
        assert_eq!(survey.host.expect("there is one"), "a.test");
        assert!(survey.has_more_hosts && survey.expects_too_much);
    }

    #[test]
    fn functions_speak_for_themselves_only() {
        let pairs = [
            ("content-type", "text/plain"),
            ("content-length", "7"),
            ("transfer-encoding", "chunked"),
            ("connection", "upgrade, x-secret"),
            ("x-secret", "1"),
            ("upgrade", "websocket"),
            ("holm-error", "H1001"),
            ("alt-svc", "h2=\":1\""),
            ("service-worker-allowed", "/"),
            ("clear-site-data", "\"*\""),
        ];
        let mut shared = map(&pairs);
        clean_response(&mut shared, true);
        assert_eq!(names(&shared), ["content-type"]);
        let mut own = map(&pairs);
        clean_response(&mut own, false);
        assert_eq!(
            names(&own),
            ["clear-site-data", "content-type", "service-worker-allowed"]
        );
    }

    #[test]
    fn cookies_become_host_only() {
        let mut headers = map(&[
            ("set-cookie", "a=1; Path=/; Domain=localhost; Secure"),
            ("set-cookie", "domain=2; DOMAIN = .localhost"),
            ("set-cookie", "b=3; HttpOnly"),
        ]);
        clean_response(&mut headers, true);
        let cookies: Vec<_> = headers.get_all("set-cookie").iter().collect();
        assert_eq!(
            cookies,
            ["a=1; Path=/; Secure", "domain=2", "b=3; HttpOnly"]
        );
    }

    #[test]
    fn trailers_cannot_say_what_belongs_in_heads() {
        let mut trailers = map(&[
            ("x-checksum", "1"),
            ("content-length", "9"),
            ("host", "evil"),
            ("holm-x", "1"),
            ("transfer-encoding", "chunked"),
        ]);
        clean_trailers(&mut trailers);
        assert_eq!(names(&trailers), ["x-checksum"]);
    }
}
