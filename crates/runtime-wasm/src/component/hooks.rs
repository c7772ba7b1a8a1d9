//! Outbound requests of components, through the node's egress client and the manifest's allow-list.

use std::sync::Arc;

use egress::{Denial, EgressError, Outbound, RequestFault, Stage, Timeouts};
use http::header::HeaderName;
use http_body_util::BodyExt as _;
use runtime::LogStream;
use wasmtime_wasi_http::{Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks};

use crate::exchange::CHUNK_BYTES_MAX;
use crate::host::{HostState, SandboxShared};

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sending = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io), Error>> + Send>;

/// What `wasi:http` asks of its host.
pub(super) struct Hooks {
    shared: Arc<SandboxShared>,
}

impl Hooks {
    pub(super) fn new(host: &HostState) -> Self {
        Self {
            shared: host.shared.clone(),
        }
    }
}

impl WasiHttpHooks for Hooks {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        is_forbidden(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(is_forbidden)
    }

    /// The egress client sets it, whatever the guest says.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        mut request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _response_processed: Io,
    ) -> Sending {
        let shared = self.shared.clone();
        Box::new(async move {
            let function = &shared.function;
            shared.log.lock().continue_trace(request.headers_mut());
            let options = options.unwrap_or_default();
            let outbound = Outbound {
                function: &function.function,
                rules: &function.config.egress,
                timeouts: Timeouts {
                    connect: options.connect_timeout,
                    head: options.first_byte_timeout,
                    between_bytes: options.between_bytes_timeout,
                },
            };
            let response = function
                .egress
                .send(outbound, request)
                .await
                .map_err(|error| {
                    // The guest gets a code; why a request did not leave is for the function's owner.
                    let text = error.to_string();
                    shared.log.lock().note(LogStream::Platform, text.as_bytes());
                    error_of(&error)
                })?;
            let response =
                response.map(|body| body.map_err(|error| error_of(&error)).boxed_unsync());
            let io: Io = Box::new(std::future::ready(Ok(())));
            Ok((response, io))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES_MAX
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES_MAX
    }
}

/// Headers of the connection are the platform's, in both directions. `host` is the guest's to read.
fn is_forbidden(name: &HeaderName) -> bool {
    // wasmtime's list as a comparison: its array of names is built and dropped anew at every use.
    matches!(
        name.as_str(),
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// The error as `wasi:http` has it.
fn error_of(error: &EgressError) -> Error {
    match error {
        EgressError::Denied { denial, .. } => match denial {
            Denial::UserInfo | Denial::HostMalformed | Denial::AmbiguousAddress => {
                Error::HttpRequestUriInvalid
            }
            Denial::NoRule => Error::HttpRequestDenied,
            Denial::Address { .. }
            | Denial::NeverGranted { .. }
            | Denial::Metadata { .. }
            | Denial::OwnAdmin
            | Denial::OwnGateway => Error::DestinationIpProhibited,
        },
        EgressError::InvalidRequest(fault) => match fault {
            RequestFault::Scheme | RequestFault::NoHost => Error::HttpRequestUriInvalid,
            RequestFault::Method => Error::HttpRequestMethodInvalid,
            RequestFault::HeadTooLarge => Error::HttpRequestHeaderSectionSize(None),
            RequestFault::ContentLength => Error::HttpRequestBodySize(None),
        },
        EgressError::TooManyConnections { .. } => Error::ConnectionLimitReached,
        EgressError::DnsFailed { .. } => Error::DnsError {
            rcode: None,
            info_code: None,
        },
        EgressError::ConnectFailed { source, .. } => match source.kind() {
            std::io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
            std::io::ErrorKind::TimedOut => Error::ConnectionTimeout,
            std::io::ErrorKind::HostUnreachable | std::io::ErrorKind::NetworkUnreachable => {
                Error::DestinationIpUnroutable
            }
            _ => Error::DestinationUnavailable,
        },
        EgressError::TlsFailed { .. } if error.is_certificate_error() => Error::TlsCertificateError,
        EgressError::TlsFailed { .. } => Error::TlsProtocolError,
        EgressError::Timeout { stage, .. } => match stage {
            Stage::Resolve => Error::DnsTimeout,
            Stage::Connect => Error::ConnectionTimeout,
            Stage::Head => Error::HttpResponseTimeout,
            Stage::BetweenBytes => Error::ConnectionReadTimeout,
        },
        EgressError::HeadTooLarge => Error::HttpResponseHeaderSectionSize(None),
        EgressError::Protocol(error) if error.is_incomplete_message() => {
            Error::HttpResponseIncomplete
        }
        EgressError::Protocol(_) => Error::HttpProtocolError,
        EgressError::UnexpectedUpgrade => Error::HttpUpgradeFailed,
        EgressError::RequestBody(_) => Error::ConnectionTerminated,
    }
}

#[cfg(test)]
mod tests {
    use http::header::HOST;
    use wasmtime_wasi_http::DEFAULT_FORBIDDEN_HEADERS;

    use super::*;

    #[test]
    fn the_forbidden_headers_are_those_of_wasmtime_without_host() {
        for name in DEFAULT_FORBIDDEN_HEADERS {
            assert_eq!(is_forbidden(&name), name != HOST, "{name}");
        }
        assert!(!is_forbidden(&HeaderName::from_static("x-anything")));
    }
}
