//! What the client makes of answers, also of those that no node gives: over real sockets, with a server
//! that sends fixed bytes.

use std::net::SocketAddr;

use client::{Client, ClientConfig, ClientError, Invocation, InvocationBody};
use model::{Code, Failure, FunctionKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const TOKEN: &str = "0123456789abcdef";

/// Answers one connection with `answer` once the request's head has come; gives back what it received.
async fn answering(answer: Vec<u8>) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut received = Vec::new();
        while !received.windows(4).any(|window| window == b"\r\n\r\n") {
            let n_read = stream.read_buf(&mut received).await.expect("readable");
            assert_ne!(n_read, 0, "the client left early");
        }
        stream.write_all(&answer).await.expect("writable");
        stream.shutdown().await.expect("writable");
        // Until the client has gone, so that no reset overtakes the answer.
        let _ = stream.read_to_end(&mut received).await;
        String::from_utf8_lossy(&received).into_owned()
    });
    (address, server)
}

fn client(address: SocketAddr) -> Client {
    let config = ClientConfig::new(address.to_string(), Some(TOKEN.to_owned()));
    Client::new(config).expect("valid")
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into_bytes()
}

fn problem() -> String {
    let failure = Failure::new(Code::FunctionNotFound, "there is no function `x`");
    serde_json::to_string(&failure.to_problem(None)).expect("serialises")
}

fn key(text: &str) -> FunctionKey {
    text.parse().expect("a key")
}

#[tokio::test]
async fn a_node_that_is_not_there_says_how_to_start_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let error = client(address).node().await.expect_err("nobody listens");
    assert_eq!(error.code(), Code::NodeNotRunning);
    let text = error.to_string();
    assert!(
        text.contains("connection refused") && text.contains("holm up"),
        "{text}"
    );
    assert_eq!(error.to_problem().code, Code::NodeNotRunning);
}

#[tokio::test]
async fn the_token_is_sent_and_never_shown() {
    let (address, server) = answering(answer("200 OK", "", r#"{"status":"ok"}"#)).await;
    let client = client(address);
    assert_eq!(client.live().await.expect("answered").status, "ok");
    assert!(!format!("{client:?}").contains(TOKEN));
    drop(client);
    let received = server.await.expect("ended");
    assert!(
        received.contains(&format!("authorization: Bearer {TOKEN}\r\n")),
        "{received}"
    );
    assert!(
        received.contains(&format!("host: {address}\r\n")),
        "{received}"
    );
    for token in ["", "a b", "a\r\nx: y", "ä"] {
        let config = ClientConfig::new(address.to_string(), Some(token.to_owned()));
        assert!(
            matches!(Client::new(config), Err(ClientError::Token)),
            "{token:?}"
        );
    }
}

#[tokio::test]
async fn problem_documents_become_errors() {
    let headers = "content-type: application/problem+json\r\n";
    let (address, _server) = answering(answer("404 Not Found", headers, &problem())).await;
    match client(address)
        .describe(&key("x"))
        .await
        .expect_err("a problem")
    {
        ClientError::Problem(problem) => {
            assert_eq!(problem.code, Code::FunctionNotFound);
            assert_eq!(problem.detail, "there is no function `x`");
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn strangers_are_told_from_nodes() {
    for bytes in [
        answer("200 OK", "content-type: text/html\r\n", "<html>"),
        answer("502 Bad Gateway", "content-type: text/html\r\n", "<html>"),
        answer(
            "404 Not Found",
            "content-type: application/problem+json\r\n",
            "{}",
        ),
    ] {
        let (address, _server) = answering(bytes).await;
        let error = client(address).node().await.expect_err("no node");
        assert!(matches!(error, ClientError::Protocol { .. }), "{error}");
    }
    for bytes in [b"SSH-2.0-OpenSSH\r\n".to_vec(), Vec::new()] {
        let (address, _server) = answering(bytes).await;
        let error = client(address).node().await.expect_err("no node");
        assert!(matches!(error, ClientError::Broken { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_cut_answer_is_an_error() {
    let mut bytes = answer("200 OK", "holm-answer: function\r\n", "complete");
    bytes.truncate(bytes.len() - 1);
    let (address, _server) = answering(bytes).await;
    let mut called = client(address)
        .invoke(&key("x"), Invocation::default())
        .await
        .expect("the head is there");
    let mut out = Vec::new();
    let error = called.copy_to(&mut out).await.expect_err("cut");
    assert!(matches!(error, ClientError::Broken { .. }), "{error}");
    assert_eq!(out, b"complet");
}

#[tokio::test]
async fn what_a_function_answers_is_never_taken_for_a_problem_of_the_platform() {
    let headers = "content-type: application/problem+json\r\nholm-answer: function\r\n";
    let (address, _server) = answering(answer("404 Not Found", headers, &problem())).await;
    let called = client(address)
        .invoke(&key("x"), Invocation::default())
        .await
        .expect("an answer");
    assert_eq!(called.status, 404);
    assert_eq!(called.bytes(10_000).await.expect("whole"), problem());

    let headers = "content-type: application/problem+json\r\nholm-answer: problem\r\n";
    let (address, _server) = answering(answer("404 Not Found", headers, &problem())).await;
    let error = client(address)
        .invoke(&key("x"), Invocation::default())
        .await
        .expect_err("refused");
    assert!(matches!(error, ClientError::Problem(_)), "{error}");
}

#[tokio::test]
async fn a_reader_is_streamed_and_its_query_encoded() {
    let (address, server) = answering(answer("200 OK", "holm-answer: function\r\n", "")).await;
    let invocation = Invocation {
        query: api::InvokeQuery {
            path: Some("/a?b=c&d".to_owned()),
            method: Some("PUT".to_owned()),
            version: Some(3.into()),
        },
        content_type: Some("text/plain".to_owned()),
        body: InvocationBody::Reader {
            reader: Box::new(&b"streamed"[..]),
            length: None,
        },
        ..Invocation::default()
    };
    let called = client(address)
        .invoke(&key("x.team"), invocation)
        .await
        .expect("an answer");
    assert_eq!(called.bytes(1).await.expect("empty"), "");
    let received = server.await.expect("ended");
    assert!(
        received.starts_with(
            "POST /v1/namespaces/team/functions/x/invoke?method=PUT&path=%2Fa%3Fb%3Dc%26d&version=3 "
        ),
        "{received}"
    );
    assert!(
        received.contains("content-type: text/plain\r\n"),
        "{received}"
    );
    assert!(
        received.contains("transfer-encoding: chunked\r\n"),
        "{received}"
    );
}

#[tokio::test]
async fn log_lines_are_read_as_they_come() {
    let line = r#"{"time_unix_ms":1,"stream":"stdout","text":"a\u001b[31m"}"#;
    let (address, _server) = answering(answer("200 OK", "", &format!("{line}\n\n{line}"))).await;
    let query = api::LogsQuery::default();
    let mut logs = client(address)
        .logs(&key("x"), &query)
        .await
        .expect("a stream");
    for _ in 0..2 {
        let record = logs.next().await.expect("readable").expect("a record");
        assert_eq!(record.text, "a\u{1b}[31m");
    }
    assert_eq!(logs.next().await.expect("readable"), None);
}

#[tokio::test]
async fn a_file_that_shrinks_is_the_callers_fault() {
    let (address, _server) = answering(Vec::new()).await;
    let invocation = Invocation {
        body: InvocationBody::Reader {
            reader: Box::new(&b"short"[..]),
            length: Some(10),
        },
        ..Invocation::default()
    };
    let error = client(address)
        .invoke(&key("x"), invocation)
        .await
        .expect_err("too short");
    assert!(matches!(error, ClientError::Local(_)), "{error}");
}

#[tokio::test]
async fn a_node_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let mut config = ClientConfig::new(address.to_string(), None);
    config.answer_timeout = std::time::Duration::from_millis(20);
    let client = Client::new(config).expect("valid");
    let error = client.live().await.expect_err("no answer");
    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");

    // The head came, the body stops short of its length.
    let server = tokio::spawn(async move {
        // The one that was given up, then this one.
        let (_given_up, _) = listener.accept().await.expect("a client");
        let (mut stream, _) = listener.accept().await.expect("a client");
        stream.read_buf(&mut Vec::new()).await.expect("a request");
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{";
        stream.write_all(head).await.expect("writable");
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let error = client.live().await.expect_err("half an answer");
    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
    server.await.expect("the client left");
}
