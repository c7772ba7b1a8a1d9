//! Progress of long work, drawn on stderr where that is a terminal and nowhere else.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::console::Console;
use crate::text::Escaped;

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// One line of progress; it goes away when dropped.
#[derive(Clone, Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Work whose length is not known.
    pub fn spinner(console: &Console, what: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, target(console)).with_style(
            ProgressStyle::with_template("{spinner} {prefix} {wide_msg}")
                .expect("the template is valid"),
        );
        bar.set_prefix(what.to_owned());
        if console.shows_progress() {
            bar.enable_steady_tick(TICK);
        }
        Self(bar)
    }

    /// Work on a known number of bytes.
    pub fn bytes(console: &Console, what: &str, n_bytes: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(n_bytes), target(console)).with_style(
            ProgressStyle::with_template(
                "{prefix} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}",
            )
            .expect("the template is valid")
            .progress_chars("=> "),
        );
        bar.set_prefix(what.to_owned());
        Self(bar)
    }

    /// What is going on now.
    pub fn tell(&self, text: &str) {
        self.0.set_message(Escaped(text).to_string());
    }

    /// How many bytes are done.
    pub fn set_done(&self, n_bytes: u64) {
        self.0.set_position(n_bytes);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn target(console: &Console) -> ProgressDrawTarget {
    if console.shows_progress() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}
