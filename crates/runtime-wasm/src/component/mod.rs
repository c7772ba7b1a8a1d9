//! What `wasi:http` components of both versions share: the data of their stores, their way out to the
//! network, and the translation of requests and errors.

mod hooks;
mod state;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http::uri::{Authority, Scheme, Uri};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use model::{Code, Failure};
use runtime::Body;
use wasmtime::component::Linker;
use wasmtime_wasi_config::WasiConfig;
use wasmtime_wasi_http::{Error, WasiBody};

pub(crate) use state::ComponentState;

/// Adds what components of both versions may import: `wasi:cli` and its kin 0.2 (every adapter and every
/// language's library imports them), `wasi:http` 0.2 and `wasi:config`.
pub(crate) fn add_common_to(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    wasmtime_wasi_config::add_to_linker(linker, |state: &mut ComponentState| {
        WasiConfig::from(state.config_variables())
    })
}

/// The request as `wasi:http` has it: with scheme and authority in the URI, and its own error type.
pub(crate) fn incoming_request(request: Request<Body>, scheme: &Scheme) -> Request<WasiBody> {
    let (mut parts, body) = request.into_parts();
    let authority = parts
        .headers
        .get(http::header::HOST)
        .and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let mut uri = parts.uri.into_parts();
    // `http` has no URI with an authority and no scheme, nor the other way round.
    if let Some(authority) = authority {
        uri.scheme = Some(scheme.clone());
        uri.authority = Some(authority);
    }
    if uri.path_and_query.is_none() {
        uri.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    }
    parts.uri = Uri::from_parts(uri).unwrap_or_default();
    Request::from_parts(parts, IncomingBody(body).boxed_unsync())
}

/// A request body with errors as `wasi:http` has them.
pub(crate) struct IncomingBody(pub(crate) Body);

impl http_body::Body for IncomingBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.0).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|failure| match failure.code() {
                Code::BodyTooLarge => Error::HttpRequestBodySize(None),
                _ => Error::ConnectionTerminated,
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// What went wrong with the body of a response, its trailers included. The guest made them, or passed
/// on what it had from elsewhere.
pub(crate) fn response_body_failure(error: &Error) -> Failure {
    Failure::new(
        Code::BadResponse,
        format!("the function's response body failed: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(target: &str, host: Option<&str>) -> String {
        let mut request = Request::get(target);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let request = request.body(Body::Empty).expect("a valid request");
        incoming_request(request, &Scheme::HTTPS).uri().to_string()
    }

    #[test]
    fn requests_get_their_authority_from_the_host_header() {
        assert_eq!(
            uri("/a?b", Some("example.com:1")),
            "https://example.com:1/a?b"
        );
        assert_eq!(uri("/a?b", None), "/a?b");
        assert_eq!(uri("/a", Some("not a host")), "/a");
        // `OPTIONS *`: not a URI that could be written down, but its parts are right.
        assert_eq!(uri("*", Some("example.com")), "https://example.com*");
    }
}
