//! Outbound requests of core modules, through the node's egress client and the manifest's allow-list.

use std::sync::Arc;

use bytes::Bytes;
use egress::{EgressClient, EgressError, Outbound, ResponseBody, Timeouts};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use model::{Code, Failure};
use runtime::{Body, LogStream};

use super::head::{self, HeadError};
use super::input::Input;
use super::state::errno;
use crate::host::{FunctionShared, SandboxShared};

/// Bytes of the head of one request.
pub(super) const HEAD_BYTES_MAX: usize = 64 << 10;
/// Answers that may be open at the same time.
const OPEN_MAX: usize = 16;

/// Open answers by handle; handle `n` is at index `n - 1`.
#[derive(Default)]
pub(super) struct Fetches(Vec<Option<Answer>>);

/// An answer: its head as text, and its body.
pub(super) struct Answer {
    pub(super) head: Vec<u8>,
    pub(super) body: Input,
}

impl Fetches {
    /// Whether another answer may be opened.
    pub(super) fn has_room(&self) -> bool {
        self.0.len() < OPEN_MAX || self.0.iter().any(Option::is_none)
    }

    /// Keeps `answer`; gives its handle.
    pub(super) fn open(&mut self, answer: Answer) -> i32 {
        let index = match self.0.iter().position(Option::is_none) {
            Some(index) => index,
            None => {
                self.0.push(None);
                self.0.len() - 1
            }
        };
        self.0[index] = Some(answer);
        // At most `OPEN_MAX`.
        index as i32 + 1
    }

    pub(super) fn get(&mut self, handle: i32) -> Option<&mut Answer> {
        self.slot(handle)?.as_mut()
    }

    /// Drops the answer; whether there was one.
    pub(super) fn close(&mut self, handle: i32) -> bool {
        self.slot(handle).is_some_and(|slot| slot.take().is_some())
    }

    fn slot(&mut self, handle: i32) -> Option<&mut Option<Answer>> {
        let index = usize::try_from(handle).ok()?.checked_sub(1)?;
        self.0.get_mut(index)
    }
}

/// Sends one request.
///
/// # Errors
/// An error number of the ABI.
pub(super) async fn send(
    function: Arc<FunctionShared>,
    shared: Arc<SandboxShared>,
    head: Vec<u8>,
    body: Bytes,
) -> Result<Answer, i32> {
    let parts = head::parse_request(&head).map_err(|error| match error {
        HeadError::Invalid => errno::INVALID,
        HeadError::TooLarge => errno::LIMIT,
    })?;
    let mut request = Request::from_parts(parts, Full::new(body));
    shared.log.lock().continue_trace(request.headers_mut());
    let outbound = Outbound {
        function: &function.function,
        rules: &function.config.egress,
        timeouts: Timeouts::default(),
    };
    let client: &EgressClient = &function.egress;
    let response = client.send(outbound, request).await.map_err(|error| {
        // The guest gets a number; why a request did not leave is for the function's owner.
        let text = error.to_string();
        shared.log.lock().note(LogStream::Platform, text.as_bytes());
        number_of(&error)
    })?;
    let (parts, body) = response.into_parts();
    Ok(Answer {
        head: head::response_head(&parts),
        body: Input::new_fetched(answer_body(body)),
    })
}

/// The answer's body with errors in the seam's type; their code tells a time-out from the rest.
fn answer_body(body: ResponseBody) -> Body {
    Body::stream(body.map_err(|error| {
        let code = match error {
            EgressError::Timeout { .. } => Code::RequestTimeout,
            _ => Code::BodyMalformed,
        };
        Failure::new(code, error.to_string())
    }))
}

fn number_of(error: &EgressError) -> i32 {
    match error {
        EgressError::Denied { .. } => errno::DENIED,
        EgressError::InvalidRequest(_) => errno::INVALID,
        EgressError::TooManyConnections { .. } | EgressError::HeadTooLarge => errno::LIMIT,
        EgressError::Timeout { .. } => errno::TIMED_OUT,
        _ => errno::UPSTREAM,
    }
}
