//! Makes a guest's request fit to be sent: origin form, our own `host`, no header that steers the
//! connection, and one honest length. Refuses to know where it goes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use parking_lot::Mutex;

use crate::error::RequestFault;
use crate::target::Target;

/// Any error that a guest's body may end with.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Headers that belong to one connection (RFC 9110, section 7.6.1), whoever sent them.
pub(crate) const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Removes the headers of one hop, those that `connection` names included.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// How far a request body has come. Shared with whoever waits for the response.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    n_frames: AtomicU64,
    failed: Mutex<Option<String>>,
}

impl Progress {
    pub(crate) fn n_frames(&self) -> u64 {
        self.n_frames.load(Ordering::Relaxed)
    }

    pub(crate) fn take_failure(&self) -> Option<String> {
        self.failed.lock().take()
    }
}

/// A guest's body, watched.
pub(crate) struct WatchedBody {
    inner: UnsyncBoxBody<Bytes, BoxError>,
    progress: Arc<Progress>,
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        self.progress.n_frames.fetch_add(1, Ordering::Relaxed);
        if let Some(Err(error)) = &frame {
            *self.progress.failed.lock() = Some(error.to_string());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Makes the request that goes over the wire.
pub(crate) fn prepare(
    request: Request<UnsyncBoxBody<Bytes, BoxError>>,
    target: &Target,
    head_bytes_max: usize,
) -> Result<(Request<WatchedBody>, Arc<Progress>), RequestFault> {
    let (mut parts, body) = request.into_parts();
    if parts.method == Method::CONNECT {
        return Err(RequestFault::Method);
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let path = if path.is_empty() { "/" } else { path };
    parts.uri = Uri::try_from(path).map_err(|_| RequestFault::NoHost)?;
    parts.version = http::Version::HTTP_11;
    parts.extensions.clear();

    strip_hop_by_hop(&mut parts.headers);
    settle_length(&mut parts.headers, &body.size_hint())?;
    let host = HeaderValue::try_from(target.to_host_header())
        .expect("a target holds letters, digits, `-`, `_`, `.`, `:` and brackets");
    parts.headers.insert(header::HOST, host);
    // One request per connection: the server need not keep it open.
    parts
        .headers
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    if head_bytes(&parts) > head_bytes_max {
        return Err(RequestFault::HeadTooLarge);
    }

    let progress = Arc::<Progress>::default();
    let body = WatchedBody {
        inner: body,
        progress: progress.clone(),
    };
    Ok((Request::from_parts(parts, body), progress))
}

/// Leaves at most one `content-length`, and only one that the body can keep. The HTTP client ends the
/// connection where a body of unknown length then turns out longer or shorter.
fn settle_length(headers: &mut HeaderMap, size: &SizeHint) -> Result<(), RequestFault> {
    let mut declared = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = declared.next() else {
        return Ok(());
    };
    let digits = first.as_bytes();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let length = first
        .to_str()
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    let fits =
        |length: u64| length >= size.lower() && size.upper().is_none_or(|upper| length <= upper);
    match length {
        Some(length) if is_number && declared.next().is_none() && fits(length) => Ok(()),
        _ => Err(RequestFault::ContentLength),
    }
}

fn head_bytes(parts: &http::request::Parts) -> usize {
    let line = parts.method.as_str().len() + parts.uri.path().len() + " HTTP/1.1\r\n".len() + 1;
    let query = parts.uri.query().map_or(0, |query| query.len() + 1);
    let headers = parts.headers.iter();
    let headers: usize = headers
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
        .sum();
    line + query + headers + "\r\n".len()
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    fn sent(
        build: impl FnOnce(http::request::Builder) -> http::request::Builder,
    ) -> Result<String, RequestFault> {
        let request = build(Request::builder().uri("http://example.com:8080/a?b"));
        let body = Full::new(Bytes::from_static(b"four")).map_err(|never| match never {});
        let request = request.body(body.boxed_unsync()).unwrap();
        let target = Target::of(request.uri()).unwrap();
        let (request, _) = prepare(request, &target, 1_024)?;
        let mut lines = vec![format!("{} {}", request.method(), request.uri())];
        for (name, value) in request.headers() {
            lines.push(format!("{name}: {}", value.to_str().unwrap()));
        }
        lines.sort();
        Ok(lines.join("\n"))
    }

    #[test]
    fn the_guest_steers_neither_host_nor_connection() {
        let text = sent(|request| {
            request
                .header("host", "internal.example")
                .header("connection", "upgrade, x-named")
                .header("upgrade", "websocket")
                .header("x-named", "1")
                .header("te", "trailers")
                .header("transfer-encoding", "chunked")
                .header("proxy-authorization", "Basic eA==")
                .header("x-kept", "1")
        })
        .unwrap();
        assert_eq!(
            text,
            "GET /a?b\nconnection: close\nhost: example.com:8080\nx-kept: 1"
        );
    }

    #[test]
    fn content_length_must_be_true_and_single() {
        assert!(sent(|r| r.header("content-length", "4")).is_ok());
        for values in [
            vec!["5"],
            vec!["3"],
            vec!["+4"],
            vec!["4", "4"],
            vec![""],
            vec!["4, 4"],
        ] {
            let result = sent(|mut request| {
                for value in &values {
                    request = request.header("content-length", *value);
                }
                request
            });
            assert_eq!(result, Err(RequestFault::ContentLength), "{values:?}");
        }
    }

    #[test]
    fn tunnels_and_huge_heads_are_refused() {
        assert_eq!(
            sent(|r| r.method(Method::CONNECT)),
            Err(RequestFault::Method)
        );
        let big = "x".repeat(1_024);
        assert_eq!(
            sent(|r| r.header("x-big", &big)),
            Err(RequestFault::HeadTooLarge)
        );
    }
}
