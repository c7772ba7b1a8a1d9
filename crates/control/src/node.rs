//! What the node says about itself: health, metrics, classes, configuration, instances.

use std::sync::Arc;

use api::{
    ClassInfo, ClassState, ConfigResponse, Health, InstanceInfo, InstanceList, InstanceState,
    NodeInfo,
};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use model::limits::{Ceilings, Limit};
use model::{Code, Failure, Isolation, Limits};
use runtime::Availability;

use crate::redact::redacted;
use crate::refusal::Refusal;
use crate::state::App;

fn ok() -> Json<Health> {
    Json(Health {
        status: "ok".to_owned(),
    })
}

pub(crate) async fn live() -> Json<Health> {
    ok()
}

pub(crate) async fn ready(State(app): State<Arc<App>>) -> Result<Json<Health>, Refusal> {
    if app.is_ready() {
        return Ok(ok());
    }
    let detail = "the node is starting or shutting down";
    Err(Failure::new(Code::Draining, detail)
        .with_retry_after_s(1)
        .into())
}

pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let deps = &app.deps;
    let more = |text: &mut meter::PrometheusText| (deps.more_metrics)(text);
    let text = meter::metrics::render(&deps.meter, &deps.logs, more);
    let content_type = HeaderValue::from_static(meter::metrics::CONTENT_TYPE);
    ([(CONTENT_TYPE, content_type)], text).into_response()
}

pub(crate) async fn openapi() -> Response {
    let content_type = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, content_type)], api::OPENAPI_JSON).into_response()
}

pub(crate) async fn node(State(app): State<Arc<App>>) -> Json<NodeInfo> {
    let node = &app.deps.node;
    let classes = app.deps.invoker.classes().into_iter();
    Json(NodeInfo {
        version: node.version.clone(),
        started_unix_ms: node.started_unix_ms,
        is_ready: app.is_ready(),
        is_production: node.is_production,
        gateway_url: node.gateway_url.clone(),
        admin_url: app.admin_url.clone(),
        data_dir: node.data_dir.display().to_string(),
        engines_dir: node
            .engines_dir
            .as_ref()
            .map(|path| path.display().to_string()),
        classes: classes
            .map(|(isolation, state)| class_info(isolation, state))
            .collect(),
        ceilings: as_limits(&node.ceilings),
        artifact_bytes_max: app.config.artifact_bytes_max,
        prices: app.deps.meter.prices().clone(),
        n_functions: app.deps.catalog.snapshot().n_functions(),
        n_running: app.deps.invoker.n_running(),
    })
}

fn class_info(isolation: Isolation, availability: Availability) -> ClassInfo {
    let (state, detail) = match availability {
        Availability::Available(detail) => (ClassState::Available, detail),
        Availability::Weak(detail) => (ClassState::Weak, detail),
        Availability::Unavailable(detail) => (ClassState::Unavailable, detail),
    };
    ClassInfo {
        isolation,
        state,
        detail,
    }
}

fn as_limits(ceilings: &Ceilings) -> Limits {
    Limits {
        memory_bytes_max: ceilings.get(Limit::Memory),
        cpu_ms_max: ceilings.get(Limit::CpuMs),
        timeout_ms: ceilings.get(Limit::Timeout),
        start_timeout_ms: ceilings.get(Limit::StartTimeout),
        concurrency_max: ceilings.concurrency,
        body_bytes_max: ceilings.get(Limit::Body),
        log_bytes_max: ceilings.get(Limit::Log),
    }
}

pub(crate) async fn config(State(app): State<Arc<App>>) -> Json<ConfigResponse> {
    Json(ConfigResponse {
        config: redacted(app.deps.node.config.clone()),
    })
}

pub(crate) async fn instances(State(app): State<Arc<App>>) -> Json<InstanceList> {
    let infos = app.deps.invoker.instances().into_iter();
    let instances = infos.filter_map(|info| {
        Some(InstanceInfo {
            // The invoker writes keys, so they parse.
            function: info.function.parse().ok()?,
            version: info.version,
            isolation: info.isolation,
            state: match info.state {
                invoker::InstanceState::Busy => InstanceState::Busy,
                invoker::InstanceState::Idle => InstanceState::Idle,
            },
            n_instances: info.n_instances,
        })
    });
    Json(InstanceList {
        instances: instances.collect(),
    })
}
