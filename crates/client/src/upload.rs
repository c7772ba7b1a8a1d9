//! Uploading artifacts.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use api::{ArtifactInfo, Operation};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use model::Digest;
use tokio::io::{AsyncRead, ReadBuf};

use crate::connection::{RequestBody, full};
use crate::{Client, ClientError};

/// Bytes that are read from a file at once.
const CHUNK_BYTES: usize = 64 * 1024;

impl Client {
    /// Whether the node has an artifact.
    pub async fn find_artifact(&self, digest: Digest) -> Result<ArtifactInfo, ClientError> {
        self.get(Operation::FindArtifact, &[&digest.to_string()], &())
            .await
    }

    /// Uploads bytes under their digest.
    pub async fn put_artifact(
        &self,
        digest: Digest,
        bytes: impl Into<Bytes>,
    ) -> Result<ArtifactInfo, ClientError> {
        let bytes = bytes.into();
        let length = bytes.len() as u64;
        self.put(digest, length, full(bytes)).await
    }

    /// Uploads a file under its digest. `progress` is told the bytes sent so far, now and then.
    ///
    /// # Errors
    /// [`ClientError::Local`] where the file cannot be read or grows shorter meanwhile.
    pub async fn put_artifact_file(
        &self,
        digest: Digest,
        path: &Path,
        progress: impl FnMut(u64) + Send + Unpin + 'static,
    ) -> Result<ArtifactInfo, ClientError> {
        let file = tokio::fs::File::open(path)
            .await
            .map_err(ClientError::Local)?;
        let length = file.metadata().await.map_err(ClientError::Local)?.len();
        let body = ReaderBody {
            reader: file,
            left: Some(length),
            sent: 0,
            progress,
        };
        self.put(digest, length, body.boxed_unsync()).await
    }

    async fn put(
        &self,
        digest: Digest,
        length: u64,
        body: RequestBody,
    ) -> Result<ArtifactInfo, ClientError> {
        let operation = Operation::PutArtifact;
        let request = self
            .request(
                operation.method(),
                &operation.path_with(&[&digest.to_string()]),
            )
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, length)
            .body(body);
        self.call(request.expect("the parts were checked before"))
            .await
    }
}

/// A body that is read as it is sent.
pub(crate) struct ReaderBody<R, P> {
    pub(crate) reader: R,
    /// Bytes that are still to come, where that is known.
    pub(crate) left: Option<u64>,
    pub(crate) sent: u64,
    pub(crate) progress: P,
}

impl<R: AsyncRead + Unpin, P: FnMut(u64) + Unpin> Body for ReaderBody<R, P> {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let this = self.get_mut();
        if this.left == Some(0) {
            return Poll::Ready(None);
        }
        let mut chunk = BytesMut::zeroed(CHUNK_BYTES);
        let mut buffer = ReadBuf::new(&mut chunk);
        if let Err(error) = ready!(Pin::new(&mut this.reader).poll_read(cx, &mut buffer)) {
            return Poll::Ready(Some(Err(error)));
        }
        let mut n_read = buffer.filled().len();
        if let Some(left) = &mut this.left {
            // A file that grew is cut at the length that was announced: the digest tells.
            n_read = n_read.min(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= n_read as u64;
            if n_read == 0 {
                let error = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                return Poll::Ready(Some(Err(error)));
            }
        }
        if n_read == 0 {
            return Poll::Ready(None);
        }
        chunk.truncate(n_read);
        this.sent += n_read as u64;
        (this.progress)(this.sent);
        Poll::Ready(Some(Ok(Frame::data(chunk.freeze()))))
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
