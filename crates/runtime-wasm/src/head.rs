//! Response heads of guests, checked before they leave: the same rules for every contract.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HeaderName};
use http::response::Parts;
use model::{Code, Failure};

/// Headers of one response.
pub(crate) const HEADERS_MAX: usize = 100;
/// Bytes of the names and values of one response's headers.
pub(crate) const HEADERS_BYTES_MAX: usize = 64 << 10;

/// Headers that frame messages on a connection: the platform's, never a guest's (RFC 9110, section
/// 7.6.1, and the ones that HTTP/1.1 proxies have treated like them).
const FRAMING: [&str; 9] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether the platform owns this header.
pub(crate) fn is_framing(name: &HeaderName) -> bool {
    FRAMING.contains(&name.as_str())
}

/// Checks a head that a guest made, and takes out what is not the guest's to say.
///
/// # Errors
/// `BadResponse`.
pub(crate) fn check(mut head: Parts) -> Result<Parts, Failure> {
    let status = head.status.as_u16();
    if !(200..=599).contains(&status) {
        return Err(bad(format!(
            "the function answered with the status {status}; 200 to 599 are possible"
        )));
    }
    if head.headers.len() > HEADERS_MAX {
        return Err(bad(format!(
            "the function set {} headers; at most {HEADERS_MAX} are possible",
            head.headers.len()
        )));
    }
    let n_bytes: usize = head
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if n_bytes > HEADERS_BYTES_MAX {
        return Err(bad(format!(
            "the function set {n_bytes} bytes of headers; at most {HEADERS_BYTES_MAX} are possible"
        )));
    }
    remove_framing(&mut head.headers);
    Ok(head)
}

fn remove_framing(headers: &mut HeaderMap) {
    if headers.keys().any(is_framing) {
        for name in FRAMING {
            headers.remove(name);
        }
    }
}

/// The body's length as the guest declared it.
///
/// # Errors
/// `BadResponse` where it is not one number.
pub(crate) fn declared_length(head: &Parts) -> Result<Option<u64>, Failure> {
    let mut values = head.headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let digits = value.as_bytes();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(digits)
        .ok()
        .filter(|_| is_number && values.next().is_none())
        .and_then(|digits| digits.parse().ok());
    match length {
        Some(length) => Ok(Some(length)),
        None => Err(bad(
            "the function set content-length to something that is not one number",
        )),
    }
}

fn bad(detail: impl Into<String>) -> Failure {
    Failure::new(Code::BadResponse, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16, headers: &[(&'static str, &'static str)]) -> Parts {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(()).expect("a valid head").into_parts().0
    }

    #[test]
    fn framing_is_taken_out_and_the_rest_stays() {
        let head = head(
            200,
            &[
                ("connection", "x-secret"),
                ("transfer-encoding", "gzip"),
                ("x-a", "1"),
                ("x-a", "2"),
            ],
        );
        let checked = check(head).expect("acceptable");
        assert_eq!(checked.headers.len(), 2);
    }

    #[test]
    fn statuses_sizes_and_lengths_are_checked() {
        for status in [100, 101, 199, 600, 999] {
            let failure = check(head(status, &[])).expect_err("out of range");
            assert_eq!(failure.code(), Code::BadResponse);
        }
        assert!(check(head(200, &[("x", "y"); HEADERS_MAX + 1])).is_err());
        let length = |values: &[&'static str]| {
            let headers: Vec<_> = values
                .iter()
                .map(|value| ("content-length", *value))
                .collect();
            declared_length(&head(200, &headers)).map_err(|failure| failure.code())
        };
        assert_eq!(length(&[]), Ok(None));
        assert_eq!(length(&["17"]), Ok(Some(17)));
        for bad in [
            &["17", "17"][..],
            &["+1"],
            &["1, 1"],
            &[""],
            &["99999999999999999999"],
        ] {
            assert_eq!(length(bad), Err(Code::BadResponse), "{bad:?}");
        }
    }
}
