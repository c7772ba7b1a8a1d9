//! From the table of operations to what does them. The match is exhaustive: an operation without a handler
//! does not compile, and there is no route beside the table.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use api::{Method as ApiMethod, Operation, Payload};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Uri};
use http_body::Body as _;
use model::{Code, Failure};

use crate::guard::Guard;
use crate::refusal::Refusal;
use crate::state::App;
use crate::{artifacts, functions, invoke, logs, node, publish, usage};

/// The whole API behind its guard.
pub(crate) fn router(app: Arc<App>, guard: Arc<Guard>) -> Router {
    let mut router = Router::new();
    for operation in Operation::ALL {
        let around = from_fn(move |request, next| around(*operation, request, next));
        router = router.route(operation.path(), handler(*operation).route_layer(around));
    }
    router
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(guard, enter))
        .with_state(app)
}

fn handler(operation: Operation) -> MethodRouter<Arc<App>> {
    let method = match operation.method() {
        ApiMethod::Get => MethodFilter::GET,
        ApiMethod::Post => MethodFilter::POST,
        ApiMethod::Put => MethodFilter::PUT,
        ApiMethod::Delete => MethodFilter::DELETE,
    };
    match operation {
        Operation::Live => on(method, node::live),
        Operation::Ready => on(method, node::ready),
        Operation::Metrics => on(method, node::metrics),
        Operation::OpenApi => on(method, node::openapi),
        Operation::Node => on(method, node::node),
        Operation::Config => on(method, node::config),
        Operation::Instances => on(method, node::instances),
        Operation::ListFunctions => on(method, functions::list),
        Operation::DescribeFunction => on(method, functions::describe),
        Operation::RemoveFunction => on(method, functions::remove),
        Operation::ListVersions => on(method, functions::versions),
        Operation::SetLive => on(method, functions::set_live),
        Operation::Rollback => on(method, functions::rollback),
        Operation::Publish => on(method, publish::publish),
        Operation::Invoke => on(method, invoke::invoke),
        Operation::Logs => on(method, logs::logs),
        Operation::FindArtifact => on(method, artifacts::find),
        Operation::PutArtifact => on(method, artifacts::put),
        Operation::FindReceipt => on(method, usage::receipt),
        Operation::Usage => on(method, usage::usage),
    }
}

/// Around everything: who gets in; and a bug in a handler costs its own request only.
async fn enter(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let checked = guard.check(request.method(), request.uri(), request.headers());
    let mut response = match checked {
        Err(failure) => Refusal::from(failure).into_response(),
        Ok(()) => match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(_) => {
                // The panic hook has written where and why.
                let detail = "the node met a bug; its log says more";
                Refusal::from(Failure::new(Code::Internal, detail)).into_response()
            }
        },
    };
    let headers = response.headers_mut();
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Around every operation: no body where none belongs, and a line in the node's log for what changes
/// something.
async fn around(operation: Operation, request: Request, next: Next) -> Response {
    if operation.payload() == Payload::None && !request.body().is_end_stream() {
        let detail = format!("{} takes no body", operation.id());
        return Refusal::from(Failure::new(Code::InvalidArgument, detail)).into_response();
    }
    let changes = operation.method() != ApiMethod::Get && operation != Operation::Invoke;
    let path = changes.then(|| request.uri().path().to_owned());
    let response = next.run(request).await;
    if let Some(path) = path {
        let status = response.status().as_u16();
        tracing::info!(operation = operation.id(), path, status, "admin");
    }
    response
}

async fn no_such_route(uri: Uri) -> Refusal {
    let path: String = uri.path().escape_default().take(200).collect();
    let detail = format!("there is no route `{path}` in the admin API");
    Failure::new(Code::ApiNotFound, detail).into()
}

async fn no_such_method(method: Method, uri: Uri) -> Refusal {
    let path: String = uri.path().escape_default().take(200).collect();
    let method: String = method.as_str().chars().take(40).collect();
    Failure::new(
        Code::MethodNotAllowed,
        format!("`{path}` has no method {method}"),
    )
    .into()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    use super::*;
    use crate::token::AdminToken;

    #[tokio::test]
    async fn a_bug_in_a_handler_costs_its_own_request_only() {
        async fn bug() -> &'static str {
            panic!("a bug")
        }
        let bound = "127.0.0.1:1".parse().expect("an address");
        let guard = Arc::new(Guard::new(AdminToken::new("x"), &[], bound));
        let router = Router::new()
            .route("/live", get(bug))
            .route("/ready", get(async || "fine"))
            .layer(from_fn_with_state(guard, enter));
        let service = TowerToHyperService::new(router);
        for (path, status) in [("/live", 500), ("/ready", 200)] {
            let request = Request::get(path)
                .header("host", "localhost")
                .body(Body::empty());
            let response = service
                .call(request.expect("a request"))
                .await
                .expect("an answer");
            assert_eq!(response.status(), status);
        }
    }
}
