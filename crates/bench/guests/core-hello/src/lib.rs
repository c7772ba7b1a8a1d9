//! Answers how many requests this instance has served, over `holm:core/1`: a fresh instance says `1`. A
//! request for `/log` writes a line to the log, too.
#![no_std]

use core::sync::atomic::{AtomicU32, Ordering};

#[link(wasm_import_module = "holm:core/1")]
unsafe extern "C" {
    fn log(level: u32, ptr: *const u8, len: usize);
    fn response_write(ptr: *const u8, len: usize) -> i32;
}

const HEAD_BYTES_MAX: usize = 64 * 1024;

static mut REQUEST_HEAD: [u8; HEAD_BYTES_MAX] = [0; HEAD_BYTES_MAX];
static N_SERVED: AtomicU32 = AtomicU32::new(0);

/// Where the host writes the request head; too long a one gets an address outside the memory, which the
/// host reports.
#[unsafe(no_mangle)]
pub extern "C" fn alloc(size: usize) -> *mut u8 {
    if size > HEAD_BYTES_MAX {
        return core::ptr::without_provenance_mut(usize::MAX);
    }
    (&raw mut REQUEST_HEAD).cast()
}

/// Serves one request; 0 is success.
///
/// # Safety
/// `ptr` and `len` denote the request head, as the host guarantees.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handle(ptr: *const u8, len: usize) -> i32 {
    // SAFETY: by contract; nothing writes to it until this call ends.
    let head = unsafe { core::slice::from_raw_parts(ptr, len) };
    if head.starts_with(b"GET /log") {
        let line = b"served a request";
        // SAFETY: the range is that of a live array. Level 2 is "info".
        unsafe { log(2, line.as_ptr(), line.len()) };
    }
    let mut n = N_SERVED.fetch_add(1, Ordering::Relaxed) + 1;
    let mut digits = [0_u8; 10];
    let mut begin = digits.len();
    while n > 0 {
        begin -= 1;
        digits[begin] = b'0' + (n % 10) as u8;
        n /= 10;
    }
    let text = &digits[begin..];
    // SAFETY: the range is that of a live slice.
    unsafe { response_write(text.as_ptr(), text.len()) }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
