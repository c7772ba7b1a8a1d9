//! Follows a chunked body (RFC 9112, section 7.1) without holding any of it: chunk data is skipped by
//! length, only size lines and trailers are looked at.
//!
//! ```text
//! Size -> [Extension] -> SizeLf -> Data -> DataCr -> DataLf -> Size ...
//!                          | last chunk
//!                          v
//!                       LineStart -> TrailerName -> TrailerValue -> TrailerLf -> LineStart ...
//!                          | empty line
//!                          v
//!                        EndLf -> (done)
//! ```

use super::framer::FramerLimits;
use super::head::{is_token_byte, is_value_byte};
use super::refusal::Refusal;

/// A size of more digits overflows 64 bits, or hides in leading zeros.
const SIZE_DIGITS_MAX: u32 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    LineStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
}

/// A chunked body under way.
#[derive(Debug)]
pub(super) struct ChunkScan {
    state: State,
    /// Of the chunk under way: its size, then what is left of it.
    left: u64,
    n_digits: u32,
    extension_bytes: usize,
    trailer_bytes: usize,
    n_trailers: usize,
}

impl ChunkScan {
    pub(super) fn new() -> Self {
        Self {
            state: State::Size,
            left: 0,
            n_digits: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
            n_trailers: 0,
        }
    }

    /// Looks at the next bytes. Gives how many of them belong to the body, and whether it ended there;
    /// when it did not, that is all of them.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        limits: &FramerLimits,
    ) -> Result<(usize, bool), Refusal> {
        let mut at = 0;
        while at < bytes.len() {
            if self.state == State::Data {
                let available = (bytes.len() - at) as u64;
                let n_bytes = self.left.min(available);
                self.left -= n_bytes;
                at += usize::try_from(n_bytes).expect("at most the length of a slice");
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            let byte = bytes[at];
            at += 1;
            if self.state == State::EndLf {
                return match byte {
                    b'\n' => Ok((at, true)),
                    _ => Err(Refusal::body("the body's last line is malformed")),
                };
            }
            self.state = self.step(byte, limits)?;
        }
        Ok((at, false))
    }

    /// One byte outside of chunk data.
    fn step(&mut self, byte: u8, limits: &FramerLimits) -> Result<State, Refusal> {
        match self.state {
            State::Size => self.step_size(byte),
            State::Extension => self.step_extension(byte, limits),
            State::SizeLf if byte != b'\n' => {
                Err(Refusal::body("a chunk's size line is malformed"))
            }
            State::SizeLf => {
                self.n_digits = 0;
                Ok(if self.left == 0 {
                    State::LineStart
                } else {
                    State::Data
                })
            }
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => Ok(State::Size),
            State::DataCr | State::DataLf => {
                Err(Refusal::body("a chunk is longer than its size says"))
            }
            State::LineStart | State::TrailerName | State::TrailerValue | State::TrailerLf => {
                self.step_trailer(byte, limits)
            }
            State::Data | State::EndLf => unreachable!("handled by the caller"),
        }
    }

    fn step_size(&mut self, byte: u8) -> Result<State, Refusal> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            self.n_digits += 1;
            if self.n_digits > SIZE_DIGITS_MAX {
                return Err(Refusal::body("a chunk's size is too large"));
            }
            self.left = (self.left << 4) | u64::from(digit);
            return Ok(State::Size);
        }
        match byte {
            b'\r' if self.n_digits > 0 => Ok(State::SizeLf),
            b';' if self.n_digits > 0 => Ok(State::Extension),
            _ => Err(Refusal::body("a chunk's size is not a hexadecimal number")),
        }
    }

    /// Extensions are ignored, as everywhere (RFC 9112, section 7.1.1), but not without end.
    fn step_extension(&mut self, byte: u8, limits: &FramerLimits) -> Result<State, Refusal> {
        self.extension_bytes += 1;
        if self.extension_bytes > limits.chunk_extension_bytes_max {
            let detail = "the body's chunk extensions are too large";
            return Err(Refusal::body(detail).with_limit(
                "chunk_extension_bytes_max",
                limits.chunk_extension_bytes_max as u64,
                "bytes",
            ));
        }
        match byte {
            b'\r' => Ok(State::SizeLf),
            byte if is_value_byte(byte) => Ok(State::Extension),
            _ => Err(Refusal::body("a chunk extension holds a control character")),
        }
    }

    fn step_trailer(&mut self, byte: u8, limits: &FramerLimits) -> Result<State, Refusal> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > limits.trailer_bytes_max || self.n_trailers > limits.n_headers_max {
            return Err(
                Refusal::body("the body's trailers are too large").with_limit(
                    "trailer_bytes_max",
                    limits.trailer_bytes_max as u64,
                    "bytes",
                ),
            );
        }
        match (self.state, byte) {
            (State::LineStart, b'\r') => Ok(State::EndLf),
            (State::LineStart, byte) if is_token_byte(byte) => {
                self.n_trailers += 1;
                Ok(State::TrailerName)
            }
            (State::TrailerName, byte) if is_token_byte(byte) => Ok(State::TrailerName),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, byte) if is_value_byte(byte) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::LineStart),
            _ => Err(Refusal::body("a trailer is malformed")),
        }
    }
}
