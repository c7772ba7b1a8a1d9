//! How people name a version: by number, or by the beginning of its digest.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The fewest hexadecimal digits that name a version by its digest.
pub const PREFIX_DIGITS_MIN: usize = 4;

/// A version as a person names it. Digits alone are a number where a version has it, else the
/// beginning of a digest; which of them holds is told when it is looked up.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct VersionRef(String);

/// The text names no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is neither a version number such as 3 nor the beginning of a digest such as 4f9c21 \
     (at least {PREFIX_DIGITS_MIN} hexadecimal digits)"
)]
pub struct VersionRefError(String);

impl VersionRef {
    /// The number that it may be.
    pub fn number(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    /// The beginning of a digest that it may be, lower-case.
    pub fn digest_prefix(&self) -> Option<&str> {
        (self.0.len() >= PREFIX_DIGITS_MIN).then_some(self.0.as_str())
    }
}

impl From<u64> for VersionRef {
    fn from(number: u64) -> Self {
        Self(number.to_string())
    }
}

impl FromStr for VersionRef {
    type Err = VersionRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let is_prefix = (PREFIX_DIGITS_MIN..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_hexdigit());
        if (is_number && text.len() <= 64) || is_prefix {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            let shown: String = text.chars().take(80).collect();
            Err(VersionRefError(shown.escape_default().to_string()))
        }
    }
}

impl fmt::Display for VersionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for VersionRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// A JSON number, or text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for VersionRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Number(number) => Ok(number.into()),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_prefixes_are_told_apart() {
        let number: VersionRef = serde_json::from_str("3").expect("a number");
        assert_eq!((number.number(), number.digest_prefix()), (Some(3), None));
        let prefix: VersionRef = serde_json::from_str("\"4F9c\"").expect("a prefix");
        assert_eq!(
            (prefix.number(), prefix.digest_prefix()),
            (None, Some("4f9c"))
        );
        let either: VersionRef = "123456".parse().expect("either");
        assert_eq!(
            (either.number(), either.digest_prefix()),
            (Some(123_456), Some("123456"))
        );
    }

    #[test]
    fn junk_is_refused() {
        for junk in [
            "",
            "v3",
            "-1",
            "4f9",
            "4f9g",
            "+3",
            " 3",
            &"a".repeat(65),
            &"1".repeat(65),
        ] {
            assert!(junk.parse::<VersionRef>().is_err(), "{junk}");
        }
    }
}
