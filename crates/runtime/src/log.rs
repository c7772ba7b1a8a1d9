//! Log lines of functions on their way to whoever keeps them. Refuses to know where they are kept.

use model::{FunctionKey, InvocationId};

/// The longest line in bytes; a longer one is cut into lines of this length.
pub const LOG_LINE_BYTES_MAX: usize = 16 * 1024;

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogStream {
    /// The guest's standard output.
    Stdout,
    /// The guest's standard error.
    Stderr,
    /// What the platform says about the invocation: a trap with its backtrace, a limit.
    Platform,
}

impl LogStream {
    /// The word used in listings.
    pub fn as_str(self) -> &'static str {
        match self {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
            LogStream::Platform => "platform",
        }
    }
}

/// One line.
#[derive(Clone, Copy, Debug)]
pub struct LogLine<'a> {
    /// The invocation it belongs to.
    pub invocation: InvocationId,
    /// The function.
    pub function: &'a FunctionKey,
    /// The version's number.
    pub version: u64,
    /// Where it came from.
    pub stream: LogStream,
    /// The text without its line end; any bytes.
    pub text: &'a [u8],
}

/// Takes log lines. Must not block and must bound what it keeps.
pub trait LogSink: Send + Sync + 'static {
    /// Takes one line; timestamps are the sink's.
    fn write(&self, line: &LogLine<'_>);
}

/// Cuts a guest's byte stream into lines, holding at most [`LOG_LINE_BYTES_MAX`] bytes.
#[derive(Debug, Default)]
pub struct LineSplitter {
    partial: Vec<u8>,
}

impl LineSplitter {
    /// Takes bytes and calls `emit` for every complete or over-long line.
    pub fn push(&mut self, mut bytes: &[u8], mut emit: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            let room = LOG_LINE_BYTES_MAX - self.partial.len();
            let window = &bytes[..bytes.len().min(room)];
            match window.iter().position(|byte| *byte == b'\n') {
                Some(end) if self.partial.is_empty() => {
                    emit(trim_cr(&window[..end]));
                    bytes = &bytes[end + 1..];
                }
                Some(end) => {
                    self.partial.extend_from_slice(&window[..end]);
                    emit(trim_cr(&self.partial));
                    self.partial.clear();
                    bytes = &bytes[end + 1..];
                }
                None => {
                    self.partial.extend_from_slice(window);
                    bytes = &bytes[window.len()..];
                    if self.partial.len() == LOG_LINE_BYTES_MAX {
                        emit(&self.partial);
                        self.partial.clear();
                    }
                }
            }
        }
    }

    /// Emits what is left when the stream ends.
    pub fn finish(&mut self, mut emit: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            emit(&self.partial);
            self.partial.clear();
        }
    }
}

fn trim_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        let mut splitter = LineSplitter::default();
        for chunk in chunks {
            splitter.push(chunk, |line| lines.push(line.to_vec()));
        }
        splitter.finish(|line| lines.push(line.to_vec()));
        lines
    }

    #[test]
    fn lines_are_joined_over_chunks() {
        assert_eq!(
            split(&[b"a\r\nb", b"c\n", b"\nd"]),
            [b"a".to_vec(), b"bc".to_vec(), b"".to_vec(), b"d".to_vec()]
        );
    }

    #[test]
    fn a_line_without_end_is_cut_and_memory_stays_flat() {
        let chunk = vec![b'x'; 3 * LOG_LINE_BYTES_MAX + 5];
        let lines = split(&[&chunk]);
        let lengths: Vec<usize> = lines.iter().map(Vec::len).collect();
        let max = LOG_LINE_BYTES_MAX;
        assert_eq!(lengths, [max, max, max, 5]);
    }
}
