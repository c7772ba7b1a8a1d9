//! Guests of the contracts that run real programs, from the uploaded file to the answer: CGI and
//! `wasi:http` 0.3. One binary, so that it links once.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside test functions"
)]

mod cgi;
mod cgi_probe;
mod harness;
mod outbound;
mod p3;
