//! Publishing a version. Each step takes what the one before made:
//!
//! ```text
//! request -> Plan (manifest, environment, limits, class, artifact: all checked)
//!         -> prepared (compiled elsewhere; the contract is known)
//!         -> published and, unless asked otherwise, live (one transaction)
//! ```
//!
//! Until the last step nothing has changed, so a client that goes away costs only the work; from the last
//! step on nothing stops it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use api::{PublishRequest, PublishResponse};
use axum::Json;
use axum::extract::State;
use model::{
    Artifact, Code, Contract, Digest, Failure, FunctionConfig, FunctionKey, Isolation, env,
    manifest,
};
use runtime::Availability;
use store::{FunctionEntry, Publication, Publish};

use crate::changes::changes;
use crate::extract::{JsonOf, NewFunctionPath};
use crate::functions::blocking;
use crate::refusal::Refusal;
use crate::state::{App, place};
use crate::view;

/// What manifests are called where the client gives no name.
const MANIFEST_FILE: &str = "holm.toml";

/// The longest name of a manifest in bytes; it is shown in messages only.
const MANIFEST_FILE_BYTES_MAX: usize = 4096;

pub(crate) async fn publish(
    State(app): State<Arc<App>>,
    NewFunctionPath(function): NewFunctionPath,
    JsonOf(request): JsonOf<PublishRequest>,
) -> Result<Json<PublishResponse>, Refusal> {
    let _place = place(
        &app.publishes,
        "n_publishes_max",
        app.config.n_publishes_max,
        app.queue_timeout(),
    )
    .await?;
    let (promote, dry_run) = (request.promote, request.dry_run);
    let plan = Plan::new(&app, function, request).await?;
    let contract = plan.prepare(&app).await?;
    if promote {
        app.deps
            .catalog
            .check_routes(&plan.function, &plan.config.routes)?;
    }
    if dry_run {
        return Ok(Json(plan.would_publish(&app, contract, promote)));
    }
    Ok(Json(plan.publish(app, contract, promote).await?))
}

/// A version that may be published as far as can be told without its engine.
struct Plan {
    function: FunctionKey,
    config: Arc<FunctionConfig>,
    artifact: Artifact,
    /// Of the version that this would be.
    digest: Digest,
    warnings: Vec<String>,
}

impl Plan {
    async fn new(
        app: &Arc<App>,
        function: FunctionKey,
        request: PublishRequest,
    ) -> Result<Self, Refusal> {
        let file = request.manifest_file.as_deref().unwrap_or(MANIFEST_FILE);
        if file.len() > MANIFEST_FILE_BYTES_MAX {
            let detail = format!("`manifest_file` has more than {MANIFEST_FILE_BYTES_MAX} bytes");
            return Err(Failure::new(Code::InvalidArgument, detail).into());
        }
        let manifest = manifest::parse(request.manifest.as_deref().unwrap_or_default(), file)?;
        let artifact = Artifact::from(request.artifact);
        let ceilings = &app.deps.node.ceilings;
        let mut config =
            manifest.resolve_under(manifest.default_isolation(artifact.kind), ceilings);
        config.env.extend(request.env);
        env::check(&config.env).map_err(Failure::from)?;
        ceilings.check(&config.limits)?;
        let mut warnings = Vec::new();
        warnings.extend(app.check_class(config.isolation)?);
        app.check_artifact(&artifact).await?;
        let digest = config.version_digest(&artifact);
        Ok(Self {
            function,
            config: Arc::new(config),
            artifact,
            digest,
            warnings,
        })
    }

    /// Has the engine look at the artifact, compile it and find its contract. Content that is live
    /// already was through this.
    async fn prepare(&self, app: &App) -> Result<Contract, Failure> {
        if let Ok(entry) = app.entry(&self.function)
            && let Some(live) = entry
                .live
                .as_ref()
                .filter(|live| live.version.digest == self.digest)
        {
            return Ok(live.version.contract);
        }
        let config = Arc::clone(&self.config);
        let template = app
            .deps
            .invoker
            .prepare(&self.function, config, &self.artifact)
            .await?;
        Ok(template.contract())
    }

    async fn publish(
        self,
        app: Arc<App>,
        contract: Contract,
        promote: bool,
    ) -> Result<PublishResponse, Failure> {
        let publish = Publish {
            function: self.function.clone(),
            config: FunctionConfig::clone(&self.config),
            artifact: self.artifact.clone(),
            contract,
            promote,
            now_unix_ms: unix_ms(),
        };
        let publication: Publication = blocking(Arc::clone(&app), "publishing", move |app| {
            let publication = app.deps.catalog.publish(&publish)?;
            if let Some(retired) = publication.change.retired() {
                app.deps.invoker.retire(retired.uid);
            }
            Ok(publication)
        })
        .await?;
        let published = &publication.published;
        let old = publication
            .change
            .old_live
            .as_ref()
            .map(|old| &*old.version);
        let differences = old
            .filter(|old| old.number != published.version.number)
            .map(|old| changes(old, &self.artifact, contract, &self.config));
        let entry = &publication.change.entry;
        let mut response = self.response(&app, contract, Some(entry));
        response.version = Some(published.version.number);
        response.is_new = published.is_new;
        response.live = published.live;
        response.previous_live = published.previous_live;
        response.changes = differences.unwrap_or_default();
        Ok(response)
    }

    /// What [`Plan::publish`] would answer now.
    fn would_publish(self, app: &App, contract: Contract, promote: bool) -> PublishResponse {
        let entry = app.entry(&self.function).ok();
        let mut response = self.response(app, contract, entry.as_deref());
        let existing = entry
            .as_ref()
            .and_then(|entry| entry.version_with_digest(self.digest));
        let old_live = entry.as_ref().and_then(|entry| entry.live.as_ref());
        response.version = existing.map(|existing| existing.version.number);
        response.is_new = existing.is_none();
        response.dry_run = true;
        response.previous_live = old_live.map(|old| old.version.number);
        response.live = if promote {
            response.version
        } else {
            response.previous_live
        };
        response.changes = old_live
            .map(|old| changes(&old.version, &self.artifact, contract, &self.config))
            .unwrap_or_default();
        response
    }

    fn response(
        &self,
        app: &App,
        contract: Contract,
        entry: Option<&FunctionEntry>,
    ) -> PublishResponse {
        // Without promotion the routes of the live version stay; they are in the entry.
        let routes = match entry.and_then(|entry| entry.live.as_ref()) {
            Some(live) if live.version.digest != self.digest => &live.version.config.routes,
            _ => &self.config.routes,
        };
        PublishResponse {
            namespace: self.function.namespace.clone(),
            name: self.function.name.clone(),
            version: None,
            digest: self.digest,
            is_new: true,
            dry_run: false,
            live: None,
            previous_live: None,
            urls: view::urls(&app.deps.node.gateway_url, &self.function, routes),
            isolation: self.config.isolation,
            contract,
            changes: Vec::new(),
            warnings: self.warnings.clone(),
        }
    }
}

impl App {
    /// Whether functions of a class may run here; a warning where they may and the operator should know
    /// something.
    ///
    /// # Errors
    /// `ClassUnavailable` with the reason; `EngineRefused` for a weak engine on a production node.
    fn check_class(&self, isolation: Isolation) -> Result<Option<String>, Failure> {
        let classes = self.deps.invoker.classes();
        let availability = classes.into_iter().find(|(class, _)| *class == isolation);
        match availability.map(|(_, availability)| availability) {
            Some(Availability::Available(_)) => Ok(None),
            Some(Availability::Weak(weakness)) if self.deps.node.is_production => {
                let detail = format!(
                    "isolation class `{isolation}` is weak on this node, which refuses that \
                     (--production): {weakness}"
                );
                Err(Failure::new(Code::EngineRefused, detail))
            }
            Some(Availability::Weak(weakness)) => {
                Ok(Some(format!("isolation class `{isolation}`: {weakness}")))
            }
            Some(Availability::Unavailable(reason)) => {
                let detail =
                    format!("isolation class `{isolation}` is unavailable on this node: {reason}");
                Err(Failure::new(Code::ClassUnavailable, detail))
            }
            None => {
                let detail = format!("this release has no isolation class `{isolation}`");
                Err(Failure::new(Code::ClassUnavailable, detail))
            }
        }
    }

    /// Whether the artifact is there as announced. Renews its grace period, so that garbage collection
    /// leaves it until it is published.
    async fn check_artifact(self: &Arc<Self>, artifact: &Artifact) -> Result<(), Failure> {
        let digest = artifact.digest;
        let found = blocking(Arc::clone(self), "looking up the artifact", move |app| {
            Ok(app.deps.blobs.find(digest)?)
        })
        .await?;
        match found {
            Some((_, size_bytes)) if size_bytes == artifact.size_bytes => Ok(()),
            Some((_, size_bytes)) => {
                let announced = artifact.size_bytes;
                let detail = format!(
                    "artifact {} has {size_bytes} bytes, not {announced}",
                    digest.short()
                );
                Err(Failure::new(Code::InvalidArgument, detail))
            }
            None => {
                let detail = format!("artifact {} has not been uploaded", digest.short());
                Err(Failure::new(Code::ArtifactUnknown, detail))
            }
        }
    }
}

/// Now, on the wall clock. A clock before 1970 counts as 1970.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
