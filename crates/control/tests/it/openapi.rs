//! The OpenAPI document against the running server: it lists exactly the table of operations, every
//! operation is called, and every answer is held against its schema.

use std::collections::BTreeSet;

use api::{Answer, Auth, Operation, Payload};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use jsonschema::Validator;
use model::Digest;
use serde_json::{Value, json};

use crate::support::Node;

pub struct Document(Value);

impl Document {
    pub fn read() -> Self {
        Self(serde_json::from_str(api::OPENAPI_JSON).expect("the document is JSON"))
    }

    pub fn operation(&self, operation: Operation) -> &Value {
        let method = operation.method().as_str().to_ascii_lowercase();
        &self.0["paths"][operation.path()][method]
    }

    /// A validator that also refuses members that the document does not name. Clients ignore those; here
    /// they are a fault.
    pub fn strict(&self, schema: &Value) -> Validator {
        let mut root = json!({ "components": self.0["components"] });
        close(&mut root);
        let mut schema = schema.clone();
        close(&mut schema);
        root.as_object_mut()
            .expect("an object")
            .extend(schema.as_object().expect("schemas are objects").clone());
        jsonschema::validator_for(&root).expect("a JSON schema")
    }

    /// The schema of a successful answer.
    fn answer(&self, operation: Operation, content_type: &str) -> Validator {
        let content = &self.operation(operation)["responses"]["200"]["content"];
        let schema = &content[content_type]["schema"];
        assert!(
            schema.is_object(),
            "{}: no schema for {content_type}",
            operation.id()
        );
        self.strict(schema)
    }

    pub fn problem(&self) -> Validator {
        self.strict(&json!({"$ref": "#/components/schemas/Problem"}))
    }
}

/// Makes every object schema refuse what it does not name.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("properties").is_some_and(Value::is_object)
                && fields.get("type").is_some_and(|kind| kind == "object")
            {
                fields
                    .entry("additionalProperties")
                    .or_insert(Value::Bool(false));
            }
            fields.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

#[track_caller]
pub fn check(validator: &Validator, instance: &Value, what: &str) {
    let errors: Vec<String> = validator
        .iter_errors(instance)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(
        errors.is_empty(),
        "{what}: {}\n{instance:#}",
        errors.join("\n")
    );
}

#[test]
fn the_document_lists_exactly_the_table() {
    let document = Document::read();
    let mut listed = BTreeSet::new();
    for (path, item) in document.0["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let id = operation["operationId"].as_str().expect("an id");
            listed.insert((path.clone(), method.to_ascii_uppercase(), id.to_owned()));
        }
    }
    let table: BTreeSet<_> = Operation::ALL
        .iter()
        .map(|operation| {
            (
                operation.path().to_owned(),
                operation.method().as_str().to_owned(),
                operation.id().to_owned(),
            )
        })
        .collect();
    assert_eq!(listed, table);

    for operation in Operation::ALL {
        let entry = document.operation(*operation);
        let anonymous = entry
            .get("security")
            .is_some_and(|security| *security == json!([]));
        assert_eq!(
            anonymous,
            operation.auth() == Auth::Anonymous,
            "{operation:?}"
        );
        let content = &entry["requestBody"]["content"];
        match operation.payload() {
            Payload::None => assert!(entry.get("requestBody").is_none(), "{operation:?}"),
            Payload::Json => assert!(content["application/json"].is_object(), "{operation:?}"),
            Payload::Artifact => assert!(content["application/octet-stream"].is_object()),
            Payload::Invocation => assert!(content["*/*"].is_object()),
        }
        let answers = &entry["responses"]["200"]["content"];
        let content_type = match operation.answer() {
            Answer::Json => "application/json",
            Answer::Metrics => "text/plain",
            Answer::JsonLines => "application/x-ndjson",
            Answer::Invocation => "*/*",
        };
        assert!(answers[content_type].is_object(), "{operation:?}");
        assert!(entry["responses"]["default"].is_object(), "{operation:?}");
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    let document = Document::read();
    let mut used = BTreeSet::new();
    references(&document.0, &mut used);
    for reference in &used {
        let pointer = reference.strip_prefix('#').expect("references are local");
        assert!(document.0.pointer(pointer).is_some(), "{reference}");
    }
    for name in document.0["components"]["schemas"]
        .as_object()
        .expect("schemas")
        .keys()
    {
        assert!(
            used.contains(&format!("#/components/schemas/{name}")),
            "{name} is not used"
        );
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                found.insert(reference.clone());
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_checks_notice_what_does_not_fit() {
    let document = Document::read();
    let health = document.answer(Operation::Live, "application/json");
    assert!(health.is_valid(&json!({"status": "ok"})));
    assert!(!health.is_valid(&json!({"status": "ok", "more": 1})));
    assert!(!health.is_valid(&json!({})));
    let usage = document.answer(Operation::Usage, "application/json");
    assert!(!usage.is_valid(&json!({"by": "week", "currency": "", "rows": []})));
}

/// One successful request of each operation, in an order that makes what the next one needs.
struct Tour {
    node: Node,
    document: Document,
    called: BTreeSet<&'static str>,
}

impl Tour {
    async fn call(
        &mut self,
        operation: Operation,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Response<Bytes> {
        let mut builder = Request::builder()
            .method(operation.method().as_str())
            .uri(path);
        let mut bytes = Vec::new();
        if let Some((content_type, body)) = body {
            builder = builder.header("content-type", content_type);
            if content_type == "application/json" {
                let content = &self.document.operation(operation)["requestBody"]["content"];
                let schema = self.document.strict(&content[content_type]["schema"]);
                let value = serde_json::from_slice(&body).expect("JSON");
                check(&schema, &value, operation.id());
            }
            bytes = body;
        }
        let request = builder
            .body(Full::new(Bytes::from(bytes)))
            .expect("a request");
        let response = self.node.send(request).await;
        let text = String::from_utf8_lossy(response.body());
        assert_eq!(response.status(), 200, "{}: {text}", operation.id());
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert_eq!(response.headers()["cache-control"], "no-store");
        self.called.insert(operation.id());
        response
    }

    /// Calls and holds the JSON answer against its schema.
    async fn json(&mut self, operation: Operation, path: &str, body: Option<Value>) -> Value {
        let body = body.map(|body| ("application/json", body.to_string().into_bytes()));
        let response = self.call(operation, path, body).await;
        assert_eq!(
            response.headers()["content-type"],
            "application/json",
            "{}",
            operation.id()
        );
        let value: Value = serde_json::from_slice(response.body()).expect("JSON");
        check(
            &self.document.answer(operation, "application/json"),
            &value,
            operation.id(),
        );
        value
    }
}

#[tokio::test]
async fn every_operation_answers_as_the_document_says() {
    let node = Node::start().await;
    let mut tour = Tour {
        node,
        document: Document::read(),
        called: BTreeSet::new(),
    };
    let function = "/v1/namespaces/team/functions/f";

    tour.json(Operation::Live, "/live", None).await;
    tour.json(Operation::Ready, "/ready", None).await;
    tour.json(Operation::Node, "/v1/node", None).await;
    tour.json(Operation::Config, "/v1/config", None).await;
    let served = tour
        .json(Operation::OpenApi, "/v1/openapi.json", None)
        .await;
    assert_eq!(
        served, tour.document.0,
        "the node serves the checked-in document"
    );

    let script = b"log hello\nenv GREETING\necho";
    let digest = Digest::of(script).to_string();
    let artifact = format!("/v1/artifacts/{digest}");
    let absent = tour.json(Operation::FindArtifact, &artifact, None).await;
    assert_eq!(absent["is_present"], false);
    let body = Some(("application/octet-stream", script.to_vec()));
    let response = tour.call(Operation::PutArtifact, &artifact, body).await;
    let put: Value = serde_json::from_slice(response.body()).expect("JSON");
    check(
        &tour
            .document
            .answer(Operation::PutArtifact, "application/json"),
        &put,
        "putArtifact",
    );
    tour.json(Operation::FindArtifact, &artifact, None).await;

    let manifest = "runtime = 'provided'\nhandler = 'a.b'\nreuse = 5\n[egress]\nallow = ['*.example']\n\
                    [[routes]]\npath = '/x/*'\n[[routes]]\nhost = 'a.example'\npath = '/y'\n";
    let mut publish = json!({
        "manifest": manifest, "manifest_file": "holm.toml", "env": {"GREETING": "moin "},
        "artifact": {"digest": digest, "size_bytes": script.len(), "kind": "wasm"}, "dry_run": true,
    });
    let versions = format!("{function}/versions");
    tour.json(Operation::Publish, &versions, Some(publish.clone()))
        .await;
    publish["dry_run"] = false.into();
    tour.json(Operation::Publish, &versions, Some(publish.clone()))
        .await;
    publish["env"]["GREETING"] = "hej ".into();
    let second = tour
        .json(Operation::Publish, &versions, Some(publish))
        .await;
    assert_eq!(second["changes"][0]["field"], "env.GREETING");

    tour.json(
        Operation::ListFunctions,
        "/v1/functions?limit=1&namespace=team",
        None,
    )
    .await;
    tour.json(Operation::DescribeFunction, function, None).await;
    tour.json(Operation::ListVersions, &versions, None).await;
    let live = format!("{function}/aliases/live");
    tour.json(Operation::SetLive, &live, Some(json!({"version": 1})))
        .await;
    tour.json(
        Operation::Rollback,
        &format!("{function}/rollback"),
        Some(json!({})),
    )
    .await;

    let invoke = format!("{function}/invoke?path=%2Fa&method=PUT");
    let response = tour
        .call(
            Operation::Invoke,
            &invoke,
            Some(("text/plain", b"!".to_vec())),
        )
        .await;
    assert_eq!(response.body(), "hej !");
    let headers = &tour.document.operation(Operation::Invoke)["responses"]["200"]["headers"];
    for name in headers.as_object().expect("headers").keys() {
        assert!(response.headers().contains_key(name), "{name}");
    }
    let id = response.headers()[api::header::INVOCATION_ID]
        .to_str()
        .expect("text")
        .to_owned();

    tour.json(Operation::FindReceipt, &format!("/v1/receipts/{id}"), None)
        .await;
    for by in ["total", "function", "day"] {
        tour.json(
            Operation::Usage,
            &format!("/v1/usage?by={by}&since=0"),
            None,
        )
        .await;
    }
    let instances = tour.json(Operation::Instances, "/v1/instances", None).await;
    assert_eq!(
        instances["instances"][0]["state"], "idle",
        "the function reuses its instances"
    );
    let response = tour
        .call(Operation::Logs, &format!("{function}/logs?tail=5"), None)
        .await;
    assert_eq!(response.headers()["content-type"], api::NDJSON);
    let schema = tour.document.answer(Operation::Logs, api::NDJSON);
    let lines: Vec<&[u8]> = response
        .body()
        .split_inclusive(|byte| *byte == b'\n')
        .collect();
    assert_eq!(lines.len(), 1);
    check(
        &schema,
        &serde_json::from_slice(lines[0]).expect("JSON"),
        "logs",
    );
    let response = tour.call(Operation::Metrics, "/metrics", None).await;
    let content_type = response.headers()["content-type"].to_str().expect("text");
    assert!(content_type.starts_with("text/plain"), "{content_type}");
    let text = std::str::from_utf8(response.body()).expect("text");
    assert!(text.contains("faas_invocations_total"), "{text}");
    tour.json(Operation::RemoveFunction, function, None).await;

    let all: BTreeSet<_> = Operation::ALL
        .iter()
        .map(|operation| operation.id())
        .collect();
    assert_eq!(tour.called, all, "every operation was called");
}
