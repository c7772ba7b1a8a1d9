//! Listing and describing functions, moving `live`, removing.

use std::sync::Arc;

use api::{
    AliasResponse, FunctionDetail, FunctionPage, ListQuery, RemoveResponse, RollbackRequest,
    SetLiveRequest, VersionList, VersionRef,
};
use axum::Json;
use axum::extract::State;
use model::{Code, Failure, FunctionKey};
use store::{CatalogChange, FunctionEntry};

use crate::extract::{FunctionPath, JsonOf, QueryOf, no_function};
use crate::refusal::{Refusal, task_failed};
use crate::state::App;
use crate::{versions, view};

impl App {
    /// A function as it is now.
    ///
    /// # Errors
    /// `FunctionNotFound`.
    pub(crate) fn entry(&self, function: &FunctionKey) -> Result<Arc<FunctionEntry>, Failure> {
        let snapshot = self.deps.catalog.snapshot();
        snapshot
            .get(function)
            .cloned()
            .ok_or_else(|| no_function(function))
    }

    fn n_running(&self, function: &FunctionKey) -> usize {
        let function = function.to_string();
        let instances = self.deps.invoker.instances().into_iter();
        instances
            .filter(|info| info.function == function && info.state == invoker::InstanceState::Busy)
            .map(|info| info.n_instances)
            .sum()
    }
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Json<FunctionPage>, Refusal> {
    let limit = query.limit.unwrap_or(api::PAGE_SIZE_DEFAULT);
    if !(1..=api::PAGE_SIZE_MAX).contains(&limit) {
        let detail = format!("`limit` is 1 to {}, not {limit}", api::PAGE_SIZE_MAX);
        return Err(Failure::new(Code::InvalidArgument, detail).into());
    }
    let after = query.after.as_deref().map(parse_cursor).transpose()?;
    let snapshot = app.deps.catalog.snapshot_owned();
    // One more than asked for tells whether there is a next page.
    let mut entries = snapshot.page(query.namespace.as_ref(), after.as_ref(), limit + 1);
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let next = has_more
        .then(|| entries.last().map(|entry| cursor(&entry.key)))
        .flatten();
    let gateway_url = &app.deps.node.gateway_url;
    let functions = entries
        .iter()
        .map(|entry| view::summary(entry, gateway_url))
        .collect();
    Ok(Json(FunctionPage { functions, next }))
}

fn cursor(key: &FunctionKey) -> String {
    format!("{}/{}", key.namespace, key.name)
}

fn parse_cursor(text: &str) -> Result<FunctionKey, Failure> {
    let parse = |(namespace, name): (&str, &str)| {
        Some(FunctionKey {
            namespace: namespace.parse().ok()?,
            name: name.parse().ok()?,
        })
    };
    text.split_once('/').and_then(parse).ok_or_else(|| {
        Failure::new(
            Code::InvalidArgument,
            "`after` is not the `next` of a page before",
        )
    })
}

pub(crate) async fn describe(
    State(app): State<Arc<App>>,
    FunctionPath(function): FunctionPath,
) -> Result<Json<FunctionDetail>, Refusal> {
    let entry = app.entry(&function)?;
    Ok(Json(view::detail(
        &entry,
        &app.deps.node.gateway_url,
        app.n_running(&function),
    )))
}

pub(crate) async fn versions(
    State(app): State<Arc<App>>,
    FunctionPath(function): FunctionPath,
) -> Result<Json<VersionList>, Refusal> {
    let entry = app.entry(&function)?;
    let live = entry.live_number();
    let newest_first = entry.versions.iter().rev();
    let versions = newest_first
        .map(|version| view::version(&version.version, live))
        .collect();
    Ok(Json(VersionList { versions }))
}

pub(crate) async fn set_live(
    State(app): State<Arc<App>>,
    FunctionPath(function): FunctionPath,
    JsonOf(request): JsonOf<SetLiveRequest>,
) -> Result<Json<AliasResponse>, Refusal> {
    move_live(app, function, Some(request.version)).await
}

pub(crate) async fn rollback(
    State(app): State<Arc<App>>,
    FunctionPath(function): FunctionPath,
    JsonOf(request): JsonOf<RollbackRequest>,
) -> Result<Json<AliasResponse>, Refusal> {
    move_live(app, function, request.version).await
}

/// Points `live` at a version, or back at what it pointed to before.
async fn move_live(
    app: Arc<App>,
    function: FunctionKey,
    wanted: Option<VersionRef>,
) -> Result<Json<AliasResponse>, Refusal> {
    let entry = app.entry(&function)?;
    let number = match &wanted {
        Some(wanted) => Some(versions::resolve(&entry, wanted)?.version.number),
        None => None,
    };
    let gateway_url = app.deps.node.gateway_url.clone();
    let change = change(app, "moving `live`", move |app| match number {
        Some(number) => app.deps.catalog.promote(&function, number),
        None => app.deps.catalog.rollback(&function, None),
    })
    .await?;
    let live = versions::live(&change.entry)?;
    Ok(Json(AliasResponse {
        namespace: change.entry.key.namespace.clone(),
        name: change.entry.key.name.clone(),
        from: change.old_live.as_ref().map(|old| old.version.number),
        to: live.version.number,
        digest: live.version.digest,
        urls: view::urls(&gateway_url, &change.entry.key, change.entry.routes()),
    }))
}

pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    FunctionPath(function): FunctionPath,
) -> Result<Json<RemoveResponse>, Refusal> {
    let entry = blocking(app, "removing the function", move |app| {
        let entry = app.deps.catalog.remove(&function)?;
        for version in &entry.versions {
            app.deps.invoker.retire(version.uid);
        }
        app.deps.logs.forget(&function);
        app.deps.meter.forget(&function);
        Ok(entry)
    })
    .await?;
    Ok(Json(RemoveResponse {
        namespace: entry.key.namespace.clone(),
        name: entry.key.name.clone(),
        n_versions: entry.versions.len(),
    }))
}

/// Changes the catalog and lets go of the version that serves no more. Once `work` has begun, both
/// happen, also when the client goes away.
pub(crate) async fn change(
    app: Arc<App>,
    what: &'static str,
    work: impl FnOnce(&App) -> Result<CatalogChange, Failure> + Send + 'static,
) -> Result<CatalogChange, Failure> {
    blocking(app, what, move |app| {
        let change = work(app)?;
        if let Some(retired) = change.retired() {
            app.deps.invoker.retire(retired.uid);
        }
        Ok(change)
    })
    .await
}

/// Runs blocking work to its end on a thread that may block; nothing cancels it.
pub(crate) async fn blocking<T: Send + 'static>(
    app: Arc<App>,
    what: &'static str,
    work: impl FnOnce(&App) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(move || work(&app)).await;
    done.map_err(|error| task_failed(what, &error))?
}
