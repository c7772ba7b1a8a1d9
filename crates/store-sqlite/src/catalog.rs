//! The catalog in `holm.db`. One connection behind a lock: deploys are rare, and reads happen at start.
//!
//! A version's content is one JSON text, as the model writes it: what a version means is the model's to
//! change, and old texts stay readable by its defaults. Removed functions leave a row that keeps counting
//! their numbers. Every row ends in a checksum of the rest.

use std::path::Path;

use model::{Digest, FunctionKey, FunctionVersion};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use store::{AliasMove, CatalogState, FunctionState, Publish, Published, StoreError};

use crate::database::{Database, Durability, Migration, Schema};
use crate::rows::{FUNCTION_COLUMNS, FunctionRow, VERSION_COLUMNS, VersionRow, to_i64, to_u64};

/// A catalog up to this size is checked page by page at every start (`PRAGMA quick_check`), which reads
/// it whole. The rows of a larger one are still checked as they are loaded.
pub const QUICK_CHECK_BYTES_MAX: u64 = 64 * 1024 * 1024;

const SCHEMA: Schema = Schema {
    what: "a catalog of Holm",
    // "Holm" in ASCII.
    application_id: 0x486f_6c6d,
    // A catalog of thousands of functions is smaller.
    quick_check_bytes_max: QUICK_CHECK_BYTES_MAX,
    migrations: &[Migration::Sql(
        "
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
    ",
    )],
};

/// Set when everything that a data directory needs had been made.
const IS_COMPLETE: &str = "is_complete";

/// The catalog's file, open.
#[derive(Debug)]
pub(crate) struct CatalogDb {
    database: Database,
    connection: Mutex<Connection>,
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
        // The pages are not read again soon.
        let _ = connection.execute_batch("PRAGMA shrink_memory");
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
            let rows = statement.query_map([], FunctionRow::read)?;
            rows.collect::<rusqlite::Result<Option<Vec<_>>>>()
        });
        let rows = rows.map_err(|error| self.database.error(&error))?;
        rows.ok_or_else(|| self.damaged_function())
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
                .query_row(parameters, FunctionRow::read)
                .optional()
        });
        match row.map_err(|error| self.database.error(&error))? {
            None => Ok(None),
            Some(Some(function)) => Ok(Some(function)),
            Some(None) => Err(self.damaged_function()),
        }
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
            .map(|id| FunctionRow::new(id, key.clone()))
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
        let sql =
            format!("INSERT INTO versions ({VERSION_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6)");
        let row = VersionRow::new(function, version);
        transaction
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.execute(row.values().as_slice()))
            .map_err(|error| self.database.error(&error))?;
        Ok(())
    }

    fn decode(&self, key: &FunctionKey, row: VersionRow) -> Result<FunctionVersion, StoreError> {
        row.decode(key)
            .map_err(|words| self.database.corrupt(&words))
    }

    fn damaged_function(&self) -> StoreError {
        self.database.corrupt("a row of `functions` is damaged")
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
