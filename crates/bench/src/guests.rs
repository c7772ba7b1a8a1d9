//! The functions that rows call, from `guests/`, as the build script left them.

use model::Digest;

include!(concat!(env!("OUT_DIR"), "/guests.rs"));

/// `module` with a custom section of its own, so that it has a digest of its own and does the same.
/// Sections of id 0 mean nothing to an engine, in modules (WebAssembly core specification, 5.5.3) and in
/// components alike.
pub(crate) fn variant(module: &[u8], index: u32) -> Vec<u8> {
    const NAME: &[u8] = b"variant";
    let mut bytes = module.to_vec();
    // Id, size, length of the name, name, content: all lengths are below 128, so one byte each.
    bytes.extend([0, NAME.len() as u8 + 5, NAME.len() as u8]);
    bytes.extend(NAME);
    bytes.extend(index.to_le_bytes());
    bytes
}

/// The digest that a module is uploaded under.
pub(crate) fn digest(module: &[u8]) -> Digest {
    Digest::of(module)
}
