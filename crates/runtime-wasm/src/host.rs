//! What every contract's store holds beside its own state: limits, the account of CPU time, the way out
//! for the response, and where log lines go.

use std::sync::Arc;
use std::task::Poll;

use model::{Code, Failure, FunctionConfig, FunctionKey};
use parking_lot::Mutex;
use runtime::log::LineSplitter;
use runtime::{InvocationContext, LogStream};
use wasmtime::{StoreContextMut, UpdateDeadline};

use crate::cpu::CpuMeter;
use crate::epoch::Ticker;
use crate::exchange::Exchange;
use crate::lane::{NextTurn, SLICE_NS, Seat};
use crate::limiter::Limiter;

/// Bytes that one host call of a component may copy out of the guest. Bodies and log lines go in pieces
/// of 64 KiB; this leaves room for what is lifted whole, such as lists of headers.
const HOSTCALL_BYTES_MAX: usize = 4 << 20;

/// What all sandboxes of a function share.
pub(crate) struct FunctionShared {
    pub(crate) function: FunctionKey,
    pub(crate) config: Arc<FunctionConfig>,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) egress: Arc<egress::EgressClient>,
    /// The zero of the monotonic clock that guests see.
    pub(crate) clock_base: std::time::Instant,
    /// Keeps the prepared artifact known to the runtime while a function uses it.
    pub(crate) _artifact: Arc<dyn Send + Sync>,
}

/// What the driver of a sandbox (`run`) shares with the host functions inside its store.
pub(crate) struct SandboxShared {
    /// Held here once per sandbox: the count of references is shared between all cores.
    pub(crate) function: Arc<FunctionShared>,
    pub(crate) cpu: CpuMeter,
    pub(crate) exchange: Mutex<Exchange>,
    pub(crate) log: Mutex<LogPort>,
    seat: Seat,
}

impl SandboxShared {
    pub(crate) fn new(function: Arc<FunctionShared>) -> Arc<Self> {
        Arc::new(Self {
            cpu: CpuMeter::new(function.config.limits.cpu_ms_max),
            function,
            exchange: Mutex::default(),
            log: Mutex::default(),
            seat: Seat::default(),
        })
    }

    /// Polls guest code on the sandbox's account.
    ///
    /// Gives what the guest came to in it, and the CPU time that it used in nanoseconds.
    pub(crate) fn poll_guest<T>(&self, poll: impl FnOnce() -> Poll<T>) -> (Poll<T>, u64) {
        let _in_guest = self.function.ticker.enter();
        self.cpu.begin_poll();
        let poll = poll();
        self.seat.after_poll(poll.is_pending());
        (poll, self.cpu.end_poll())
    }
}

/// [`SandboxShared`] as the owner of a seat in the lane.
struct SeatOwner(Arc<SandboxShared>);

impl AsRef<Seat> for SeatOwner {
    fn as_ref(&self) -> &Seat {
        &self.0.seat
    }
}

/// The way to the invocation that runs now: its log for standard output and error, its trace.
#[derive(Default)]
pub(crate) struct LogPort {
    invocation: Option<Arc<InvocationContext>>,
    stdout: LineSplitter,
    stderr: LineSplitter,
}

impl LogPort {
    /// Takes a piece of a byte stream; whole lines are logged.
    pub(crate) fn push(&mut self, stream: LogStream, bytes: &[u8]) {
        let Some(invocation) = &self.invocation else {
            return;
        };
        let splitter = match stream {
            LogStream::Stderr => &mut self.stderr,
            _ => &mut self.stdout,
        };
        splitter.push(bytes, |line| invocation.log(stream, line));
    }

    /// Logs one line that is not part of a stream.
    pub(crate) fn note(&self, stream: LogStream, line: &[u8]) {
        if let Some(invocation) = &self.invocation {
            invocation.log(stream, line);
        }
    }

    /// Names the invocation's span as the parent of an outbound request, unless the guest names one of its
    /// own (W3C Trace Context, section 3.4).
    pub(crate) fn continue_trace(&self, headers: &mut http::HeaderMap) {
        const TRACEPARENT: http::HeaderName = http::HeaderName::from_static("traceparent");
        let Some(invocation) = &self.invocation else {
            return;
        };
        if let http::header::Entry::Vacant(vacant) = headers.entry(TRACEPARENT) {
            let value = http::HeaderValue::try_from(invocation.trace.to_string());
            vacant.insert(value.expect("hexadecimal digits and hyphens"));
        }
    }

    fn finish(&mut self) {
        let Some(invocation) = self.invocation.take() else {
            return;
        };
        self.stdout
            .finish(|line| invocation.log(LogStream::Stdout, line));
        self.stderr
            .finish(|line| invocation.log(LogStream::Stderr, line));
    }
}

/// The part of a store's data that all contracts have.
pub(crate) struct HostState {
    pub(crate) limiter: Limiter,
    pub(crate) shared: Arc<SandboxShared>,
    /// The instance cannot serve again, though nothing went wrong: its program has ended.
    pub(crate) is_spent: bool,
    /// The invocation that runs now, or for which init runs.
    pub(crate) invocation: Option<Arc<InvocationContext>>,
}

impl HostState {
    pub(crate) fn new(
        shared: Arc<SandboxShared>,
        invocation: Option<Arc<InvocationContext>>,
    ) -> Self {
        shared.log.lock().invocation = invocation.clone();
        Self {
            limiter: Limiter::new(&shared.function.config.limits),
            shared,
            is_spent: false,
            invocation,
        }
    }

    /// What all sandboxes of the function share.
    pub(crate) fn function(&self) -> &Arc<FunctionShared> {
        &self.shared.function
    }

    /// Begins an invocation: CPU time counts from zero, output and log are its own.
    pub(crate) fn begin(&mut self, invocation: Arc<InvocationContext>) {
        self.shared.cpu.begin();
        *self.shared.exchange.lock() = Exchange::default();
        self.set_invocation(invocation);
    }

    fn set_invocation(&mut self, invocation: Arc<InvocationContext>) {
        self.shared.log.lock().invocation = Some(invocation.clone());
        self.invocation = Some(invocation);
    }

    /// Ends an invocation or init: nothing of it may be seen by the next.
    pub(crate) fn end(&mut self) {
        if let Some(invocation) = self.invocation.take() {
            let peak = self.limiter.memory_peak_bytes();
            invocation.meter.note_memory_bytes(peak);
            self.shared.log.lock().finish();
        }
    }

    /// Logs one entry, which may hold several lines.
    pub(crate) fn log(&self, stream: LogStream, text: &[u8]) {
        if let Some(invocation) = &self.invocation {
            for line in text.split(|byte| *byte == b'\n') {
                for piece in line.chunks(runtime::log::LOG_LINE_BYTES_MAX) {
                    invocation.log(stream, piece);
                }
            }
        }
    }
}

/// A run that was cut short still leaves its log and its peak.
impl Drop for HostState {
    fn drop(&mut self) {
        self.end();
    }
}

/// Store data that holds a [`HostState`].
pub(crate) trait HasHost: Send + 'static {
    fn host(&self) -> &HostState;
    fn host_mut(&mut self) -> &mut HostState;
}

/// Sets a new store up: limits, epochs. Every store of this crate goes through here.
pub(crate) fn new_store<T: HasHost>(
    engine: &wasmtime::Engine,
    state: T,
) -> wasmtime::Result<wasmtime::Store<T>> {
    let mut store = wasmtime::Store::try_new(engine, state)?;
    store.limiter(|state| &mut state.host_mut().limiter);
    store.epoch_deadline_callback(on_epoch);
    store.set_epoch_deadline(1);
    store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
    Ok(store)
}

/// The epoch advanced while the guest ran: checks its CPU time, and after a slice lets others run.
fn on_epoch<T: HasHost>(context: StoreContextMut<'_, T>) -> wasmtime::Result<UpdateDeadline> {
    let host = context.data().host();
    let tick = host.shared.cpu.tick();
    if tick.is_over_limit {
        let limit_ms = host.function().config.limits.cpu_ms_max;
        return Err(wasmtime::Error::new(cpu_exhausted(limit_ms)));
    }
    if tick.slice_ns < SLICE_NS {
        return Ok(UpdateDeadline::Continue(1));
    }
    let turn = NextTurn::new(SeatOwner(host.shared.clone()));
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(turn)))
}

fn cpu_exhausted(limit_ms: u64) -> Failure {
    Failure::new(
        Code::CpuExhausted,
        format!("the function used more than {limit_ms} ms of CPU time"),
    )
    .with_limit(
        "limits.cpu_ms",
        format_args!("{limit_ms} ms"),
        "cpu_ms under [limits] in holm.toml",
    )
}
