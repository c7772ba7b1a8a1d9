//! The host calls of `holm:core/1` this function uses, with safe signatures. The specification is
//! docs/guide/core-abi.md; calls not used here are left out.

/// What a host call answered instead of success: one of the negative error numbers of the ABI.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HostError(pub i32);

mod raw {
    #[link(wasm_import_module = "holm:core/1")]
    unsafe extern "C" {
        pub fn request_read(ptr: *mut u8, cap: usize) -> i32;
        pub fn response_head(status: u32, ptr: *const u8, len: usize) -> i32;
        pub fn response_write(ptr: *const u8, len: usize) -> i32;
        pub fn log(level: u32, ptr: *const u8, len: usize);
        pub fn env_get(name_ptr: *const u8, name_len: usize, ptr: *mut u8, cap: usize) -> i32;
    }
}

/// The next chunk of the request body, as the filled part of `buffer`; empty at the end.
pub fn request_read(buffer: &mut [u8]) -> Result<&mut [u8], HostError> {
    // SAFETY: the host writes at most `buffer.len()` bytes, into `buffer` only.
    let n = check(unsafe { raw::request_read(buffer.as_mut_ptr(), buffer.len()) })?;
    Ok(&mut buffer[..n])
}

/// Begins the response. `lines` holds header lines, each ended by LF.
pub fn response_head(status: u32, lines: &str) -> Result<(), HostError> {
    // SAFETY: the host only reads `lines`.
    check(unsafe { raw::response_head(status, lines.as_ptr(), lines.len()) }).map(drop)
}

/// Appends to the response body; waits while the caller reads slowly.
pub fn response_write(bytes: &[u8]) -> Result<(), HostError> {
    // SAFETY: the host only reads `bytes`.
    check(unsafe { raw::response_write(bytes.as_ptr(), bytes.len()) }).map(drop)
}

/// One entry of level "info" in the function's log.
pub fn log_info(text: &str) {
    // SAFETY: the host only reads `text`.
    unsafe { raw::log(2, text.as_ptr(), text.len()) }
}

/// The value of an environment variable, when it is set and fits `buffer`.
pub fn env_get<'b>(name: &str, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    // SAFETY: the host reads `name` and writes at most `buffer.len()` bytes, into `buffer` only.
    let outcome =
        unsafe { raw::env_get(name.as_ptr(), name.len(), buffer.as_mut_ptr(), buffer.len()) };
    buffer.get(..usize::try_from(outcome).ok()?)
}

fn check(outcome: i32) -> Result<usize, HostError> {
    usize::try_from(outcome).map_err(|_| HostError(outcome))
}
