//! Judges one request head, line by line as it arrives. Strict where RFC 9112 lets a server be lenient.
//!
//! Refuses to know where the bytes come from, and everything about a request that does not concern its
//! framing or syntax: `Host`, `Expect` and paths are judged where HTTP/2 has them too.

use memchr::{memchr, memrchr};
use model::Code;

use super::framer::FramerLimits;
use super::refusal::Refusal;

/// The longest method.
const METHOD_BYTES_MAX: usize = 32;

/// How the body behind a head is framed (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// This many bytes; 0 when there is no body.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// A head under way. Positions count from the head's first byte; nothing is scanned twice.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    /// Where the line under way starts.
    line_start: usize,
    /// Up to where no line end was found.
    searched: usize,
    has_request_line: bool,
    is_http_10: bool,
    n_headers: usize,
    content_length: Option<u64>,
    is_chunked: bool,
}

impl HeadScan {
    /// Looks at `bytes`, which start with the head's first byte: those of the last call and more. Gives
    /// the head's length and the framing behind it once the head is complete.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        limits: &FramerLimits,
    ) -> Result<Option<(usize, Framing)>, Refusal> {
        loop {
            let Some(found) = memchr(b'\n', &bytes[self.searched..]) else {
                self.searched = bytes.len();
                self.check_unfinished(bytes, limits)?;
                return Ok(None);
            };
            let line_feed = self.searched + found;
            let line = bytes[self.line_start..line_feed]
                .strip_suffix(b"\r")
                .ok_or(Refusal::head("a line of the head ends in a bare line feed"))?;
            let next = line_feed + 1;
            self.line_start = next;
            self.searched = next;
            if !self.has_request_line {
                // Empty lines before a request are to be ignored (RFC 9112, section 2.2); they count as
                // part of the head, so that they cannot go on forever.
                if !line.is_empty() {
                    self.take_request_line(line, limits)?;
                }
            } else if line.is_empty() {
                check_size(next, limits)?;
                return Ok(Some((next, self.framing()?)));
            } else {
                self.take_header_line(line, limits)?;
            }
            check_size(next, limits)?;
        }
    }

    /// Ends what cannot become a head any more before it is complete.
    fn check_unfinished(&self, bytes: &[u8], limits: &FramerLimits) -> Result<(), Refusal> {
        let line = &bytes[self.line_start..];
        if !self.has_request_line
            && let Some(first) = line.first()
        {
            // A TLS handshake or another protocol shows itself by its first byte.
            if !is_token_byte(*first) && *first != b'\r' {
                return Err(Refusal::head("the connection does not speak HTTP"));
            }
            if line.len() > METHOD_BYTES_MAX && memchr(b' ', &line[..=METHOD_BYTES_MAX]).is_none() {
                return Err(Refusal::head("the request line is malformed"));
            }
            if line.len() > limits.uri_bytes_max + METHOD_BYTES_MAX + " HTTP/1.1\r".len() {
                return Err(uri_too_long(limits));
            }
        }
        check_size(bytes.len(), limits)
    }

    fn take_request_line(&mut self, line: &[u8], limits: &FramerLimits) -> Result<(), Refusal> {
        const MALFORMED: Refusal = Refusal::head("the request line is malformed");
        let method_end = memchr(b' ', line).ok_or(MALFORMED)?;
        let target_end = memrchr(b' ', line).ok_or(MALFORMED)?;
        let method = &line[..method_end];
        let target = line.get(method_end + 1..target_end).ok_or(MALFORMED)?;
        let version = &line[target_end + 1..];
        if method.is_empty() || method.len() > METHOD_BYTES_MAX || !is_token(method) {
            return Err(Refusal::head("the method is malformed"));
        }
        if target.len() > limits.uri_bytes_max {
            return Err(uri_too_long(limits));
        }
        if target.is_empty() || !is_target(target) {
            return Err(Refusal::head("the request's URI is malformed"));
        }
        self.is_http_10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(Refusal::head("the HTTP version is not 1.0 or 1.1")),
        };
        self.has_request_line = true;
        Ok(())
    }

    fn take_header_line(&mut self, line: &[u8], limits: &FramerLimits) -> Result<(), Refusal> {
        // The name is what the token characters reach; most lines are looked at once this way.
        let name_end = line.iter().position(|byte| !is_token_byte(*byte));
        let (name, value) = match name_end.map(|end| (end, line[end])) {
            Some((end, b':')) if end > 0 => (&line[..end], &line[end + 1..]),
            Some((0, b' ' | b'\t')) => {
                return Err(Refusal::head("a header is folded over several lines"));
            }
            Some(_) => return Err(Refusal::head("a header's name is malformed")),
            None => return Err(Refusal::head("a header line has no colon")),
        };
        if !is_value(value) {
            return Err(Refusal::head("a header's value holds a control character"));
        }
        self.n_headers += 1;
        if self.n_headers > limits.n_headers_max {
            let detail = "the request has too many headers";
            return Err(Refusal::new(Code::HeadersTooLarge, detail).with_limit(
                "n_headers_max",
                limits.n_headers_max as u64,
                "headers",
            ));
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            self.take_content_length(value.trim_ascii())
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.take_transfer_encoding(value.trim_ascii())
        } else {
            Ok(())
        }
    }

    fn take_content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.content_length.is_some() {
            return Err(Refusal::head("there is more than one Content-Length"));
        }
        // Digits and nothing else: no sign, no list, no white space inside.
        let is_number = (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        let length = std::str::from_utf8(value).ok().filter(|_| is_number);
        let length = length.and_then(|text| text.parse().ok());
        self.content_length = length;
        match length {
            Some(_) => Ok(()),
            None => Err(Refusal::head("the Content-Length is not a number")),
        }
    }

    fn take_transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.is_chunked {
            return Err(Refusal::head("there is more than one Transfer-Encoding"));
        }
        if self.is_http_10 {
            return Err(Refusal::head("HTTP/1.0 has no Transfer-Encoding"));
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::head(
                "the only Transfer-Encoding here is `chunked`",
            ));
        }
        self.is_chunked = true;
        Ok(())
    }

    fn framing(&self) -> Result<Framing, Refusal> {
        match (self.content_length, self.is_chunked) {
            (Some(_), true) => Err(Refusal::head(
                "Content-Length and Transfer-Encoding exclude each other",
            )),
            (_, true) => Ok(Framing::Chunked),
            (length, false) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }
}

fn check_size(n_bytes: usize, limits: &FramerLimits) -> Result<(), Refusal> {
    if n_bytes <= limits.head_bytes_max {
        return Ok(());
    }
    let detail = "the request's head is too large";
    Err(Refusal::new(Code::HeadersTooLarge, detail).with_limit(
        "head_bytes_max",
        limits.head_bytes_max as u64,
        "bytes",
    ))
}

fn uri_too_long(limits: &FramerLimits) -> Refusal {
    Refusal::new(Code::UriTooLong, "the request's URI is too long").with_limit(
        "uri_bytes_max",
        limits.uri_bytes_max as u64,
        "bytes",
    )
}

fn is_token(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| is_token_byte(*byte))
}

/// Whether the server will take this target. What it would not take, it would refuse without a problem
/// document, so the rare targets that are more than a plain path are given to its own parser.
fn is_target(bytes: &[u8]) -> bool {
    let is_plain = bytes.first() == Some(&b'/') && bytes.iter().all(|byte| is_path_byte(*byte));
    // Beyond visible ASCII nothing is a URI; a fragment is never sent (RFC 9112, section 3.2), and parsers
    // differ in what they drop.
    let is_visible = |byte: &u8| byte.is_ascii_graphic() && *byte != b'#';
    is_plain || (bytes.iter().all(is_visible) && http::Uri::try_from(bytes).is_ok())
}

/// What a field value may hold (RFC 9110, section 5.5): a bare CR, NUL and other controls are out.
fn is_value(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let may_be_bad = words
        .iter()
        .any(|word| may_hold_control(u64::from_ne_bytes(*word)));
    rest.iter().all(|byte| is_value_byte(*byte))
        && (!may_be_bad || bytes.iter().all(|byte| is_value_byte(*byte)))
}

/// Looks at eight bytes at once: true where one is below a blank or is DEL. A tab, which is allowed, says
/// true as well, and so may a byte beyond ASCII: then the bytes are looked at one by one. The formulas are
/// those of S. E. Anderson, "Bit Twiddling Hacks", for a byte less than n, and for a zero byte.
fn may_hold_control(word: u64) -> bool {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    let below_blank = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
    let without_del = word ^ (ONES * 0x7f);
    let is_del = without_del.wrapping_sub(ONES) & !without_del & HIGHS;
    below_blank | is_del != 0
}

/// `tchar` of RFC 9110, section 5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    const TABLE: [bool; 256] = table(b"!#$%&'*+-.^_`|~");
    TABLE[usize::from(byte)]
}

/// What plain paths and queries are made of (RFC 3986, sections 3.3 and 3.4), escapes included.
fn is_path_byte(byte: u8) -> bool {
    const TABLE: [bool; 256] = table(b"-._~!$&'()*+,;=:@/?%");
    TABLE[usize::from(byte)]
}

/// A set of bytes: letters, digits, and `others`.
const fn table(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128_u8 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
}

/// What a field value may hold (RFC 9110, section 5.5): a bare CR, NUL and other controls are out.
pub(super) fn is_value_byte(byte: u8) -> bool {
    (byte >= 0x20 && byte != 0x7f) || byte == b'\t'
}
