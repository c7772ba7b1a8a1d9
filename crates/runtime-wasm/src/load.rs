//! Mapping compiled files: the one unsafe thing about wasmtime.
//!
//! A compiled file is native code that runs with this process's rights. [`Entry`] is only made by the
//! cache after its checks, so taking one here is the proof that they were made.

use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use crate::cache::Entry;

/// Maps a compiled core module.
pub(crate) fn module(engine: &Engine, entry: &Entry) -> wasmtime::Result<Module> {
    // SAFETY: `entry` was written by this node's compile worker from the same wasmtime release, in a
    // directory and file that only this user may write, and its bytes have the digest that the worker
    // reported. Nobody but this user's processes can change it while it is mapped; the cache replaces
    // files by renaming and never writes to one in place.
    unsafe { Module::deserialize_file(engine, &entry.path) }
}

/// Maps a compiled component.
pub(crate) fn component(engine: &Engine, entry: &Entry) -> wasmtime::Result<Component> {
    // SAFETY: as for `module`.
    unsafe { Component::deserialize_file(engine, &entry.path) }
}
