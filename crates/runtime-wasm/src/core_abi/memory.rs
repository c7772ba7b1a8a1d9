//! Ranges of guest memory. Pointers and lengths are unsigned; a range that is not wholly inside traps.

use wasmtime::{Caller, Extern, Memory, Trap};

use super::state::CoreState;

/// The bytes `[pointer, pointer + length)` of `memory`.
pub(super) fn range(memory: &mut [u8], pointer: u32, length: u32) -> wasmtime::Result<&mut [u8]> {
    let start = pointer as usize;
    // Both are 32 bits wide: no overflow on the 64-bit hosts that wasmtime's pool needs.
    memory
        .get_mut(start..start + length as usize)
        .ok_or_else(|| Trap::MemoryOutOfBounds.into())
}

/// The caller's memory.
pub(super) fn of(caller: &mut Caller<'_, CoreState>) -> wasmtime::Result<Memory> {
    if let Some(memory) = caller.data().memory {
        return Ok(memory);
    }
    // In the start section, before instantiation has come back.
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory),
        _ => Err(wasmtime::Error::msg("the memory is not there yet")),
    }
}

/// The range and the store's data side by side.
pub(super) fn with<'a>(
    caller: &'a mut Caller<'_, CoreState>,
    pointer: u32,
    length: u32,
) -> wasmtime::Result<(&'a mut [u8], &'a mut CoreState)> {
    let memory = of(caller)?;
    let (bytes, state) = memory.data_and_store_mut(caller);
    Ok((range(bytes, pointer, length)?, state))
}
