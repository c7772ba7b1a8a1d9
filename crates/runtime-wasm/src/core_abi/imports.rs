//! The functions that a core module may import. Each checks its ranges first: a range outside the memory
//! traps, everything else is an error number.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use rand::RngCore as _;
use runtime::LogStream;
use wasmtime::{Caller, Linker, Result};

use super::fetch;
use super::head::{self, HeadError};
use super::memory;
use super::state::{CoreState, Phase, Refused, errno};
use crate::exchange::{CHUNK_BYTES_MAX, Exchange};
use crate::host::HasHost as _;

/// The module that guests import from.
const MODULE: &str = "holm:core/1";
/// Random bytes that one call gives.
const RANDOM_BYTES_MAX: u32 = 64 << 10;
/// Levels from this on are the log's error stream.
const LEVEL_WARN: u32 = 3;

type Host<'a> = Caller<'a, CoreState>;
type Pending<'a> = Box<dyn Future<Output = Result<i32>> + Send + 'a>;

/// Binds all functions.
pub(super) fn add_to(linker: &mut Linker<CoreState>) -> Result<()> {
    linker.func_wrap_async(MODULE, "request_read", |host, (pointer, capacity)| {
        request_read(host, pointer, capacity)
    })?;
    linker.func_wrap(MODULE, "response_head", response_head)?;
    linker.func_wrap_async(MODULE, "response_write", |host, (pointer, length)| {
        response_write(host, pointer, length)
    })?;
    linker.func_wrap(MODULE, "log", log)?;
    linker.func_wrap(MODULE, "env_get", env_get)?;
    linker.func_wrap(MODULE, "random", random)?;
    linker.func_wrap(MODULE, "clock_unix_ns", clock_unix_ns)?;
    linker.func_wrap(MODULE, "clock_monotonic_ns", clock_monotonic_ns)?;
    linker.func_wrap_async(MODULE, "sleep_ms", |host, (ms,)| sleep_ms(host, ms))?;
    linker.func_wrap_async(MODULE, "fetch", |host, (head, head_len, body, body_len)| {
        fetch(host, (head, head_len), (body, body_len))
    })?;
    linker.func_wrap(MODULE, "fetch_head", fetch_head)?;
    linker.func_wrap_async(MODULE, "fetch_read", |host, (handle, pointer, capacity)| {
        fetch_read(host, handle, pointer, capacity)
    })?;
    linker.func_wrap(MODULE, "fetch_close", fetch_close)?;
    Ok(())
}

fn request_read(mut host: Host<'_>, pointer: u32, capacity: u32) -> Pending<'_> {
    Box::new(async move {
        memory::with(&mut host, pointer, capacity)?;
        if host.data().phase == Phase::Outside {
            return Ok(errno::WRONG_STATE);
        }
        if capacity == 0 {
            return Ok(errno::INVALID);
        }
        host.data_mut().input.fill().await;
        let (target, state) = memory::with(&mut host, pointer, capacity)?;
        Ok(state.input.take(target))
    })
}

fn response_head(mut host: Host<'_>, status: u32, pointer: u32, length: u32) -> Result<i32> {
    let (text, state) = memory::with(&mut host, pointer, length)?;
    if state.phase != Phase::Head {
        return Ok(errno::WRONG_STATE);
    }
    let status = match u16::try_from(status) {
        Ok(status @ 200..=599) => StatusCode::from_u16(status)?,
        _ => return Ok(errno::INVALID),
    };
    match head::parse_lines(text) {
        Ok(lines) => {
            state.send_head(status, lines.headers, lines.length);
            Ok(0)
        }
        Err(HeadError::Invalid) => Ok(errno::INVALID),
        Err(HeadError::TooLarge) => Ok(errno::LIMIT),
    }
}

fn response_write(mut host: Host<'_>, pointer: u32, length: u32) -> Pending<'_> {
    Box::new(async move {
        let (_, state) = memory::with(&mut host, pointer, length)?;
        if let Err(number) = admit_write(state, length) {
            return Ok(number);
        }
        let mut done = 0;
        while done < length {
            wait_for_room(&host.data().host().shared.exchange).await;
            let step = (length - done).min(CHUNK_BYTES_MAX as u32);
            let (bytes, state) = memory::with(&mut host, pointer + done, step)?;
            state.host().shared.exchange.lock().push(bytes);
            done += step;
        }
        Ok(0)
    })
}

/// Counts a write of `length` bytes against what may be sent; begins a response where there is none.
fn admit_write(state: &mut CoreState, length: u32) -> Result<(), i32> {
    if state.phase == Phase::Head {
        state.send_head(StatusCode::OK, HeaderMap::new(), None);
    }
    let body_bytes_max = state.host().function().config.limits.body_bytes_max;
    let Phase::Body {
        length: declared,
        n_sent,
    } = &mut state.phase
    else {
        return Err(errno::WRONG_STATE);
    };
    let total = *n_sent + u64::from(length);
    if let Some(declared) = declared.filter(|declared| total > *declared) {
        state.refused = Some(Refused::Length(declared));
        return Err(errno::INVALID);
    }
    if total > body_bytes_max {
        state.refused = Some(Refused::Limit);
        return Err(errno::LIMIT);
    }
    *n_sent = total;
    Ok(())
}

/// Waits until the caller has taken something. No waker: the caller's poll is what runs this.
async fn wait_for_room(exchange: &Mutex<Exchange>) {
    poll_fn(|_| {
        if exchange.lock().has_room() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

fn log(mut host: Host<'_>, level: u32, pointer: u32, length: u32) -> Result<()> {
    let (bytes, state) = memory::with(&mut host, pointer, length)?;
    let stream = if level >= LEVEL_WARN {
        LogStream::Stderr
    } else {
        LogStream::Stdout
    };
    // No more than the log would take anyway: the rest would only be copied to be dropped.
    let limit = state.host().function().config.limits.log_bytes_max;
    let kept = bytes.len().min(
        usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .saturating_add(1),
    );
    let text = String::from_utf8_lossy(&bytes[..kept]);
    state.host().log(stream, text.as_bytes());
    Ok(())
}

fn env_get(
    mut host: Host<'_>,
    name: u32,
    name_length: u32,
    pointer: u32,
    capacity: u32,
) -> Result<i32> {
    let (name, state) = memory::with(&mut host, name, name_length)?;
    let Ok(name) = std::str::from_utf8(name) else {
        return Ok(errno::INVALID);
    };
    let function = state.host().function().clone();
    let value = function.config.env.get(name);
    let (target, _) = memory::with(&mut host, pointer, capacity)?;
    Ok(match value {
        Some(value) => write_if_it_fits(value.as_bytes(), target),
        None => errno::NOT_FOUND,
    })
}

/// Gives the length of `value`, and writes it only when it fits.
fn write_if_it_fits(value: &[u8], target: &mut [u8]) -> i32 {
    if let Some(target) = target.get_mut(..value.len()) {
        target.copy_from_slice(value);
    }
    i32::try_from(value.len()).unwrap_or(i32::MAX)
}

fn random(mut host: Host<'_>, pointer: u32, length: u32) -> Result<i32> {
    let (target, _) = memory::with(&mut host, pointer, length)?;
    if length > RANDOM_BYTES_MAX {
        return Ok(errno::LIMIT);
    }
    // The thread's generator: ChaCha, seeded by the kernel.
    rand::rng().fill_bytes(target);
    Ok(0)
}

fn clock_unix_ns(_host: Host<'_>) -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // Before 1970 is 0; 64 bits last until 2262.
    since.map_or(0, |since| since.as_nanos() as i64)
}

fn clock_monotonic_ns(host: Host<'_>) -> i64 {
    host.data()
        .host()
        .function()
        .clock_base
        .elapsed()
        .as_nanos() as i64
}

fn sleep_ms(host: Host<'_>, ms: i32) -> Pending<'_> {
    Box::new(async move {
        if host.data().phase == Phase::Outside {
            return Ok(errno::WRONG_STATE);
        }
        let Ok(ms) = u64::try_from(ms) else {
            return Ok(errno::INVALID);
        };
        tokio::time::sleep(Duration::from_millis(ms)).await;
        Ok(0)
    })
}

fn fetch(mut host: Host<'_>, head: (u32, u32), body: (u32, u32)) -> Pending<'_> {
    Box::new(async move {
        let body_bytes_max = host.data().host().function().config.limits.body_bytes_max;
        memory::with(&mut host, body.0, body.1)?;
        let (bytes, state) = memory::with(&mut host, head.0, head.1)?;
        if state.phase == Phase::Outside {
            return Ok(errno::WRONG_STATE);
        }
        if !state.fetches.has_room() || u64::from(body.1) > body_bytes_max {
            return Ok(errno::LIMIT);
        }
        if bytes.len() > fetch::HEAD_BYTES_MAX {
            return Ok(errno::LIMIT);
        }
        let head = bytes.to_vec();
        let (bytes, state) = memory::with(&mut host, body.0, body.1)?;
        // The one body that is copied whole, since the ABI passes it whole: the guest's own memory
        // limit and the body limit bound it.
        let body = Bytes::copy_from_slice(bytes);
        let function = state.host().function().clone();
        let shared = state.host().shared.clone();
        let answer = fetch::send(function, shared, head, body).await;
        Ok(match answer {
            Ok(answer) => host.data_mut().fetches.open(answer),
            Err(number) => number,
        })
    })
}

fn fetch_head(mut host: Host<'_>, handle: i32, pointer: u32, capacity: u32) -> Result<i32> {
    let (target, state) = memory::with(&mut host, pointer, capacity)?;
    Ok(match state.fetches.get(handle) {
        Some(answer) => write_if_it_fits(&answer.head, target),
        None => state.no_such_fetch(),
    })
}

fn fetch_read(mut host: Host<'_>, handle: i32, pointer: u32, capacity: u32) -> Pending<'_> {
    Box::new(async move {
        let (_, state) = memory::with(&mut host, pointer, capacity)?;
        let Some(answer) = state.fetches.get(handle) else {
            return Ok(state.no_such_fetch());
        };
        if capacity == 0 {
            return Ok(errno::INVALID);
        }
        answer.body.fill().await;
        let (target, state) = memory::with(&mut host, pointer, capacity)?;
        Ok(match state.fetches.get(handle) {
            Some(answer) => answer.body.take(target),
            None => state.no_such_fetch(),
        })
    })
}

fn fetch_close(mut host: Host<'_>, handle: i32) -> i32 {
    let state = host.data_mut();
    if state.fetches.close(handle) {
        0
    } else {
        state.no_such_fetch()
    }
}
