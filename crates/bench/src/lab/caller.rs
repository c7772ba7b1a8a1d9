//! Calls one by one over one connection, each function when it is its turn: for rows about the first
//! request, which no loop of load can make.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{RowError, request};

/// Bytes of an answer's head and body; the guests' have far fewer.
const ANSWER_BYTES_MAX: usize = 4096;

/// How long an answer may take; no row calls anything that takes a fraction of it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// One connection, one request at a time.
pub(crate) struct Caller(TcpStream);

impl Caller {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Result<Self, RowError> {
        let stream = TcpStream::connect(address).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream
            .set_read_timeout(Some(ANSWER_TIMEOUT))
            .map_err(failed)?;
        Ok(Self(stream))
    }

    /// Calls every function once; what each call took, in microseconds.
    pub(crate) fn call_each(
        &mut self,
        names: impl Iterator<Item = String>,
    ) -> Result<Vec<f64>, RowError> {
        let mut samples = Vec::new();
        for name in names {
            samples.push(self.call(&name, 200)?.as_secs_f64() * 1e6);
        }
        Ok(samples)
    }

    /// From sending the request until its answer, of that status, is whole.
    pub(crate) fn call(&mut self, name: &str, status: u16) -> Result<Duration, RowError> {
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
