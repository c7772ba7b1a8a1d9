//! The admin server over real sockets, with stores in memory and the scripted engine.

mod access;
mod deploys;
mod fuzz;
mod invocations;
mod openapi;
mod support;
mod uploads;
