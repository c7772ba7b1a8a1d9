//! Runs a build tool: its output is read as it comes, the end of it is kept for the message when it
//! fails, nothing of it is kept whole.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

/// The most bytes of output that a message shows.
pub const TAIL_BYTES_MAX: usize = 16 * 1024;

/// The longest line that is kept whole; the JSON lines of cargo have a few KiB.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// How a tool ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// The last lines that it wrote, of both streams.
    pub tail: String,
}

/// Runs `command` to its end, without input. Every line of stderr goes to `on_message` and into the
/// tail; every line of stdout to `on_line`, and into the tail where that returns false.
///
/// # Errors
/// Where it cannot be started or waited for.
pub fn run(
    command: &mut Command,
    on_message: &(dyn Fn(&str) + Sync),
    on_line: &mut dyn FnMut(&str) -> bool,
) -> io::Result<Finished> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    let tail = Mutex::new(Tail::default());
    let keep = |line: &str| {
        tail.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
        on_message(line);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| for_each_line(stderr, &mut |line| keep(line)));
        for_each_line(stdout, &mut |line| {
            if !on_line(line) {
                keep(line);
            }
        });
    });
    let status = child.wait()?;
    let tail = tail.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Finished {
        status,
        tail: tail.text(),
    })
}

/// The last lines, at most [`TAIL_BYTES_MAX`] bytes of them.
#[derive(Debug, Default)]
struct Tail {
    lines: VecDeque<String>,
    n_bytes: usize,
    is_cut: bool,
}

impl Tail {
    fn push(&mut self, line: &str) {
        let start = line.len().saturating_sub(TAIL_BYTES_MAX);
        let start = (start..=line.len())
            .find(|at| line.is_char_boundary(*at))
            .unwrap_or(line.len());
        self.is_cut |= start > 0;
        self.n_bytes += line.len() - start;
        self.lines.push_back(line[start..].to_owned());
        while self.n_bytes > TAIL_BYTES_MAX {
            let first = self.lines.pop_front().expect("bytes are of lines");
            self.n_bytes -= first.len();
            self.is_cut = true;
        }
    }

    fn text(self) -> String {
        let lines: Vec<String> = self.lines.into();
        let text = lines.join("\n");
        if self.is_cut {
            format!("[...]\n{text}")
        } else {
            text
        }
    }
}

/// Calls `each` for every line; one longer than [`LINE_BYTES_MAX`] comes in parts. A stream that breaks
/// ends there: the exit status says what went wrong.
fn for_each_line(stream: impl Read, each: &mut dyn FnMut(&str)) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let n_read = (&mut reader)
            .take(LINE_BYTES_MAX as u64)
            .read_until(b'\n', &mut line);
        if !matches!(n_read, Ok(1..)) {
            return;
        }
        let text = String::from_utf8_lossy(&line);
        each(text.trim_end_matches(['\n', '\r']));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (Finished, Vec<String>) {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let finished = run(&mut command, &|_| {}, &mut |line| {
            lines.push(line.to_owned());
            true
        })
        .expect("sh runs");
        (finished, lines)
    }

    #[test]
    fn streams_are_told_apart_and_the_status_is_kept() {
        let (finished, lines) = shell("echo out; echo err >&2; exit 3");
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!(finished.tail, "err");
        assert_eq!(lines, ["out"]);
    }

    #[test]
    fn a_flood_keeps_its_end_only() {
        let (finished, _) = shell("seq 1 100000 >&2");
        assert!(finished.tail.len() <= 2 * TAIL_BYTES_MAX);
        assert!(finished.tail.starts_with("[...]\n"));
        assert!(finished.tail.ends_with("99999\n100000"));
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let (finished, _) = shell("head -c 3000000 /dev/zero | tr '\\0' x >&2");
        assert!(finished.tail.len() <= 2 * TAIL_BYTES_MAX);
        assert!(finished.tail.ends_with("xxx"));
    }
}
