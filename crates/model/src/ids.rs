//! Identifiers that the platform hands out. Refuses to know where time and randomness come from.

use std::fmt;
use std::str::FromStr;

/// Identifies one invocation: a UUID version 7 (RFC 9562, section 5.7), so ids sort by start time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InvocationId(uuid::Uuid);

impl InvocationId {
    /// Makes an id from the wall clock (milliseconds since the Unix epoch) and 80 bits of `random`.
    pub fn new(unix_ms: u64, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid())
    }

    /// The 128 bits, for storage as a key that sorts by time.
    pub fn to_bytes(self) -> [u8; 16] {
        *self.0.as_bytes()
    }

    /// The inverse of [`InvocationId::to_bytes`].
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes(bytes))
    }

    /// The hyphenated lower-case text in a caller-provided buffer: no allocation.
    pub fn encode(self, buffer: &mut [u8; 36]) -> &str {
        self.0.hyphenated().encode_lower(buffer)
    }
}

impl fmt::Display for InvocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for InvocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// The text is not an invocation id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an invocation id: expected a UUID such as 0192f0c1-9f3b-7cc2-8a55-3c1d1f0a9b11")]
pub struct InvocationIdError;

impl FromStr for InvocationId {
    type Err = InvocationIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        uuid::Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| InvocationIdError)
    }
}

crate::serde_text::serde_as_text!(InvocationId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_7_and_sort_by_time() {
        let early = InvocationId::new(1_000, [0xff; 10]);
        let late = InvocationId::new(1_001, [0; 10]);
        assert!(early < late);
        assert!(early.to_string() < late.to_string());
        assert_eq!(&early.to_string()[14..15], "7");
    }

    #[test]
    fn text_and_bytes_round_trip() {
        let id = InvocationId::new(1_790_000_000_000, [7; 10]);
        assert_eq!(id.to_string().parse::<InvocationId>(), Ok(id));
        assert_eq!(InvocationId::from_bytes(id.to_bytes()), id);
        assert_eq!("zz".parse::<InvocationId>(), Err(InvocationIdError));
    }
}
