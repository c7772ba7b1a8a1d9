//! The catalog in `holm.db`. One connection behind a lock: deploys are rare, and reads happen at start.
//!
//! A version's content is one JSON text, as the model writes it: what a version means is the model's to
//! change, and old texts stay readable by its defaults. Removed functions leave a row that keeps counting
//! their numbers. Every row ends in a [`Checksum`] of the rest.

use std::path::Path;

use model::{Artifact, Contract, Digest, FunctionConfig, FunctionKey, FunctionVersion};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use store::{AliasMove, CatalogState, FunctionState, Publish, Published, StoreError};

use crate::checksum::{CHECKSUM_BYTES, Checksum};
use crate::database::{Database, Durability, Schema};

const SCHEMA: Schema = Schema {
    what: "a catalog of Holm",
    // "Holm" in ASCII.
    application_id: 0x486f_6c6d,
    migrations: &["
        CREATE TABLE meta (
            key TEXT PRIMARY KEY,
            value TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE functions (
            id INTEGER PRIMARY KEY,
            namespace TEXT NOT NULL,
            name TEXT NOT NULL,
            -- How many versions were ever published: the highest number.
            n_published INTEGER NOT NULL,
            -- How many there are now.
            n_versions INTEGER NOT NULL,
            live INTEGER,
            previous_live INTEGER,
            is_removed INTEGER NOT NULL,
            checksum BLOB NOT NULL,
            UNIQUE (namespace, name)
        ) STRICT;

        CREATE TABLE versions (
            function INTEGER NOT NULL REFERENCES functions (id),
            number INTEGER NOT NULL,
            digest BLOB NOT NULL,
            content TEXT NOT NULL,
            created_unix_ms INTEGER NOT NULL,
            checksum BLOB NOT NULL,
            PRIMARY KEY (function, number),
            UNIQUE (function, digest)
        ) STRICT;
    "],
};

/// Set when everything that a data directory needs had been made.
const IS_COMPLETE: &str = "is_complete";

/// The catalog's file, open.
#[derive(Debug)]
pub(crate) struct CatalogDb {
    database: Database,
    connection: Mutex<Connection>,
}

/// A row of `functions`.
struct FunctionRow {
    id: i64,
    key: FunctionKey,
    n_published: i64,
    n_versions: i64,
    live: Option<i64>,
    previous_live: Option<i64>,
    is_removed: bool,
}

/// A row of `versions`, as it is on disk.
struct VersionRow {
    function: i64,
    number: i64,
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

#[derive(Serialize)]
struct ContentRef<'a> {
    artifact: &'a Artifact,
    contract: Contract,
    config: &'a FunctionConfig,
}

impl CatalogDb {
    pub(crate) fn open(path: &Path, may_begin: bool) -> Result<Self, StoreError> {
        let (database, connection) =
            Database::open(path, SCHEMA, Durability::EachCommit, may_begin)?;
        Ok(Self {
            database,
            connection: Mutex::new(connection),
        })
    }

    pub(crate) fn is_complete(&self) -> Result<bool, StoreError> {
        let connection = self.connection.lock();
        let sql = "SELECT value FROM meta WHERE key = ?1";
        let value = connection.query_row(sql, [IS_COMPLETE], |row| row.get::<_, String>(0));
        match value
            .optional()
            .map_err(|error| self.database.error(&error))?
            .as_deref()
        {
            None => Ok(false),
            Some("1") => Ok(true),
            Some(_) => Err(self
                .database
                .corrupt("an unknown value in the table `meta`")),
        }
    }

    pub(crate) fn set_complete(&self) -> Result<(), StoreError> {
        let connection = self.connection.lock();
        let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, '1')";
        connection
            .execute(sql, [IS_COMPLETE])
            .map_err(|error| self.database.error(&error))?;
        Ok(())
    }

    pub(crate) fn load(&self) -> Result<CatalogState, StoreError> {
        let connection = self.connection.lock();
        let functions = self.functions(&connection)?;
        let mut versions = self.versions(&connection)?.into_iter().peekable();
        let mut states = Vec::with_capacity(functions.len());
        // Both lists are in order of the functions' ids.
        for function in functions {
            let mut state = FunctionState {
                function: function.key.clone(),
                versions: Vec::new(),
                live: function.live.map(to_u64),
                previous_live: function.previous_live.map(to_u64),
            };
            while let Some(row) = versions.next_if(|row| row.function == function.id) {
                state.versions.push(self.decode(&function.key, row)?);
            }
            if state.versions.len() as u64 != to_u64(function.n_versions) {
                let detail = format!("versions of `{}` are missing", function.key);
                return Err(self.database.corrupt(&detail));
            }
            if !function.is_removed {
                states.push(state);
            }
        }
        if versions.next().is_some() {
            return Err(self.database.corrupt("versions without a function"));
        }
        states.sort_by(|a, b| a.function.cmp(&b.function));
        Ok(CatalogState { functions: states })
    }

    pub(crate) fn publish(&self, publish: &Publish) -> Result<Published, StoreError> {
        self.transaction(|transaction| {
            let key = &publish.function;
            let mut function = match self.function(transaction, key)? {
                Some(function) => function,
                None => self.insert_function(transaction, key)?,
            };
            let previous_live = function.live.map(to_u64);
            let digest = publish.config.version_digest(&publish.artifact);
            let known = self.version_with_digest(transaction, function.id, digest)?;
            let is_new = known.is_none();
            let version = match known {
                Some(row) => self.decode(key, row)?,
                None => {
                    function.n_published += 1;
                    function.n_versions += 1;
                    let version = new_version(publish, function.n_published, digest);
                    self.insert_version(transaction, function.id, &version)?;
                    version
                }
            };
            function.is_removed = false;
            if publish.promote {
                function.move_live(to_i64(version.number));
            }
            self.update_function(transaction, &function)?;
            Ok(Published {
                version,
                is_new,
                live: function.live.map(to_u64),
                previous_live,
            })
        })
    }

    pub(crate) fn promote(&self, key: &FunctionKey, version: u64) -> Result<AliasMove, StoreError> {
        let missing = || StoreError::NotFound(format!("version {version} of `{key}`"));
        let number = i64::try_from(version).map_err(|_| missing())?;
        self.transaction(|transaction| {
            let mut function = self.existing(transaction, key)?.ok_or_else(missing)?;
            let sql = "SELECT 1 FROM versions WHERE function = ?1 AND number = ?2";
            let exists = transaction
                .prepare_cached(sql)
                .and_then(|mut statement| statement.exists(params![function.id, number]))
                .map_err(|error| self.database.error(&error))?;
            if !exists {
                return Err(missing());
            }
            let from = function.live.map(to_u64);
            function.move_live(number);
            self.update_function(transaction, &function)?;
            Ok(AliasMove { from, to: version })
        })
    }

    pub(crate) fn remove(&self, key: &FunctionKey) -> Result<(), StoreError> {
        self.transaction(|transaction| {
            let missing = || StoreError::NotFound(format!("`{key}`"));
            let function = self.existing(transaction, key)?.ok_or_else(missing)?;
            transaction
                .prepare_cached("DELETE FROM versions WHERE function = ?1")
                .and_then(|mut statement| statement.execute([function.id]))
                .map_err(|error| self.database.error(&error))?;
            let removed = FunctionRow {
                n_versions: 0,
                live: None,
                previous_live: None,
                is_removed: true,
                ..function
            };
            self.update_function(transaction, &removed)
        })
    }

    /// Runs `work` in a transaction, which an error undoes. A commit whose sync failed is undone, too,
    /// and never repeated: the next commit writes its pages anew.
    fn transaction<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.connection.lock();
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| self.database.error(&error))?;
        let done = work(&transaction)?;
        transaction
            .commit()
            .map_err(|error| self.database.error(&error))?;
        Ok(done)
    }

    fn functions(&self, connection: &Connection) -> Result<Vec<FunctionRow>, StoreError> {
        let sql = format!("SELECT {FUNCTION_COLUMNS} FROM functions ORDER BY id");
        let rows = connection.prepare(&sql).and_then(|mut statement| {
            let rows = statement.query_map([], RawFunction::read)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        let rows = rows.map_err(|error| self.database.error(&error))?;
        rows.into_iter()
            .map(|row| self.check_function(row))
            .collect()
    }

    fn versions(&self, connection: &Connection) -> Result<Vec<VersionRow>, StoreError> {
        let sql = format!("SELECT {VERSION_COLUMNS} FROM versions ORDER BY function, number");
        let rows = connection.prepare(&sql).and_then(|mut statement| {
            let rows = statement.query_map([], VersionRow::read)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        rows.map_err(|error| self.database.error(&error))
    }

    fn function(
        &self,
        transaction: &Transaction<'_>,
        key: &FunctionKey,
    ) -> Result<Option<FunctionRow>, StoreError> {
        let sql =
            format!("SELECT {FUNCTION_COLUMNS} FROM functions WHERE namespace = ?1 AND name = ?2");
        let row = transaction.prepare_cached(&sql).and_then(|mut statement| {
            let parameters = params![key.namespace.as_str(), key.name.as_str()];
            statement
                .query_row(parameters, RawFunction::read)
                .optional()
        });
        let row = row.map_err(|error| self.database.error(&error))?;
        row.map(|row| self.check_function(row)).transpose()
    }

    fn existing(
        &self,
        transaction: &Transaction<'_>,
        key: &FunctionKey,
    ) -> Result<Option<FunctionRow>, StoreError> {
        Ok(self
            .function(transaction, key)?
            .filter(|function| !function.is_removed))
    }

    fn insert_function(
        &self,
        transaction: &Transaction<'_>,
        key: &FunctionKey,
    ) -> Result<FunctionRow, StoreError> {
        let sql = "INSERT INTO functions
            (namespace, name, n_published, n_versions, is_removed, checksum)
            VALUES (?1, ?2, 0, 0, 0, x'')";
        let parameters = params![key.namespace.as_str(), key.name.as_str()];
        transaction
            .prepare_cached(sql)
            .and_then(|mut statement| statement.insert(parameters))
            .map(|id| FunctionRow {
                id,
                key: key.clone(),
                n_published: 0,
                n_versions: 0,
                live: None,
                previous_live: None,
                is_removed: false,
            })
            .map_err(|error| self.database.error(&error))
    }

    fn update_function(
        &self,
        transaction: &Transaction<'_>,
        function: &FunctionRow,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE functions SET n_published = ?2, n_versions = ?3, live = ?4,
            previous_live = ?5, is_removed = ?6, checksum = ?7 WHERE id = ?1";
        let parameters = params![
            function.id,
            function.n_published,
            function.n_versions,
            function.live,
            function.previous_live,
            function.is_removed,
            function.checksum(),
        ];
        let updated = transaction
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(parameters));
        match updated.map_err(|error| self.database.error(&error))? {
            1 => Ok(()),
            _ => Err(self.database.corrupt("a function's row has gone")),
        }
    }

    fn version_with_digest(
        &self,
        transaction: &Transaction<'_>,
        function: i64,
        digest: Digest,
    ) -> Result<Option<VersionRow>, StoreError> {
        let sql =
            format!("SELECT {VERSION_COLUMNS} FROM versions WHERE function = ?1 AND digest = ?2");
        let row = transaction.prepare_cached(&sql).and_then(|mut statement| {
            statement
                .query_row(params![function, digest.as_bytes()], VersionRow::read)
                .optional()
        });
        row.map_err(|error| self.database.error(&error))
    }

    fn insert_version(
        &self,
        transaction: &Transaction<'_>,
        function: i64,
        version: &FunctionVersion,
    ) -> Result<(), StoreError> {
        let content = ContentRef {
            artifact: &version.artifact,
            contract: version.contract,
            config: &version.config,
        };
        let content = serde_json::to_string(&content)
            .expect("the types have string keys only and no fallible serialisers");
        let mut row = VersionRow {
            function,
            number: to_i64(version.number),
            digest: *version.digest.as_bytes(),
            content,
            created_unix_ms: to_i64(version.created_unix_ms),
            checksum: [0; CHECKSUM_BYTES],
        };
        row.checksum = row.checksum_of(&version.function);
        let sql =
            format!("INSERT INTO versions ({VERSION_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6)");
        let parameters = params![
            row.function,
            row.number,
            row.digest,
            row.content,
            row.created_unix_ms,
            row.checksum
        ];
        transaction
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.execute(parameters))
            .map_err(|error| self.database.error(&error))?;
        Ok(())
    }

    fn check_function(&self, raw: RawFunction) -> Result<FunctionRow, StoreError> {
        let RawFunction {
            id,
            namespace,
            name,
            checksum,
            ..
        } = &raw;
        let damaged = || {
            self.database
                .corrupt(&format!("row {id} of `functions` is damaged"))
        };
        let function = FunctionRow {
            id: *id,
            key: FunctionKey {
                namespace: namespace.parse().map_err(|_| damaged())?,
                name: name.parse().map_err(|_| damaged())?,
            },
            n_published: raw.n_published,
            n_versions: raw.n_versions,
            live: raw.live,
            previous_live: raw.previous_live,
            is_removed: raw.is_removed,
        };
        if function.checksum() == *checksum {
            Ok(function)
        } else {
            Err(damaged())
        }
    }

    /// The version that a row holds, after a look at its checksum.
    fn decode(&self, key: &FunctionKey, row: VersionRow) -> Result<FunctionVersion, StoreError> {
        if row.checksum != row.checksum_of(key) {
            let detail = format!("version {} of `{key}` is damaged", row.number);
            return Err(self.database.corrupt(&detail));
        }
        let content: Content = serde_json::from_str(&row.content).map_err(|error| {
            let detail = format!("version {} of `{key}` cannot be read: {error}", row.number);
            self.database.corrupt(&detail)
        })?;
        Ok(FunctionVersion {
            function: key.clone(),
            number: to_u64(row.number),
            digest: Digest::from_bytes(row.digest),
            artifact: content.artifact,
            contract: content.contract,
            config: content.config,
            created_unix_ms: to_u64(row.created_unix_ms),
        })
    }
}

const FUNCTION_COLUMNS: &str =
    "id, namespace, name, n_published, n_versions, live, previous_live, is_removed, checksum";

const VERSION_COLUMNS: &str = "function, number, digest, content, created_unix_ms, checksum";

/// A row of `functions` before it was checked.
struct RawFunction {
    id: i64,
    namespace: String,
    name: String,
    n_published: i64,
    n_versions: i64,
    live: Option<i64>,
    previous_live: Option<i64>,
    is_removed: bool,
    checksum: [u8; CHECKSUM_BYTES],
}

impl RawFunction {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            namespace: row.get(1)?,
            name: row.get(2)?,
            n_published: row.get(3)?,
            n_versions: row.get(4)?,
            live: row.get(5)?,
            previous_live: row.get(6)?,
            is_removed: row.get(7)?,
            checksum: row.get(8)?,
        })
    }
}

impl FunctionRow {
    fn checksum(&self) -> [u8; CHECKSUM_BYTES] {
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

    fn move_live(&mut self, to: i64) {
        if self.live != Some(to) {
            self.previous_live = self.live;
            self.live = Some(to);
        }
    }
}

impl VersionRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            function: row.get(0)?,
            number: row.get(1)?,
            digest: row.get(2)?,
            content: row.get(3)?,
            created_unix_ms: row.get(4)?,
            checksum: row.get(5)?,
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

fn new_version(publish: &Publish, number: i64, digest: Digest) -> FunctionVersion {
    FunctionVersion {
        function: publish.function.clone(),
        number: to_u64(number),
        digest,
        artifact: publish.artifact.clone(),
        contract: publish.contract,
        config: publish.config.clone(),
        created_unix_ms: publish.now_unix_ms,
    }
}

/// SQLite's integers have a sign; the bits are kept, so every `u64` comes back as it was.
fn to_i64(number: u64) -> i64 {
    number.cast_signed()
}

/// The inverse of [`to_i64`].
fn to_u64(number: i64) -> u64 {
    number.cast_unsigned()
}
