//! Deploying to a node the way everybody does: over its admin API.

use std::sync::Arc;
use std::time::Duration;

use api::{ArtifactRef, PublishRequest, UsageQuery};
use bytes::Bytes;
use client::{Client, ClientConfig};
use model::{ArtifactKind, FunctionKey};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Server, ServerError};
use crate::guests;

/// Publications under way at once: what a node takes by default.
const N_PUBLISHES: usize = 16;

/// A function to deploy.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// Its module.
    pub(crate) module: Bytes,
    /// Requests that an instance serves.
    pub(crate) reuse: u32,
}

/// Deploys `functions`, each module uploaded once.
pub(crate) fn deploy(server: &Server, functions: Vec<Function>) -> Result<(), ServerError> {
    let client = client_of(server)?;
    event_loop()?.block_on(async {
        let mut uploaded = std::collections::HashSet::new();
        for function in &functions {
            let digest = guests::digest(&function.module);
            if uploaded.insert(digest) {
                client
                    .put_artifact(digest, function.module.clone())
                    .await
                    .map_err(|error| ServerError(format!("an upload: {error}")))?;
            }
        }
        let places = Arc::new(Semaphore::new(N_PUBLISHES));
        let mut publishing = JoinSet::new();
        for function in functions {
            publishing.spawn(publish(client.clone(), Arc::clone(&places), function));
        }
        while let Some(published) = publishing.join_next().await {
            published.map_err(|error| ServerError(error.to_string()))??;
        }
        Ok(())
    })
}

async fn publish(
    client: Client,
    places: Arc<Semaphore>,
    function: Function,
) -> Result<(), ServerError> {
    let _place = places.acquire().await;
    let key: FunctionKey = function
        .name
        .parse()
        .map_err(|error| ServerError(format!("{}: {error}", function.name)))?;
    let request = PublishRequest {
        manifest: (function.reuse > 1).then(|| format!("reuse = {}\n", function.reuse)),
        manifest_file: None,
        artifact: ArtifactRef {
            digest: guests::digest(&function.module),
            size_bytes: function.module.len() as u64,
            kind: ArtifactKind::Wasm,
        },
        env: Default::default(),
        promote: true,
        dry_run: false,
    };
    match client.publish(&key, &request).await {
        Ok(_) => Ok(()),
        Err(error) => Err(ServerError(format!("deploying {key}: {error}"))),
    }
}

/// The CPU time on all receipts of a node so far.
pub(crate) fn billed_cpu(server: &Server) -> Result<Duration, ServerError> {
    let client = client_of(server)?;
    let usage = event_loop()?
        .block_on(client.usage(&UsageQuery::default()))
        .map_err(|error| ServerError(format!("the usage: {error}")))?;
    Ok(usage
        .rows
        .iter()
        .map(|row| Duration::from_nanos(row.cpu_ns))
        .sum())
}

fn client_of(server: &Server) -> Result<Client, ServerError> {
    let (Some(admin), Some(data_dir)) = (server.admin, &server.data_dir) else {
        return Err(ServerError("only a node has an admin API".to_owned()));
    };
    let path = data_dir.join("admin.token");
    let token = std::fs::read_to_string(&path)
        .map_err(|error| ServerError(format!("{}: {error}", path.display())))?;
    Client::new(ClientConfig::new(admin.to_string(), Some(token)))
        .map_err(|error| ServerError(error.to_string()))
}

fn event_loop() -> Result<tokio::runtime::Runtime, ServerError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ServerError(format!("an event loop: {error}")))
}
