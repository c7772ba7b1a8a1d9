//! A function's log lines, one JSON value per line: those that are kept, and with `follow` every new one
//! until the client leaves, the function is removed or the node stops.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use api::{LogRecord, LogSource, LogsQuery};
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use meter::{Follower, LogEntry};
use model::{Code, Failure};
use runtime::LogStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::extract::{FunctionPath, QueryOf};
use crate::refusal::Refusal;
use crate::state::{App, place};

/// Lines that are there already are sent together, up to about so many bytes.
const CHUNK_BYTES: usize = 64 * 1024;

pub(crate) async fn logs(
    State(app): State<Arc<App>>,
    FunctionPath(function): FunctionPath,
    QueryOf(query): QueryOf<LogsQuery>,
) -> Result<Response, Refusal> {
    app.entry(&function)?;
    let n_lines = match (query.tail, query.invocation) {
        (Some(n_lines), _) if n_lines > api::LOG_TAIL_MAX => {
            let detail = format!("`tail` is at most {}, not {n_lines}", api::LOG_TAIL_MAX);
            return Err(Failure::new(Code::InvalidArgument, detail).into());
        }
        (Some(n_lines), _) => n_lines,
        (None, Some(_)) => api::LOG_TAIL_MAX,
        (None, None) => api::LOG_TAIL_DEFAULT,
    };
    let logs = &app.deps.logs;
    let body = if query.follow {
        let following = Following {
            _place: place(
                &app.followers,
                "n_followers_max",
                app.config.n_followers_max,
                Duration::ZERO,
            )
            .await?,
            follower: logs.follow(&function, query.invocation, n_lines),
            stopping: app.stopping.clone(),
        };
        let chunks = stream::unfold(following, |mut following| async {
            let chunk = following.chunk().await?;
            Some((Ok::<_, Infallible>(chunk), following))
        });
        Body::from_stream(chunks)
    } else {
        let mut lines = Vec::new();
        for entry in logs.tail(&function, query.invocation, n_lines) {
            write_line(&mut lines, &entry);
        }
        Body::from(lines)
    };
    let content_type = HeaderValue::from_static(api::NDJSON);
    Ok(([(CONTENT_TYPE, content_type)], body).into_response())
}

struct Following {
    _place: OwnedSemaphorePermit,
    follower: Follower,
    stopping: CancellationToken,
}

impl Following {
    /// The next lines; waits for one.
    async fn chunk(&mut self) -> Option<Bytes> {
        let first = tokio::select! {
            () = self.stopping.cancelled() => return None,
            entry = self.follower.next() => entry?,
        };
        let mut lines = Vec::new();
        write_line(&mut lines, &first);
        while lines.len() < CHUNK_BYTES
            && let Some(entry) = self.follower.try_next()
        {
            write_line(&mut lines, &entry);
        }
        Some(lines.into())
    }
}

fn write_line(lines: &mut Vec<u8>, entry: &LogEntry) {
    let record = LogRecord {
        time_unix_ms: entry.time_unix_ms,
        invocation: Some(entry.invocation),
        version: Some(entry.version),
        stream: match entry.stream {
            LogStream::Stdout => LogSource::Stdout,
            LogStream::Stderr => LogSource::Stderr,
            LogStream::Platform => LogSource::Platform,
        },
        text: String::from_utf8_lossy(&entry.text).into_owned(),
        n_missed: entry.n_missed,
    };
    serde_json::to_writer(&mut *lines, &record).expect("records have string keys only");
    lines.push(b'\n');
}
