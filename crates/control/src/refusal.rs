//! The one place where failures of the admin API become status, code and problem document.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use model::manifest::ManifestError;
use model::{Code, Failure, InvocationId, Problem, Side};
use store::StoreError;

/// Why a request was not granted, in its public form.
#[derive(Debug)]
pub(crate) struct Refusal {
    problem: Box<Problem>,
    retry_after_s: Option<u32>,
}

impl Refusal {
    /// The public form of a failure of an invocation.
    pub(crate) fn of_invocation(failure: &Failure, id: InvocationId) -> Self {
        Self {
            problem: Box::new(failure.to_problem(Some(id))),
            retry_after_s: failure.retry_after_s(),
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self {
            problem: Box::new(failure.to_problem(None)),
            retry_after_s: failure.retry_after_s(),
        }
    }
}

impl From<ManifestError> for Refusal {
    fn from(error: ManifestError) -> Self {
        Self {
            problem: Box::new(error.to_problem()),
            retry_after_s: None,
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Failure::from(error).into()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self {
            problem,
            retry_after_s,
        } = self;
        if problem.side == Side::Platform {
            // The caller reads it too; a full store or a lost file is for the operator as well.
            tracing::warn!(code = %problem.code, detail = problem.detail, "admin request failed");
        }
        let document = serde_json::to_vec(&problem).expect("a problem has string keys only");
        let mut response = Response::new(Body::from(document));
        *response.status_mut() =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(api::PROBLEM_JSON));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let code = HeaderValue::try_from(problem.code.to_string());
        headers.insert(
            HeaderName::from_static(api::header::ERROR),
            code.expect("a letter and digits"),
        );
        if let Some(seconds) = retry_after_s {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if problem.code == Code::Unauthorized {
            let challenge = HeaderValue::from_static("Bearer realm=\"holm\"");
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// A failure of a task that was to do the work: a panic, or the runtime going down.
pub(crate) fn task_failed(what: &str, error: &tokio::task::JoinError) -> Failure {
    tracing::error!(%error, what, "a task of the admin API failed");
    Failure::new(
        Code::Internal,
        format!("{what} failed; the node's log says more"),
    )
}
