//! The header block that a CGI program writes before its body (RFC 3875, section 6), read piece by piece.
//! Refuses to know streams and guests; what the head of every contract must keep to, `crate::head` checks.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::response::Parts;
use http::{Response, StatusCode};
use model::{Code, Failure};

use crate::head::{HEADERS_BYTES_MAX as HEAD_BYTES_MAX, HEADERS_MAX};

/// Bytes of a faulty line that its message shows.
const SHOWN_BYTES_MAX: usize = 60;

/// Collects output until the header block is whole.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    block: Vec<u8>,
    /// Where the line begins whose end has not been seen.
    line_start: usize,
}

impl HeadReader {
    /// Takes a piece of output. Once the empty line was seen, gives the head and how much of `piece`
    /// belongs to it; the rest is body.
    ///
    /// # Errors
    /// `BadResponse`, naming the line at fault.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Option<(Parts, usize)>, Failure> {
        for (index, byte) in piece.iter().enumerate() {
            if *byte != b'\n' {
                continue;
            }
            let line_end = self.block.len() + index;
            let before = self.block.get(self.line_start..).unwrap_or_default();
            let in_piece = self.line_start.saturating_sub(self.block.len());
            let is_empty = matches!(
                (before, &piece[in_piece..index]),
                ([], [] | [b'\r']) | ([b'\r'], [])
            );
            self.line_start = line_end + 1;
            if is_empty {
                self.block.extend_from_slice(&piece[..=index]);
                let parts = parse(&self.block)?;
                return Ok(Some((parts, index + 1)));
            }
        }
        if self.block.len() + piece.len() > HEAD_BYTES_MAX {
            return Err(bad(format!(
                "its header is longer than {HEAD_BYTES_MAX} bytes"
            )));
        }
        self.block.extend_from_slice(piece);
        Ok(None)
    }

    /// What is wrong when the output ended before the header block did; `None` if there was no output.
    pub(super) fn unfinished(&self) -> Option<Failure> {
        (!self.block.is_empty()).then(|| bad("its output ended inside the header".to_owned()))
    }
}

fn bad(what: String) -> Failure {
    Failure::new(
        Code::BadResponse,
        format!("the function did not answer as a CGI program: {what}"),
    )
}

/// Parses a whole header block with its empty line.
fn parse(block: &[u8]) -> Result<Parts, Failure> {
    if block.len() > HEAD_BYTES_MAX {
        return Err(bad(format!(
            "its header is longer than {HEAD_BYTES_MAX} bytes"
        )));
    }
    let mut headers = HeaderMap::new();
    let mut status = None;
    let lines = block
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .take_while(|line| !line.is_empty());
    for (index, line) in lines.enumerate() {
        if index >= HEADERS_MAX {
            return Err(bad(format!("it has more than {HEADERS_MAX} header lines")));
        }
        let fault = |what: &str| {
            let shown = line[..line.len().min(SHOWN_BYTES_MAX)].escape_ascii();
            bad(format!(
                "line {} of its header {what}: `{shown}`",
                index + 1
            ))
        };
        let (name, value) = split_line(line).ok_or_else(|| fault("is not `name: value`"))?;
        if name.as_str() == "status" {
            let code =
                parse_status(&value).ok_or_else(|| fault("is not a status from 200 to 599"))?;
            if status.replace(code).is_some() {
                return Err(fault("gives a second status"));
            }
            continue;
        }
        if name == header::TRANSFER_ENCODING {
            return Err(fault("frames the body, which is the platform's to do"));
        }
        let is_single = matches!(
            name,
            header::CONTENT_TYPE | header::CONTENT_LENGTH | header::LOCATION
        );
        if is_single && headers.contains_key(&name) {
            return Err(fault("repeats a header that may be there once"));
        }
        headers.append(name, value);
    }
    if headers.is_empty() && status.is_none() {
        return Err(bad(
            "its output begins with an empty line where the header should be".to_owned(),
        ));
    }
    let implied = if headers.contains_key(header::LOCATION) {
        StatusCode::FOUND
    } else {
        StatusCode::OK
    };
    let mut parts = Response::new(()).into_parts().0;
    parts.status = status.unwrap_or(implied);
    parts.headers = headers;
    Ok(parts)
}

fn split_line(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    Some((name, value))
}

/// `404`, `404 Not Found`. No 1xx: a program has one answer.
fn parse_status(value: &HeaderValue) -> Option<StatusCode> {
    let (digits, reason) = value.as_bytes().split_at_checked(3)?;
    let is_separated = reason.is_empty() || reason[0] == b' ';
    StatusCode::from_bytes(digits)
        .ok()
        .filter(|status| is_separated && (200..=599).contains(&status.as_u16()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The head and the body that `output` gives when it comes in pieces of `n` bytes.
    fn read(output: &[u8], n: usize) -> Result<Option<(Parts, Vec<u8>)>, Failure> {
        let mut reader = HeadReader::default();
        let mut offset = 0;
        for piece in output.chunks(n) {
            if let Some((parts, used)) = reader.push(piece)? {
                return Ok(Some((parts, output[offset + used..].to_vec())));
            }
            offset += piece.len();
        }
        match reader.unfinished() {
            Some(failure) => Err(failure),
            None => Ok(None),
        }
    }

    fn shown(output: &str, n: usize) -> String {
        match read(output.as_bytes(), n) {
            Ok(Some((parts, body))) => {
                let mut text = parts.status.as_u16().to_string();
                for (name, value) in &parts.headers {
                    text += &format!("|{name}={}", value.to_str().unwrap());
                }
                text + "|" + std::str::from_utf8(&body).unwrap()
            }
            Ok(None) => "nothing".to_owned(),
            Err(failure) => {
                assert_eq!(failure.code(), Code::BadResponse);
                let detail = failure.detail();
                detail
                    .strip_prefix("the function did not answer as a CGI program: ")
                    .unwrap()
                    .to_owned()
            }
        }
    }

    #[track_caller]
    fn check(output: &str, expected: &str) {
        for n in [1, 2, 3, 7, 1_000] {
            assert_eq!(shown(output, n), expected, "{output:?} in pieces of {n}");
        }
    }

    #[test]
    fn heads_are_read_however_they_are_cut() {
        for (output, expected) in [
            (
                "Content-Type: text/plain\n\nhello\n\nyou",
                "200|content-type=text/plain|hello\n\nyou",
            ),
            (
                "Content-Type:text/plain\r\nX-A:  b \r\n\r\nhi",
                "200|content-type=text/plain|x-a=b|hi",
            ),
            ("Status: 404 Not Found\nX-A: b\n\n", "404|x-a=b|"),
            ("Status: 204\r\n\r\n", "204|"),
            (
                "Location: http://example.com/\n\n",
                "302|location=http://example.com/|",
            ),
            (
                "Location: /other\nStatus: 303 See Other\n\n",
                "303|location=/other|",
            ),
            ("X-A: 1\nX-A: 2\n\n\n", "200|x-a=1|x-a=2|\n"),
            ("", "nothing"),
        ] {
            check(output, expected);
        }
    }

    #[test]
    fn faults_are_found_however_the_output_is_cut() {
        for (output, expected) in [
            (
                "\nbody",
                "its output begins with an empty line where the header should be",
            ),
            (
                "\r\n",
                "its output begins with an empty line where the header should be",
            ),
            (
                "hello world\n\n",
                "line 1 of its header is not `name: value`: `hello world`",
            ),
            (
                "A: b\n folded\n\n",
                "line 2 of its header is not `name: value`: ` folded`",
            ),
            (
                "A b: c\n\n",
                "line 1 of its header is not `name: value`: `A b: c`",
            ),
            (
                "A: b\rc\n\n",
                "line 1 of its header is not `name: value`: `A: b\\rc`",
            ),
            (
                "A: \0\n\n",
                "line 1 of its header is not `name: value`: `A: \\x00`",
            ),
            (
                "Status: 101 Switching\n\n",
                "line 1 of its header is not a status from 200 to 599: `Status: 101 Switching`",
            ),
            (
                "Status: 999\n\n",
                "line 1 of its header is not a status from 200 to 599: `Status: 999`",
            ),
            (
                "Status: 0\n\n",
                "line 1 of its header is not a status from 200 to 599: `Status: 0`",
            ),
            (
                "Status: 2000\n\n",
                "line 1 of its header is not a status from 200 to 599: `Status: 2000`",
            ),
            (
                "Status: 200\nStatus: 404\n\n",
                "line 2 of its header gives a second status: `Status: 404`",
            ),
            (
                "Content-Length: 1\nContent-Length: 2\n\n",
                "line 2 of its header repeats a header that may be there once: `Content-Length: 2`",
            ),
            (
                "Transfer-Encoding: chunked\n\n0\r\n\r\n",
                "line 1 of its header frames the body, which is the platform's to do: `Transfer-Encoding: chunked`",
            ),
            (
                "Content-Type: text/plain\n",
                "its output ended inside the header",
            ),
            ("x", "its output ended inside the header"),
        ] {
            check(output, expected);
        }
    }

    #[test]
    fn a_header_without_end_is_refused_and_memory_stays_flat() {
        let mut reader = HeadReader::default();
        let failure = (0..1_000).find_map(|_| reader.push(&[b'x'; 1_000]).err());
        assert_eq!(
            failure.map(|failure| failure.code()),
            Some(Code::BadResponse)
        );
        assert!(reader.block.len() <= HEAD_BYTES_MAX);
        let many = "A: b\n".repeat(HEADERS_MAX + 1) + "\n";
        assert_eq!(shown(&many, 1_000), "it has more than 100 header lines");
    }

    proptest! {
        #[test]
        fn no_output_breaks_out_of_a_header_or_depends_on_its_cuts(
            output in "[A-Z:a \r\n\\x00]{0,80}",
            n in 1..9_usize,
        ) {
            let whole = read(output.as_bytes(), 1_000);
            let cut = read(output.as_bytes(), n);
            match (&whole, &cut) {
                (Ok(Some((one, one_body))), Ok(Some((other, other_body)))) => {
                    prop_assert_eq!(&one.headers, &other.headers);
                    prop_assert_eq!(one_body, other_body);
                    for value in one.headers.values() {
                        let is_clean = |byte: &u8| !matches!(byte, b'\r' | b'\n' | 0);
                        prop_assert!(value.as_bytes().iter().all(is_clean));
                    }
                }
                (Ok(None), Ok(None)) => {}
                (Err(one), Err(other)) => prop_assert_eq!(one, other),
                _ => prop_assert!(false, "{whole:?} but {cut:?}"),
            }
        }
    }
}
