//! One connection: which protocol it speaks, the server behind it, its timers, its end.
//!
//! Refuses to know functions and routes: what a request means is in [`crate::request`].

pub(crate) mod serve;
pub(crate) mod state;
pub(crate) mod streams;
mod supervise;
