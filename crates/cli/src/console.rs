//! Where a command writes: results to stdout and nothing else there, everything else to stderr; colours
//! and progress on a terminal only. Refuses to know what is written.

use std::io::{self, IsTerminal as _, Write};

use serde::Serialize;

use crate::environment::Environment;
use crate::text::Style;

/// The two streams of one run.
pub struct Console {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    out_style: Style,
    err_style: Style,
    out_is_terminal: bool,
    shows_progress: bool,
}

impl Console {
    /// The streams of this process. Colours follow <https://no-color.org>: none where `NO_COLOR` is set
    /// and not empty, none where the stream is no terminal, none on a dumb one.
    pub fn of_process(environment: &Environment) -> Self {
        let is_capable = environment
            .variable("TERM")
            .is_none_or(|term| term != "dumb");
        let may_colour = is_capable && environment.variable("NO_COLOR").is_none();
        let out_is_terminal = io::stdout().is_terminal();
        let err_is_terminal = io::stderr().is_terminal();
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            out_style: Style::new(may_colour && out_is_terminal),
            err_style: Style::new(may_colour && err_is_terminal),
            out_is_terminal,
            shows_progress: is_capable && err_is_terminal,
        }
    }

    /// Other streams, without colours and progress.
    pub fn plain(out: impl Write + Send + 'static, err: impl Write + Send + 'static) -> Self {
        Self {
            out: Box::new(out),
            err: Box::new(err),
            out_style: Style::PLAIN,
            err_style: Style::PLAIN,
            out_is_terminal: false,
            shows_progress: false,
        }
    }

    /// The style of results.
    pub fn style(&self) -> Style {
        self.out_style
    }

    /// The style of everything else.
    pub fn err_style(&self) -> Style {
        self.err_style
    }

    /// Whether progress may be drawn on stderr.
    pub fn shows_progress(&self) -> bool {
        self.shows_progress
    }

    /// Writes a part of the result as it is.
    pub fn result(&mut self, text: &str) -> io::Result<()> {
        self.result_bytes(text.as_bytes())
    }

    /// Writes a line of the result.
    pub fn result_line(&mut self, line: impl std::fmt::Display) -> io::Result<()> {
        writeln!(self.out, "{line}").map_err(mark_closed)
    }

    /// Writes a part of the result as it is and hands it on at once: it may be one of a stream.
    pub fn result_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out
            .write_all(bytes)
            .and_then(|()| self.out.flush())
            .map_err(mark_closed)
    }

    /// Writes the result as JSON: one line, or indented on a terminal.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = if self.out_is_terminal {
            serde_json::to_string_pretty(value)?
        } else {
            serde_json::to_string(value)?
        };
        self.result_line(text)
    }

    /// Tells something that is not the result.
    pub fn note(&mut self, text: impl std::fmt::Display) {
        // Nobody is left to be told when stderr is gone.
        let _ = writeln!(self.err, "{text}");
    }

    /// Tells something that should be looked at.
    pub fn warn(&mut self, text: impl std::fmt::Display) {
        let label = self.err_style.yellow("warning:");
        self.note(format_args!("{label} {text}"));
    }
}

/// Whoever read stdout is gone (`holm ls | head -1`): no failure, only the end.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the output went away")]
pub struct ReaderGone;

fn mark_closed(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        io::Error::new(io::ErrorKind::BrokenPipe, ReaderGone)
    } else {
        error
    }
}

/// Whether `error` is a stdout that nobody reads any more, and not some other broken pipe.
pub fn is_reader_gone(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
        .is_some_and(|inner| inner.is::<ReaderGone>())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_stdout_is_told_from_other_broken_pipes() {
        let mut console = Console::plain(Closed, io::sink());
        let error = console.result_line("x").expect_err("closed");
        assert!(is_reader_gone(&error));
        let other = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(!is_reader_gone(&other));
    }
}
