//! A node with parts of somebody's own in the place of the usual ones.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use api::{ArtifactRef, PublishRequest};
use client::{Client, ClientConfig, Invocation};
use invoker::UsageSink;
use model::{ArtifactKind, Digest, FunctionVersion, Isolation, Receipt};
use node::{Node, NodeConfig, Parts};
use runtime::sim::SimRuntime;
use runtime::{LogLine, LogSink};

/// Keeps what it is told.
#[derive(Default)]
struct Kept(Mutex<Vec<String>>);

impl Kept {
    fn all(&self) -> Vec<String> {
        self.0.lock().expect("no panic holds the lock").clone()
    }

    fn push(&self, text: String) {
        self.0.lock().expect("no panic holds the lock").push(text);
    }
}

impl UsageSink for Kept {
    fn settle(&self, receipt: Receipt, version: &FunctionVersion) {
        self.push(format!("{} {}", version.function, receipt.status));
    }
}

impl LogSink for Kept {
    fn write(&self, line: &LogLine<'_>) {
        self.push(String::from_utf8_lossy(line.text).into_owned());
    }
}

fn config(directory: &Path) -> NodeConfig {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = NodeConfig {
        data_dir: directory.to_owned(),
        ..NodeConfig::default()
    };
    config.gateway.address = any;
    config.admin.address = any;
    config
}

fn client_of(node: &Node) -> Client {
    let token = std::fs::read_to_string(node.data_dir().join("admin.token")).expect("a token");
    let admin = node.admin_addr().to_string();
    Client::new(ClientConfig::new(admin, Some(token))).expect("valid")
}

async fn publish(client: &Client, script: &'static str) {
    let digest = Digest::of(script.as_bytes());
    client
        .put_artifact(digest, script.as_bytes())
        .await
        .expect("uploaded");
    let publish = PublishRequest {
        manifest: None,
        manifest_file: None,
        artifact: ArtifactRef {
            digest,
            size_bytes: script.len() as u64,
            kind: ArtifactKind::Wasm,
        },
        env: Default::default(),
        promote: true,
        dry_run: false,
    };
    let function = "own".parse().expect("a key");
    client
        .publish(&function, &publish)
        .await
        .expect("published");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_and_sinks_take_the_place_of_the_usual_ones() {
    let directory = tempfile::tempdir().expect("a directory");
    let sim = SimRuntime::new(Isolation::Wasm);
    let (receipts, lines) = (Arc::new(Kept::default()), Arc::new(Kept::default()));
    let parts = Parts {
        runtimes: vec![sim.clone()],
        usage: Some(receipts.clone()),
        log: Some(lines.clone()),
    };
    let node = Node::start_with(config(directory.path()), parts)
        .await
        .expect("starts");
    assert!(
        !directory.path().join("cache/wasm").exists(),
        "the engine that was replaced was not made"
    );

    let client = client_of(&node);
    publish(&client, "log hello\nwrite done\n").await;
    let function = "own".parse().expect("a key");
    let mut called = client
        .invoke(&function, Invocation::default())
        .await
        .expect("answered");
    let mut answer = Vec::new();
    called.copy_to(&mut answer).await.expect("whole");
    assert_eq!(String::from_utf8_lossy(&answer), "done");
    node.run_until_shutdown(std::future::ready(())).await;
    assert_eq!(sim.counts().n_started.load(Ordering::Relaxed), 1);
    assert_eq!(lines.all(), ["hello"]);
    assert_eq!(receipts.all(), ["own 200"]);
}
