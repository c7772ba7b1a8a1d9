//! Calling a function through the admin API; bodies stream both ways.

use api::{InvokeQuery, Operation};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use model::{FunctionKey, InvocationId};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::calls::{path_of, uri};
use crate::connection::{RequestBody, empty, full};
use crate::upload::ReaderBody;
use crate::{Client, ClientError};

/// How to call a function.
#[derive(Debug, Default)]
pub struct Invocation {
    /// Path, method and version.
    pub query: InvokeQuery,
    /// The `content-type` that the function sees.
    pub content_type: Option<String>,
    /// The `accept` that the function sees.
    pub accept: Option<String>,
    /// Further headers that the function sees, as names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: InvocationBody,
}

/// The body of a call.
#[derive(Default)]
pub enum InvocationBody {
    /// None.
    #[default]
    Empty,
    /// These bytes.
    Bytes(Bytes),
    /// Whatever the reader gives until it ends.
    Reader {
        /// The reader.
        reader: Box<dyn AsyncRead + Send + Unpin>,
        /// How many bytes it gives, where that is known.
        length: Option<u64>,
    },
}

impl std::fmt::Debug for InvocationBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            InvocationBody::Empty => f.write_str("Empty"),
            InvocationBody::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            InvocationBody::Reader { length, .. } => write!(f, "Reader({length:?})"),
        }
    }
}

/// A function's answer: the head is there, the body comes.
#[derive(Debug)]
pub struct Called {
    /// The function's status.
    pub status: StatusCode,
    /// The function's headers, and the platform's.
    pub headers: HeaderMap,
    client: Client,
    body: Incoming,
}

impl Client {
    /// Calls a function. An answer of the function is a success here whatever its status; a failure of
    /// the platform, or one that it noticed (a trap, a limit), is [`ClientError::Problem`].
    pub async fn invoke(
        &self,
        function: &FunctionKey,
        invocation: Invocation,
    ) -> Result<Called, ClientError> {
        let operation = Operation::Invoke;
        let uri = uri(operation, &path_of(function), &invocation.query);
        let mut builder = self.request(operation.method(), &uri);
        let headers = builder
            .headers_mut()
            .expect("the parts were checked before");
        for (name, value) in [
            (CONTENT_TYPE, invocation.content_type),
            (ACCEPT, invocation.accept),
        ] {
            if let Some(value) = value {
                let value = header_value(name.as_str(), &value)?;
                headers.insert(name, value);
            }
        }
        for (name, value) in &invocation.headers {
            let passed = HeaderName::try_from(format!("{}{name}", api::header::PASS_PREFIX))
                .map_err(|_| local(format!("`{name}` is no name of a header")))?;
            headers.append(passed, header_value(name, value)?);
        }
        let (body, length) = invocation.body.into_body();
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        let request = builder.body(body).expect("the parts were checked before");
        let response = self.send(request).await?;
        let (head, body) = response.into_parts();
        if !head.headers.contains_key(api::header::ANSWER) {
            return Err(self.protocol(format!("status {} without `holm-answer`", head.status)));
        }
        Ok(Called {
            status: head.status,
            headers: head.headers,
            client: self.clone(),
            body,
        })
    }
}

fn header_value(name: &str, value: &str) -> Result<HeaderValue, ClientError> {
    HeaderValue::try_from(value).map_err(|_| {
        local(format!(
            "the value of `{name}` holds characters that no header has"
        ))
    })
}

fn local(message: String) -> ClientError {
    ClientError::Local(std::io::Error::other(message))
}

impl InvocationBody {
    fn into_body(self) -> (RequestBody, Option<u64>) {
        match self {
            InvocationBody::Empty => (empty(), Some(0)),
            InvocationBody::Bytes(bytes) => {
                let length = bytes.len() as u64;
                (full(bytes), Some(length))
            }
            InvocationBody::Reader { reader, length } => {
                let body = ReaderBody {
                    reader,
                    left: length,
                    sent: 0,
                    progress: |_| (),
                };
                (body.boxed_unsync(), length)
            }
        }
    }
}

impl Called {
    /// The invocation's id: the key of its receipt and its log lines.
    pub fn invocation(&self) -> Option<InvocationId> {
        self.headers
            .get(api::header::INVOCATION_ID)?
            .to_str()
            .ok()?
            .parse()
            .ok()
    }

    /// The next piece of the body; `None` when it has ended. Cancel-safe.
    ///
    /// # Errors
    /// [`ClientError::Broken`] where the function failed or the node went away after the head: the
    /// receipt says which.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.client.broken(&error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Writes the body to `writer` as it comes. Returns its length in bytes.
    ///
    /// # Errors
    /// As [`Called::chunk`]; [`ClientError::Local`] where the writer fails.
    pub async fn copy_to(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<u64, ClientError> {
        let mut n_bytes = 0;
        while let Some(chunk) = self.chunk().await? {
            writer.write_all(&chunk).await.map_err(ClientError::Local)?;
            // Whoever waits for a streamed answer wants to see it now.
            writer.flush().await.map_err(ClientError::Local)?;
            n_bytes += chunk.len() as u64;
        }
        Ok(n_bytes)
    }

    /// The body whole, at most `bytes_max` of it.
    pub async fn bytes(self, bytes_max: usize) -> Result<Bytes, ClientError> {
        self.client.read(self.body, bytes_max).await
    }
}
