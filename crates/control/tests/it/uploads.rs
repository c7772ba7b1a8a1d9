//! Artifacts: streamed in, digested, bounded.

use std::io::Write;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use model::{Code, Digest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Node, Options, TOKEN, code};

fn small(artifact_bytes_max: u64) -> Options {
    let mut options = Options::default();
    options.config.artifact_bytes_max = artifact_bytes_max;
    options
}

#[tokio::test]
async fn a_file_is_uploaded_with_progress_and_found() {
    let node = Node::start().await;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let digest = Digest::of(&bytes);
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&bytes).expect("written");
    assert!(
        !node
            .client
            .find_artifact(digest)
            .await
            .expect("answered")
            .is_present
    );

    let seen = Arc::new(Mutex::new(Vec::new()));
    let progress = {
        let seen = Arc::clone(&seen);
        move |n_bytes| seen.lock().expect("unpoisoned").push(n_bytes)
    };
    let info = node
        .client
        .put_artifact_file(digest, file.path(), progress)
        .await
        .expect("uploaded");
    assert_eq!((info.digest, info.size_bytes), (digest, Some(3_000_000)));
    let seen = std::mem::take(&mut *seen.lock().expect("unpoisoned"));
    assert!(seen.len() > 10 && seen.is_sorted() && seen.last() == Some(&3_000_000));
    let found = node.client.find_artifact(digest).await.expect("answered");
    assert_eq!(
        (found.is_present, found.size_bytes),
        (true, Some(3_000_000))
    );
    let again = node
        .client
        .put_artifact(digest, bytes)
        .await
        .expect("uploaded again");
    assert_eq!(again, info);
}

#[tokio::test]
async fn too_large_uploads_are_refused_by_their_announced_length() {
    let node = Node::start_with(small(1000)).await;
    let bytes = vec![7; 1000];
    node.client
        .put_artifact(Digest::of(&bytes), bytes)
        .await
        .expect("just fits");
    for n_bytes in [1001, 20_000_000] {
        let bytes = vec![7; n_bytes];
        let digest = Digest::of(&bytes);
        let problem = crate::support::problem(node.client.put_artifact(digest, bytes).await);
        assert_eq!(
            (problem.code, problem.status),
            (Code::ArtifactTooLarge, 413)
        );
        let limit = problem.limit.expect("named");
        assert_eq!(limit.name, "admin.artifact_bytes_max");
        assert!(
            !node
                .client
                .find_artifact(digest)
                .await
                .expect("answered")
                .is_present
        );
    }
}

#[tokio::test]
async fn a_wrong_digest_keeps_nothing() {
    let node = Node::start().await;
    let wrong = Digest::of(b"other");
    assert_eq!(
        code(node.client.put_artifact(wrong, "bytes").await),
        Code::DigestMismatch
    );
    assert!(
        !node
            .client
            .find_artifact(wrong)
            .await
            .expect("answered")
            .is_present
    );
    let right = Digest::of(b"bytes");
    assert!(
        !node
            .client
            .find_artifact(right)
            .await
            .expect("answered")
            .is_present
    );
}

#[tokio::test]
async fn a_length_is_needed_and_an_upload_that_breaks_off_keeps_nothing() {
    let node = Node::start().await;
    let digest = Digest::of(b"complete");
    let head = format!(
        "PUT /v1/artifacts/{digest} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n"
    );
    let mut stream = TcpStream::connect(node.address).await.expect("connected");
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n8\r\ncomplete\r\n0\r\n\r\n");
    stream.write_all(chunked.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 400");

    let mut stream = TcpStream::connect(node.address).await.expect("connected");
    stream
        .write_all(format!("{head}content-length: 8\r\n\r\ncompl").as_bytes())
        .await
        .expect("sent");
    stream.shutdown().await.expect("sent");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(
        !rest.starts_with(b"HTTP/1.1 2"),
        "{}",
        String::from_utf8_lossy(&rest)
    );
    assert!(
        !node
            .client
            .find_artifact(digest)
            .await
            .expect("answered")
            .is_present
    );
    node.client
        .put_artifact(digest, "complete")
        .await
        .expect("a whole upload follows");
}

#[tokio::test]
async fn an_upload_that_stands_still_is_ended() {
    let mut options = Options::default();
    options.config.body_timeout_s = 1;
    let node = Node::start_with(options).await;
    let digest = Digest::of(b"complete");
    let mut stream = TcpStream::connect(node.address).await.expect("connected");
    let head = format!(
        "PUT /v1/artifacts/{digest} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\
         content-length: 8\r\n\r\ncompl"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn uploads_at_once_are_bounded() {
    let mut options = Options::default();
    options.config.n_uploads_max = 1;
    options.config.queue_timeout_s = 0;
    let node = Node::start_with(options).await;
    let digest = Digest::of(b"complete");
    let head = format!(
        "PUT /v1/artifacts/{digest} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\
         content-length: 8\r\nexpect: 100-continue\r\n\r\n"
    );
    let mut stream = TcpStream::connect(node.address).await.expect("connected");
    stream.write_all(head.as_bytes()).await.expect("sent");
    // The server asks for the body: it holds the one place.
    let mut answer = vec![0; 25];
    stream.read_exact(&mut answer).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    let refused = node.client.put_artifact(digest, "complete").await;
    assert_eq!(code(refused), Code::NodeAtCapacity);
    stream.write_all(b"complete").await.expect("sent");
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 200");
    node.client
        .put_artifact(digest, "complete")
        .await
        .expect("the place is free again");
}

#[tokio::test]
async fn json_bodies_are_bounded_and_typed() {
    let node = Node::start().await;
    let path = "/v1/namespaces/default/functions/f/rollback";
    let post = |content_type: &'static str, body: Vec<u8>| {
        let request = Request::post(path).header("content-type", content_type);
        node.send(
            request
                .body(Full::new(Bytes::from(body)))
                .expect("a request"),
        )
    };
    let large = format!(
        "{{\"version\":\"{}\"}}",
        "1".repeat(api::JSON_BODY_BYTES_MAX)
    );
    let response = post("application/json", large.into_bytes()).await;
    assert_eq!(response.headers()[api::header::ERROR], "H1005");
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
    ] {
        let response = post(content_type, b"{}".to_vec()).await;
        assert_eq!(
            response.headers()[api::header::ERROR],
            "H1018",
            "{content_type}"
        );
    }
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    for body in [
        &b"{"[..],
        b"",
        b"[]",
        b"{\"version\":{}}",
        b"{\"verson\":1}",
        b"\xff",
        &deep,
    ] {
        let response = post("application/json; charset=utf-8", body.to_vec()).await;
        assert_eq!(
            response.headers()[api::header::ERROR],
            "H1018",
            "{body:.40?}"
        );
    }
    let response = post("application/json", b"{}".to_vec()).await;
    assert_eq!(
        response.headers()[api::header::ERROR],
        "H1001",
        "well-formed, and no function"
    );
}
