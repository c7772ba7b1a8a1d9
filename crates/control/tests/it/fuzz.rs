//! The admin API under requests made from its own description (A80): whatever is sent, the answer is no
//! 5xx, every failure is a problem document, and nothing works without the token.

use api::{Operation, Payload};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::openapi::{Document, check};
use crate::support::{Node, send};

/// Requests of each operation.
const ROUNDS: usize = 60;

/// Values that parsers, paths and stores get wrong.
const ODD: [&str; 26] = [
    "",
    "0",
    "1",
    "-1",
    "18446744073709551616",
    "9223372036854775808",
    "1e9",
    "NaN",
    "null",
    "true",
    "f",
    "F",
    "..",
    "../../etc/passwd",
    "%2e%2e%2f",
    "a\0b",
    "a\r\nx: y",
    "' OR 1=1 --",
    "<script>",
    "\u{202e}x",
    "ä",
    "\u{1b}[31m",
    "=cmd()",
    "{{7*7}}",
    "abcd",
    "${jndi:x}",
];

fn odd(random: &mut StdRng) -> String {
    match random.random_range(0..10) {
        0 => "a".repeat(random.random_range(60..5_000)),
        1 => (0..random.random_range(1..20))
            .map(|_| random.random::<char>())
            .collect(),
        2 => "0192f0c1-9f3b-7cc2-8a55-3c1d1f0a9b11".to_owned(),
        3 => "0".repeat(64),
        _ => (*ODD.choose(random).expect("not empty")).to_owned(),
    }
}

fn odd_json(random: &mut StdRng, depth: usize) -> Value {
    match random.random_range(0..if depth == 0 { 5 } else { 7 }) {
        0 => Value::Null,
        1 => random.random::<bool>().into(),
        2 => random.random::<i64>().into(),
        3 | 4 => odd(random).into(),
        5 => (0..random.random_range(0..4))
            .map(|_| odd_json(random, depth - 1))
            .collect(),
        _ => (0..random.random_range(0..4))
            .map(|_| (odd(random), odd_json(random, depth - 1)))
            .collect(),
    }
}

fn encoded(text: &str) -> String {
    let mut out = String::new();
    api::operation::percent_encode(text, &mut out);
    out
}

/// A path of the operation with odd parameters, and an odd query of the names that the document knows.
fn target(document: &Document, operation: Operation, random: &mut StdRng) -> String {
    let mut target = String::new();
    for segment in operation.path().split('/').skip(1) {
        target.push('/');
        match segment.starts_with('{') {
            // The function that exists, now and then.
            true if random.random_ratio(1, 3) => {
                target.push_str(if segment == "{namespace}" {
                    "default"
                } else {
                    "f"
                });
            }
            true => target.push_str(&encoded(&odd(random))),
            false => target.push_str(segment),
        }
    }
    let mut separator = '?';
    let parameters = document.operation(operation)["parameters"]
        .as_array()
        .cloned();
    for parameter in parameters.unwrap_or_default() {
        // Following would never end.
        let Some(name) = parameter["name"].as_str().filter(|name| *name != "follow") else {
            continue;
        };
        if parameter["in"] == "query" && random.random_bool(0.6) {
            target.push_str(&format!("{separator}{name}={}", encoded(&odd(random))));
            separator = '&';
        }
    }
    target
}

/// A body that is nearly right: the members that the document knows, some of them odd.
fn body(document: &Document, operation: Operation, random: &mut StdRng) -> Vec<u8> {
    if operation.payload() != Payload::Json {
        return match operation.payload() {
            Payload::None => Vec::new(),
            _ => odd(random).into_bytes(),
        };
    }
    if random.random_ratio(1, 5) {
        return odd_json(random, 4).to_string().into_bytes();
    }
    let content = &document.operation(operation)["requestBody"]["content"]["application/json"];
    let mut value = match content["schema"]["$ref"].as_str().expect("a reference") {
        "#/components/schemas/PublishRequest" => json!({
            "manifest": "", "manifest_file": "holm.toml", "env": {}, "promote": true, "dry_run": false,
            "artifact": {"digest": "0".repeat(64), "size_bytes": 1, "kind": "wasm"},
        }),
        _ => json!({"version": 1}),
    };
    let members = value.as_object_mut().expect("an object");
    let names: Vec<String> = members.keys().cloned().collect();
    for _ in 0..random.random_range(0..3) {
        let name = names.choose(random).expect("not empty").clone();
        members.insert(name, odd_json(random, 2));
    }
    value.to_string().into_bytes()
}

#[tokio::test]
async fn odd_requests_are_refused_in_order() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let node = Node::start().await;
    let document = Document::read();
    let problems = document.problem();
    let mut n_refused = 0;
    for operation in Operation::ALL {
        for _ in 0..ROUNDS {
            // The function may have been removed by the round before.
            if node.catalog.snapshot().find("default", "f").is_none() {
                node.deploy("f", "write x").await;
            }
            let target = target(&document, *operation, &mut random);
            let body = body(&document, *operation, &mut random);
            let request = |target: &str| {
                let request = Request::builder()
                    .method(operation.method().as_str())
                    .uri(target);
                let request = request.header("content-type", "application/json");
                request
                    .body(Full::new(Bytes::from(body.clone())))
                    .expect("a request")
            };
            let response = node.send(request(&target)).await;
            let text = String::from_utf8_lossy(response.body()).into_owned();
            let what = format!(
                "{} {target} {:?}: {text}",
                operation.id(),
                String::from_utf8_lossy(&body)
            );
            // A class without engine is the one refusal of this node with a 5xx status.
            let is_unavailable = response
                .headers()
                .get(api::header::ERROR)
                .is_some_and(|c| c == "H3003");
            assert!(
                !response.status().is_server_error() || is_unavailable,
                "{what}"
            );
            if !response.status().is_success() {
                n_refused += 1;
                assert_eq!(
                    response.headers()["content-type"],
                    api::PROBLEM_JSON,
                    "{what}"
                );
                check(
                    &problems,
                    &serde_json::from_str(&text).expect("JSON"),
                    &what,
                );
                assert!(!text.contains(['\u{1b}', '\0']), "{what}");
            }

            let mut bare = request(&target);
            let host = http::HeaderValue::from_static("localhost");
            bare.headers_mut().insert("host", host);
            let response = send(node.address, bare).await;
            let is_open = operation.auth() == api::Auth::Anonymous;
            assert_eq!(response.status() == 401, !is_open, "{what}");
        }
    }
    assert!(
        n_refused > Operation::ALL.len() * ROUNDS / 4,
        "only {n_refused} were odd enough"
    );
}
