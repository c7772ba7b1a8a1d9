//! One exchange: connect, send, read the head; then the body as JSON, or as it comes.

use std::error::Error as _;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use model::Problem;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use crate::{Client, ClientError};

/// The most bytes of a JSON answer.
const JSON_ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The most bytes of a problem document.
const PROBLEM_BYTES_MAX: usize = 1024 * 1024;

/// A request body; its error is the caller's own reader failing.
pub(crate) type RequestBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// A request without a body.
pub(crate) fn empty() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A request with these bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> RequestBody {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

impl Client {
    /// Starts a request to `path_and_query`, which is percent-encoded already.
    pub(crate) fn request(
        &self,
        method: api::Method,
        path_and_query: &str,
    ) -> http::request::Builder {
        let mut builder = Request::builder()
            .method(method.as_str())
            .uri(path_and_query)
            .header(HOST, self.address.authority.as_str())
            .header(USER_AGENT, concat!("holm/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, HeaderValue::from_static("*/*"));
        if let Some(authorization) = &self.authorization {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        builder
    }

    /// Sends a request and returns when the answer's head is there. Answers that carry a problem
    /// document become errors.
    pub(crate) async fn send(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = self.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(&error))?;
        // The connection ends by itself when the answer was read or dropped. Its error comes out of the
        // request or the body too.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| self.broken(&error))?;
        if is_problem(&response) {
            return Err(self.problem_of(response).await);
        }
        Ok(response)
    }

    /// A call with a JSON answer.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        request: Request<RequestBody>,
    ) -> Result<T, ClientError> {
        let bytes = self.call_for_bytes(request, JSON_ANSWER_BYTES_MAX).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.protocol(error.to_string()))
    }

    /// A call whose answer is read whole, in `answer_timeout` altogether.
    pub(crate) async fn call_for_bytes(
        &self,
        request: Request<RequestBody>,
        bytes_max: usize,
    ) -> Result<Bytes, ClientError> {
        let exchange = async {
            let response = self.send(request).await?;
            let status = response.status();
            if !status.is_success() {
                return Err(self.protocol(format!("status {status} without a problem document")));
            }
            self.read(response.into_body(), bytes_max).await
        };
        self.in_time(exchange).await
    }

    /// What an exchange comes to, if it does in `answer_timeout`.
    pub(crate) async fn in_time<T>(
        &self,
        exchange: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let limit = self.answer_timeout;
        let in_time = tokio::time::timeout(limit, exchange).await;
        in_time.map_err(|_| ClientError::Timeout {
            url: self.url(),
            seconds: limit.as_secs(),
        })?
    }

    /// The body whole, at most `bytes_max` of it.
    pub(crate) async fn read(
        &self,
        body: Incoming,
        bytes_max: usize,
    ) -> Result<Bytes, ClientError> {
        match Limited::new(body, bytes_max).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) => match error.downcast::<hyper::Error>() {
                Ok(error) => Err(self.broken(&error)),
                Err(error) => Err(self.protocol(error.to_string())),
            },
        }
    }

    async fn problem_of(&self, response: Response<Incoming>) -> ClientError {
        match self.read(response.into_body(), PROBLEM_BYTES_MAX).await {
            Err(error) => error,
            Ok(bytes) => match serde_json::from_slice::<Problem>(&bytes) {
                Ok(problem) => ClientError::Problem(Box::new(problem)),
                Err(error) => self.protocol(format!("unreadable problem document: {error}")),
            },
        }
    }

    async fn connect(&self) -> Result<TcpStream, ClientError> {
        let not_running = |cause: String| ClientError::NodeNotRunning {
            url: self.url(),
            cause,
        };
        let connect = TcpStream::connect((self.address.host.as_str(), self.address.port));
        match tokio::time::timeout(self.connect_timeout, connect).await {
            Err(_) => Err(not_running(format!(
                "no connection within {} s",
                self.connect_timeout.as_secs()
            ))),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                Err(not_running("connection refused".to_owned()))
            }
            Ok(Err(error)) => Err(not_running(error.to_string())),
            Ok(Ok(stream)) => {
                // Small JSON exchanges: waiting to fill packets only adds delay.
                let _ = stream.set_nodelay(true);
                Ok(stream)
            }
        }
    }

    /// The caller's own reader, where it was the cause; else the connection.
    pub(crate) fn broken(&self, error: &hyper::Error) -> ClientError {
        let mut cause = error.source();
        while let Some(inner) = cause {
            if error.is_user()
                && let Some(io) = inner.downcast_ref::<std::io::Error>()
            {
                return ClientError::Local(std::io::Error::new(io.kind(), io.to_string()));
            }
            cause = inner.source();
        }
        let cause = error
            .source()
            .map_or_else(|| error.to_string(), ToString::to_string);
        ClientError::Broken {
            url: self.url(),
            cause,
        }
    }

    pub(crate) fn protocol(&self, cause: String) -> ClientError {
        ClientError::Protocol {
            url: self.url(),
            cause,
        }
    }
}

/// Whether the platform answered with a problem document. What a function answers is never taken for
/// one, whatever its content type says.
fn is_problem(response: &Response<Incoming>) -> bool {
    let headers = response.headers();
    let is_function = headers
        .get(api::header::ANSWER)
        .is_some_and(|value| value.as_bytes() == api::ANSWER_FUNCTION.as_bytes());
    let content_type = headers
        .get(CONTENT_TYPE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    !is_function
        && !response.status().is_success()
        && content_type.starts_with(api::PROBLEM_JSON.as_bytes())
}
