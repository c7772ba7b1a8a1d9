//! Tables of aligned columns.

use std::fmt::Write as _;

use super::{Escaped, Style};

/// Rows under headings. Cells are escaped: what a node or a guest says cannot act on a terminal.
#[derive(Clone, Debug)]
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    right: Vec<usize>,
}

impl Table {
    /// A table with these columns.
    pub fn new(headings: &[&'static str]) -> Self {
        Self {
            headings: headings.to_vec(),
            rows: Vec::new(),
            right: Vec::new(),
        }
    }

    /// Aligns a column, counted from 0, to the right: for numbers.
    pub fn right(mut self, column: usize) -> Self {
        self.right.push(column);
        self
    }

    /// Adds a row; it has a cell for every column.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.headings.len(), "a cell for every column");
        self.rows
            .push(cells.iter().map(|cell| Escaped(cell).to_string()).collect());
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, each line ended.
    pub fn render(&self, style: Style) -> String {
        let widths: Vec<usize> = (0..self.headings.len())
            .map(|column| {
                let cells = self.rows.iter().map(|row| row[column].chars().count());
                cells
                    .chain([self.headings[column].len()])
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        let headings: Vec<String> = self.headings.iter().map(ToString::to_string).collect();
        let heading_line = self.line(&headings, &widths);
        writeln!(text, "{}", style.dim(heading_line)).expect("a String takes everything");
        for row in &self.rows {
            text.push_str(&self.line(row, &widths));
            text.push('\n');
        }
        text
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            if column > 0 {
                line.push_str("  ");
            }
            let padding = " ".repeat(width - cell.chars().count());
            if self.right.contains(&column) {
                line.push_str(&padding);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&padding);
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Lines of `label  value`, the values aligned. Values are escaped.
pub fn fields(rows: &[(&str, String)], style: Style) -> String {
    let width = rows
        .iter()
        .map(|(label, _)| label.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    let mut last = "";
    for (label, value) in rows {
        // A label said once stands for the values below it.
        let shown = if *label == last { "" } else { label };
        writeln!(
            text,
            "  {}  {}",
            style.dim(format_args!("{shown:<width$}")),
            Escaped(value)
        )
        .expect("a String takes everything");
        last = label;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_cells_are_escaped() {
        let mut table = Table::new(&["NAME", "COUNT"]).right(1);
        table.row(["a".into(), "1".into()]);
        table.row(["grüße\u{1b}[m".into(), "1000".into()]);
        assert_eq!(
            table.render(Style::PLAIN),
            "NAME         COUNT\na                1\ngrüße\\x1b[m   1000\n"
        );
    }

    #[test]
    fn a_repeated_label_is_said_once() {
        let rows = [
            ("url", "one".into()),
            ("url", "two".into()),
            ("class", "wasm".into()),
        ];
        assert_eq!(
            fields(&rows, Style::PLAIN),
            "  url    one\n         two\n  class  wasm\n"
        );
    }
}
