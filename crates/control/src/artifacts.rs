//! Artifacts: whether one is there, and uploads. An upload goes from the socket to the blob store in
//! pieces through a short queue; nothing of it is visible before it is whole, durable and has its digest.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use api::ArtifactInfo;
use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use model::{Code, Digest, Failure};
use store::StoreError;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::extract::{DigestPath, body_broke, body_timed_out};
use crate::functions::blocking;
use crate::refusal::Refusal;
use crate::state::{App, place};

/// Pieces of an upload that wait for the disk; hyper makes them at most a few hundred KiB long.
const N_PIECES_MAX: usize = 4;

/// What is read and thrown away of a refused upload, so that the client, who is still sending, gets to
/// read why. Beyond that the connection is cut.
const REFUSED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How long that may take.
const REFUSED_TIME_MAX: Duration = Duration::from_secs(2);

pub(crate) async fn find(
    State(app): State<Arc<App>>,
    DigestPath(digest): DigestPath,
) -> Result<Json<ArtifactInfo>, Refusal> {
    let found = blocking(app, "looking up the artifact", move |app| {
        Ok(app.deps.blobs.find(digest)?)
    });
    let size_bytes = found.await?.map(|(_, size_bytes)| size_bytes);
    Ok(Json(ArtifactInfo {
        digest,
        is_present: size_bytes.is_some(),
        size_bytes,
    }))
}

pub(crate) async fn put(
    State(app): State<Arc<App>>,
    DigestPath(digest): DigestPath,
    request: Request,
) -> Result<Json<ArtifactInfo>, Refusal> {
    let (parts, mut body) = request.into_parts();
    match upload(app, digest, &parts.headers, &mut body).await {
        Ok(size_bytes) => Ok(Json(ArtifactInfo {
            digest,
            is_present: true,
            size_bytes: Some(size_bytes),
        })),
        Err(failure) => {
            let _ = tokio::time::timeout(REFUSED_TIME_MAX, drain(body)).await;
            Err(failure.into())
        }
    }
}

async fn upload(
    app: Arc<App>,
    digest: Digest,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<u64, Failure> {
    let bytes_max = app.config.artifact_bytes_max;
    let length = announced_length(headers)?;
    if length > bytes_max {
        return Err(too_large(bytes_max));
    }
    let _place = place(
        &app.uploads,
        "n_uploads_max",
        app.config.n_uploads_max,
        app.queue_timeout(),
    )
    .await?;
    let idle = Duration::from_secs(app.config.body_timeout_s);
    let (sender, receiver) = mpsc::channel(N_PIECES_MAX);
    let mut pieces = Pieces {
        receiver,
        current: Bytes::new(),
        left: length,
    };
    let write =
        tokio::task::spawn_blocking(move || app.deps.blobs.put(digest, &mut pieces, bytes_max));
    let sent = send(body, sender, idle).await;
    let written = write.await;
    // What is wrong with the client's body explains a failed write, not the other way round.
    sent?;
    let written = written.map_err(|error| crate::refusal::task_failed("the upload", &error))?;
    written.map_err(|error| match error {
        StoreError::TooLarge { .. } => too_large(bytes_max),
        other => other.into(),
    })
}

fn announced_length(headers: &HeaderMap) -> Result<u64, Failure> {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    length.ok_or_else(|| {
        Failure::new(
            Code::InvalidArgument,
            "an upload announces its size in `content-length`",
        )
    })
}

/// Hands the body to the writer, piece by piece. Ends early, without an error of its own, when the writer
/// does: then the writer knows why.
async fn send(body: &mut Body, sender: mpsc::Sender<Bytes>, idle: Duration) -> Result<(), Failure> {
    loop {
        let frame = tokio::time::timeout(idle, body.frame()).await;
        let Some(frame) = frame.map_err(|_| body_timed_out(idle))? else {
            return Ok(());
        };
        let frame = frame.map_err(|error| body_broke(&error))?;
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        if sender.send(piece).await.is_err() {
            return Ok(());
        }
    }
}

/// The writer's side: what was sent, as a file. An upload that stops before its announced length reads
/// as an error, never as an end.
struct Pieces {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
    left: u64,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.current = piece,
                None if self.left == 0 => return Ok(0),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let n_read = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..n_read]);
        self.left = self.left.saturating_sub(n_read as u64);
        Ok(n_read)
    }
}

async fn drain(mut body: Body) {
    let started = Instant::now();
    let mut n_drained = 0;
    while n_drained < REFUSED_BYTES_MAX {
        match body.frame().await {
            Some(Ok(frame)) => {
                n_drained += frame.data_ref().map_or(0, |piece| piece.len() as u64);
            }
            Some(Err(_)) | None => break,
        }
    }
    tracing::debug!(n_drained, elapsed = ?started.elapsed(), "read a refused upload");
}

fn too_large(bytes_max: u64) -> Failure {
    let max = model::units::format_size(bytes_max);
    Failure::new(
        Code::ArtifactTooLarge,
        format!("an artifact has at most {max} on this node"),
    )
    .with_limit(
        "admin.artifact_bytes_max",
        max,
        "`artifact_bytes_max` under [admin] in the node's configuration",
    )
}
