//! W3: the first request to a function of which nothing is in the node's memory, its compiled module in
//! the page cache: what a node does for every function after a restart. Each function is called cold once,
//! then warm, one request at a time.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::lab::{Found, Guest, Lab, RowError, request};
use crate::report::{Bound, Mode, Quantity, Row};
use crate::rows::RowSpec;
use crate::servers::NodeOptions;
use crate::stats;

/// What a moonshot's cold start takes at most, in microseconds.
const COLD_US_MAX: f64 = 1_000.0;

/// Bytes of an answer's head and body; the guest's have far fewer.
const ANSWER_BYTES_MAX: usize = 4096;

pub(super) const ROW: RowSpec = RowSpec {
    name: "W3",
    measure: "wasm, wasi:http 0.2: first request after a restart, p50 (moonshot: and <= 1 ms)",
    baseline: Some("the next request, p50"),
    gate: Some(Bound::AtMost(10.0)),
    moonshot: Some(Bound::AtMost(4.0)),
    takes: |plan| Duration::from_secs(if plan.mode == Mode::Quick { 15 } else { 60 }),
    run,
};

fn run(row: &RowSpec, lab: &mut Lab) -> Result<Vec<Row>, RowError> {
    // Every function a module of its own, as two of one module share what is loaded.
    let n_functions = match lab.plan.mode {
        Mode::Quick => 30,
        Mode::Full => 100,
    };
    let many = lab.many(Guest::Http, n_functions)?;
    let mut pairs = Vec::new();
    for _ in 0..lab.plan.n_rounds {
        let node = many.node(&NodeOptions::usual(lab.server_core))?;
        let mut caller = Caller::connect(node.address)?;
        // The connection, not a function.
        caller.call("nobody", 404)?;
        let cold = caller.call_each(many.names())?;
        let warm = caller.call_each(many.names())?;
        pairs.push((cold, warm));
    }
    let cold: Vec<f64> = pairs.iter().map(|(cold, _)| *cold).collect();
    let cold_us = stats::median_of(&cold).median;
    let quantity = Quantity {
        value: cold_us,
        unit: "us",
    };
    let mut found = Found::ratio(stats::ratio(&pairs), Some(quantity));
    found.moonshot_also = cold_us <= COLD_US_MAX;
    Ok(vec![row.row(found)])
}

/// One connection, one request at a time.
struct Caller(TcpStream);

impl Caller {
    fn connect(address: SocketAddr) -> Result<Self, RowError> {
        let stream = TcpStream::connect(address).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .map_err(failed)?;
        Ok(Self(stream))
    }

    /// Calls every function once; the median in microseconds.
    fn call_each(&mut self, names: impl Iterator<Item = String>) -> Result<f64, RowError> {
        let mut samples = Vec::new();
        for name in names {
            samples.push(self.call(&name, 200)?.as_secs_f64() * 1e6);
        }
        Ok(stats::median_of(&samples).median)
    }

    /// From sending the request until its answer is whole.
    fn call(&mut self, name: &str, status: u16) -> Result<Duration, RowError> {
        let request = request(name);
        let mut answer = [0; ANSWER_BYTES_MAX];
        let mut n_read = 0;
        let began = Instant::now();
        self.0.write_all(&request).map_err(failed)?;
        while !is_whole(&answer[..n_read]) {
            match self.0.read(&mut answer[n_read..]).map_err(failed)? {
                0 => return Err(failed("the node closed the connection")),
                n => n_read += n,
            }
        }
        let took = began.elapsed();
        let text = String::from_utf8_lossy(&answer[..n_read]);
        match text.starts_with(&format!("HTTP/1.1 {status} ")) {
            true => Ok(took),
            false => Err(failed(format!(
                "{name} answered {}",
                text.lines().next().unwrap_or("")
            ))),
        }
    }
}

/// Whether a head with a length and that much of a body are there, or the last chunk.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let head = head.to_ascii_lowercase();
    match head.split_once("content-length: ") {
        Some((_, rest)) => {
            let length = rest.lines().next().and_then(|text| text.parse().ok());
            length.is_some_and(|length: usize| body.len() >= length)
        }
        None => body.ends_with("0\r\n\r\n"),
    }
}

fn failed(error: impl std::fmt::Display) -> RowError {
    RowError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_end_where_their_head_says() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
        for (answer, whole) in [
            (String::new(), false),
            (head.to_owned(), false),
            (format!("{head}a"), false),
            (format!("{head}ab"), true),
            ("HTTP/1.1 200 OK\r\n\r\n1\r\na\r\n".to_owned(), false),
            (
                "HTTP/1.1 200 OK\r\n\r\n1\r\na\r\n0\r\n\r\n".to_owned(),
                true,
            ),
        ] {
            assert_eq!(is_whole(answer.as_bytes()), whole, "{answer}");
        }
    }
}
