//! An outbound request over `wasi:http` 0.2: fetches the URL in `?url=`, or the one in the environment
//! variable `UPSTREAM`, and answers what it found as JSON. A destination that the manifest does not
//! allow, or that cannot be reached, is answered with 502 and the name of the error.

use std::io::Write as _;

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::outgoing_handler;
use wasi::http::types::{
    ErrorCode, Fields, IncomingRequest, IncomingResponse, OutgoingBody, OutgoingRequest,
    OutgoingResponse, ResponseOutparam, Scheme,
};
use wasi::io::streams::StreamError;

struct Fetch;

wasi::http::proxy::export!(Fetch);

impl Guest for Fetch {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let url = target
            .split_once("?url=")
            .map(|(_, url)| url.to_owned())
            .or_else(|| std::env::var("UPSTREAM").ok())
            .unwrap_or_default();
        // A URL is printable text, whose debug form in Rust is a JSON string.
        let (status, answer) = match fetch(&url).and_then(|response| summary(&url, &response)) {
            Ok(answer) => (200, answer),
            Err(error) => (
                502,
                format!("{{\"url\":{:?},\"error\":{:?}}}\n", url, error_name(&error)),
            ),
        };
        respond(response_out, status, &answer);
    }
}

/// Sends a GET and waits for the head of the answer.
fn fetch(url: &str) -> Result<IncomingResponse, ErrorCode> {
    let (scheme, rest) = if let Some(rest) = url.strip_prefix("https://") {
        (Scheme::Https, rest)
    } else if let Some(rest) = url.strip_prefix("http://") {
        (Scheme::Http, rest)
    } else {
        return Err(ErrorCode::HttpRequestUriInvalid);
    };
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let request = OutgoingRequest::new(Fields::new());
    request
        .set_scheme(Some(&scheme))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(path)))
        .map_err(|()| ErrorCode::HttpRequestUriInvalid)?;

    let pending = outgoing_handler::handle(request, None)?;
    pending.subscribe().block();
    pending
        .get()
        .expect("the pollable said it is ready")
        .expect("asked once only")
}

/// Status and size of an answer, reading its body chunk by chunk.
fn summary(url: &str, response: &IncomingResponse) -> Result<String, ErrorCode> {
    let body = response.consume().expect("taken once");
    let stream = body.stream().expect("taken once");
    let mut body_bytes = 0;
    loop {
        match stream.blocking_read(64 * 1024) {
            Ok(chunk) => body_bytes += chunk.len(),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(_)) => {
                return Err(ErrorCode::HttpResponseIncomplete)
            }
        }
    }
    Ok(format!(
        "{{\"url\":{:?},\"status\":{},\"body_bytes\":{}}}\n",
        url,
        response.status(),
        body_bytes
    ))
}

/// `ErrorCode::ConnectionRefused` as `ConnectionRefused`, without what some variants carry.
fn error_name(error: &ErrorCode) -> String {
    let text = format!("{error:?}");
    let name = text.trim_start_matches("ErrorCode::");
    name.split(|character: char| !character.is_ascii_alphanumeric())
        .next()
        .unwrap_or(name)
        .to_owned()
}

fn respond(response_out: ResponseOutparam, status: u16, answer: &str) {
    let headers = Fields::new();
    headers
        .append("content-type", b"application/json")
        .expect("a fresh set of fields accepts a valid header");
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).expect("a valid status");
    let body = response.body().expect("taken once");
    ResponseOutparam::set(response_out, Ok(response));
    let mut stream = body.write().expect("taken once");
    // An error here means that the caller hung up: nobody is left to tell.
    let _ = stream.write_all(answer.as_bytes());
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}
