//! The committed counts: their file, and what a comparison with them comes to. Knows no processes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

/// A change of that many percent is none, and growth beyond it is a fault.
const TOLERANCE_PERCENT: u64 = 5;

/// What the file begins with.
const HEAD: &str = "\
# Instructions that a node's gateway thread executes in user space for one request: the release build, one
# request at a time over one connection. `make test` fails where a path has grown by more than 5 %.
#
# On purpose, or smaller? `make instructions-record` writes this file anew: commit it together with the
# change that made the difference, and say why there. docs/guide/instruction-counts.md has more.
";

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recorded {
    /// The machine, as [`super::machine`] calls it.
    pub(super) machine: String,
    /// Instructions by the path's name.
    pub(super) instructions: BTreeMap<String, u64>,
}

impl Recorded {
    /// Reads a file's content.
    ///
    /// # Errors
    /// One line that says what is wrong with it, and where.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string().trim_end().replace('\n', " "))
    }

    /// The file's content.
    pub(super) fn to_text(&self) -> String {
        let mut text = HEAD.to_owned();
        let machine = toml::Value::String(self.machine.clone());
        let _ = writeln!(text, "\nmachine = {machine}\n\n[instructions]");
        for (path, n_instructions) in &self.instructions {
            let _ = writeln!(text, "{path} = {n_instructions}");
        }
        text
    }
}

/// What a path has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same within the tolerance.
    Same,
    /// Larger beyond it.
    Grown,
    /// Smaller beyond it.
    Shrunk,
    /// There was nothing to compare with.
    New,
    /// It could not be counted here.
    Skipped,
}

/// One path's counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Its name in the file.
    pub(super) path: &'static str,
    /// What the file has.
    pub(super) recorded: Option<u64>,
    /// What was counted, or why it was not.
    pub(super) now: Result<u64, String>,
}

impl Comparison {
    /// What it comes to.
    pub(super) fn verdict(&self) -> Verdict {
        let Ok(now) = &self.now else {
            return Verdict::Skipped;
        };
        let Some(recorded) = self.recorded.filter(|recorded| *recorded > 0) else {
            return Verdict::New;
        };
        // In whole numbers: 5 % of a float is a little more or less.
        let now = now.saturating_mul(100);
        if now > recorded.saturating_mul(100 + TOLERANCE_PERCENT) {
            Verdict::Grown
        } else if now < recorded.saturating_mul(100 - TOLERANCE_PERCENT) {
            Verdict::Shrunk
        } else {
            Verdict::Same
        }
    }

    /// The growth as a share of what was recorded.
    fn change(&self) -> Option<f64> {
        match (self.recorded, &self.now) {
            (Some(recorded), Ok(now)) if recorded > 0 => Some(*now as f64 / recorded as f64 - 1.0),
            _ => None,
        }
    }

    fn cells(&self) -> [String; 4] {
        let number = |number: u64| number.to_string();
        [
            self.path.to_owned(),
            self.recorded.map_or("-".to_owned(), number),
            match &self.now {
                Ok(now) => number(*now),
                Err(_) => "skipped".to_owned(),
            },
            match (self.change(), self.verdict()) {
                (Some(change), Verdict::Grown) => format!("**{:+.1} %**", change * 100.0),
                (Some(change), _) => format!("{:+.1} %", change * 100.0),
                (None, _) => "-".to_owned(),
            },
        ]
    }
}

/// The comparisons as a Markdown table, padded so that it also reads as plain text.
pub(super) fn table(comparisons: &[Comparison]) -> String {
    let head = ["path", "recorded", "now", "change"].map(str::to_owned);
    let rows: Vec<[String; 4]> = comparisons.iter().map(Comparison::cells).collect();
    let widths: [usize; 4] = std::array::from_fn(|column| {
        let cells = rows.iter().chain([&head]);
        let widths = cells.map(|cells| cells[column].len());
        widths.max().unwrap_or_default()
    });
    let mut text = line(&head, &widths);
    for (column, width) in widths.iter().enumerate() {
        let (rule, end) = ("-".repeat(width + 1), if column == 0 { '-' } else { ':' });
        let _ = write!(text, "|{rule}{end}");
    }
    text.push_str("|\n");
    text.extend(rows.iter().map(|cells| line(cells, &widths)));
    text
}

fn line(cells: &[String; 4], widths: &[usize; 4]) -> String {
    let mut text = String::new();
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let _ = match column {
            0 => write!(text, "| {cell:<width$} "),
            _ => write!(text, "| {cell:>width$} "),
        };
    }
    text.push_str("|\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(recorded: Option<u64>, now: u64) -> Comparison {
        Comparison {
            path: "noop",
            recorded,
            now: Ok(now),
        }
    }

    #[test]
    fn five_percent_is_tolerated_and_no_more() {
        for (recorded, now, verdict) in [
            (Some(1000), 1000, Verdict::Same),
            (Some(1000), 1050, Verdict::Same),
            (Some(1000), 1051, Verdict::Grown),
            (Some(1000), 950, Verdict::Same),
            (Some(1000), 949, Verdict::Shrunk),
            (Some(0), 949, Verdict::New),
            (None, 949, Verdict::New),
        ] {
            let comparison = comparison(recorded, now);
            assert_eq!(comparison.verdict(), verdict, "{comparison:?}");
        }
        let skipped = Comparison {
            now: Err("no ptrace".to_owned()),
            ..comparison(Some(1000), 0)
        };
        assert_eq!(skipped.verdict(), Verdict::Skipped);
    }

    #[test]
    fn the_file_reads_back_as_it_was_written() {
        let recorded = Recorded {
            machine: "A \"CPU\", Linux 6.18".to_owned(),
            instructions: [
                ("noop".to_owned(), 20_000),
                ("core-fresh".to_owned(), 30_000),
            ]
            .into(),
        };
        let text = recorded.to_text();
        assert_eq!(Recorded::parse(&text), Ok(recorded));
        assert!(text.starts_with("# Instructions"), "{text}");
        assert!(text.contains("make instructions-record"), "{text}");
    }

    #[test]
    fn a_broken_file_is_refused_in_one_line() {
        for text in [
            "",
            "machine = 1\n[instructions]\n",
            "machine = \"\"\n[instructions]\nnoop = -1\n",
            "machine = \"\"\n[instructions]\nnoop = 1\nnoop = 2\n",
            "machine = \"\"\nmore = 1\n[instructions]\n",
        ] {
            let error = Recorded::parse(text).expect_err(text);
            assert!(!error.is_empty() && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn the_table_shows_growth_aloud() {
        let skipped = Comparison {
            path: "http-fresh",
            recorded: None,
            now: Err("no ptrace".to_owned()),
        };
        let table = table(&[comparison(Some(20_000), 22_000), skipped]);
        assert_eq!(
            table,
            "| path       | recorded |     now |      change |\n\
             |------------|---------:|--------:|------------:|\n\
             | noop       |    20000 |   22000 | **+10.0 %** |\n\
             | http-fresh |        - | skipped |           - |\n"
        );
    }
}
