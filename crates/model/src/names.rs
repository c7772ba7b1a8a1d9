//! Names that people choose: functions and namespaces. Names appear in host names, paths, metrics and
//! logs, so they are DNS labels and nothing else (RFC 1123, section 2.1): no other alphabet, no case.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest name in bytes: one DNS label.
pub const NAME_BYTES_MAX: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a name must not be empty")]
    Empty,
    /// Longer than a DNS label.
    #[error("a name has at most {NAME_BYTES_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// Some character is not allowed at its place.
    #[error(
        "`{0}` is not a name: lower-case letters, digits and single hyphens are allowed, \
         and it starts with a letter or digit and ends with one"
    )]
    Alphabet(String),
}

/// Double hyphens are kept free: they separate version and name in preview addresses.
fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong(text.len()));
    }
    let bytes = text.as_bytes();
    let alphabet = bytes
        .iter()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
    let edges = bytes[0] != b'-' && bytes[bytes.len() - 1] != b'-';
    if alphabet && edges && !text.contains("--") {
        Ok(())
    } else {
        Err(NameError::Alphabet(text.escape_default().to_string()))
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes a name.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name_type! {
    /// The name of a function inside its namespace.
    FunctionName
}

name_type! {
    /// A tenant's space of function names.
    Namespace
}

impl Default for Namespace {
    fn default() -> Self {
        Self("default".into())
    }
}

/// What identifies a function on a node: namespace and name. Its text is `NAME` in the default
/// namespace and `NAME.NAMESPACE` elsewhere.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FunctionKey {
    /// The namespace.
    pub namespace: Namespace,
    /// The name inside it.
    pub name: FunctionName,
}

impl FromStr for FunctionKey {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (name, namespace) = match text.split_once('.') {
            Some((name, namespace)) => (name, namespace.parse()?),
            None => (text, Namespace::default()),
        };
        Ok(Self {
            namespace,
            name: name.parse()?,
        })
    }
}

impl fmt::Display for FunctionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.as_str() == "default" {
            fmt::Display::fmt(&self.name, f)
        } else {
            write!(f, "{}.{}", self.name, self.namespace)
        }
    }
}

impl fmt::Debug for FunctionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "hello", "a1-b2", "0x", &"a".repeat(63)] {
            assert!(FunctionName::new(good).is_ok(), "{good}");
        }
        let long = "a".repeat(64);
        for bad in [
            "", "-a", "a-", "A", "a_b", "a.b", "a--b", "ä", "a/b", "..", "%2e", "a\0", " a", &long,
        ] {
            assert!(FunctionName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_round_trip() {
        for text in ["hello", "hello.team"] {
            assert_eq!(
                text.parse::<FunctionKey>().expect("valid").to_string(),
                text
            );
        }
        assert_eq!(
            "hello.default"
                .parse::<FunctionKey>()
                .expect("valid")
                .to_string(),
            "hello"
        );
        assert!("a.b.c".parse::<FunctionKey>().is_err());
    }
}
