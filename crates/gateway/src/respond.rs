//! Step 8 of an invocation: the answer. The one place of the gateway where failures become status and code.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use invoker::Timings;
use model::{Code, Failure, InvocationId};
use runtime::Body;

use crate::connection::state::InFlight;
use crate::connection::streams::StreamProgress;
use crate::headers::clean_response;
use crate::response_body::ResponseBody;
use crate::stack_text::StackText;

const HOLM_INVOCATION_ID: HeaderName = HeaderName::from_static("holm-invocation-id");
const HOLM_ERROR: HeaderName = HeaderName::from_static("holm-error");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// What an answer needs to know of its request.
pub(crate) struct Respond {
    pub(crate) id: InvocationId,
    pub(crate) is_head: bool,
    pub(crate) is_http1: bool,
    pub(crate) in_flight: InFlight,
    pub(crate) progress: Option<Arc<StreamProgress>>,
    pub(crate) response_head_bytes_max: usize,
}

impl Respond {
    /// The function's answer, cleaned; or a failure, where the function's head cannot be sent.
    pub(crate) fn function(
        self,
        response: Response<Body>,
        timings: Timings,
        shares_origin: bool,
    ) -> Response<ResponseBody> {
        let (mut head, body) = response.into_parts();
        if let Err(failure) = check_head(head.status, &head.headers, self.response_head_bytes_max) {
            return self.failure(&failure, None, Some(timings));
        }
        // Read before it is removed with the rest of the function's framing.
        let announced = self
            .is_head
            .then(|| head_length(&head.headers, &body))
            .flatten();
        clean_response(&mut head.headers, shares_origin);
        if let Some(announced) = announced {
            head.headers.insert(header::CONTENT_LENGTH, announced);
        }
        self.mark(&mut head.headers, Some(timings));
        let body = if self.is_head || has_no_content(head.status) {
            run_to_end(body);
            Body::Empty
        } else {
            body
        };
        // hyper picks the version by the connection; a function's wish for another is none of its business.
        head.version = http::Version::HTTP_11;
        head.extensions = http::Extensions::new();
        Response::from_parts(head, ResponseBody::new(body, self.progress, self.in_flight))
    }

    /// A problem document. `allow` names the methods that are allowed, where the method was wrong.
    pub(crate) fn failure(
        self,
        failure: &Failure,
        allow: Option<String>,
        timings: Option<Timings>,
    ) -> Response<ResponseBody> {
        let code = failure.code();
        let problem = failure.to_problem(Some(self.id));
        let document = serde_json::to_vec(&problem).expect("a problem is plain data");
        let mut response = Response::new(());
        *response.status_mut() =
            StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        let code_text = HeaderValue::try_from(code.to_string());
        headers.insert(HOLM_ERROR, code_text.expect("a letter and digits"));
        if let Some(seconds) = failure.retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
            headers.insert(header::ALLOW, allow);
        }
        if self.must_close(code) {
            headers.insert(header::CONNECTION, CLOSE);
        }
        self.mark(headers, timings);
        let body = if self.is_head {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(document.len()));
            Body::Empty
        } else {
            Body::from(Bytes::from(document))
        };
        response.map(|()| ResponseBody::new(body, self.progress, self.in_flight))
    }

    /// After these an HTTP/1 connection is of no use: what follows on it may not be a request.
    fn must_close(&self, code: Code) -> bool {
        let is_out_of_step = matches!(
            code,
            Code::BadRequest
                | Code::BodyMalformed
                | Code::HeadersTooLarge
                | Code::UriTooLong
                | Code::RequestTimeout
                | Code::ExpectationFailed
                | Code::Draining
        );
        self.is_http1 && (is_out_of_step || self.in_flight.connection().has_unread_body())
    }

    /// What every answer carries.
    fn mark(&self, headers: &mut HeaderMap, timings: Option<Timings>) {
        let mut buffer = [0; 36];
        let id = HeaderValue::from_str(self.id.encode(&mut buffer));
        headers.insert(HOLM_INVOCATION_ID, id.expect("a UUID is visible ASCII"));
        if let Some(timings) = timings {
            headers.append(SERVER_TIMING, server_timing(&timings));
        }
    }
}

/// Whether a function's head can be sent at all. What can be repaired is repaired elsewhere.
fn check_head(
    status: StatusCode,
    headers: &HeaderMap,
    head_bytes_max: usize,
) -> Result<(), Failure> {
    // 1xx are no answers; what is above 599 is no status (RFC 9110, section 15).
    if !(200..600).contains(&status.as_u16()) {
        let detail = format!("the function answered with status {}", status.as_u16());
        return Err(Failure::new(Code::BadResponse, detail));
    }
    let n_bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if n_bytes > head_bytes_max {
        let detail = format!("the function's response has {n_bytes} bytes of headers");
        return Err(Failure::new(Code::BadResponse, detail).with_limit(
            "gateway.response_head_bytes_max",
            format!("{head_bytes_max} bytes"),
            "`response_head_bytes_max` under [gateway] in the node's configuration",
        ));
    }
    Ok(())
}

/// Answers that have no content (RFC 9110, section 6.4.1); 205 must not have any either.
fn has_no_content(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    )
}

/// The length to announce for an answer to HEAD: what the body has, or what the function says it would
/// have.
fn head_length(headers: &HeaderMap, body: &Body) -> Option<HeaderValue> {
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
        return Some(HeaderValue::from(length));
    }
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    let is_number =
        (1..=19).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_digit);
    is_number.then(|| value.clone())
}

/// Lets a function finish an answer whose content nobody gets. The invoker's deadline and limits end it,
/// as it counts as running.
fn run_to_end(mut body: Body) {
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(async move { while let Some(Ok(_)) = body.frame().await {} });
}

/// `queue;dur=0.004, start;dur=0.091;desc="fresh", run;dur=1.250` (Server Timing, W3C): milliseconds.
fn server_timing(timings: &Timings) -> HeaderValue {
    let mut text = StackText::<160>::new();
    text.push("queue;dur=");
    text.push_millis(timings.queue);
    text.push(", start;dur=");
    text.push_millis(timings.start);
    text.push(";desc=\"");
    text.push(timings.kind.as_str());
    text.push("\", run;dur=");
    text.push_millis(timings.run_until_head);
    text.to_value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use model::StartKind;

    #[test]
    fn timings_are_milliseconds() {
        let timings = Timings {
            queue: Duration::from_micros(4),
            start: Duration::from_nanos(91_999),
            run_until_head: Duration::from_millis(1250),
            kind: StartKind::Fresh,
        };
        assert_eq!(
            server_timing(&timings),
            "queue;dur=0.004, start;dur=0.091;desc=\"fresh\", run;dur=1250.000"
        );
        let longest = Timings {
            queue: Duration::MAX,
            start: Duration::MAX,
            run_until_head: Duration::MAX,
            kind: StartKind::Fresh,
        };
        assert!(server_timing(&longest).len() < 160);
    }

    #[test]
    fn only_final_statuses_and_bounded_heads_pass() {
        let headers = HeaderMap::new();
        for status in [200, 204, 404, 599] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(check_head(status, &headers, 100), Ok(()));
        }
        for status in [100, 101, 199, 600, 999] {
            let status = StatusCode::from_u16(status).expect("a status");
            let failure = check_head(status, &headers, 100).expect_err("not final");
            assert_eq!(failure.code(), Code::BadResponse);
        }
        let mut large = HeaderMap::new();
        large.insert(
            "x",
            HeaderValue::from_str(&"a".repeat(96)).expect("a value"),
        );
        let failure = check_head(StatusCode::OK, &large, 100).expect_err("101 bytes");
        assert_eq!(
            failure.limit().expect("a limit").name,
            "gateway.response_head_bytes_max"
        );
    }
}
