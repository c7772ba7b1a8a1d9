//! A blocking HTTP/1.1 client of few lines: sends any bytes, reads answers by their framing. Kind enough
//! for ordinary tests and rude enough for hostile ones.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a read may take before the test fails.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// One answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The status; 0 where the connection ended before one came.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the body ended as its framing said; false when the connection broke first.
    pub is_whole: bool,
}

impl Answer {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// The stable code of a problem document; `None` for an answer of the function's own.
    pub fn code(&self) -> Option<String> {
        let is_problem = self.header("content-type") == Some("application/problem+json");
        is_problem.then(|| self.json()["code"].as_str().unwrap_or_default().to_owned())
    }
}

/// One connection.
pub struct HttpClient {
    stream: BufReader<TcpStream>,
}

impl HttpClient {
    /// Connects.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream
            .set_read_timeout(Some(READ_TIMEOUT))
            .expect("a socket option");
        stream.set_nodelay(true).expect("a socket option");
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Sends a request with a body of known length.
    pub fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            head.push_str("host: localhost\r\n");
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || method == "POST" || method == "PUT" {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.send(&bytes).expect("the server reads");
    }

    /// Reads one answer; `None` when the connection ended before a status line.
    pub fn answer(&mut self) -> Option<Answer> {
        let (status, headers) = loop {
            let (status, headers) = self.head()?;
            if status >= 200 {
                break (status, headers);
            }
        };
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
            is_whole: true,
        };
        if matches!(status, 204 | 304) {
            return Some(answer);
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.is_whole = self.chunks(&mut answer.body).is_some();
        } else if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().expect("a number");
            answer.body.resize(length, 0);
            answer.is_whole = self.stream.read_exact(&mut answer.body).is_ok();
        } else {
            answer.is_whole = self.stream.read_to_end(&mut answer.body).is_ok();
        }
        Some(answer)
    }

    /// Reads a status line and headers.
    pub fn head(&mut self) -> Option<(u16, Vec<(String, String)>)> {
        let line = self.line()?;
        let status = line.split(' ').nth(1)?.parse().expect("a status");
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some((status, headers));
            }
            let (name, value) = line.split_once(':').expect("a header line");
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Reads one chunk of a chunked body; `Some(0)` at its end, `None` when the connection broke.
    pub fn chunk(&mut self, into: &mut Vec<u8>) -> Option<usize> {
        let size = usize::from_str_radix(self.line()?.split(';').next()?, 16).ok()?;
        let begin = into.len();
        into.resize(begin + size, 0);
        self.stream.read_exact(&mut into[begin..]).ok()?;
        while !self.line()?.is_empty() {}
        Some(size)
    }

    fn chunks(&mut self, into: &mut Vec<u8>) -> Option<()> {
        while self.chunk(into)? > 0 {}
        Some(())
    }

    /// Reads up to a line end, any bytes; `None` when the connection ended or broke.
    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let n_bytes = self.stream.read_until(b'\n', &mut line).ok()?;
        let text = String::from_utf8_lossy(&line);
        (n_bytes > 0).then(|| text.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Whether the server closed the connection without another byte.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.stream.fill_buf(), Ok([]) | Err(_))
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}

/// GETs `target` on a connection of its own.
#[track_caller]
pub fn get(address: SocketAddr, target: &str) -> Answer {
    let mut client = HttpClient::connect(address);
    client.request("GET", target, &[("connection", "close")], b"");
    client.answer().unwrap_or_default()
}

/// POSTs `body` to `target` on a connection of its own.
#[track_caller]
pub fn post(address: SocketAddr, target: &str, body: &[u8]) -> Answer {
    let mut client = HttpClient::connect(address);
    client.request("POST", target, &[("connection", "close")], body);
    client.answer().unwrap_or_default()
}
