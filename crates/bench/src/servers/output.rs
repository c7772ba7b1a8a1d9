//! What a server writes: a thread per stream takes it all, so that no pipe ever fills; the end is kept for
//! messages.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::process::Child;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Stream;

/// Lines that are kept of each stream.
const N_LINES_KEPT: usize = 8;

/// The output of a child.
pub(super) struct Output {
    lines: Receiver<String>,
    kept: Arc<Mutex<VecDeque<String>>>,
}

impl Output {
    /// Takes the child's streams; lines of `stream` are looked at.
    pub(super) fn of(child: &mut Child, stream: Stream) -> Self {
        let (sender, lines) = channel();
        let kept = Arc::default();
        let (of_stdout, of_stderr) = match stream {
            Stream::Stdout => (Some(sender), None),
            Stream::Stderr => (None, Some(sender)),
        };
        if let Some(stdout) = child.stdout.take() {
            drain(stdout, of_stdout, &kept);
        }
        if let Some(stderr) = child.stderr.take() {
            drain(stderr, of_stderr, &kept);
        }
        Self { lines, kept }
    }

    /// Waits for a line in which `find` finds something; `None` when the stream or the time ended first.
    pub(super) fn wait_for<T>(
        &mut self,
        find: impl Fn(&str) -> Option<T>,
        timeout: Duration,
    ) -> Option<T> {
        let until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).ok()?;
            if let Some(found) = find(&line) {
                return Some(found);
            }
        }
    }

    /// The last lines of both streams, in one.
    pub(super) fn last_words(&self) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.is_empty() {
            true => "it said nothing".to_owned(),
            false => Vec::from_iter(kept.iter().map(String::as_str)).join(" | "),
        }
    }
}

fn drain(
    stream: impl Read + Send + 'static,
    sender: Option<Sender<String>>,
    kept: &Arc<Mutex<VecDeque<String>>>,
) {
    let kept = Arc::clone(kept);
    // Ends with the child: its end of the pipe closes.
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).into_owned();
            {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == N_LINES_KEPT {
                    kept.pop_front();
                }
                kept.push_back(line.clone());
            }
            if let Some(sender) = &sender {
                // Nobody listens any more once the server is ready.
                let _ = sender.send(line);
            }
        }
    });
}
