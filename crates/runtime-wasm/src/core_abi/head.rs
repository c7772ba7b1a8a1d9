//! Heads as text: `METHOD SP TARGET LF`, then `name: value LF` per header.

use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use http::{HeaderMap, Uri, request, response};

use crate::head::{HEADERS_BYTES_MAX as HEAD_BYTES_MAX, HEADERS_MAX, is_framing};

/// The request as the guest reads it.
pub(super) fn request_head(parts: &request::Parts) -> Vec<u8> {
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let method = parts.method.as_str();
    let headers = &parts.headers;
    let mut text = Vec::with_capacity(method.len() + target.len() + 2 + lines_length(headers));
    text.extend_from_slice(method.as_bytes());
    text.push(b' ');
    text.extend_from_slice(target.as_bytes());
    text.push(b'\n');
    push_lines(&mut text, headers);
    text
}

/// The head of a fetched answer as the guest reads it.
pub(super) fn response_head(parts: &response::Parts) -> Vec<u8> {
    let mut text = Vec::with_capacity(4 + lines_length(&parts.headers));
    text.extend_from_slice(parts.status.as_str().as_bytes());
    text.push(b'\n');
    push_lines(&mut text, &parts.headers);
    text
}

fn lines_length(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 3)
        .sum()
}

fn push_lines(text: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.push(b'\n');
    }
}

/// Why header lines are not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadError {
    /// Not header lines, or headers that belong to the platform.
    Invalid,
    /// Too many or too long.
    TooLarge,
}

/// Header lines of a guest, checked.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) headers: HeaderMap,
    /// `content-length`, where it is set.
    pub(super) length: Option<u64>,
}

/// Reads header lines that a guest wrote.
pub(super) fn parse_lines(text: &[u8]) -> Result<Lines, HeadError> {
    if text.len() > HEAD_BYTES_MAX {
        return Err(HeadError::TooLarge);
    }
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let mut headers = HeaderMap::new();
    let mut length = None;
    if text.is_empty() {
        return Ok(Lines { headers, length });
    }
    for line in text.split(|byte| *byte == b'\n') {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.ok_or(HeadError::Invalid)?);
        let name = HeaderName::from_bytes(name).map_err(|_| HeadError::Invalid)?;
        let value = value[1..].trim_ascii();
        let value = HeaderValue::from_bytes(value).map_err(|_| HeadError::Invalid)?;
        if is_framing(&name) {
            return Err(HeadError::Invalid);
        }
        if name == CONTENT_LENGTH && length.replace(parse_length(&value)?).is_some() {
            return Err(HeadError::Invalid);
        }
        if headers.len() >= HEADERS_MAX {
            return Err(HeadError::TooLarge);
        }
        headers.append(name, value);
    }
    Ok(Lines { headers, length })
}

/// Reads `METHOD SP ABSOLUTE-URL LF` and header lines, for an outbound request.
pub(super) fn parse_request(text: &[u8]) -> Result<request::Parts, HeadError> {
    let end = text
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(text.len());
    if end > HEAD_BYTES_MAX {
        return Err(HeadError::TooLarge);
    }
    let (line, rest) = text.split_at(end);
    let space = line.iter().position(|byte| *byte == b' ');
    let (method, target) = line.split_at(space.ok_or(HeadError::Invalid)?);
    let method = http::Method::from_bytes(method).map_err(|_| HeadError::Invalid)?;
    let uri = Uri::try_from(&target[1..]).map_err(|_| HeadError::Invalid)?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(HeadError::Invalid);
    }
    let lines = parse_lines(rest.strip_prefix(b"\n").unwrap_or(rest))?;
    let mut parts = http::Request::new(()).into_parts().0;
    parts.method = method;
    parts.uri = uri;
    parts.headers = lines.headers;
    // The host comes from the URL, the length from the body that is passed.
    parts.headers.remove(http::header::HOST);
    parts.headers.remove(CONTENT_LENGTH);
    Ok(parts)
}

fn parse_length(value: &HeaderValue) -> Result<u64, HeadError> {
    let digits = value.to_str().map_err(|_| HeadError::Invalid)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HeadError::Invalid);
    }
    digits.parse().map_err(|_| HeadError::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_read_and_framing_is_refused() {
        let lines = parse_lines(b"content-type:text/plain\nX-A:  b \nx-a: c\ncontent-length: 5\n")
            .expect("valid");
        assert_eq!(lines.headers["content-type"], "text/plain");
        assert_eq!(lines.headers.get_all("x-a").iter().count(), 2);
        assert_eq!(lines.length, Some(5));
        assert!(parse_lines(b"").expect("valid").headers.is_empty());
        for text in [
            "no colon",
            ": empty",
            "a b: c",
            "a: b\rset-cookie: x",
            "a: b\0",
            "a: b\n\nbody",
            "connection: close",
            "Transfer-Encoding: chunked",
            "upgrade: h2c",
            "content-length: -1",
            "content-length: 1, 1",
            "content-length: 1\ncontent-length: 1",
            "content-length: 99999999999999999999",
        ] {
            let error = parse_lines(text.as_bytes()).expect_err(text);
            assert_eq!(error, HeadError::Invalid, "{text}");
        }
        let many = "a: b\n".repeat(HEADERS_MAX + 1);
        let error = parse_lines(many.as_bytes()).expect_err("too many");
        assert_eq!(error, HeadError::TooLarge);
        let long = format!("a: {}", "b".repeat(HEAD_BYTES_MAX));
        let error = parse_lines(long.as_bytes()).expect_err("too long");
        assert_eq!(error, HeadError::TooLarge);
    }

    #[test]
    fn outbound_heads_are_read() {
        let parts =
            parse_request(b"POST https://example.com/x?y=1\nhost: evil\nx-a: b\n").expect("valid");
        assert_eq!(parts.method, http::Method::POST);
        assert_eq!(parts.uri.host(), Some("example.com"));
        assert_eq!(parts.headers.len(), 1);
        for text in [
            "GET /relative",
            "GET",
            "GET ftp://x/",
            "G T http://x/",
            "",
            "\n",
        ] {
            assert!(parse_request(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_guest_writes_cannot_break_out_of_a_header(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(lines) = parse_lines(&text) {
                for (name, value) in &lines.headers {
                    prop_assert!(!is_framing(name));
                    prop_assert!(value.as_bytes().iter().all(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
                }
            }
        }
    }
}
