//! The lines of one function, the oldest pushed out by the newest. Lines have consecutive numbers, so a
//! reader who remembers a number knows how many lines went by.

use std::collections::VecDeque;

use bytes::Bytes;
use model::InvocationId;
use runtime::LogStream;

use crate::config::LogsConfig;

/// What a line takes beside its text: the entry, and the text's allocation.
const ENTRY_BYTES: usize = size_of::<LogEntry>() + 48;

/// One line of a function's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// When it arrived, in milliseconds since the Unix epoch.
    pub time_unix_ms: u64,
    /// The invocation it belongs to.
    pub invocation: InvocationId,
    /// The version's number.
    pub version: u64,
    /// Where it came from.
    pub stream: LogStream,
    /// The text without its line end; any bytes.
    pub text: Bytes,
    /// How many lines this reader missed before this one, because they were pushed out unread.
    pub n_missed: u64,
}

/// What made room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Evicted {
    pub(super) n_lines: u64,
    pub(super) n_bytes: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Ring {
    entries: VecDeque<LogEntry>,
    /// The number of the first entry.
    first: u64,
    n_bytes: usize,
    last_unix_ms: u64,
    is_closed: bool,
}

/// What a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Entry(LogEntry),
    /// Nothing yet.
    Wait,
    /// The function was removed and everything was read.
    End,
}

/// A reader's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The number of the next line to look at.
    pub(super) next: u64,
    /// Lines that went by unread and have not been reported.
    pub(super) n_missed: u64,
}

impl Ring {
    /// Takes a line and makes room for it. Gives the bytes it takes, and what went; `None` when closed.
    pub(super) fn push(
        &mut self,
        entry: LogEntry,
        config: &LogsConfig,
    ) -> Option<(usize, Evicted)> {
        if self.is_closed {
            return None;
        }
        let n_bytes = size(&entry);
        self.last_unix_ms = entry.time_unix_ms;
        self.n_bytes += n_bytes;
        self.entries.push_back(entry);
        let mut evicted = Evicted::default();
        while self.n_bytes > config.function_bytes_max
            || self.entries.len() > config.function_lines_max
        {
            if !self.evict(&mut evicted) {
                break;
            }
        }
        Some((n_bytes, evicted))
    }

    /// Pushes lines out until at most `n_bytes_max` are left.
    pub(super) fn shrink(&mut self, n_bytes_max: usize) -> Evicted {
        let mut evicted = Evicted::default();
        while self.n_bytes > n_bytes_max && self.evict(&mut evicted) {}
        // The table itself is memory, too.
        if self.entries.capacity() > 2 * self.entries.len() {
            self.entries.shrink_to_fit();
        }
        evicted
    }

    /// Ends the log; gives the bytes that are free now. Readers may still read nothing but the end.
    pub(super) fn close(&mut self) -> usize {
        self.is_closed = true;
        self.first += self.entries.len() as u64;
        self.entries = VecDeque::new();
        std::mem::take(&mut self.n_bytes)
    }

    /// The last lines, oldest first.
    pub(super) fn tail(&self, invocation: Option<InvocationId>, n_max: usize) -> Vec<LogEntry> {
        let matching = self
            .entries
            .iter()
            .rev()
            .filter(|entry| is_of(entry, invocation));
        let mut tail: Vec<LogEntry> = matching.take(n_max).cloned().collect();
        tail.reverse();
        tail
    }

    /// A place before the last `n_tail` lines that match.
    pub(super) fn cursor(&self, invocation: Option<InvocationId>, n_tail: usize) -> Cursor {
        let end = self.first + self.entries.len() as u64;
        let numbered = (0..end).rev().zip(self.entries.iter().rev());
        let start = numbered
            .filter(|(_, entry)| is_of(entry, invocation))
            .take(n_tail)
            .last()
            .map_or(end, |(number, _)| number);
        Cursor {
            next: start,
            n_missed: 0,
        }
    }

    /// The next line that matches, or why there is none; the cursor goes on.
    pub(super) fn read(&self, cursor: &mut Cursor, invocation: Option<InvocationId>) -> Read {
        if cursor.next < self.first {
            cursor.n_missed += self.first - cursor.next;
            cursor.next = self.first;
        }
        loop {
            let index = usize::try_from(cursor.next - self.first).unwrap_or(usize::MAX);
            let Some(entry) = self.entries.get(index) else {
                return if self.is_closed {
                    Read::End
                } else {
                    Read::Wait
                };
            };
            cursor.next += 1;
            if is_of(entry, invocation) {
                let mut entry = entry.clone();
                entry.n_missed = std::mem::take(&mut cursor.n_missed);
                return Read::Entry(entry);
            }
        }
    }

    pub(super) fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    pub(super) fn last_unix_ms(&self) -> u64 {
        self.last_unix_ms
    }

    fn evict(&mut self, evicted: &mut Evicted) -> bool {
        let Some(entry) = self.entries.pop_front() else {
            return false;
        };
        let n_bytes = size(&entry);
        self.first += 1;
        self.n_bytes -= n_bytes;
        evicted.n_lines += 1;
        evicted.n_bytes += n_bytes;
        true
    }
}

fn size(entry: &LogEntry) -> usize {
    ENTRY_BYTES + entry.text.len()
}

fn is_of(entry: &LogEntry, invocation: Option<InvocationId>) -> bool {
    invocation.is_none_or(|invocation| entry.invocation == invocation)
}
