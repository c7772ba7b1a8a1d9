//! The admin token: made at the node's first start, kept in a file that only its owner may read.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use model::Digest;
use rand::TryRngCore;
use subtle::ConstantTimeEq;

/// The file below the data directory.
pub const TOKEN_FILE: &str = "admin.token";

/// Random bytes of a token that is made here.
const TOKEN_BYTES: usize = 32;

/// The fewest characters of a token that an operator wrote; guessing a shorter one may succeed.
const TOKEN_CHARS_MIN: usize = 32;

/// The most characters of a token.
const TOKEN_CHARS_MAX: usize = 1024;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The file holds no token.
    #[error(
        "{path} holds no token: {TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX} visible ASCII characters are \
         needed; remove the file to have a new one made"
    )]
    Invalid {
        /// The file.
        path: String,
    },
}

/// What clients have to show. Only the token's digest stays in memory: no dump or log of the process
/// holds the token itself.
#[derive(Clone)]
pub struct AdminToken(Digest);

impl AdminToken {
    /// Takes a token that was made elsewhere.
    pub fn new(token: &str) -> Self {
        Self(Digest::of(token.as_bytes()))
    }

    /// Reads [`TOKEN_FILE`] in `directory`; where it is missing, makes a random token and writes it with
    /// mode 0600. A file that others may read is closed to them. Blocks.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn load_or_create(directory: &Path) -> Result<Self, TokenError> {
        let path = directory.join(TOKEN_FILE);
        let text = load_or_create(&path).map_err(|cause| TokenError::Io {
            path: path.display().to_string(),
            cause,
        })?;
        let token = text.trim();
        let is_token = (TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&token.len())
            && token.bytes().all(|b| b.is_ascii_graphic());
        if !is_token {
            return Err(TokenError::Invalid {
                path: path.display().to_string(),
            });
        }
        Ok(Self::new(token))
    }

    /// Whether `presented` is the token. Takes the same time wherever they differ: digests are compared,
    /// and all of their bytes.
    pub(crate) fn matches(&self, presented: &[u8]) -> bool {
        let presented = Digest::of(presented);
        bool::from(self.0.as_bytes().ct_eq(presented.as_bytes()))
    }
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken")
    }
}

fn load_or_create(path: &Path) -> std::io::Result<String> {
    match File::open(path) {
        Ok(file) => read(file),
        Err(error) if error.kind() == ErrorKind::NotFound => create(path),
        Err(error) => Err(error),
    }
}

fn read(file: File) -> std::io::Result<String> {
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    let mut text = String::new();
    file.take(TOKEN_CHARS_MAX as u64 + 16)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// Written beside, then linked into place: the file is there whole or not at all, and one that appeared
/// meanwhile wins.
fn create(path: &Path) -> std::io::Result<String> {
    let mut random = [0; TOKEN_BYTES];
    rand::rngs::OsRng
        .try_fill_bytes(&mut random)
        .map_err(std::io::Error::other)?;
    let text = format!("{}\n", hex::encode(random));
    let beside = path.with_extension("token.new");
    let _ = std::fs::remove_file(&beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&beside, path);
    std::fs::remove_file(&beside)?;
    match linked {
        Ok(()) => Ok(text),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => read(File::open(path)?),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_random_lasts_and_is_private() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = AdminToken::load_or_create(directory.path()).expect("made");
        let path = directory.path().join(TOKEN_FILE);
        let text = std::fs::read_to_string(&path).expect("written");
        assert_eq!(text.trim().len(), 2 * TOKEN_BYTES);
        let mode = || {
            std::fs::metadata(&path)
                .expect("there")
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(mode(), 0o600);
        assert!(first.matches(text.trim().as_bytes()));
        assert!(!first.matches(b"") && !first.matches(&text.trim().as_bytes()[1..]));

        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("changed");
        let again = AdminToken::load_or_create(directory.path()).expect("read");
        assert!(again.matches(text.trim().as_bytes()));
        assert_eq!(mode(), 0o600, "closed to others");

        let other = tempfile::tempdir().expect("a directory");
        let other = AdminToken::load_or_create(other.path()).expect("made");
        assert!(
            !other.matches(text.trim().as_bytes()),
            "two nodes have two tokens"
        );
        let n_files = std::fs::read_dir(directory.path())
            .expect("readable")
            .count();
        assert_eq!(n_files, 1, "nothing is left beside it");
    }

    #[test]
    fn weak_tokens_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(TOKEN_FILE);
        for text in ["", "\n", "short", &"ä".repeat(40), &"a".repeat(2000)] {
            std::fs::write(&path, text).expect("written");
            let error = AdminToken::load_or_create(directory.path()).expect_err("no token");
            assert!(matches!(error, TokenError::Invalid { .. }), "{error}");
        }
        assert!(!format!("{:?}", AdminToken::new("x")).contains('['));
    }
}
