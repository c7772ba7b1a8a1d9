//! The rows of `holm.db` as values: which columns, their checksums, and the way to and from the model.

use model::{Artifact, Contract, Digest, FunctionConfig, FunctionKey, FunctionVersion};
use rusqlite::{Row, ToSql};
use serde::{Deserialize, Serialize};

use crate::checksum::{CHECKSUM_BYTES, Checksum};

pub(crate) const FUNCTION_COLUMNS: &str =
    "id, namespace, name, n_published, n_versions, live, previous_live, is_removed, checksum";

pub(crate) const VERSION_COLUMNS: &str =
    "function, number, digest, content, created_unix_ms, checksum";

/// A row of `functions`.
pub(crate) struct FunctionRow {
    pub(crate) id: i64,
    pub(crate) key: FunctionKey,
    pub(crate) n_published: i64,
    pub(crate) n_versions: i64,
    pub(crate) live: Option<i64>,
    pub(crate) previous_live: Option<i64>,
    pub(crate) is_removed: bool,
}

/// A row of `versions`.
pub(crate) struct VersionRow {
    pub(crate) function: i64,
    pub(crate) number: i64,
    digest: [u8; 32],
    content: String,
    created_unix_ms: i64,
    checksum: [u8; CHECKSUM_BYTES],
}

/// The JSON text of a version.
#[derive(Deserialize)]
struct Content {
    artifact: Artifact,
    contract: Contract,
    config: FunctionConfig,
}

/// The same, to write.
#[derive(Serialize)]
struct ContentRef<'a> {
    artifact: &'a Artifact,
    contract: Contract,
    config: &'a FunctionConfig,
}

impl FunctionRow {
    /// A function without versions.
    pub(crate) fn new(id: i64, key: FunctionKey) -> Self {
        Self {
            id,
            key,
            n_published: 0,
            n_versions: 0,
            live: None,
            previous_live: None,
            is_removed: false,
        }
    }

    /// Reads [`FUNCTION_COLUMNS`]; `None` when the row is damaged.
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Option<Self>> {
        let (namespace, name) = (
            row.get_ref(1)?.as_str()?.parse(),
            row.get_ref(2)?.as_str()?.parse(),
        );
        let (Ok(namespace), Ok(name)) = (namespace, name) else {
            return Ok(None);
        };
        let function = Self {
            id: row.get(0)?,
            key: FunctionKey { namespace, name },
            n_published: row.get(3)?,
            n_versions: row.get(4)?,
            live: row.get(5)?,
            previous_live: row.get(6)?,
            is_removed: row.get(7)?,
        };
        let checksum: [u8; CHECKSUM_BYTES] = row.get(8)?;
        Ok((function.checksum() == checksum).then_some(function))
    }

    pub(crate) fn checksum(&self) -> [u8; CHECKSUM_BYTES] {
        Checksum::of("functions")
            .number(self.id)
            .bytes(self.key.namespace.as_str().as_bytes())
            .bytes(self.key.name.as_str().as_bytes())
            .number(self.n_published)
            .number(self.n_versions)
            .option(self.live)
            .option(self.previous_live)
            .number(i64::from(self.is_removed))
            .finish()
    }

    pub(crate) fn move_live(&mut self, to: i64) {
        if self.live != Some(to) {
            self.previous_live = self.live;
            self.live = Some(to);
        }
    }
}

impl VersionRow {
    /// The row of a version of the function in row `function`.
    pub(crate) fn new(function: i64, version: &FunctionVersion) -> Self {
        let content = ContentRef {
            artifact: &version.artifact,
            contract: version.contract,
            config: &version.config,
        };
        let content = serde_json::to_string(&content)
            .expect("the types have string keys only and no fallible serialisers");
        let mut row = Self {
            function,
            number: to_i64(version.number),
            digest: *version.digest.as_bytes(),
            content,
            created_unix_ms: to_i64(version.created_unix_ms),
            checksum: [0; CHECKSUM_BYTES],
        };
        row.checksum = row.checksum_of(&version.function);
        row
    }

    /// Reads [`VERSION_COLUMNS`].
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            function: row.get(0)?,
            number: row.get(1)?,
            digest: row.get(2)?,
            content: row.get(3)?,
            created_unix_ms: row.get(4)?,
            checksum: row.get(5)?,
        })
    }

    /// The values of [`VERSION_COLUMNS`].
    pub(crate) fn values(&self) -> [&dyn ToSql; 6] {
        [
            &self.function,
            &self.number,
            &self.digest,
            &self.content,
            &self.created_unix_ms,
            &self.checksum,
        ]
    }

    /// The version of `key` that the row holds, or in words why it holds none.
    pub(crate) fn decode(self, key: &FunctionKey) -> Result<FunctionVersion, String> {
        if self.checksum != self.checksum_of(key) {
            return Err(format!("version {} of `{key}` is damaged", self.number));
        }
        let content: Content = serde_json::from_str(&self.content).map_err(|error| {
            format!("version {} of `{key}` is unreadable: {error}", self.number)
        })?;
        Ok(FunctionVersion {
            function: key.clone(),
            number: to_u64(self.number),
            digest: Digest::from_bytes(self.digest),
            artifact: content.artifact,
            contract: content.contract,
            config: content.config,
            created_unix_ms: to_u64(self.created_unix_ms),
        })
    }

    fn checksum_of(&self, key: &FunctionKey) -> [u8; CHECKSUM_BYTES] {
        Checksum::of("versions")
            .bytes(key.namespace.as_str().as_bytes())
            .bytes(key.name.as_str().as_bytes())
            .number(self.number)
            .bytes(&self.digest)
            .bytes(self.content.as_bytes())
            .number(self.created_unix_ms)
            .finish()
    }
}

/// SQLite's integers have a sign; the bits are kept, so every `u64` comes back as it was.
pub(crate) fn to_i64(number: u64) -> i64 {
    number.cast_signed()
}

/// The inverse of [`to_i64`].
pub(crate) fn to_u64(number: i64) -> u64 {
    number.cast_unsigned()
}
