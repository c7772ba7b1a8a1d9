//! What a run is at, on stderr: a bar on a terminal, a line per row elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the elapsed time is drawn anew.
const TICK: Duration = Duration::from_millis(500);

/// The progress of a run. Its bar goes away when it is dropped.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Of a run of `n_steps`.
    pub(crate) fn new(n_steps: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let target = ProgressDrawTarget::stderr();
            let style = ProgressStyle::with_template("{elapsed} [{bar:30}] {pos}/{len} {wide_msg}")
                .expect("the template is valid")
                .progress_chars("=> ");
            let bar = ProgressBar::with_draw_target(Some(n_steps as u64), target).with_style(style);
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { bar }
    }

    /// A step begins.
    pub(crate) fn begin(&self, name: &str, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(format!("{name}: {what}")),
            None => line(format_args!("{name}: {what}")),
        }
    }

    /// A step has ended.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// Something that should not be missed.
    pub(crate) fn tell(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => line(format_args!("{text}")),
        }
    }
}

/// A stderr that is gone must not end a run.
fn line(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
