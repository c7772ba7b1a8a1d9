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
    tour.look_at_the_node().await;
    tour.publish().await;
    tour.look_at_the_function().await;
    tour.call_and_account().await;
    tour.json(Operation::RemoveFunction, FUNCTION, None).await;
    let all: BTreeSet<_> = Operation::ALL
        .iter()
        .map(|operation| operation.id())
        .collect();
    assert_eq!(tour.called, all, "every operation was called");
}

const FUNCTION: &str = "/v1/namespaces/team/functions/f";

const SCRIPT: &[u8] = b"log hello\nenv GREETING\necho";

const MANIFEST: &str = "runtime = 'provided'\nhandler = 'a.b'\nreuse = 5\n\
                        [egress]\nallow = ['*.example']\n\
                        [[routes]]\npath = '/x/*'\n\
                        [[routes]]\nhost = 'a.example'\npath = '/y'\n";

impl Tour {
    async fn look_at_the_node(&mut self) {
        self.json(Operation::Live, "/live", None).await;
        self.json(Operation::Ready, "/ready", None).await;
        self.json(Operation::Node, "/v1/node", None).await;
        self.json(Operation::Config, "/v1/config", None).await;
        let served = self
            .json(Operation::OpenApi, "/v1/openapi.json", None)
            .await;
        assert_eq!(
            served, self.document.0,
            "the node serves the checked-in document"
        );
    }

    async fn publish(&mut self) {
        let digest = Digest::of(SCRIPT).to_string();
        let artifact = format!("/v1/artifacts/{digest}");
        let absent = self.json(Operation::FindArtifact, &artifact, None).await;
        assert_eq!(absent["is_present"], false);
        let body = Some(("application/octet-stream", SCRIPT.to_vec()));
        let response = self.call(Operation::PutArtifact, &artifact, body).await;
        let put: Value = serde_json::from_slice(response.body()).expect("JSON");
        let schema = self
            .document
            .answer(Operation::PutArtifact, "application/json");
        check(&schema, &put, "putArtifact");
        self.json(Operation::FindArtifact, &artifact, None).await;

        let mut publish = json!({
            "manifest": MANIFEST, "manifest_file": "holm.toml", "env": {"GREETING": "moin "},
            "artifact": {"digest": digest, "size_bytes": SCRIPT.len(), "kind": "wasm"},
            "dry_run": true,
        });
        let versions = format!("{FUNCTION}/versions");
        self.json(Operation::Publish, &versions, Some(publish.clone()))
            .await;
        publish["dry_run"] = false.into();
        self.json(Operation::Publish, &versions, Some(publish.clone()))
            .await;
        publish["env"]["GREETING"] = "hej ".into();
        let second = self
            .json(Operation::Publish, &versions, Some(publish))
            .await;
        assert_eq!(second["changes"][0]["field"], "env.GREETING");
    }

    async fn look_at_the_function(&mut self) {
        let page = "/v1/functions?limit=1&namespace=team";
        self.json(Operation::ListFunctions, page, None).await;
        self.json(Operation::DescribeFunction, FUNCTION, None).await;
        self.json(
            Operation::ListVersions,
            &format!("{FUNCTION}/versions"),
            None,
        )
        .await;
        let live = format!("{FUNCTION}/aliases/live");
        self.json(Operation::SetLive, &live, Some(json!({"version": 1})))
            .await;
        self.json(
            Operation::Rollback,
            &format!("{FUNCTION}/rollback"),
            Some(json!({})),
        )
        .await;
    }

    async fn call_and_account(&mut self) {
        let invoke = format!("{FUNCTION}/invoke?path=%2Fa&method=PUT");
        let body = Some(("text/plain", b"!".to_vec()));
        let response = self.call(Operation::Invoke, &invoke, body).await;
        assert_eq!(response.body(), "hej !");
        let headers = &self.document.operation(Operation::Invoke)["responses"]["200"]["headers"];
        for name in headers.as_object().expect("headers").keys() {
            assert!(response.headers().contains_key(name), "{name}");
        }
        let id = response.headers()[api::header::INVOCATION_ID]
            .to_str()
            .expect("text")
            .to_owned();

        self.json(Operation::FindReceipt, &format!("/v1/receipts/{id}"), None)
            .await;
        for by in ["total", "function", "day"] {
            self.json(
                Operation::Usage,
                &format!("/v1/usage?by={by}&since=0"),
                None,
            )
            .await;
        }
        let instances = self.json(Operation::Instances, "/v1/instances", None).await;
        assert_eq!(
            instances["instances"][0]["state"], "idle",
            "the function reuses its instances"
        );
        let response = self
            .call(Operation::Logs, &format!("{FUNCTION}/logs?tail=5"), None)
            .await;
        assert_eq!(response.headers()["content-type"], api::NDJSON);
        let schema = self.document.answer(Operation::Logs, api::NDJSON);
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
        let response = self.call(Operation::Metrics, "/metrics", None).await;
        let content_type = response.headers()["content-type"].to_str().expect("text");
        assert!(content_type.starts_with("text/plain"), "{content_type}");
        let text = std::str::from_utf8(response.body()).expect("text");
        assert!(text.contains("faas_invocations_total"), "{text}");
    }
}
