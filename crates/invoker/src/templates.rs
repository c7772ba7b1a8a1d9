//! Templates in memory: loaded once per version by whoever comes first, dropped when unused, loaded again
//! from the engine's cache.

use std::sync::Arc;
use std::time::Duration;

use model::{Artifact, Code, Digest, Failure, FunctionConfig, FunctionKey};
use parking_lot::Mutex;
use runtime::{PrepareRequest, Template};
use tokio::time::Instant;

use crate::invoke::Invoker;
use crate::pool::VersionPool;

/// How long a failed load is remembered, so that a herd of requests does not repeat it one by one.
const FAILURE_KEPT: Duration = Duration::from_secs(1);

/// Templates made at deploy, kept until the version's first invocation picks them up.
const N_DEPLOYED_MAX: usize = 32;

/// A version's template, or why loading it failed a moment ago.
#[derive(Default)]
pub(crate) struct TemplateCell {
    /// Read on every fresh start; replaced rarely.
    loaded: Mutex<Option<Arc<dyn Template>>>,
    /// Held while loading: single flight. Its value is the last failure.
    loading: tokio::sync::Mutex<Option<(Instant, Failure)>>,
}

impl TemplateCell {
    pub(crate) fn get(&self) -> Option<Arc<dyn Template>> {
        self.loaded.lock().clone()
    }

    pub(crate) fn clear(&self) {
        *self.loaded.lock() = None;
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.loaded.lock().is_some()
    }
}

/// Templates on their way from a deploy to the first invocation, newest last.
#[derive(Default)]
pub(crate) struct Deployed(Mutex<Vec<(DeployedKey, Arc<dyn Template>)>>);

/// A template belongs to its function: another one of the same content has a name, an account of
/// outbound connections, and possibly a tenant of its own.
type DeployedKey = (FunctionKey, Digest);

impl Deployed {
    fn put(&self, key: DeployedKey, template: Arc<dyn Template>) {
        let mut entries = self.0.lock();
        entries.retain(|(other, _)| *other != key);
        if entries.len() == N_DEPLOYED_MAX {
            entries.remove(0);
        }
        entries.push((key, template));
    }

    fn take(&self, function: &FunctionKey, digest: Digest) -> Option<Arc<dyn Template>> {
        let mut entries = self.0.lock();
        let index = entries
            .iter()
            .position(|((owner, content), _)| *content == digest && owner == function)?;
        Some(entries.remove(index).1)
    }

    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }
}

impl Invoker {
    /// Makes a version startable before it is published: the slow part of a deploy. The template is kept
    /// for the version's first invocation.
    ///
    /// # Errors
    /// What the engine says of the artifact; `ClassUnavailable` where this node has no such engine.
    pub async fn prepare(
        &self,
        function: &FunctionKey,
        config: Arc<FunctionConfig>,
        artifact: &Artifact,
    ) -> Result<Arc<dyn Template>, Failure> {
        let digest = config.version_digest(artifact);
        let template = self.load(function, config, artifact).await?;
        self.deployed
            .put((function.clone(), digest), Arc::clone(&template));
        Ok(template)
    }

    /// The template of a pool's version, and whether it had to be loaded for this call.
    pub(crate) async fn template(
        &self,
        pool: &VersionPool,
    ) -> Result<(Arc<dyn Template>, bool), Failure> {
        if let Some(template) = pool.template.get() {
            return Ok((template, false));
        }
        let mut last_failure = pool.template.loading.lock().await;
        if let Some(template) = pool.template.get() {
            return Ok((template, true));
        }
        if let Some((at, failure)) = &*last_failure
            && at.elapsed() < FAILURE_KEPT
        {
            return Err(failure.clone());
        }
        let version = &pool.version;
        let template = match self.deployed.take(&version.function, version.digest) {
            Some(template) => Ok(template),
            None => {
                let config = Arc::new(version.config.clone());
                self.load(&version.function, config, &version.artifact)
                    .await
            }
        };
        match template {
            Ok(template) => {
                *pool.template.loaded.lock() = Some(Arc::clone(&template));
                *last_failure = None;
                Ok((template, true))
            }
            Err(failure) => {
                *last_failure = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    async fn load(
        &self,
        function: &FunctionKey,
        config: Arc<FunctionConfig>,
        artifact: &Artifact,
    ) -> Result<Arc<dyn Template>, Failure> {
        let runtime = self.runtime(config.isolation)?;
        let blobs = Arc::clone(&self.blobs);
        let digest = artifact.digest;
        let found = tokio::task::spawn_blocking(move || blobs.find(digest))
            .await
            .map_err(|error| Failure::new(Code::Internal, format!("blob lookup: {error}")))??;
        let Some((artifact_path, _)) = found else {
            return Err(Failure::new(
                Code::ArtifactMissing,
                format!("artifact {} is not in the store", digest.short()),
            ));
        };
        let request = PrepareRequest {
            function: function.clone(),
            config,
            artifact: artifact.clone(),
            artifact_path,
        };
        runtime.prepare(request).await
    }
}
