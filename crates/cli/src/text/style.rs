//! Colours, or none. The one place that knows escape sequences.

use std::fmt;

/// Whether and how to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    is_coloured: bool,
}

impl Style {
    /// Without colours.
    pub const PLAIN: Style = Style { is_coloured: false };

    /// With or without colours.
    pub fn new(is_coloured: bool) -> Self {
        Self { is_coloured }
    }

    /// A heading or a name.
    pub fn bold<T: fmt::Display>(self, text: T) -> Painted<T> {
        self.paint("1", text)
    }

    /// What matters less.
    pub fn dim<T: fmt::Display>(self, text: T) -> Painted<T> {
        self.paint("2", text)
    }

    /// Something wrong.
    pub fn red<T: fmt::Display>(self, text: T) -> Painted<T> {
        self.paint("1;31", text)
    }

    /// Something well.
    pub fn green<T: fmt::Display>(self, text: T) -> Painted<T> {
        self.paint("32", text)
    }

    /// Something to look at.
    pub fn yellow<T: fmt::Display>(self, text: T) -> Painted<T> {
        self.paint("33", text)
    }

    fn paint<T>(self, sequence: &'static str, text: T) -> Painted<T> {
        Painted {
            sequence: self.is_coloured.then_some(sequence),
            text,
        }
    }
}

/// Text in a colour.
#[derive(Clone, Copy, Debug)]
pub struct Painted<T> {
    sequence: Option<&'static str>,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sequence {
            Some(sequence) => {
                write!(f, "\u{1b}[{sequence}m")?;
                self.text.fmt(f)?;
                f.write_str("\u{1b}[0m")
            }
            None => self.text.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_has_no_sequences_and_padding_counts_the_text_only() {
        assert_eq!(format!("{:<5}|", Style::PLAIN.red("ab")), "ab   |");
        assert_eq!(
            format!("{:<5}|", Style::new(true).green("ab")),
            "\u{1b}[32mab   \u{1b}[0m|"
        );
    }
}
