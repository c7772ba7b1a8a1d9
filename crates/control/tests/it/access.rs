//! Who gets in, and what is answered to whom does not (A25, A37, A78 tokens).

use api::{Auth, Operation};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use model::{Code, Problem};

use crate::support::{Node, TOKEN, code, key, problem, send};

/// A request to `operation` for things that exist or could.
fn request(operation: Operation) -> http::request::Builder {
    let path = operation
        .path()
        .replace("{namespace}", "default")
        .replace("{name}", "here")
        .replace("{digest}", &"0".repeat(64))
        .replace("{id}", "0192f0c1-9f3b-7cc2-8a55-3c1d1f0a9b11");
    Request::builder()
        .method(operation.method().as_str())
        .uri(path)
}

fn problem_of(response: &http::Response<Bytes>) -> Problem {
    assert_eq!(response.headers()["content-type"], api::PROBLEM_JSON);
    let problem: Problem = serde_json::from_slice(response.body()).expect("a problem document");
    assert_eq!(response.status(), problem.status);
    assert_eq!(
        response.headers()[api::header::ERROR],
        problem.code.to_string().as_str()
    );
    problem
}

#[tokio::test]
async fn no_operation_but_the_health_checks_works_without_the_token() {
    let node = Node::start().await;
    node.deploy("here", "write hello").await;
    let wrong = [
        None,
        Some("Bearer".to_owned()),
        Some(format!("Bearer {}", &TOKEN[..63])),
        Some(format!("Basic {TOKEN}")),
        Some(format!("Bearer {}", "a".repeat(50_000))),
    ];
    let before = node.catalog.snapshot().generation;
    for operation in Operation::ALL {
        for authorization in &wrong {
            let mut builder = request(*operation).header("host", "localhost");
            if let Some(authorization) = authorization {
                builder = builder.header("authorization", authorization);
            }
            let request = builder.body(Full::default()).expect("a request");
            let response = send(node.address, request).await;
            match operation.auth() {
                Auth::Anonymous => assert_eq!(response.status(), 200, "{operation:?}"),
                Auth::Token => {
                    assert_eq!(
                        problem_of(&response).code,
                        Code::Unauthorized,
                        "{operation:?}"
                    );
                    assert!(response.headers().contains_key("www-authenticate"));
                }
            }
        }
    }
    assert_eq!(
        node.catalog.snapshot().generation,
        before,
        "nothing was changed"
    );
    assert_eq!(node.call("here").await, "hello");
}

#[tokio::test]
async fn unknown_paths_say_nothing_without_the_token_and_404_with_it() {
    let node = Node::start().await;
    for path in [
        "/",
        "/v1",
        "/v2/node",
        "/v1/node/",
        "/v1/functions/x",
        "/debug/pprof",
        "/live/x",
    ] {
        let bare = Request::get(path).header("host", "localhost");
        let response = send(node.address, bare.body(Full::default()).expect("a request")).await;
        assert_eq!(problem_of(&response).code, Code::Unauthorized, "{path}");
        let response = node
            .send(Request::get(path).body(Full::default()).expect("a request"))
            .await;
        assert_eq!(problem_of(&response).code, Code::ApiNotFound, "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_405_with_the_allowed_ones() {
    let node = Node::start().await;
    for (path, method, allow) in [
        ("/v1/node", "POST", "GET,HEAD"),
        (
            "/v1/namespaces/default/functions/x/versions",
            "DELETE",
            "GET,HEAD,POST",
        ),
        ("/v1/namespaces/default/functions/x/invoke", "GET", "POST"),
    ] {
        let builder = Request::builder().method(method).uri(path);
        let response = node
            .send(builder.body(Full::default()).expect("a request"))
            .await;
        assert_eq!(
            problem_of(&response).code,
            Code::MethodNotAllowed,
            "{method} {path}"
        );
        assert_eq!(response.headers()["allow"], allow);
    }
    let builder = Request::builder()
        .method("OPTIONS")
        .uri("/v1/node")
        .header("origin", "http://a");
    let response = node
        .send(builder.body(Full::default()).expect("a request"))
        .await;
    assert_eq!(response.status(), 403, "no CORS");
    assert!(
        response
            .headers()
            .keys()
            .all(|name| !name.as_str().starts_with("access-control"))
    );
}

#[tokio::test]
async fn pages_and_foreign_host_names_are_refused_even_with_the_token() {
    let node = Node::start().await;
    for (name, value, expected) in [
        ("host", "evil.example", Code::HostNotAllowed),
        ("origin", "http://localhost:8081", Code::Forbidden),
        ("sec-fetch-site", "cross-site", Code::Forbidden),
    ] {
        let builder = Request::get("/v1/node").header(name, value);
        let response = node
            .send(builder.body(Full::default()).expect("a request"))
            .await;
        assert_eq!(problem_of(&response).code, expected, "{name}: {value}");
    }
}

#[tokio::test]
async fn get_answers_head_and_takes_no_body() {
    let node = Node::start().await;
    let builder = Request::head("/v1/node");
    let response = node
        .send(builder.body(Full::default()).expect("a request"))
        .await;
    assert_eq!(
        (response.status().as_u16(), response.body().len()),
        (200, 0)
    );
    let builder = Request::get("/v1/node");
    let response = node
        .send(builder.body(Full::from("x")).expect("a request"))
        .await;
    assert_eq!(problem_of(&response).code, Code::InvalidArgument);
}

#[tokio::test]
async fn names_that_are_none_are_answered_like_functions_that_are_not_there() {
    let node = Node::start().await;
    let missing = problem(node.client.describe(&key("missing")).await);
    assert_eq!(missing.code, Code::FunctionNotFound);
    for name in [
        "%2e%2e",
        "UPPER",
        "a%2Fb",
        "a%00",
        "%C3%A4",
        "..",
        "a--b",
        &"a".repeat(64),
    ] {
        let path = format!("/v1/namespaces/default/functions/{name}");
        let response = node
            .send(Request::get(path).body(Full::default()).expect("a request"))
            .await;
        let problem = problem_of(&response);
        let same = (problem.code, &problem.title, problem.status);
        assert_eq!(
            same,
            (missing.code, &missing.title, missing.status),
            "{name}"
        );
        assert!(
            problem.detail.bytes().all(|b| (0x20..0x7f).contains(&b)),
            "{}",
            problem.detail
        );
    }
    let path = "/v1/namespaces/default/functions/%FF%FE";
    let response = node
        .send(Request::get(path).body(Full::default()).expect("a request"))
        .await;
    assert!(response.status().is_client_error());
}

#[tokio::test]
async fn secrets_of_the_configuration_are_not_shown() {
    let node = Node::start().await;
    let config = node.client.config().await.expect("shown");
    assert_eq!(config.config["admin"]["token"], "[redacted]");
    assert!(!config.config.to_string().contains("canary"));
}

#[tokio::test]
async fn readiness_follows_the_node() {
    let node = Node::start().await;
    assert_eq!(node.client.ready().await.expect("ready").status, "ok");
    node.is_ready
        .store(false, std::sync::atomic::Ordering::Release);
    assert_eq!(code(node.client.ready().await), Code::Draining);
    assert_eq!(node.client.live().await.expect("alive").status, "ok");
}

#[tokio::test]
async fn many_silent_connections_do_not_end_the_server() {
    let mut options = crate::support::Options::default();
    options.config.n_connections_max = 4;
    options.config.head_timeout_s = 1;
    let node = Node::start_with(options).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(
            tokio::net::TcpStream::connect(node.address)
                .await
                .expect("accepted"),
        );
    }
    // The first four time out, then the next four, then this one is served.
    assert_eq!(node.client.live().await.expect("served").status, "ok");
}
