//! The class through the seam, with the real compile worker and real modules. One binary, as each links
//! all of wasmtime.

mod compiling;
mod conformance;
mod core_abi;
mod fairness;
mod limits;
mod p2;
mod slots;
mod support;
