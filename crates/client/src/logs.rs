//! Reading a function's log, line by line as it comes.

use api::{LogRecord, LogsQuery, Operation};
use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use model::FunctionKey;

use crate::calls::{path_of, uri};
use crate::connection::empty;
use crate::{Client, ClientError};

/// The longest line in bytes: a log line with every byte escaped, and the fields around it.
const LINE_BYTES_MAX: usize = 256 * 1024;

impl Client {
    /// A function's log; with `follow` it goes on until the stream is dropped or the node stops.
    pub async fn logs(
        &self,
        function: &FunctionKey,
        query: &LogsQuery,
    ) -> Result<LogStream, ClientError> {
        let operation = Operation::Logs;
        let uri = uri(operation, &path_of(function), query);
        let request = self.request(operation.method(), &uri).body(empty());
        let request = request.expect("the parts were checked before");
        let response = self.in_time(self.send(request)).await?;
        if !response.status().is_success() {
            let cause = format!("status {} without a problem document", response.status());
            return Err(self.protocol(cause));
        }
        Ok(LogStream {
            client: self.clone(),
            body: response.into_body(),
            buffer: BytesMut::new(),
        })
    }
}

/// Log records as they come.
#[derive(Debug)]
pub struct LogStream {
    client: Client,
    body: Incoming,
    buffer: BytesMut,
}

impl LogStream {
    /// The next record; `None` when the stream has ended. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<LogRecord>, ClientError> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.buffer[searched..]
                .iter()
                .position(|byte| *byte == b'\n')
            {
                let line = self.buffer.split_to(searched + end + 1);
                searched = 0;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return self.parse(&line).map(Some);
            }
            searched = self.buffer.len();
            if searched > LINE_BYTES_MAX {
                let cause = format!("a log line of more than {LINE_BYTES_MAX} bytes");
                return Err(self.client.protocol(cause));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(self.client.broken(&error)),
                None if self.buffer.is_empty() => return Ok(None),
                None => {
                    let line = self.buffer.split();
                    return self.parse(&line).map(Some);
                }
            }
        }
    }

    fn parse(&self, line: &[u8]) -> Result<LogRecord, ClientError> {
        serde_json::from_slice(line).map_err(|error| {
            self.client
                .protocol(format!("unreadable log line: {error}"))
        })
    }
}
