//! Calling a function through the admin API: the same invocation as through the gateway, for whoever has
//! the token, at any version. Bodies stream both ways.

use std::sync::Arc;
use std::time::Duration;

use api::InvokeQuery;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body::Body as _;
use http_body_util::BodyExt;
use invoker::{Answer, Call, Timings};
use model::http_path::canonical_path;
use model::{Code, Failure, FunctionKey, InvocationId, route};
use rand::RngCore;
use runtime::TraceContext;
use store::LiveVersion;
use tokio::time::Instant;

use crate::extract::{FunctionPath, QueryOf, body_broke};
use crate::passed;
use crate::publish::unix_ms;
use crate::refusal::Refusal;
use crate::server::Peer;
use crate::state::App;
use crate::versions;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The longest path and query of a call in bytes.
const PATH_BYTES_MAX: usize = 8 * 1024;

/// Headers of the function's answer that concern its own connection, or that only the platform may set.
const NOT_PASSED: [HeaderName; 8] = [
    CONNECTION,
    CONTENT_LENGTH,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("te"),
    HeaderName::from_static("trailer"),
    HeaderName::from_static("transfer-encoding"),
    HeaderName::from_static("upgrade"),
];

pub(crate) async fn invoke(
    State(app): State<Arc<App>>,
    FunctionPath(function): FunctionPath,
    QueryOf(query): QueryOf<InvokeQuery>,
    request: Request,
) -> Response {
    let (id, trace) = identify(request.headers().get(TRACEPARENT));
    let mut timings = None;
    let answer = match call(&app, &function, &query, request, id, trace) {
        Err(failure) => Err(failure),
        Ok(call) => {
            let number = call.target.version.number;
            let answer: Answer = app.deps.invoker.invoke(call).await;
            timings = Some(answer.timings);
            answer.response.and_then(|response| pass(response, number))
        }
    };
    let (mut response, made_by) = match answer {
        Ok(response) => (response, api::ANSWER_FUNCTION),
        Err(failure) => (
            Refusal::of_invocation(&failure, id).into_response(),
            api::ANSWER_PROBLEM,
        ),
    };
    let headers = response.headers_mut();
    headers.insert(api::header::ANSWER, HeaderValue::from_static(made_by));
    let id = HeaderValue::try_from(id.to_string()).expect("a UUID is visible ASCII");
    headers.insert(api::header::INVOCATION_ID, id);
    if let Some(timings) = timings {
        headers.append(SERVER_TIMING, server_timing(&timings));
    }
    response
}

/// The invocation, as the gateway would make it of the request that the query describes.
fn call(
    app: &App,
    function: &FunctionKey,
    query: &InvokeQuery,
    request: Request,
    id: InvocationId,
    trace: TraceContext,
) -> Result<Call, Failure> {
    let entry = app.entry(function)?;
    let target: Arc<LiveVersion> = match &query.version {
        Some(wanted) => versions::resolve(&entry, wanted)?,
        None => versions::live(&entry)?,
    };
    let (parts, body) = request.into_parts();
    let caller = parts.extensions.get::<Peer>().map(|peer| peer.0.ip());
    let mut event = http::Request::new(event_body(body));
    *event.method_mut() = method(query.method.as_deref().unwrap_or("POST"))?;
    *event.uri_mut() = uri(query.path.as_deref().unwrap_or("/"))?;
    *event.headers_mut() = event_headers(app, &parts, &trace)?;
    Ok(Call {
        target,
        id,
        trace,
        accepted: Instant::now(),
        accepted_unix_ms: unix_ms(),
        scheme: Scheme::HTTP,
        caller,
        request: event,
    })
}

fn event_body(body: Body) -> runtime::Body {
    if body.is_end_stream() {
        return runtime::Body::Empty;
    }
    runtime::Body::stream(body.map_err(|error| body_broke(&error)))
}

fn event_headers(app: &App, parts: &Parts, trace: &TraceContext) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::with_capacity(5);
    let authority = app.deps.node.gateway_url.trim_start_matches("http://");
    let host = HeaderValue::try_from(authority)
        .map_err(|_| Failure::new(Code::Internal, "the gateway's address is no host"))?;
    headers.insert(HOST, host);
    passed::copy(&parts.headers, &mut headers)?;
    let traceparent = HeaderValue::try_from(trace.to_string());
    headers.insert(
        TRACEPARENT,
        traceparent.expect("hexadecimal digits and hyphens"),
    );
    Ok(headers)
}

fn method(text: &str) -> Result<Method, Failure> {
    route::check_method(text)
        .map_err(|error| Failure::new(Code::InvalidArgument, format!("`method`: {error}")))?;
    Method::from_bytes(text.as_bytes())
        .map_err(|error| Failure::new(Code::InvalidArgument, format!("`method`: {error}")))
}

/// The path in its canonical form, as the gateway hands it on, and the query as it is.
fn uri(text: &str) -> Result<Uri, Failure> {
    let invalid =
        |why: &dyn std::fmt::Display| Failure::new(Code::InvalidArgument, format!("`path`: {why}"));
    if text.len() > PATH_BYTES_MAX {
        return Err(invalid(&format_args!("more than {PATH_BYTES_MAX} bytes")));
    }
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    let mut target = canonical_path(path)
        .map_err(|error| invalid(&error))?
        .into_owned();
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    let target = PathAndQuery::try_from(target).map_err(|error| invalid(&error))?;
    Ok(Uri::from(target))
}

/// The function's answer as it is, but for what concerned its own connection.
fn pass(response: http::Response<runtime::Body>, number: u64) -> Result<Response, Failure> {
    let (head, body) = response.into_parts();
    if !(200..600).contains(&head.status.as_u16()) {
        let detail = format!("the function answered with status {}", head.status.as_u16());
        return Err(Failure::new(Code::BadResponse, detail));
    }
    let mut answer = Response::new(Body::new(body));
    *answer.status_mut() = head.status;
    let headers = answer.headers_mut();
    for (name, value) in &head.headers {
        if !NOT_PASSED.contains(name) && !name.as_str().starts_with("holm-") {
            headers.append(name, value.clone());
        }
    }
    headers.insert(api::header::VERSION, number.into());
    Ok(answer)
}

/// A new invocation's id and span; the span continues the client's trace where it sent one.
fn identify(traceparent: Option<&HeaderValue>) -> (InvocationId, TraceContext) {
    let mut random = rand::rng();
    let mut bytes = [0; 10];
    random.fill_bytes(&mut bytes);
    let span_id = random.next_u64();
    let trace = traceparent
        .and_then(|value| TraceContext::child_of(value.as_bytes(), span_id))
        .unwrap_or_else(|| {
            let trace_id = u128::from(random.next_u64()) << 64 | u128::from(random.next_u64());
            TraceContext::root(trace_id, span_id)
        });
    (InvocationId::new(unix_ms(), bytes), trace)
}

/// As the gateway writes it (Server Timing, W3C): milliseconds.
fn server_timing(timings: &Timings) -> HeaderValue {
    let ms = |duration: Duration| {
        let micros = duration.as_micros();
        format!("{}.{:03}", micros / 1000, micros % 1000)
    };
    let text = format!(
        "queue;dur={}, start;dur={};desc=\"{}\", run;dur={}",
        ms(timings.queue),
        ms(timings.start),
        timings.kind.as_str(),
        ms(timings.run_until_head)
    );
    HeaderValue::try_from(text).expect("words and numbers are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_canonical_and_queries_stay() {
        for (text, target) in [
            ("/", "/"),
            ("/a//b?c=%2F&d", "/a/b?c=%2F&d"),
            ("/%7Ea/./b", "/~a/b"),
            ("/?", "/?"),
        ] {
            assert_eq!(uri(text).expect("valid").to_string(), target);
        }
        let long = format!("/{}", "a".repeat(PATH_BYTES_MAX));
        for text in [
            "",
            "a",
            "/..",
            "/a%2fb",
            "/%",
            "/a?b c",
            "/a\nb",
            "http://a/",
            &long,
        ] {
            let failure = uri(text).expect_err(text);
            assert_eq!(failure.code(), Code::InvalidArgument);
        }
    }

    #[test]
    fn methods_are_those_of_requests() {
        assert_eq!(method("PURGE").expect("valid"), "PURGE");
        for text in ["", "get", "A B", "CONNECT", "G\nT"] {
            assert_eq!(method(text).expect_err(text).code(), Code::InvalidArgument);
        }
    }
}
