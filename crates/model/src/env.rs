//! Environment variables of functions: which names and values are valid, and how much there may be.
//! The same rules hold for the manifest's `[env]` and for `--env`.

use std::collections::BTreeMap;

use crate::units::shown;
use crate::{Code, Failure};

/// Variables of one function.
pub const ENV_VARS_MAX: usize = 1_000;
/// Bytes of all names and values, each with the two bytes that `=` and the end cost in a process.
pub const ENV_BYTES_MAX: usize = 64 * 1024;

/// Why a name or value is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// Not `[A-Za-z_][A-Za-z0-9_]*`.
    #[error(
        "`{0}` is not a name of an environment variable: letters, digits and `_` are allowed, \
         and it does not start with a digit"
    )]
    Name(String),
    /// NUL ends a value in every C program.
    #[error("the value of `{0}` holds a NUL character")]
    Nul(String),
    /// More than [`ENV_VARS_MAX`].
    #[error("{0} environment variables are more than the {ENV_VARS_MAX} allowed")]
    TooMany(usize),
    /// More than [`ENV_BYTES_MAX`].
    #[error("the environment takes {0} bytes, more than the {ENV_BYTES_MAX} allowed")]
    TooLarge(usize),
}

impl From<EnvError> for Failure {
    fn from(error: EnvError) -> Self {
        Failure::new(Code::EnvInvalid, error.to_string())
    }
}

/// Checks one variable.
///
/// # Errors
/// [`EnvError::Name`] or [`EnvError::Nul`].
pub fn check_var(name: &str, value: &str) -> Result<(), EnvError> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(EnvError::Name(shown(name)));
    }
    if value.contains('\0') {
        return Err(EnvError::Nul(shown(name)));
    }
    Ok(())
}

/// Checks number and size of all variables.
///
/// # Errors
/// [`EnvError::TooMany`] or [`EnvError::TooLarge`].
pub fn check_total(env: &BTreeMap<String, String>) -> Result<(), EnvError> {
    if env.len() > ENV_VARS_MAX {
        return Err(EnvError::TooMany(env.len()));
    }
    let bytes = env
        .iter()
        .map(|(name, value)| name.len() + value.len() + 2)
        .sum();
    if bytes > ENV_BYTES_MAX {
        return Err(EnvError::TooLarge(bytes));
    }
    Ok(())
}

/// Checks a whole environment, as it is after `--env` was laid over the manifest's.
///
/// # Errors
/// The first of [`EnvError`].
pub fn check(env: &BTreeMap<String, String>) -> Result<(), EnvError> {
    for (name, value) in env {
        check_var(name, value)?;
    }
    check_total(env)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_checked() {
        for name in ["A", "_", "a1_B"] {
            assert_eq!(check_var(name, "any\nvalue ä"), Ok(()), "{name}");
        }
        for name in ["", "1A", "A-B", "A=B", "Ä", "A\n", "A\0", "A B"] {
            assert!(
                matches!(check_var(name, ""), Err(EnvError::Name(_))),
                "{name}"
            );
        }
        assert_eq!(check_var("A", "a\0b"), Err(EnvError::Nul("A".into())));
    }

    #[test]
    fn number_and_size_are_bounded() {
        let many = |n: usize| (0..n).map(|i| (format!("V{i}"), String::new())).collect();
        assert_eq!(check(&many(ENV_VARS_MAX)), Ok(()));
        assert_eq!(check(&many(ENV_VARS_MAX + 1)), Err(EnvError::TooMany(1001)));
        let large = |n: usize| BTreeMap::from([("A".to_owned(), "x".repeat(n))]);
        assert_eq!(check(&large(ENV_BYTES_MAX - 3)), Ok(()));
        let error = check(&large(ENV_BYTES_MAX - 2)).expect_err("too large");
        assert_eq!(error, EnvError::TooLarge(65537));
        assert_eq!(Failure::from(error).code(), Code::EnvInvalid);
    }
}
