//! Receipts in `receipts.db`: one connection appends, others read beside it.
//!
//! Rows lie in order of time, so that sums over a time read one stretch of the file; an index finds them
//! by id.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use model::{Code, FunctionKey, InvocationId, Isolation, Receipt, StartKind};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use store::{StoreError, UsageQuery, UsageRow};

use crate::database::{Database, Durability, Schema};
use crate::usage;

/// An append syncs the file when the last sync was longer ago than this. What was appended since may be
/// lost in a power cut, together with what came after the last sync on a node that then fell silent;
/// it is never lost by killing the process.
pub const RECEIPT_SYNC_INTERVAL: Duration = Duration::from_secs(5);

/// Connections for reading that are kept open.
const N_IDLE_READERS_MAX: usize = 4;

/// Functions whose row number is remembered.
const N_KNOWN_FUNCTIONS_MAX: usize = 100_000;

const SCHEMA: Schema = Schema {
    what: "receipts of Holm",
    // "HolR" in ASCII.
    application_id: 0x486f_6c52,
    // Damage to receipts shows when they are read; it must not hold up a node that serves functions.
    quick_check_bytes_max: 0,
    migrations: &["
        CREATE TABLE functions (
            id INTEGER PRIMARY KEY,
            namespace TEXT NOT NULL,
            name TEXT NOT NULL,
            UNIQUE (namespace, name)
        ) STRICT;

        CREATE TABLE receipts (
            accepted_unix_ms INTEGER NOT NULL,
            id BLOB NOT NULL,
            function INTEGER NOT NULL REFERENCES functions (id),
            version INTEGER NOT NULL,
            isolation TEXT NOT NULL,
            start TEXT NOT NULL,
            queue_ns INTEGER NOT NULL,
            start_ns INTEGER NOT NULL,
            init_ns INTEGER NOT NULL,
            run_ns INTEGER NOT NULL,
            cpu_ns INTEGER NOT NULL,
            memory_peak_bytes INTEGER NOT NULL,
            bytes_in INTEGER NOT NULL,
            bytes_out INTEGER NOT NULL,
            log_bytes INTEGER NOT NULL,
            log_dropped_bytes INTEGER NOT NULL,
            status INTEGER NOT NULL,
            error INTEGER,
            price_nano INTEGER NOT NULL,
            PRIMARY KEY (accepted_unix_ms, id)
        ) STRICT, WITHOUT ROWID;

        CREATE UNIQUE INDEX receipts_by_id ON receipts (id);
    "],
};

/// The file of receipts, open.
#[derive(Debug)]
pub(crate) struct ReceiptDb {
    database: Database,
    writer: Mutex<Writer>,
    idle_readers: Mutex<Vec<Connection>>,
}

#[derive(Debug)]
struct Writer {
    connection: Connection,
    known_functions: HashMap<FunctionKey, i64>,
    synced: Instant,
}

impl ReceiptDb {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let (database, connection) = Database::open(path, SCHEMA, Durability::Checkpoints, true)?;
        let writer = Writer {
            connection,
            known_functions: HashMap::new(),
            synced: Instant::now(),
        };
        Ok(Self {
            database,
            writer: Mutex::new(writer),
            idle_readers: Mutex::new(Vec::new()),
        })
    }

    pub(crate) fn append(&self, receipts: &[Receipt]) -> Result<(), StoreError> {
        if receipts.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer.lock();
        writer
            .append(receipts)
            .map_err(|error| self.database.error(&error))?;
        if writer.synced.elapsed() >= RECEIPT_SYNC_INTERVAL {
            // The batch is in, whatever becomes of the sync; the next checkpoint does it again.
            let _ = writer
                .connection
                .execute_batch("PRAGMA wal_checkpoint(PASSIVE)");
            writer.synced = Instant::now();
        }
        Ok(())
    }

    pub(crate) fn find(&self, id: InvocationId) -> Result<Option<Receipt>, StoreError> {
        let sql = find_sql();
        let row = self.read(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            statement
                .query_row([id.to_bytes()], read_receipt)
                .optional()
        })?;
        let damaged = || {
            self.database
                .corrupt(&format!("the receipt {id} is damaged"))
        };
        row.map(|receipt| receipt.ok_or_else(damaged)).transpose()
    }

    pub(crate) fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        self.read(|connection| {
            // One moment for both statements: a function of a newer receipt would be missing.
            let moment = connection.unchecked_transaction()?;
            let rows = usage::sum(&moment, query)?;
            moment.commit()?;
            Ok(rows)
        })
    }

    /// Runs `work` on a connection of its own, so that a long sum delays neither appends nor finds.
    fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let idle = self.idle_readers.lock().pop();
        let reader = match idle {
            Some(reader) => reader,
            None => {
                let reader = self.database.connect()?;
                let read_only = reader.pragma_update(None, "query_only", true);
                read_only.map_err(|error| self.database.error(&error))?;
                reader
            }
        };
        let done = work(&reader).map_err(|error| self.database.error(&error))?;
        let mut idle_readers = self.idle_readers.lock();
        if idle_readers.len() < N_IDLE_READERS_MAX {
            idle_readers.push(reader);
        }
        Ok(done)
    }
}

impl Writer {
    fn append(&mut self, receipts: &[Receipt]) -> rusqlite::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Rows made in a transaction that fails are no rows: known they become with the commit.
        let mut new_functions = HashMap::new();
        {
            let mut statement = transaction.prepare_cached(INSERT)?;
            for receipt in receipts {
                let key = &receipt.function;
                let known = self
                    .known_functions
                    .get(key)
                    .or_else(|| new_functions.get(key));
                let function = match known.copied() {
                    Some(id) => id,
                    None => {
                        let id = function_id(&transaction, key)?;
                        new_functions.insert(key.clone(), id);
                        id
                    }
                };
                insert(&mut statement, receipt, function)?;
            }
        }
        transaction.commit()?;
        if self.known_functions.len() + new_functions.len() > N_KNOWN_FUNCTIONS_MAX {
            self.known_functions.clear();
        }
        self.known_functions.extend(new_functions);
        Ok(())
    }
}

fn function_id(transaction: &Transaction<'_>, key: &FunctionKey) -> rusqlite::Result<i64> {
    let names = params![key.namespace.as_str(), key.name.as_str()];
    let find = "SELECT id FROM functions WHERE namespace = ?1 AND name = ?2";
    let found = transaction
        .prepare_cached(find)?
        .query_row(names, |row| row.get(0))
        .optional()?;
    match found {
        Some(id) => Ok(id),
        None => transaction
            .prepare_cached("INSERT INTO functions (namespace, name) VALUES (?1, ?2)")?
            .insert(names),
    }
}

/// A receipt that is there already is left as it is.
const INSERT: &str = "INSERT INTO receipts (
        accepted_unix_ms, id, function, version, isolation, start, queue_ns, start_ns, init_ns, run_ns,
        cpu_ns, memory_peak_bytes, bytes_in, bytes_out, log_bytes, log_dropped_bytes, status, error,
        price_nano
    ) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)
    ON CONFLICT DO NOTHING";

fn insert(
    statement: &mut rusqlite::Statement<'_>,
    receipt: &Receipt,
    function: i64,
) -> rusqlite::Result<usize> {
    let bits = u64::cast_signed;
    statement.execute(params![
        to_time(receipt.accepted_unix_ms),
        receipt.id.to_bytes(),
        function,
        bits(receipt.version),
        receipt.isolation.as_str(),
        receipt.start.as_str(),
        bits(receipt.queue_ns),
        bits(receipt.start_ns),
        bits(receipt.init_ns),
        bits(receipt.run_ns),
        bits(receipt.cpu_ns),
        bits(receipt.memory_peak_bytes),
        bits(receipt.bytes_in),
        bits(receipt.bytes_out),
        bits(receipt.log_bytes),
        bits(receipt.log_dropped_bytes),
        receipt.status,
        receipt.error.map(|code| code as u16),
        bits(receipt.price_nano),
    ])
}

/// Times must keep their order in SQLite; those beyond the year 292 million are kept as the last.
pub(crate) fn to_time(unix_ms: u64) -> i64 {
    i64::try_from(unix_ms).unwrap_or(i64::MAX)
}

const COLUMNS: &str = "r.accepted_unix_ms, r.id, r.version, r.isolation, r.start, r.queue_ns,
    r.start_ns, r.init_ns, r.run_ns, r.cpu_ns, r.memory_peak_bytes, r.bytes_in, r.bytes_out,
    r.log_bytes, r.log_dropped_bytes, r.status, r.error, r.price_nano";

fn find_sql() -> String {
    format!(
        "SELECT {COLUMNS}, f.namespace, f.name
         FROM receipts r JOIN functions f ON f.id = r.function WHERE r.id = ?1"
    )
}

/// The receipt in a row; `None` when a word or number of it means nothing.
fn read_receipt(row: &Row<'_>) -> rusqlite::Result<Option<Receipt>> {
    let number = |index: usize| row.get::<_, i64>(index).map(i64::cast_unsigned);
    let (isolation, start): (String, String) = (row.get(3)?, row.get(4)?);
    let (namespace, name): (String, String) = (row.get(18)?, row.get(19)?);
    let words = (
        isolation.parse::<Isolation>(),
        namespace.parse(),
        name.parse(),
    );
    let (Ok(isolation), Ok(namespace), Ok(name)) = words else {
        return Ok(None);
    };
    let Some(start) = start_kind(&start) else {
        return Ok(None);
    };
    let error = match row.get::<_, Option<i64>>(16)? {
        None => None,
        Some(number) => match Code::ALL.iter().find(|code| **code as i64 == number) {
            Some(code) => Some(*code),
            None => return Ok(None),
        },
    };
    let Ok(status) = u16::try_from(number(15)?) else {
        return Ok(None);
    };
    Ok(Some(Receipt {
        id: InvocationId::from_bytes(row.get(1)?),
        function: FunctionKey { namespace, name },
        version: number(2)?,
        isolation,
        start,
        accepted_unix_ms: number(0)?,
        queue_ns: number(5)?,
        start_ns: number(6)?,
        init_ns: number(7)?,
        run_ns: number(8)?,
        cpu_ns: number(9)?,
        memory_peak_bytes: number(10)?,
        bytes_in: number(11)?,
        bytes_out: number(12)?,
        log_bytes: number(13)?,
        log_dropped_bytes: number(14)?,
        status,
        error,
        price_nano: number(17)?,
    }))
}

fn start_kind(word: &str) -> Option<StartKind> {
    let all = [
        StartKind::None,
        StartKind::Warm,
        StartKind::Fresh,
        StartKind::Cold,
    ];
    all.into_iter().find(|kind| kind.as_str() == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_are_found_and_summed_without_reading_all() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let receipts = ReceiptDb::open(&directory.path().join("r.db")).expect("opens");
        let plan_of = |sql: &str, n_parameters: usize| {
            let plan = receipts.read(|connection| {
                let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
                let nothing = rusqlite::params_from_iter(vec![0; n_parameters]);
                let rows = statement.query_map(nothing, |row| row.get::<_, String>(3))?;
                rows.collect::<rusqlite::Result<Vec<_>>>()
            });
            plan.expect("is planned").join("; ")
        };
        let find = plan_of(&find_sql(), 1);
        assert!(find.contains("USING INDEX receipts_by_id (id=?)"), "{find}");
        let sum = plan_of(usage::SUM, 2);
        assert!(
            sum.contains("USING PRIMARY KEY (accepted_unix_ms>? AND accepted"),
            "{sum}"
        );
        assert!(
            !find.contains("SCAN") && !sum.contains("SCAN"),
            "{find} / {sum}"
        );
    }
}
