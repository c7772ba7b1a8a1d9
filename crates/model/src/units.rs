//! Sizes and durations as people write and read them: `128MiB`, `64MB`, `30s`, `500ms`. Used by the
//! manifest, the node's configuration and every message that shows a limit.
//!
//! Whole numbers only: `1.5GiB` is refused rather than rounded.

/// Size units, longest suffix first so that `MiB` is not read as a number followed by `B`.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Duration units in milliseconds, longest suffix first.
const DURATIONS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Why a text is not a size or a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a size.
    #[error(
        "`{0}` is not a size: write whole bytes or a number with a unit, such as `128MiB` or `64MB`"
    )]
    Size(String),
    /// Not a duration.
    #[error("`{0}` is not a duration: write a number with a unit, such as `500ms`, `30s` or `2m`")]
    Duration(String),
    /// The number does not fit 64 bits.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

/// Bytes from `128MiB`, `64MB`, `10B` or `1024`. Units: B, kB, MB, GB, TB (powers of 1000) and KiB, MiB,
/// GiB, TiB (powers of 1024), in any case (`mib` is `MiB`, `KB` is `kB`); one blank may stand between
/// number and unit.
///
/// # Errors
/// [`UnitError`] when the text is nothing like it, or too large.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_err(|_| too_large(text));
    }
    parse_with(text, &SIZES, UnitError::Size)
}

/// Milliseconds from `500ms`, `30s`, `2m` or `1h`. A number without unit is refused: nobody could tell
/// seconds from milliseconds.
///
/// # Errors
/// [`UnitError`] when the text is nothing like it, or too large.
pub fn parse_duration_ms(text: &str) -> Result<u64, UnitError> {
    parse_with(text, &DURATIONS, UnitError::Duration)
}

fn parse_with(
    text: &str,
    units: &[(&str, u64)],
    error: fn(String) -> UnitError,
) -> Result<u64, UnitError> {
    let refuse = || error(shown(text));
    let n_digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at(n_digits);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let factor = units
        .iter()
        .find_map(|(name, factor)| name.eq_ignore_ascii_case(unit).then_some(*factor))
        .ok_or_else(refuse)?;
    if digits.is_empty() {
        return Err(refuse());
    }
    let number: u64 = digits.parse().map_err(|_| too_large(text))?;
    number.checked_mul(factor).ok_or_else(|| too_large(text))
}

fn too_large(text: &str) -> UnitError {
    UnitError::TooLarge(shown(text))
}

/// Hostile text in a message: escaped, and cut where nobody would read on.
pub(crate) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 64;
    let mut shown: String = text
        .chars()
        .take(CHARS_MAX)
        .flat_map(char::escape_default)
        .collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

/// The shortest exact text: `128MiB`, `64MB`, `1001B`. [`parse_size`] reads it back.
pub fn format_size(bytes: u64) -> String {
    format_with(bytes, &SIZES)
}

/// The shortest exact text: `30s`, `1500ms`, `2m`. [`parse_duration_ms`] reads it back.
pub fn format_duration_ms(ms: u64) -> String {
    format_with(ms, &DURATIONS)
}

fn format_with(value: u64, units: &[(&str, u64)]) -> String {
    units
        .iter()
        .filter(|(_, factor)| value.is_multiple_of(*factor) && (value > 0 || *factor == 1))
        .map(|(name, factor)| (value / factor, name))
        .min_by_key(|(number, _)| *number)
        .map(|(number, name)| format!("{number}{name}"))
        .expect("each table holds the unit 1, which divides every value")
}

/// For `#[serde(with = "model::units::size")]`: a size that is written as in the manifest, a number or
/// a text with unit.
pub mod size {
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(String),
    }

    /// Reads a number of bytes or a text such as `128MiB`.
    ///
    /// # Errors
    /// Those of the format, or a text that is not a size.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Number(bytes) => Ok(bytes),
            Written::Text(text) => super::parse_size(&text).map_err(serde::de::Error::custom),
        }
    }

    /// Writes the shortest exact text.
    ///
    /// # Errors
    /// Those of the format.
    pub fn serialize<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format_size(*bytes))
    }
}

/// For `#[serde(with = "model::units::duration_ms")]`: a duration that is written as in the manifest.
pub mod duration_ms {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Reads a text such as `30s`.
    ///
    /// # Errors
    /// Those of the format, or a text that is not a duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        super::parse_duration_ms(&text).map_err(serde::de::Error::custom)
    }

    /// Writes the shortest exact text.
    ///
    /// # Errors
    /// Those of the format.
    pub fn serialize<S: Serializer>(ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format_duration_ms(*ms))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_and_durations_are_read() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("128MiB", 128 << 20),
            ("128 mib", 128 << 20),
            ("64MB", 64_000_000),
            ("64KB", 64_000),
            ("1B", 1),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for (text, ms) in [
            ("30s", 30_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn junk_is_refused() {
        for text in [
            "",
            "MiB",
            "1.5GiB",
            "-1",
            "1  MB",
            "1MBs",
            "0x10",
            "1M",
            "99999999TiB",
            "١",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        for text in ["", "30", "s", "1.5s", "-1s", "1 d", "99999999999999999999s"] {
            assert!(parse_duration_ms(text).is_err(), "{text}");
        }
        let long = parse_size(&"x\u{1b}".repeat(1000))
            .expect_err("not a size")
            .to_string();
        assert!(long.len() < 700 && !long.contains('\u{1b}'), "{long}");
    }

    #[test]
    fn texts_are_short() {
        assert_eq!(format_size(128 << 20), "128MiB");
        assert_eq!(format_size(64_000_000), "64MB");
        assert_eq!(format_size(1001), "1001B");
        assert_eq!(format_size(0), "0B");
        assert_eq!(format_duration_ms(30_000), "30s");
        assert_eq!(format_duration_ms(1_500), "1500ms");
        assert_eq!(format_duration_ms(120_000), "2m");
    }

    proptest! {
        #[test]
        fn texts_are_exact(value: u64) {
            prop_assert_eq!(parse_size(&format_size(value)), Ok(value));
            prop_assert_eq!(parse_duration_ms(&format_duration_ms(value)), Ok(value));
        }
    }
}
