//! The client from outside, against real servers on loopback. One binary, so that it links once.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside test functions"
)]

mod http;
mod policy;
mod support;
mod tls;
