//! One outbound request from policy to response head. Refuses to know guests; `Outbound` says for whom.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use model::FunctionKey;
use model::egress::EgressRule;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use crate::body::{OpenConnection, ResponseBody};
use crate::config::EgressConfig;
use crate::connect::{connect, resolve};
use crate::error::{EgressError, Stage};
use crate::gate::{Gate, Pass};
use crate::metrics::{EgressCounts, EgressMetrics};
use crate::own::OwnListeners;
use crate::policy::Grant;
use crate::request::{BoxError, Progress, WatchedBody, prepare, strip_hop_by_hop};
use crate::resolve::Resolver;
use crate::target::Target;
use crate::tls::Tls;

/// On whose behalf a request is made, and under which rules.
#[derive(Clone, Copy, Debug)]
pub struct Outbound<'a> {
    /// The function: its connections are counted.
    pub function: &'a FunctionKey,
    /// The rules of its manifest; none allows nothing.
    pub rules: &'a [EgressRule],
    /// What the guest asked for; the node's own limits hold where they are shorter.
    pub timeouts: Timeouts,
}

/// Time limits that a guest asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timeouts {
    /// For resolving and connecting, TLS included.
    pub connect: Option<Duration>,
    /// For the response head.
    pub head: Option<Duration>,
    /// For each wait for more of the response body.
    pub between_bytes: Option<Duration>,
}

/// The limits of one request: the node's, shortened by the guest's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) resolve_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) head_timeout: Duration,
    pub(crate) between_bytes_timeout: Duration,
    pub(crate) addresses_max: usize,
}

impl Limits {
    fn new(config: &EgressConfig, asked: &Timeouts) -> Self {
        let shorter = |limit: Duration, asked: Option<Duration>| asked.unwrap_or(limit).min(limit);
        Self {
            resolve_timeout: shorter(config.resolve_timeout, asked.connect),
            connect_timeout: shorter(config.connect_timeout, asked.connect),
            head_timeout: shorter(config.head_timeout, asked.head),
            between_bytes_timeout: shorter(config.between_bytes_timeout, asked.between_bytes),
            addresses_max: config.addresses_max,
        }
    }
}

/// The outbound HTTP client of a node.
pub struct EgressClient {
    config: EgressConfig,
    resolver: Box<dyn Resolver>,
    own: Arc<OwnListeners>,
    gate: Arc<Gate>,
    tls: Tls,
    metrics: EgressMetrics,
}

impl EgressClient {
    /// A client that resolves with `resolver` and keeps functions away from `own`.
    pub fn new(config: EgressConfig, resolver: impl Resolver, own: Arc<OwnListeners>) -> Arc<Self> {
        Arc::new(Self {
            gate: Arc::new(Gate::new(&config)),
            tls: Tls::new(&config),
            resolver: Box::new(resolver),
            own,
            metrics: EgressMetrics::default(),
            config,
        })
    }

    /// Counters for the node's metrics.
    pub fn counts(&self) -> EgressCounts {
        self.metrics.read(self.gate.n_open())
    }

    /// Sends one request, whose URI is absolute, and returns when the response's head is there. Bodies
    /// stream in both directions; the request body is read as fast as the server takes it, also while
    /// the response is being read. A redirect is an answer like any other.
    ///
    /// Dropping the future or the response's body closes the connection.
    ///
    /// # Errors
    /// [`EgressError::Denied`] before anything was sent, others as they say. A failure after the head is
    /// the response body's.
    pub async fn send<B>(
        &self,
        outbound: Outbound<'_>,
        request: Request<B>,
    ) -> Result<Response<ResponseBody>, EgressError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.metrics.note_request();
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        let uri = request.uri().clone();
        let sending = async {
            let target = Target::of(request.uri())?;
            let (request, progress) =
                prepare(request, &target, self.config.request_head_bytes_max)?;
            self.send_to(&target, outbound, request, progress).await
        };
        sending.await.map_err(|mut error| {
            if let EgressError::Denied { target, .. } = &mut error {
                *target = described(&uri);
            }
            self.metrics.note_error(&error);
            error
        })
    }

    async fn send_to(
        &self,
        target: &Target,
        outbound: Outbound<'_>,
        request: Request<WatchedBody>,
        progress: Arc<Progress>,
    ) -> Result<Response<ResponseBody>, EgressError> {
        let limits = Limits::new(&self.config, &outbound.timeouts);
        let grant = Grant::find(outbound.rules, target)?;
        let pass = self.gate.enter(outbound.function)?;
        let resolver = &*self.resolver;
        let addresses = resolve(target, grant, &self.own, resolver, &pass, &limits).await?;

        let limit = limits.connect_timeout;
        let deadline = Instant::now() + limit;
        let stream = connect(target, &addresses, deadline, limit).await?;
        if !target.is_tls {
            return self
                .exchange(stream, pass, &limits, request, progress)
                .await;
        }
        let stream = timeout_at(deadline, self.tls.handshake(&target.host, stream))
            .await
            .map_err(|_| EgressError::Timeout {
                stage: Stage::Connect,
                limit,
            })?
            .map_err(|source| EgressError::TlsFailed {
                target: target.to_string(),
                source,
            })?;
        self.exchange(stream, pass, &limits, request, progress)
            .await
    }

    /// Sends the request over a connection of its own and waits for the head.
    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        pass: Pass,
        limits: &Limits,
        request: Request<WatchedBody>,
        progress: Arc<Progress>,
    ) -> Result<Response<ResponseBody>, EgressError> {
        let mut builder = http1::Builder::new();
        builder
            .max_buf_size(self.config.buffer_bytes_max)
            .max_header_size(self.config.response_head_bytes_max)
            .max_headers(self.config.response_headers_max);
        let (mut sender, connection) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(protocol_error)?;
        // A task of its own, so that the upload goes on while the guest waits for or reads the response.
        let task = tokio::spawn(async move {
            // What goes wrong here reaches the response future or the body.
            let _ = connection.await;
        });
        let connection = OpenConnection {
            task: task.abort_handle(),
            _pass: pass,
        };
        let response = wait_for_head(sender.send_request(request), &progress, limits).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(EgressError::UnexpectedUpgrade);
        }
        let (mut parts, incoming) = response.into_parts();
        strip_hop_by_hop(&mut parts.headers);
        parts.extensions.clear();
        let body = ResponseBody::new(incoming, connection, limits.between_bytes_timeout);
        Ok(Response::from_parts(parts, body))
    }
}

/// Waits for the head. The clock starts anew whenever request body moved: a long upload is not a slow
/// server.
async fn wait_for_head(
    response: impl Future<Output = hyper::Result<Response<hyper::body::Incoming>>>,
    progress: &Progress,
    limits: &Limits,
) -> Result<Response<hyper::body::Incoming>, EgressError> {
    let limit = limits.head_timeout;
    let mut response = std::pin::pin!(response);
    let mut n_frames = progress.n_frames();
    loop {
        if let Ok(result) = timeout_at(Instant::now() + limit, response.as_mut()).await {
            return result.map_err(|error| match progress.take_failure() {
                Some(failure) => EgressError::RequestBody(failure),
                None => protocol_error(error),
            });
        }
        let n_frames_now = progress.n_frames();
        if n_frames_now == n_frames {
            return Err(EgressError::Timeout {
                stage: Stage::Head,
                limit,
            });
        }
        n_frames = n_frames_now;
    }
}

pub(crate) fn protocol_error(error: hyper::Error) -> EgressError {
    if error.is_parse_too_large() {
        EgressError::HeadTooLarge
    } else {
        EgressError::Protocol(error)
    }
}

/// The target for a message: host and port as the guest wrote them, without a password in them.
fn described(uri: &http::Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit('@').next().unwrap_or_default();
    host.to_owned()
}
