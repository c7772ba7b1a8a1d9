//! A node without a gateway: everything that the admin server works with, in this process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use api::{ArtifactRef, PublishRequest, PublishResponse};
use bytes::Bytes;
use client::{Client, ClientConfig, ClientError, Invocation};
use control::{AdminToken, Control, ControlConfig, ControlDeps, ControlHandle, NodeFacts};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use invoker::{Invoker, InvokerConfig, InvokerDeps};
use meter::{Flusher, Logs, LogsConfig, Meter, MeterConfig};
use model::limits::Ceilings;
use model::price::PriceTable;
use model::{ArtifactKind, Code, Digest, FunctionKey, Isolation, Problem};
use runtime::sim::SimRuntime;
use store::Catalog;
use store::memory::MemoryStore;
use tokio::net::TcpStream;

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What tests may change about a node before it starts.
pub struct Options {
    pub config: ControlConfig,
    pub is_production: bool,
    pub node_config: serde_json::Value,
    /// The class that the scripted engine stands in for.
    pub isolation: Isolation,
}

impl Default for Options {
    fn default() -> Self {
        let address = "127.0.0.1:0".parse().expect("an address");
        Self {
            config: ControlConfig {
                address,
                ..ControlConfig::default()
            },
            is_production: false,
            node_config: serde_json::json!({"admin": {"token": "canary"}, "gateway": {}}),
            isolation: Isolation::Wasm,
        }
    }
}

pub struct Node {
    pub client: Client,
    pub address: SocketAddr,
    pub catalog: Arc<Catalog>,
    pub invoker: Arc<Invoker>,
    pub sim: Arc<SimRuntime>,
    pub is_ready: Arc<AtomicBool>,
    pub handle: ControlHandle,
    _flusher: Flusher,
}

impl Node {
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub async fn start_with(options: Options) -> Self {
        let store = Arc::new(MemoryStore::new(Duration::from_secs(60)).expect("a directory"));
        let catalog = Arc::new(Catalog::open(store.clone()).expect("an empty store"));
        let prices = PriceTable {
            currency: "EUR".to_owned(),
            request_nano: 200,
            gb_second_nano: 16_667,
            cpu_second_nano: 1_000,
        };
        let config = MeterConfig {
            prices,
            ..MeterConfig::default()
        };
        let (meter, flusher) = Meter::new(&config, store.clone()).expect("a thread");
        let logs = Logs::new(LogsConfig::default(), Arc::new(|| 1_700_000_000_000));
        let sim = SimRuntime::new(options.isolation);
        let invoker = Invoker::new(
            InvokerConfig::default(),
            InvokerDeps {
                runtimes: vec![sim.clone()],
                blobs: store.clone(),
                usage: meter.clone(),
                log: logs.clone(),
            },
        );
        let is_ready = Arc::new(AtomicBool::new(true));
        let deps = ControlDeps {
            catalog: catalog.clone(),
            blobs: store.clone(),
            invoker: invoker.clone(),
            meter,
            logs,
            more_metrics: Box::new(|_| ()),
            token: AdminToken::new(TOKEN),
            node: NodeFacts {
                version: "0.0.0-test".to_owned(),
                started_unix_ms: 1,
                is_production: options.is_production,
                gateway_url: "http://127.0.0.1:8080".to_owned(),
                data_dir: PathBuf::from("data"),
                engines_dir: None,
                ceilings: Ceilings::default(),
                config: options.node_config,
            },
            is_ready: is_ready.clone(),
        };
        let handle = Control::start(options.config, deps)
            .await
            .expect("a free port");
        let address = handle.local_addr();
        let config = ClientConfig::new(address.to_string(), Some(TOKEN.to_owned()));
        let client = Client::new(config).expect("valid");
        Self {
            client,
            address,
            catalog,
            invoker,
            sim,
            is_ready,
            handle,
            _flusher: flusher,
        }
    }

    /// Uploads a script of the scripted engine.
    pub async fn upload(&self, script: &str) -> ArtifactRef {
        let digest = Digest::of(script.as_bytes());
        let info = self
            .client
            .put_artifact(digest, script.to_owned())
            .await
            .expect("uploaded");
        assert!(info.is_present);
        let size_bytes = info.size_bytes.expect("it is there");
        ArtifactRef {
            digest,
            size_bytes,
            kind: ArtifactKind::Wasm,
        }
    }

    pub async fn request(&self, script: &str, manifest: &str) -> PublishRequest {
        PublishRequest {
            manifest: Some(manifest.to_owned()),
            manifest_file: None,
            artifact: self.upload(script).await,
            env: BTreeMap::new(),
            promote: true,
            dry_run: false,
        }
    }

    pub async fn try_deploy(
        &self,
        name: &str,
        script: &str,
        manifest: &str,
    ) -> Result<PublishResponse, ClientError> {
        let request = self.request(script, manifest).await;
        self.client.publish(&key(name), &request).await
    }

    pub async fn deploy(&self, name: &str, script: &str) -> PublishResponse {
        self.try_deploy(name, script, "").await.expect("published")
    }

    /// The text that a function answers.
    pub async fn call(&self, name: &str) -> String {
        let called = self
            .client
            .invoke(&key(name), Invocation::default())
            .await
            .expect("an answer");
        let bytes = called.bytes(1_000_000).await.expect("whole");
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    /// Sends a request as it is, with host and token unless they are there.
    pub async fn send(&self, mut request: Request<Full<Bytes>>) -> Response<Bytes> {
        let headers = request.headers_mut();
        headers
            .entry("host")
            .or_insert(http::HeaderValue::from_static("localhost"));
        let bearer = http::HeaderValue::try_from(format!("Bearer {TOKEN}")).expect("a value");
        headers.entry("authorization").or_insert(bearer);
        send(self.address, request).await
    }
}

pub async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Response<Bytes> {
    let stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("HTTP/1.1");
    tokio::spawn(async move {
        let _ = connection.await;
    });
    let response = sender.send_request(request).await.expect("an answer");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("whole").to_bytes();
    Response::from_parts(head, body)
}

pub fn key(text: &str) -> FunctionKey {
    text.parse().expect("a key")
}

/// The problem of an error.
#[track_caller]
pub fn problem<T: std::fmt::Debug>(result: Result<T, ClientError>) -> Problem {
    match result {
        Err(ClientError::Problem(problem)) => *problem,
        other => panic!("not a problem document: {other:?}"),
    }
}

#[track_caller]
pub fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> Code {
    problem(result).code
}
