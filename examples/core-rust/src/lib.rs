//! A `no_std` function on the bare `holm:core/1` ABI. `GET` answers a greeting from the environment;
//! any other method answers the request body in upper case, chunk by chunk as it arrives: a body of
//! any length passes through one buffer, and the first bytes of the answer leave before the last
//! bytes of the request have come.
#![no_std]

mod host;

use host::HostError;

const HEAD_BYTES_MAX: usize = 64 * 1024;
const CHUNK_BYTES: usize = 16 * 1024;

static mut REQUEST_HEAD: [u8; HEAD_BYTES_MAX] = [0; HEAD_BYTES_MAX];
static mut CHUNK: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];

/// Where the host writes the request head. A head too long for us gets an address outside the
/// memory, which the host reports as this function's error.
#[unsafe(no_mangle)]
pub extern "C" fn alloc(size: usize) -> *mut u8 {
    if size > HEAD_BYTES_MAX {
        return core::ptr::without_provenance_mut(usize::MAX);
    }
    (&raw mut REQUEST_HEAD).cast()
}

/// Serves one request; 0 is success, anything else is this function's error number.
///
/// # Safety
/// `ptr` and `len` denote the request head, as the host guarantees.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handle(ptr: *const u8, len: usize) -> i32 {
    // SAFETY: by contract; nothing writes to it until this call ends.
    let head = unsafe { core::slice::from_raw_parts(ptr, len) };
    // SAFETY: an instance serves one request at a time on one thread, so this is the only reference.
    let chunk = unsafe { &mut *(&raw mut CHUNK).cast::<[u8; CHUNK_BYTES]>() };
    let served = if head.starts_with(b"GET ") {
        greet(chunk)
    } else {
        upper_case(chunk)
    };
    match served {
        Ok(()) => 0,
        Err(HostError(number)) => number,
    }
}

fn greet(buffer: &mut [u8]) -> Result<(), HostError> {
    let greeting = host::env_get("GREETING", buffer).unwrap_or(b"Hello");
    host::response_head(200, "content-type: text/plain; charset=utf-8\n")?;
    host::response_write(greeting)?;
    host::response_write(b"\n")
}

fn upper_case(buffer: &mut [u8]) -> Result<(), HostError> {
    host::log_info("upper-casing a body");
    host::response_head(200, "content-type: text/plain; charset=utf-8\n")?;
    loop {
        let chunk = host::request_read(buffer)?;
        if chunk.is_empty() {
            return Ok(());
        }
        chunk.make_ascii_uppercase();
        host::response_write(chunk)?;
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
