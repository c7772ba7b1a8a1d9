//! One request from its head to its answer, top to bottom. Each step takes what the step before made, so
//! none can be left out:
//!
//! ```text
//! Request -> accept -> Accepted -> resolve -> Resolved -> admit -> Call -> (invoker) -> Answer -> respond
//! ```
//!
//! Refuses to know sockets, timers and the two versions of HTTP, but for what a request says by which.

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{self, HeaderValue};
use http::uri::{PathAndQuery, Scheme, Uri};
use http::{Method, Request, Response, Version, request};
use hyper::body::Incoming;
use invoker::Call;
use model::http_path::canonical_path;
use model::{Code, Failure, InvocationId};
use runtime::{Body, TraceContext};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::connection::state::{ConnectionState, InFlight, RefusedPart};
use crate::connection::streams::StreamProgress;
use crate::headers::{
    Cleaning, Survey, TRACEPARENT, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO,
    clean_request,
};
use crate::request_body;
use crate::resolve::{Miss, Target, own_path, resolve};
use crate::respond::Respond;
use crate::response_body::ResponseBody;
use crate::stack_text::traceparent;
use crate::worker::Worker;

/// The methods that functions are called with, for callers who try to open tunnels.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Step 1 is done: the request has an identity, and is known to be well-formed as far as its head shows.
struct Accepted {
    id: InvocationId,
    trace: TraceContext,
    at: Instant,
    unix_ms: u64,
    parts: request::Parts,
    body: Body,
    connection: Arc<ConnectionState>,
    /// As the caller sent it.
    host: HeaderValue,
    cleaning: Cleaning,
}

/// Step 2 is done: it is known which function is to run.
struct Resolved {
    accepted: Accepted,
    target: Target,
    /// The URI that the function sees.
    uri: Uri,
}

/// Handles one request. Never fails: every failure is an answer.
pub(crate) async fn handle(
    worker: Arc<Worker>,
    in_flight: InFlight,
    index: u64,
    progress: Option<Arc<StreamProgress>>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let connection = Arc::clone(in_flight.connection());
    let (accepted, respond) = accept(&worker, in_flight, index, progress, request);
    let resolved = accepted.and_then(|accepted| accepted.resolve(&worker));
    let (call, shares_origin) = match resolved.map(Resolved::admit) {
        Ok(admitted) => admitted,
        Err(miss) => return Ok(respond.failure(&miss.failure, miss.allow, None)),
    };

    let span = tracing::debug_span!(
        "invocation",
        id = %call.id,
        function = %call.target.version.function,
        trace = %call.trace,
        parent_span = call.trace.parent_span_id,
    );
    // Mostly nobody listens: then the future is neither moved into a span nor entered at every poll.
    let answer = if span.is_disabled() {
        worker.invoker.invoke(call).await
    } else {
        Box::pin(worker.invoker.invoke(call).instrument(span)).await
    };

    let response = match connection.refusal(index) {
        // The body broke after the function had its answer, or without the function looking at it.
        Some((_, refusal)) => Err(refusal.to_failure()),
        None => answer.response,
    };
    Ok(match response {
        Ok(response) => respond.function(response, answer.timings, shares_origin),
        Err(failure) => respond.failure(&failure, None, Some(answer.timings)),
    })
}

/// Step 1: gives the request its identity and checks its head. What the answer needs to know is set aside
/// first, as a refusal is an answer too.
fn accept(
    worker: &Worker,
    in_flight: InFlight,
    index: u64,
    progress: Option<Arc<StreamProgress>>,
    request: Request<Incoming>,
) -> (Result<Accepted, Miss>, Respond) {
    let at = Instant::now();
    let unix_ms = unix_ms();
    let connection = Arc::clone(in_flight.connection());
    let (parts, incoming) = request.into_parts();
    let survey = Survey::of(&parts.headers);
    let traceparent = survey.traceparent.map(HeaderValue::as_bytes);
    let (id, trace) = worker.random.identify(unix_ms, traceparent);
    let respond = Respond {
        id,
        is_head: parts.method == Method::HEAD,
        is_http1: parts.version != Version::HTTP_2,
        in_flight,
        progress,
        response_head_bytes_max: worker.config.response_head_bytes_max,
    };
    let body = request_body::wrap(incoming, &connection, index);
    let cleaning = survey.cleaning;
    let accepted = check(&connection, index, &parts, survey).map(|host| Accepted {
        id,
        trace,
        at,
        unix_ms,
        parts,
        body,
        connection,
        host,
        cleaning,
    });
    (accepted, respond)
}

/// The rest of step 1: what the guard found, and what concerns HTTP/1 and HTTP/2 alike. Gives the host.
fn check(
    connection: &ConnectionState,
    index: u64,
    parts: &request::Parts,
    survey: Survey<'_>,
) -> Result<HeaderValue, Miss> {
    if let Some((RefusedPart::Head | RefusedPart::Body, refusal)) = connection.refusal(index) {
        return Err(Miss::new(refusal.to_failure()));
    }
    if parts.method == Method::CONNECT {
        return Err(Miss {
            failure: Failure::new(Code::MethodNotAllowed, "functions cannot serve CONNECT"),
            allow: Some(METHODS.to_owned()),
        });
    }
    if survey.expects_too_much {
        let detail = "the only expectation that is met here is `100-continue`";
        return Err(Miss::new(Failure::new(Code::ExpectationFailed, detail)));
    }
    host(parts, survey).map_err(|detail| Miss::new(Failure::new(Code::BadRequest, detail)))
}

/// The one host of a request: that of the header, of the URI, or of both when they agree.
fn host(parts: &request::Parts, survey: Survey<'_>) -> Result<HeaderValue, &'static str> {
    if survey.has_more_hosts {
        return Err("there is more than one Host");
    }
    let is_http = parts
        .uri
        .scheme()
        .is_none_or(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
    if !is_http {
        return Err("the URI's scheme is not http or https");
    }
    match (survey.host, parts.uri.authority()) {
        (Some(header), Some(authority))
            if !header
                .as_bytes()
                .eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            Err("the URI's authority differs from Host")
        }
        (Some(header), _) => Ok(header.clone()),
        // In HTTP/2 `:authority` takes the place of Host (RFC 9113, section 8.3.1).
        (None, Some(authority)) if parts.version == Version::HTTP_2 => {
            HeaderValue::from_str(authority.as_str()).map_err(|_| "the authority is malformed")
        }
        (None, _) => Err("there is no Host"),
    }
}

impl Accepted {
    /// Step 2: which function, and what path it sees.
    fn resolve(self, worker: &Worker) -> Result<Resolved, Miss> {
        let host = self.connection.hosts.canonical(&self.host)?;
        let raw_path = self.parts.uri.path();
        let path = canonical_path(raw_path).map_err(|error| bad_request(&error.to_string()))?;
        let snapshot = worker.catalog.snapshot();
        let target = resolve(&snapshot, &host, &path, self.parts.method.as_str())?;
        drop(snapshot);

        let is_as_it_was = target.path_at == 0
            && matches!(path, Cow::Borrowed(_))
            && self.parts.uri.authority().is_none();
        let uri = if is_as_it_was {
            self.parts.uri.clone()
        } else {
            origin_form(own_path(&path, target.path_at), self.parts.uri.query())?
        };
        drop((host, path));
        Ok(Resolved {
            accepted: self,
            target,
            uri,
        })
    }
}

impl Resolved {
    /// Step 3, as far as it is the gateway's: the request as the function shall see it. Limits of the
    /// function are the invoker's to check.
    fn admit(self) -> (Call, bool) {
        let Self {
            accepted,
            target,
            uri,
        } = self;
        let Accepted {
            id,
            trace,
            at,
            unix_ms,
            mut parts,
            body,
            connection,
            host,
            cleaning,
        } = accepted;
        parts.uri = uri;
        let keeps_tracestate = trace.parent_span_id.is_some();
        clean_request(&mut parts.headers, cleaning, keeps_tracestate);
        let headers = &mut parts.headers;
        headers.insert(X_FORWARDED_FOR, connection.forwarded_for.clone());
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
        if parts.version == Version::HTTP_2 {
            headers.entry(header::HOST).or_insert_with(|| host.clone());
        }
        headers.insert(X_FORWARDED_HOST, host);
        headers.insert(TRACEPARENT, traceparent(&trace));
        // What the libraries keep for themselves is no part of the event.
        parts.extensions = http::Extensions::new();
        let call = Call {
            target: target.version,
            id,
            trace,
            accepted: at,
            accepted_unix_ms: unix_ms,
            scheme: Scheme::HTTP,
            caller: Some(connection.caller),
            request: Request::from_parts(parts, body),
        };
        (call, target.shares_origin)
    }
}

fn origin_form(path: &str, query: Option<&str>) -> Result<Uri, Miss> {
    if path == "/" && query.is_none() {
        return Ok(Uri::default());
    }
    let mut text = String::with_capacity(path.len() + 1 + query.map_or(0, str::len));
    text.push_str(path);
    if let Some(query) = query {
        text.push('?');
        text.push_str(query);
    }
    let path_and_query = PathAndQuery::from_maybe_shared(bytes::Bytes::from(text));
    path_and_query
        .map(Uri::from)
        .map_err(|_| bad_request("the URI is malformed"))
}

fn bad_request(detail: &str) -> Miss {
    Miss::new(Failure::new(Code::BadRequest, detail))
}

/// Now, on the wall clock. A clock before 1970 counts as 1970: ids must be made whatever the clock says.
fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
