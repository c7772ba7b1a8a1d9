//! Reads one HTTP/1.1 answer at a time, strictly: status, length or chunks, body. Owns what a right
//! answer looks like on the wire; refuses to know sockets and clocks.
//!
//! ```text
//! Head -- content-length --> Fixed ----------------------------------------> (whole)
//!   '---- chunked ---------> ChunkSize <--> ChunkData ... last --> Trailer --'
//! ```
//!
//! Anything a fair server has no reason to send is an offence: a load generator that forgives measures
//! something else than it says.

use memchr::memchr;

use super::{Expect, Offence};

/// How far the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All of it has been read, and it is right.
    Whole,
    /// More is to come.
    Partial,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Fixed { n_left: u64 },
    ChunkSize,
    ChunkData { n_left: u64 },
    ChunkEnd,
    Trailer,
}

/// The reader of one answer. It consumes bytes from a buffer it does not own, so that bodies of any size
/// pass through a buffer that only has to hold a head.
#[derive(Debug)]
pub struct Answer {
    state: State,
    n_body: usize,
}

/// How the body's end is known.
enum Length {
    Fixed(u64),
    Chunked,
}

impl Answer {
    /// Before the first byte.
    pub fn new() -> Self {
        Self {
            state: State::Head,
            n_body: 0,
        }
    }

    /// Consumes what `bytes` has of the answer and says how much that was. What is left belongs to an
    /// unfinished line and must be offered again with more behind it.
    ///
    /// # Errors
    /// What is wrong with the answer.
    pub fn advance(&mut self, bytes: &[u8], expect: &Expect) -> Result<(Progress, usize), Offence> {
        let mut n_used = 0;
        loop {
            let rest = &bytes[n_used..];
            let n_step = match self.state {
                State::Head => self.head(rest, expect)?,
                State::Fixed { n_left } => {
                    let n = self.body(rest, n_left, expect)?;
                    let n_left = n_left - n as u64;
                    self.state = State::Fixed { n_left };
                    if n_left == 0 {
                        return self.whole(expect, n_used + n);
                    }
                    Some(n)
                }
                State::ChunkSize => self.chunk_size(rest)?,
                State::ChunkData { n_left } => {
                    let n = self.body(rest, n_left, expect)?;
                    let n_left = n_left - n as u64;
                    self.state = if n_left == 0 {
                        State::ChunkEnd
                    } else {
                        State::ChunkData { n_left }
                    };
                    Some(n)
                }
                State::ChunkEnd => self.chunk_end(rest)?,
                State::Trailer => match line(rest)? {
                    Some(([], n)) => return self.whole(expect, n_used + n),
                    Some((_, n)) => Some(n),
                    None => None,
                },
            };
            match n_step {
                Some(n) => n_used += n,
                None => return Ok((Progress::Partial, n_used)),
            }
            // An empty body ends with the head: waiting for its first byte would be waiting for ever.
            if n_used == bytes.len() && self.state != (State::Fixed { n_left: 0 }) {
                return Ok((Progress::Partial, n_used));
            }
        }
    }

    fn whole(&mut self, expect: &Expect, n_used: usize) -> Result<(Progress, usize), Offence> {
        if let Expect::Body(body) = expect
            && body.len() != self.n_body
        {
            return Err(Offence::Body);
        }
        *self = Self::new();
        Ok((Progress::Whole, n_used))
    }

    /// The whole head or nothing: a head that arrives in pieces is rare enough to be read again.
    fn head(&mut self, bytes: &[u8], expect: &Expect) -> Result<Option<usize>, Offence> {
        let Some((status_line, mut n_used)) = line(bytes)? else {
            return Ok(None);
        };
        let status = status(status_line)?;
        let mut length = None;
        let mut closes = false;
        loop {
            let Some((field, n)) = line(&bytes[n_used..])? else {
                return Ok(None);
            };
            n_used += n;
            if field.is_empty() {
                break;
            }
            let colon = memchr(b':', field).ok_or(Offence::Malformed("a field without a colon"))?;
            let (name, value) = (&field[..colon], field[colon + 1..].trim_ascii());
            if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
                return Err(Offence::Malformed("a field without a proper name"));
            }
            match name.len() {
                14 if name.eq_ignore_ascii_case(b"content-length") => {
                    set(&mut length, Length::Fixed(decimal(value)?))?;
                }
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                    if !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Offence::Malformed("a transfer encoding other than chunked"));
                    }
                    set(&mut length, Length::Chunked)?;
                }
                10 if name.eq_ignore_ascii_case(b"connection") => {
                    closes |= value.eq_ignore_ascii_case(b"close");
                }
                _ => {}
            }
        }
        // The status first: a refusal usually closes the connection, and the refusal is the news.
        if status != 200 {
            return Err(Offence::Status(status));
        }
        if closes {
            return Err(Offence::Closes);
        }
        self.state = match length {
            None => return Err(Offence::Malformed("neither a length nor chunks")),
            Some(Length::Chunked) => State::ChunkSize,
            Some(Length::Fixed(n_left)) => {
                if matches!(expect, Expect::Body(body) if body.len() as u64 != n_left) {
                    return Err(Offence::Body);
                }
                State::Fixed { n_left }
            }
        };
        Ok(Some(n_used))
    }

    fn body(&mut self, bytes: &[u8], n_left: u64, expect: &Expect) -> Result<usize, Offence> {
        let n = usize::try_from(n_left).map_or(bytes.len(), |n_left| bytes.len().min(n_left));
        if let Expect::Body(body) = expect
            && body.get(self.n_body..self.n_body + n) != Some(&bytes[..n])
        {
            return Err(Offence::Body);
        }
        self.n_body += n;
        Ok(n)
    }

    fn chunk_size(&mut self, bytes: &[u8]) -> Result<Option<usize>, Offence> {
        let Some((line, n)) = line(bytes)? else {
            return Ok(None);
        };
        let size = match memchr(b';', line) {
            Some(at) => line[..at].trim_ascii(),
            None => line,
        };
        let n_left = hexadecimal(size)?;
        self.state = if n_left == 0 {
            State::Trailer
        } else {
            State::ChunkData { n_left }
        };
        Ok(Some(n))
    }

    fn chunk_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Offence> {
        match bytes {
            [b'\r', b'\n', ..] => {
                self.state = State::ChunkSize;
                Ok(Some(2))
            }
            [] | [b'\r'] => Ok(None),
            _ => Err(Offence::Malformed("a chunk longer than it says")),
        }
    }
}

/// One line without its CRLF, and how long it is with it. None while its end is missing.
fn line(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Offence> {
    let Some(at) = memchr(b'\n', bytes) else {
        return Ok(None);
    };
    match bytes[..at].split_last() {
        Some((b'\r', line)) => Ok(Some((line, at + 1))),
        _ => Err(Offence::Malformed("a line without CRLF")),
    }
}

fn status(line: &[u8]) -> Result<u16, Offence> {
    match line.strip_prefix(b"HTTP/1.1 ") {
        Some([a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', ..]) => {
            let digit = |digit: &u8| u16::from(digit - b'0');
            Ok(digit(a) * 100 + digit(b) * 10 + digit(c))
        }
        _ => Err(Offence::Malformed("a status line of another kind")),
    }
}

/// A second length is an offence even when it agrees: it is how requests are smuggled.
fn set(length: &mut Option<Length>, new: Length) -> Result<(), Offence> {
    match length.replace(new) {
        None => Ok(()),
        Some(_) => Err(Offence::Malformed("two lengths")),
    }
}

fn decimal(digits: &[u8]) -> Result<u64, Offence> {
    number(digits, 10).ok_or(Offence::Malformed("a length that is no number"))
}

fn hexadecimal(digits: &[u8]) -> Result<u64, Offence> {
    number(digits, 16).ok_or(Offence::Malformed("a chunk size that is no number"))
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = char::from(*byte).to_digit(radix)?;
        number
            .checked_mul(u64::from(radix))?
            .checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the wire in pieces of `n_piece` bytes, as a socket would; offers again what was left.
    fn read(wire: &[u8], n_piece: usize, expect: &Expect) -> Result<(Progress, usize), Offence> {
        let mut answer = Answer::new();
        let (mut from, mut to) = (0, 0);
        while to < wire.len() {
            to = (to + n_piece).min(wire.len());
            let (progress, n) = answer.advance(&wire[from..to], expect)?;
            from += n;
            if progress == Progress::Whole {
                return Ok((progress, from));
            }
        }
        Ok((Progress::Partial, from))
    }

    fn body(text: &'static str) -> Expect {
        Expect::Body(text.as_bytes().into())
    }

    /// The same verdict however the wire is cut.
    fn check(wire: &str, expect: &Expect, verdict: &Result<(Progress, usize), Offence>) {
        for n_piece in 1..=wire.len() {
            let found = read(wire.as_bytes(), n_piece, expect);
            assert_eq!(&found, verdict, "in pieces of {n_piece}: {wire:?}");
        }
    }

    fn right(wire: &str, expect: &Expect) {
        check(wire, expect, &Ok((Progress::Whole, wire.len())));
    }

    fn wrong(wire: &str, expect: &Expect, offence: Offence) {
        check(wire, expect, &Err(offence));
    }

    #[test]
    fn right_answers() {
        right(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: y\r\n\r\nhello",
            &body("hello"),
        );
        right("HTTP/1.1 200 \r\ncontent-length:0\r\n\r\n", &body(""));
        right(
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nany",
            &Expect::Ok,
        );
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nhe\r\n003;a=b\r\nllo\r\n0\r\n";
        right(&format!("{chunked}\r\n"), &body("hello"));
        right(
            &format!("{chunked}digest: 1\r\nmore: 2\r\n\r\n"),
            &body("hello"),
        );
        right(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &body(""),
        );
    }

    #[test]
    fn unfinished_answers() {
        for wire in [
            "HTTP/1.1 200 O",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        ] {
            let found = read(wire.as_bytes(), 7, &body("hello"));
            assert!(matches!(found, Ok((Progress::Partial, _))), "{wire:?}");
        }
    }

    #[test]
    fn wrong_bodies() {
        let expect = body("hello");
        wrong(
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhellO",
            &expect,
            Offence::Body,
        );
        wrong(
            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello!",
            &expect,
            Offence::Body,
        );
        wrong(
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            &expect,
            Offence::Body,
        );
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        wrong(
            &format!("{chunked}4\r\nhell\r\n0\r\n\r\n"),
            &expect,
            Offence::Body,
        );
        wrong(
            &format!("{chunked}6\r\nhello!\r\n0\r\n\r\n"),
            &expect,
            Offence::Body,
        );
    }

    #[test]
    fn wrong_heads() {
        let wrong = |wire: &str, offence| wrong(wire, &Expect::Ok, offence);
        wrong(
            "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            Offence::Status(503),
        );
        wrong("HTTP/1.1 204 No Content\r\n\r\n", Offence::Status(204));
        wrong(
            "HTTP/1.1 200 OK\r\nConnection: Close\r\ncontent-length: 0\r\n\r\n",
            Offence::Closes,
        );
        let malformed = |wire: &str, what| wrong(wire, Offence::Malformed(what));
        malformed("HTTP/1.0 200 OK\r\n\r\n", "a status line of another kind");
        malformed("HTTP/1.1 2000 OK\r\n\r\n", "a status line of another kind");
        malformed("HTTP/1.1 200 OK\nx: y\n\n", "a line without CRLF");
        malformed("HTTP/1.1 200 OK\r\n\r\n", "neither a length nor chunks");
        malformed(
            "HTTP/1.1 200 OK\r\nlength 5\r\n\r\n",
            "a field without a colon",
        );
        malformed(
            "HTTP/1.1 200 OK\r\n: 5\r\n\r\n",
            "a field without a proper name",
        );
        malformed(
            "HTTP/1.1 200 OK\r\na: b\r\n c: d\r\n\r\n",
            "a field without a proper name",
        );
        malformed(
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "two lengths",
        );
        malformed(
            "HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\n",
            "a length that is no number",
        );
        malformed(
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
            "a length that is no number",
        );
        malformed(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            "a transfer encoding other than chunked",
        );
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        malformed(&format!("{chunked}\r\n"), "a chunk size that is no number");
        malformed(
            &format!("{chunked}-1\r\n"),
            "a chunk size that is no number",
        );
        malformed(
            &format!("{chunked}1\r\nab\r\n"),
            "a chunk longer than it says",
        );
    }

    #[test]
    fn one_answer_is_read_at_a_time() {
        let one = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let two = one.repeat(2);
        let mut answer = Answer::new();
        let first = answer.advance(two.as_bytes(), &body("ok"));
        assert_eq!(first, Ok((Progress::Whole, one.len())));
        let second = answer.advance(&two.as_bytes()[one.len()..], &body("ok"));
        assert_eq!(second, Ok((Progress::Whole, one.len())));
    }
}
