//! What requests carry, checked: path parameters, queries, JSON bodies. Every fault is a problem document
//! that says what is wrong and where.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use model::{Code, Digest, Failure, FunctionKey, InvocationId, NameError};
use serde::de::DeserializeOwned;

use crate::refusal::Refusal;
use crate::state::App;

/// A function that may exist. A text that is no name is answered as a function that is not there: nobody
/// learns more from one than from the other.
pub(crate) struct FunctionPath(pub(crate) FunctionKey);

/// A function that is to be made: a text that is no name is told so.
pub(crate) struct NewFunctionPath(pub(crate) FunctionKey);

/// An artifact's digest.
pub(crate) struct DigestPath(pub(crate) Digest);

/// An invocation's id.
pub(crate) struct InvocationPath(pub(crate) InvocationId);

/// The query.
pub(crate) struct QueryOf<T>(pub(crate) T);

/// A JSON body.
pub(crate) struct JsonOf<T>(pub(crate) T);

fn malformed_path(rejection: &PathRejection) -> Refusal {
    Failure::new(Code::InvalidArgument, rejection.to_string()).into()
}

async fn names<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<(String, String), Refusal> {
    let names = Path::<(String, String)>::from_request_parts(parts, state).await;
    names
        .map(|Path(names)| names)
        .map_err(|rejection| malformed_path(&rejection))
}

fn key(namespace: &str, name: &str) -> Result<FunctionKey, NameError> {
    Ok(FunctionKey {
        namespace: namespace.parse()?,
        name: name.parse()?,
    })
}

/// The one answer for functions that are not there.
pub(crate) fn no_function(function: &FunctionKey) -> Failure {
    Failure::new(
        Code::FunctionNotFound,
        format!("there is no function `{function}`"),
    )
}

impl<S: Send + Sync> FromRequestParts<S> for FunctionPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let (namespace, name) = names(parts, state).await?;
        key(&namespace, &name).map(Self).map_err(|_| {
            let shown: String = name.escape_default().take(100).collect();
            Failure::new(
                Code::FunctionNotFound,
                format!("there is no function `{shown}`"),
            )
            .into()
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NewFunctionPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let (namespace, name) = names(parts, state).await?;
        key(&namespace, &name)
            .map(Self)
            .map_err(|error| Failure::new(Code::NameInvalid, error.to_string()).into())
    }
}

/// The only parameter of a path.
async fn only<S: Send + Sync, T: std::str::FromStr<Err: std::fmt::Display>>(
    parts: &mut Parts,
    state: &S,
) -> Result<T, Refusal> {
    let Path(text) = Path::<String>::from_request_parts(parts, state)
        .await
        .map_err(|rejection| malformed_path(&rejection))?;
    text.parse()
        .map_err(|error: T::Err| Failure::new(Code::InvalidArgument, error.to_string()).into())
}

impl<S: Send + Sync> FromRequestParts<S> for DigestPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        only(parts, state).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for InvocationPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        only(parts, state).await.map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => {
                let cause = rejection.body_text();
                Err(Failure::new(Code::InvalidArgument, cause).into())
            }
        }
    }
}

impl<T: DeserializeOwned> FromRequest<Arc<App>> for JsonOf<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let content_type = parts
            .headers
            .get(CONTENT_TYPE)
            .map_or(&b""[..], |value| value.as_bytes());
        let essence = content_type
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default();
        if !essence
            .trim_ascii()
            .eq_ignore_ascii_case(b"application/json")
        {
            let detail = "the body must be JSON, with `content-type: application/json`";
            return Err(Failure::new(Code::InvalidArgument, detail).into());
        }
        let limit = Duration::from_secs(app.config.body_timeout_s);
        let bytes = match tokio::time::timeout(limit, collect(body)).await {
            Ok(collected) => collected?,
            Err(_) => return Err(body_timed_out(limit).into()),
        };
        // serde takes an array for a struct, too; the API does not.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            let detail = "the body must be a JSON object";
            return Err(Failure::new(Code::InvalidArgument, detail).into());
        }
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            Failure::new(Code::InvalidArgument, format!("the body: {error}")).into()
        })
    }
}

async fn collect(body: Body) -> Result<bytes::Bytes, Failure> {
    match Limited::new(body, api::JSON_BODY_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let max = api::JSON_BODY_BYTES_MAX;
            let detail = format!("the body has more than {max} bytes");
            Err(Failure::new(Code::BodyTooLarge, detail).with_limit(
                "json_body_bytes_max",
                format!("{max} bytes"),
                "fixed: send large data as an artifact",
            ))
        }
        Err(error) => Err(body_broke(error.as_ref())),
    }
}

/// The request's body did not come in time.
pub(crate) fn body_timed_out(limit: Duration) -> Failure {
    let seconds = limit.as_secs();
    Failure::new(
        Code::RequestTimeout,
        format!("the body stood still for {seconds} s"),
    )
    .with_limit(
        "admin.body_timeout_s",
        format!("{seconds} s"),
        "`body_timeout_s` under [admin] in the node's configuration",
    )
}

/// The request's body broke: the client went away, or framed it wrongly.
pub(crate) fn body_broke(error: &(dyn std::error::Error + 'static)) -> Failure {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
                return Failure::new(Code::CallerGone, "the body ended before its announced end");
            }
            break;
        }
        cause = error.source();
    }
    Failure::new(
        Code::BodyMalformed,
        format!("the body cannot be read: {error}"),
    )
}
