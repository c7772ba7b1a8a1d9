//! A core module's store data: what it may do at this point of the request, and what it has sent.

use http::response::Parts;
use http::{HeaderMap, Response, StatusCode};
use model::{Code, Failure};
use runtime::Body;
use wasmtime::Memory;

use super::fetch::Fetches;
use super::input::Input;
use crate::host::{HasHost, HostState};

/// Error numbers of the ABI.
pub(super) mod errno {
    pub(crate) const NOT_FOUND: i32 = -1;
    pub(crate) const INVALID: i32 = -2;
    pub(crate) const WRONG_STATE: i32 = -3;
    pub(crate) const PEER_GONE: i32 = -4;
    pub(crate) const LIMIT: i32 = -5;
    pub(crate) const DENIED: i32 = -6;
    pub(crate) const UPSTREAM: i32 = -7;
    pub(crate) const TIMED_OUT: i32 = -8;
}

/// How far the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No request: start section, `_initialize`, `alloc`.
    Outside,
    /// No head sent.
    Head,
    /// The head was sent, and how many body bytes may and did follow.
    Body { length: Option<u64>, n_sent: u64 },
}

/// The data of a core module's store.
pub(crate) struct CoreState {
    host: HostState,
    pub(super) memory: Option<Memory>,
    pub(super) input: Input,
    pub(super) phase: Phase,
    pub(super) fetches: Fetches,
    /// A write that was refused: what the caller got is not whole, whatever `handle` returns.
    pub(super) refused: Option<Refused>,
}

/// Why a write was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It exceeds the body limit.
    Limit,
    /// It exceeds the declared length.
    Length(u64),
}

impl HasHost for CoreState {
    fn host(&self) -> &HostState {
        &self.host
    }

    fn host_mut(&mut self) -> &mut HostState {
        &mut self.host
    }
}

impl CoreState {
    pub(super) fn new(host: HostState) -> Self {
        Self {
            host,
            memory: None,
            input: Input::default(),
            phase: Phase::Outside,
            fetches: Fetches::default(),
            refused: None,
        }
    }

    pub(super) fn begin_request(&mut self, body: Body) {
        self.input = Input::new(body);
        self.phase = Phase::Head;
    }

    /// Drops what belongs to the request; `phase` stays for [`CoreState::outcome`].
    pub(super) fn end_request(&mut self) {
        self.input = Input::default();
        self.fetches = Fetches::default();
    }

    /// `handle` has returned `number`: was that an answer?
    pub(super) fn outcome(&mut self, number: i32) -> Result<(), Failure> {
        let phase = std::mem::replace(&mut self.phase, Phase::Outside);
        match self.refused.take() {
            Some(Refused::Limit) => return Err(self.too_large()),
            Some(Refused::Length(length)) => {
                return Err(Failure::new(
                    Code::BadResponse,
                    format!("the function wrote more than its content-length of {length}"),
                ));
            }
            None => {}
        }
        if number != 0 {
            return Err(Failure::new(
                Code::FunctionError,
                format!("the function returned {number}"),
            ));
        }
        if matches!(phase, Phase::Body { .. }) {
            return Ok(());
        }
        Err(Failure::new(
            Code::NoResponse,
            "`handle` returned 0 without giving a response",
        ))
    }

    fn too_large(&self) -> Failure {
        let limit = self.host.function().config.limits.body_bytes_max;
        Failure::new(
            Code::ResponseTooLarge,
            format!("the function's response is larger than {limit} bytes"),
        )
        .with_limit(
            "limits.body",
            format_args!("{limit} bytes"),
            "body under [limits] in holm.toml",
        )
    }

    /// What a call with an unknown handle gives.
    pub(super) fn no_such_fetch(&self) -> i32 {
        match self.phase {
            Phase::Outside => errno::WRONG_STATE,
            _ => errno::NOT_FOUND,
        }
    }

    /// Sends the head.
    pub(super) fn send_head(
        &mut self,
        status: StatusCode,
        headers: HeaderMap,
        length: Option<u64>,
    ) {
        let mut head: Parts = Response::new(()).into_parts().0;
        head.status = status;
        head.headers = headers;
        self.host.shared.exchange.lock().head = Some(Ok(head));
        self.phase = Phase::Body { length, n_sent: 0 };
    }
}
