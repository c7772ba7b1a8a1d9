//! Opening an SQLite file: is it ours, is it whole, is its schema known; then migrations. Refuses to know
//! what the tables hold.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use store::StoreError;

use crate::error::{io_at, sql_at};
use crate::files;

/// How long a statement waits for another program that has the file, such as a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Memory for pages per connection; a transaction that changes more spills to the file.
const CACHE_KIB_MAX: i32 = 1024;

/// The WAL file shrinks to this size when it begins anew.
const WAL_BYTES_KEPT: u32 = 8 * 1024 * 1024;

/// First bytes of every SQLite 3 file ("Database File Format", section 1.3.1).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const HEADER_BYTES: u64 = 100;

/// What a database file is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schema {
    /// What it holds, for messages.
    pub(crate) what: &'static str,
    /// Marks the file as this kind of file (`PRAGMA application_id`).
    pub(crate) application_id: i32,
    /// Files up to this size are checked page by page when they are opened.
    pub(crate) quick_check_bytes_max: u64,
    /// The step at index N makes version N + 1 of version N. Never changed once released, only appended
    /// to.
    pub(crate) migrations: &'static [Migration],
}

/// One step of a schema, done in one transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Migration {
    /// A batch of statements.
    Sql(&'static str),
    /// A batch of statements, and then what SQL cannot do.
    SqlAndCode(&'static str, fn(&Transaction<'_>) -> rusqlite::Result<()>),
}

/// How carefully a database writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// A transaction is durable when its commit returned.
    EachCommit,
    /// A transaction survives the process; a power cut may take the last ones.
    Checkpoints,
}

/// A file that is one of ours, at the schema version of this release.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) path: PathBuf,
    pub(crate) schema: Schema,
    pub(crate) durability: Durability,
}

impl Database {
    /// Opens the file, which begins empty when it is missing and `may_begin` allows it; checks and
    /// migrates it.
    pub(crate) fn open(
        path: &Path,
        schema: Schema,
        durability: Durability,
        may_begin: bool,
    ) -> Result<(Self, Connection), StoreError> {
        let size_bytes = check_header(path, may_begin)?;
        // Made here for its permissions, which SQLite copies to the files beside it.
        drop(files::open_or_make(path)?);
        let database = Self {
            path: path.to_owned(),
            schema,
            durability,
        };
        let mut connection = database.connect()?;
        database.check_identity(&connection, may_begin)?;
        database.set_up_journal(&connection)?;
        if size_bytes <= schema.quick_check_bytes_max {
            database.quick_check(&connection)?;
        }
        database.migrate(&mut connection)?;
        Ok((database, connection))
    }

    /// One more connection.
    pub(crate) fn connect(&self) -> Result<Connection, StoreError> {
        // Without SQLITE_OPEN_URI: a data directory may be called `file:x?mode=ro`.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(&self.path, flags).map_err(|error| self.error(&error))?;
        self.configure(&connection)
            .map_err(|error| self.error(&error))?;
        Ok(connection)
    }

    /// An error of SQLite in this file.
    pub(crate) fn error(&self, error: &rusqlite::Error) -> StoreError {
        sql_at(&self.path, error)
    }

    /// Damage found in this file.
    pub(crate) fn corrupt(&self, detail: &str) -> StoreError {
        StoreError::Corrupt(format!("{}: {detail}", self.path.display()))
    }

    fn configure(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        // A schema from a damaged file must call nothing.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB_MAX)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        if self.durability == Durability::EachCommit {
            // One connection has the file: the index of the WAL is kept on the heap then, and no shared
            // mapping can be cut off below it.
            connection.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
        }
        Ok(())
    }

    /// Before anything is written: whose file it is, and whether this release reads it.
    fn check_identity(&self, connection: &Connection, may_begin: bool) -> Result<(), StoreError> {
        let number = |pragma: &str| {
            let number = connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
            number.map_err(|error| self.error(&error))
        };
        let (application_id, version) = (number("application_id")?, number("user_version")?);
        let n_tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(|error| self.error(&error))?;
        let is_empty = (application_id, version, n_tables) == (0, 0, 0);
        if is_empty && !may_begin {
            return Err(self.corrupt("it is empty, but the directory has been in use: restore it"));
        }
        if !is_empty && (application_id != self.schema.application_id || version < 1) {
            return Err(self.corrupt(&format!("it does not hold {}", self.schema.what)));
        }
        match u32::try_from(version) {
            Ok(found) if found > self.version() => Err(StoreError::SchemaTooNew {
                found,
                supported: self.version(),
            }),
            _ => Ok(()),
        }
    }

    fn set_up_journal(&self, connection: &Connection) -> Result<(), StoreError> {
        let synchronous = match self.durability {
            Durability::EachCommit => "FULL",
            Durability::Checkpoints => "NORMAL",
        };
        let set_up = || {
            let mode: String =
                connection
                    .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
            connection.pragma_update(None, "synchronous", synchronous)?;
            connection.pragma_update_and_check(
                None,
                "journal_size_limit",
                WAL_BYTES_KEPT,
                |_| Ok(()),
            )?;
            Ok(mode)
        };
        match set_up().map_err(|error| self.error(&error))?.as_str() {
            "wal" => Ok(()),
            other => {
                let detail = format!("{}: the journal mode stays `{other}`", self.path.display());
                Err(StoreError::Failed(detail))
            }
        }
    }

    fn quick_check(&self, connection: &Connection) -> Result<(), StoreError> {
        let verdict = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
            .map_err(|error| self.error(&error))?;
        if verdict == "ok" {
            Ok(())
        } else {
            Err(self.corrupt(&verdict))
        }
    }

    fn migrate(&self, connection: &mut Connection) -> Result<(), StoreError> {
        migrate(connection, &self.schema).map_err(|error| self.error(&error))
    }

    fn version(&self) -> u32 {
        u32::try_from(self.schema.migrations.len()).expect("a handful of migrations")
    }
}

/// Brings the schema up to date, each step in a transaction that also notes the step: killed in between,
/// the next start goes on with the next step.
fn migrate(connection: &mut Connection, schema: &Schema) -> rusqlite::Result<()> {
    let version: usize = connection.pragma_query_value(None, "user_version", |row| {
        row.get::<_, i32>(0)
            .map(|version| usize::try_from(version).unwrap_or(0))
    })?;
    for (index, migration) in schema.migrations.iter().enumerate().skip(version) {
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        match migration {
            Migration::Sql(statements) => step.execute_batch(statements)?,
            Migration::SqlAndCode(statements, code) => {
                step.execute_batch(statements)?;
                code(&step)?;
            }
        }
        step.pragma_update(None, "application_id", schema.application_id)?;
        step.pragma_update(None, "user_version", index as u32 + 1)?;
        step.commit()?;
    }
    Ok(())
}

/// Looks at the first bytes before SQLite does, for a clear message. Returns the size in bytes.
fn check_header(path: &Path, may_begin: bool) -> Result<u64, StoreError> {
    let corrupt = |detail: &str| Err(StoreError::Corrupt(format!("{}: {detail}", path.display())));
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && may_begin => return Ok(0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return corrupt("it is missing, but the directory has been in use: restore it");
        }
        Err(error) => return Err(io_at(path, &error)),
    };
    let size_bytes = file.metadata().map_err(|error| io_at(path, &error))?.len();
    let mut magic = [0; 16];
    match size_bytes {
        0 => Ok(0),
        1..HEADER_BYTES => corrupt("it is cut off"),
        _ => match file.read_exact(&mut magic) {
            Ok(()) if magic == *MAGIC => Ok(size_bytes),
            Ok(()) => corrupt("it is not an SQLite file"),
            Err(error) => Err(io_at(path, &error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: Migration =
        Migration::Sql("CREATE TABLE t (a TEXT) STRICT; INSERT INTO t VALUES ('old')");
    const V2: Migration = Migration::SqlAndCode("ALTER TABLE t ADD COLUMN b TEXT", |step| {
        step.execute("UPDATE t SET b = a || '!'", []).map(drop)
    });
    const BROKEN: Migration = Migration::SqlAndCode("ALTER TABLE t ADD COLUMN c TEXT", |step| {
        step.execute("UPDATE no_such_table SET c = 1", []).map(drop)
    });

    fn schema(migrations: &'static [Migration]) -> Schema {
        Schema {
            what: "a test",
            application_id: 7,
            quick_check_bytes_max: u64::MAX,
            migrations,
        }
    }

    fn open(path: &Path, migrations: &'static [Migration]) -> Result<Connection, StoreError> {
        let opened = Database::open(path, schema(migrations), Durability::EachCommit, true);
        opened.map(|(_, connection)| connection)
    }

    fn version(connection: &Connection) -> i32 {
        connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .expect("readable")
    }

    #[test]
    fn older_schemas_are_migrated_and_keep_their_rows() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("x.db");
        assert_eq!(version(&open(&path, &[V1]).expect("begins")), 1);
        let migrated = open(&path, &[V1, V2]).expect("migrates");
        assert_eq!(version(&migrated), 2);
        let row: String = migrated
            .query_row("SELECT b FROM t", [], |row| row.get(0))
            .expect("a row");
        assert_eq!(row, "old!");
        drop(migrated);
        assert_eq!(version(&open(&path, &[V1, V2]).expect("opens")), 2);
        let newer = open(&path, &[V1]).expect_err("too new");
        assert!(
            matches!(
                newer,
                StoreError::SchemaTooNew {
                    found: 2,
                    supported: 1
                }
            ),
            "{newer}"
        );
    }

    #[test]
    fn a_step_that_fails_leaves_the_step_before() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("x.db");
        drop(open(&path, &[V1]).expect("begins"));
        open(&path, &[V1, V2, BROKEN]).expect_err("fails");
        let connection = Connection::open(&path).expect("opens");
        assert_eq!(version(&connection), 2);
        assert!(connection.prepare("SELECT c FROM t").is_err());
    }

    #[test]
    fn the_files_of_others_are_refused_untouched() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("x.db");
        let other = Connection::open(&path).expect("opens");
        other
            .execute_batch("CREATE TABLE theirs (x)")
            .expect("works");
        drop(other);
        let before = std::fs::read(&path).expect("readable");
        let refused = open(&path, &[V1]).expect_err("not ours");
        assert!(
            refused.to_string().contains("does not hold a test"),
            "{refused}"
        );
        assert_eq!(std::fs::read(&path).expect("readable"), before);

        for (bytes, words) in [
            (&b"SQLite"[..], "cut off"),
            (&[b'x'; 4096][..], "not an SQLite file"),
        ] {
            std::fs::write(&path, bytes).expect("writable");
            let refused = open(&path, &[V1]).expect_err("not a database");
            assert!(matches!(&refused, StoreError::Corrupt(detail) if detail.contains(words)));
        }
    }
}
