//! The paths that are counted, and counting one.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::caller::NodeCaller;
use super::error::CountError;
use super::stepper::Stepper;
use super::tracee::Tracee;
use super::watchdog::Watchdog;
use super::{registers, threads};
use crate::lab::{Guest, RowError, Subject};
use crate::load::Expect;
use crate::rows::NO_MODULE;
use crate::servers::{Engine, Function, NodeOptions, Server, deploy};

/// Requests before anything is counted: pools, caches and allocators have reached their sizes, and an
/// instance that is reused has been replaced.
const N_WARM_UP: usize = 300;

/// How long one of those may take; a node needs a fraction of a millisecond.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the counted requests of a path may take together. A debug build takes some hundred thousand
/// instructions for each, and a step up to 30 microseconds on a virtual machine.
const COUNTING_TIMEOUT: Duration = Duration::from_secs(300);

/// The thread that serves requests; on one core there is one.
const GATEWAY: &str = "gateway-0";

/// The thread that interrupts guests every millisecond of wall time. A request that is stepped through
/// lasts a hundred of them, so it is held meanwhile.
const TICKER: &str = "wasm-epoch";

/// A path.
pub(super) struct Path {
    /// Its name in the file.
    pub(super) name: &'static str,
    /// What it is.
    pub(super) what: &'static str,
    guest: Option<Guest>,
    reuse: u32,
    /// Requests that are counted: an odd number, for a median that one of them has.
    n_requests: usize,
}

/// Every path.
pub(super) const PATHS: &[Path] = &[
    Path {
        name: "noop",
        what: "a function without a guest, through the whole gateway",
        guest: None,
        reuse: 1,
        n_requests: 9,
    },
    Path {
        name: "core-fresh",
        what: "holm:core/1, an instance per request",
        guest: Some(Guest::Core),
        reuse: 1,
        n_requests: 5,
    },
    Path {
        name: "http-fresh",
        what: "wasi:http 0.2, an instance per request",
        guest: Some(Guest::Http),
        reuse: 1,
        n_requests: 5,
    },
    Path {
        name: "http-reused",
        what: "wasi:http 0.2, an instance for many requests",
        guest: Some(Guest::Http),
        // As row W4.
        reuse: 128,
        n_requests: 5,
    },
];

impl Path {
    /// The instructions of one request: the median of a few, of a node on `core`.
    ///
    /// # Errors
    /// `Missing` where this machine lets nothing be counted or the build left the guest out.
    pub(super) fn count(&self, core: usize) -> Result<u64, RowError> {
        if let Some(reason) = registers::unsupported() {
            return Err(RowError::Missing(reason.to_owned()));
        }
        let subject = self.start(core)?;
        let server = Rc::clone(&subject.server);
        let mut caller = NodeCaller::connect(subject.target)?;
        caller.warm_up(N_WARM_UP, ANSWER_TIMEOUT)?;
        let watchdog = Watchdog::over(server.pid(), COUNTING_TIMEOUT).map_err(CountError::Io)?;
        self.step(&server, &mut caller)
            .map_err(|error| watchdog.explain(error).into())
    }

    fn step(&self, server: &Server, caller: &mut NodeCaller) -> Result<u64, CountError> {
        let ticker = threads::find(server.pid(), TICKER)?;
        let _held = ticker.map(Tracee::hold).transpose()?;
        let gateway = threads::find(server.pid(), GATEWAY)?;
        let mut gateway = Stepper::hold(gateway.ok_or(CountError::NoThread(GATEWAY))?)?;
        // The first one finds things as the running node left them, the others as the one before did.
        gateway.count(caller)?;
        let mut counts = Vec::new();
        for _ in 0..self.n_requests {
            counts.push(gateway.count(caller)?);
        }
        counts.sort_unstable();
        Ok(counts[counts.len() / 2])
    }

    fn start(&self, core: usize) -> Result<Subject, RowError> {
        let module = match self.guest {
            Some(guest) => guest.module()?,
            None => NO_MODULE,
        };
        let server = Server::node(&NodeOptions {
            engine: match self.guest {
                Some(_) => Engine::Usual,
                None => Engine::Noop,
            },
            ..NodeOptions::usual(core)
        })?;
        let function = Function {
            name: "hello".to_owned(),
            module: Bytes::from_static(module),
            reuse: self.reuse,
        };
        deploy(&server, vec![function])?;
        let server = Rc::new(server);
        Ok(match self.reuse {
            1 => Subject::fresh(server),
            _ => Subject::functions(server, ["hello".to_owned()], Expect::Ok),
        })
    }
}
