//! The reader: walks a parsed TOML document, hands out typed values, and notes every fault with the
//! place where it is. What the keys mean is in [`super::sections`].

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{FAULTS_MAX, MANIFEST_BYTES_MAX, Manifest, ManifestError, sections};
use crate::failure::Position;
use crate::units::shown;

pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// Reads a number with its unit.
type ParseNumber<E> = fn(&str) -> Result<u64, E>;

pub(super) fn parse(text: &str, file: &str) -> Result<Manifest, ManifestError> {
    let mut reader = Reader::new(text, file);
    if text.len() > MANIFEST_BYTES_MAX {
        let message = format!("the file is longer than {MANIFEST_BYTES_MAX} bytes");
        reader.fault(0..0, "", message);
        return Err(reader.into_error());
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        reader.fault(error.span().unwrap_or(0..0), "", error.message().to_owned());
    }
    // What is left of a broken document would only give follow-up faults.
    if !reader.faults.is_empty() {
        return Err(reader.into_error());
    }
    let root = Section {
        table: document.get_ref(),
        path: String::new(),
        span: 0..0,
    };
    let manifest = sections::manifest(&mut reader, &root);
    if reader.faults.is_empty() {
        Ok(manifest)
    } else {
        Err(reader.into_error())
    }
}

/// Notes faults; knows where lines start.
pub(super) struct Reader<'t> {
    text: &'t str,
    file: &'t str,
    line_starts: Vec<usize>,
    faults: Vec<Position>,
}

/// A table of the document with the path that leads to it.
pub(super) struct Section<'t> {
    table: &'t DeTable<'t>,
    path: String,
    /// The table's own place, for what is missing in it.
    pub(super) span: Range<usize>,
}

impl<'t> Section<'t> {
    /// The path of `key` in messages: `limits.memory`.
    pub(super) fn field(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    fn get(&self, key: &str) -> Option<&'t Value<'t>> {
        self.table.get(key)
    }

    /// All keys with their places, and values.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Range<usize>, &'t str, &'t Value<'t>)> {
        self.table
            .iter()
            .map(|(key, value)| (key.span(), key.get_ref().as_ref(), value))
    }
}

impl<'t> Reader<'t> {
    fn new(text: &'t str, file: &'t str) -> Self {
        let after_ends = text
            .bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'\n')
            .map(|(at, _)| at + 1);
        Self {
            text,
            file,
            line_starts: std::iter::once(0).chain(after_ends).collect(),
            faults: Vec::new(),
        }
    }

    fn into_error(mut self) -> ManifestError {
        self.faults.sort_by_key(|fault| (fault.line, fault.column));
        ManifestError {
            faults: self.faults,
        }
    }

    /// Notes a fault. Beyond [`FAULTS_MAX`] nobody reads on.
    pub(super) fn fault(&mut self, span: Range<usize>, field: &str, message: String) {
        if self.faults.len() == FAULTS_MAX {
            return;
        }
        let at = span.start.min(self.text.len());
        let line = self.line_starts.partition_point(|start| *start <= at);
        let line_start = self.line_starts[line - 1];
        // In characters; a span in the middle of one (there is none) must not panic.
        let column = self
            .text
            .get(line_start..at)
            .map_or(0, |before| before.chars().count())
            + 1;
        self.faults.push(Position {
            file: self.file.to_owned(),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
            field: field.to_owned(),
            message,
        });
    }

    /// Notes every key that is not in `known`, with the nearest one, or with the section where it
    /// belongs.
    pub(super) fn refuse_unknown(
        &mut self,
        section: &Section<'_>,
        known: &[&str],
        elsewhere: &[(&str, &[&str])],
    ) {
        for (span, key, _) in section.entries() {
            if known.contains(&key) {
                continue;
            }
            let home = elsewhere.iter().find(|(_, keys)| keys.contains(&key));
            let message = match (home, nearest(key, known)) {
                (Some((home, _)), _) => format!("unknown key here: it belongs {home}"),
                (None, Some(near)) => format!("unknown key; did you mean `{near}`?"),
                (None, None) => format!("unknown key; known are {}", known.join(", ")),
            };
            let field = section.field(&shown(key));
            self.fault(span, &field, message);
        }
    }

    /// The text under `key`.
    pub(super) fn text<'s>(
        &mut self,
        section: &Section<'s>,
        key: &str,
    ) -> Option<(Range<usize>, &'s str)> {
        let value = section.get(key)?;
        self.expect_text(value, &section.field(key))
    }

    /// `value` as text.
    pub(super) fn expect_text<'s>(
        &mut self,
        value: &'s Value<'s>,
        field: &str,
    ) -> Option<(Range<usize>, &'s str)> {
        match value.get_ref() {
            DeValue::String(text) => Some((value.span(), text.as_ref())),
            other => {
                self.wrong_type(value.span(), field, "a string", other);
                None
            }
        }
    }

    /// The text under `key`, parsed; the error's text becomes the fault.
    pub(super) fn parsed<T, E: std::fmt::Display>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let (span, text) = self.text(section, key)?;
        parse(text)
            .inspect_err(|error| self.fault(span, &section.field(key), error.to_string()))
            .ok()
    }

    /// The value under `key` for a limit or count: an integer, or a text that `parse` reads where that
    /// is given.
    pub(super) fn number<E: std::fmt::Display>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        expected: &str,
        integers: bool,
        parse: Option<ParseNumber<E>>,
    ) -> Option<(Range<usize>, u64)> {
        let value = section.get(key)?;
        let field = section.field(key);
        let span = value.span();
        match (value.get_ref(), parse) {
            (DeValue::Integer(integer), _) if integers => {
                let read = u64::from_str_radix(integer.as_str(), integer.radix());
                if read.is_err() {
                    let message = format!("`{}` is out of range", shown(integer.as_str()));
                    self.fault(span.clone(), &field, message);
                }
                read.ok().map(|number| (span, number))
            }
            (DeValue::String(text), Some(parse)) => parse(text)
                .inspect_err(|error| self.fault(span.clone(), &field, error.to_string()))
                .ok()
                .map(|number| (span, number)),
            (other, _) => {
                self.wrong_type(span, &field, expected, other);
                None
            }
        }
    }

    /// The table under `key`.
    pub(super) fn section<'s>(&mut self, section: &Section<'s>, key: &str) -> Option<Section<'s>> {
        let value = section.get(key)?;
        let field = section.field(key);
        let expected = format!("a table: `[{field}]`");
        self.expect_section(value, field, &expected)
    }

    /// `value` as a table.
    pub(super) fn expect_section<'s>(
        &mut self,
        value: &'s Value<'s>,
        path: String,
        expected: &str,
    ) -> Option<Section<'s>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(Section {
                table,
                path,
                span: value.span(),
            }),
            other => {
                self.wrong_type(value.span(), &path, expected, other);
                None
            }
        }
    }

    /// The array under `key`, its elements with their paths (`routes[0]`); empty when it is not there.
    pub(super) fn array<'s>(
        &mut self,
        section: &Section<'s>,
        key: &str,
        expected: &str,
        n_max: usize,
    ) -> Vec<(String, &'s Value<'s>)> {
        let Some(value) = section.get(key) else {
            return Vec::new();
        };
        let field = section.field(key);
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong_type(value.span(), &field, expected, value.get_ref());
            return Vec::new();
        };
        if array.len() > n_max {
            let message = format!("{} entries are more than the {n_max} allowed", array.len());
            self.fault(value.span(), &field, message);
            return Vec::new();
        }
        array
            .iter()
            .enumerate()
            .map(|(index, value)| (format!("{field}[{index}]"), value))
            .collect()
    }

    fn wrong_type(&mut self, span: Range<usize>, field: &str, expected: &str, found: &DeValue<'_>) {
        let article = match found {
            DeValue::Integer(_) | DeValue::Array(_) => "an",
            _ => "a",
        };
        let message = format!("expected {expected}, found {article} {}", found.type_str());
        self.fault(span, field, message);
    }
}

/// The known key that was probably meant: the one with the fewest edits, if they are few.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    // The comparison is quadratic, and no key is that long.
    const KEY_BYTES_MAX: usize = 64;
    if key.len() > KEY_BYTES_MAX {
        return None;
    }
    let key = key.to_ascii_lowercase().replace('-', "_");
    let edits_max = (key.len() / 3).max(2);
    let candidates: BTreeSet<(usize, &str)> = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&key, name), *name))
        .filter(|(n_edits, name)| *n_edits <= edits_max && *n_edits < name.len())
        .collect();
    candidates.first().map(|(_, name)| *name)
}
