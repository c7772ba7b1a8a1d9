//! Receipts in `receipts.db`: one connection appends and trims, others read beside it.
//!
//! A batch is a row or a few: segments, whose content only [`crate::segment`] knows. An index over the time
//! that they cover finds those that may hold a receipt; see [`Covering`].

mod migrate;
mod trim;
mod usage;

use std::path::Path;
use std::time::{Duration, Instant};

use model::{FunctionKey, InvocationId, Receipt};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use store::{Keep, StoreError, UsageQuery, UsageRow};

use crate::database::{Database, Durability, Migration, Schema};
use crate::ledger::Ledger;
use crate::press::{Press, Pressed, count};
use crate::segment::{Segment, time_of};

/// An append syncs the file when the last sync was longer ago than this. What was appended since may be
/// lost in a power cut, together with what came after the last sync on a node that then fell silent;
/// it is never lost by killing the process. As often, sums become rows.
pub const RECEIPT_SYNC_INTERVAL: Duration = Duration::from_secs(5);

/// Segments whose sums are not rows: whoever asks for usage reads them.
const N_UNROLLED_MAX: i64 = 1_000;

/// Connections for reading that are kept open.
const N_IDLE_READERS_MAX: usize = 4;

const SCHEMA: Schema = Schema {
    what: "receipts of Holm",
    // "HolR" in ASCII.
    application_id: 0x486f_6c52,
    // Damage to receipts shows when they are read; it must not hold up a node that serves functions.
    quick_check_bytes_max: 0,
    migrations: &[
        Migration::Sql(migrate::VERSION_1),
        Migration::SqlAndCode(migrate::VERSION_2, migrate::rows_to_segments),
    ],
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
    press: Press,
    /// `None` before the first write, and after one whose fate is unknown: read from the file then.
    ledger: Option<Ledger>,
    synced: Instant,
}

impl ReceiptDb {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let (database, connection) = Database::open(path, SCHEMA, Durability::Checkpoints, true)?;
        let writer = Writer {
            connection,
            press: Press::default(),
            ledger: None,
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
        let appended = writer.append(receipts);
        if appended.is_err() {
            writer.press.forget();
        }
        appended.map_err(|error| self.database.error(&error))?;
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
        let at = to_time(time_of(id));
        let found = self.read(|connection| {
            // One moment for the segment and the name.
            let moment = connection.unchecked_transaction()?;
            let mut damaged_seq = None;
            let mut found = None;
            Covering::any(at, at).each(&moment, |seq, content| {
                let receipts = Segment::read(content).and_then(|segment| segment.receipts());
                match receipts {
                    None => damaged_seq = Some(seq),
                    Some(receipts) => {
                        found = receipts.into_iter().find(|receipt| receipt.id == id);
                    }
                }
                Ok(found.is_none())
            })?;
            let Some(nameless) = found else {
                return Ok(Err(damaged_seq));
            };
            let name = function_name(&moment, nameless.kind.function)?;
            Ok(Ok(name.map(|name| nameless.of(name))))
        })?;
        let damaged = |what: String| self.database.corrupt(&what);
        match found {
            Ok(Some(receipt)) => Ok(Some(receipt)),
            Ok(None) => Err(damaged(format!("the function of receipt {id} is damaged"))),
            Err(None) => Ok(None),
            // It may or may not have been there.
            Err(Some(seq)) => Err(damaged(format!(
                "segment {seq}, which may hold receipt {id}, is damaged"
            ))),
        }
    }

    pub(crate) fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        self.read(|connection| {
            // One moment for all statements, so that each receipt is counted once.
            let moment = connection.unchecked_transaction()?;
            usage::sum(&moment, query)
        })?
        .map_err(|error| match error {
            usage::Inexact::Damaged(what) => self.database.corrupt(&what),
            usage::Inexact::Trimmed(what) => StoreError::Trimmed(what),
        })
    }

    pub(crate) fn trim(&self, keep: Keep) -> Result<bool, StoreError> {
        let trimmed = self.writer.lock().trim(keep);
        trimmed.map_err(|error| self.database.error(&error))
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
        let mut ledger = self.take_ledger()?;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        match self.press.press(&transaction, &mut ledger, receipts)? {
            Pressed::ThereAlready => transaction.rollback()?,
            Pressed::New => {
                let is_time = self.synced.elapsed() >= RECEIPT_SYNC_INTERVAL;
                if is_time || ledger.n_unrolled() > N_UNROLLED_MAX {
                    ledger.roll(&transaction)?;
                }
                transaction.commit()?;
            }
        }
        self.ledger = Some(ledger);
        Ok(())
    }

    /// The ledger, to be put back when what it was taken for went well.
    fn take_ledger(&mut self) -> rusqlite::Result<Ledger> {
        if let Some(ledger) = self.ledger.take() {
            return Ok(ledger);
        }
        let mut ledger = Ledger::load(&self.connection)?;
        let nobody = nobody();
        let sql = "SELECT seq, content FROM segments WHERE seq > ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([ledger.state.rolled_seq])?;
        while let Some(row) = rows.next()? {
            let content = row.get_ref(1)?.as_blob()?;
            match Segment::read(content).and_then(|segment| segment.receipts()) {
                Some(receipts) => count(&receipts, &nobody, &mut ledger),
                None => report_damage(row.get(0)?),
            }
        }
        Ok(ledger)
    }
}

/// Which segments to look at: those that cover some of the time from `first` to `last`, both in.
///
/// Segments of one width, by the bits of the time that they cover, begin at most that time before what
/// they cover. So a stretch of the index per width has them all, and few others, whatever the widths are.
struct Covering {
    first: i64,
    last: i64,
    seq_max: i64,
}

/// More bits than the time that a segment covers can have.
const WIDTH_MAX: u32 = 63;

impl Covering {
    const SQL: &str = "SELECT seq, content FROM segments
        WHERE width = ?1 AND first BETWEEN ?2 AND ?3 AND last >= ?4 AND seq <= ?5";

    fn any(first: i64, last: i64) -> Self {
        Self {
            first,
            last,
            seq_max: i64::MAX,
        }
    }

    /// Calls `each` with number and content, until it returns false.
    fn each(
        &self,
        connection: &Connection,
        mut each: impl FnMut(i64, &[u8]) -> rusqlite::Result<bool>,
    ) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(Self::SQL)?;
        for width in 0..=WIDTH_MAX {
            let width_ms = 1_i64.checked_shl(width).filter(|width| *width > 0);
            let earliest = self.first.saturating_sub(width_ms.unwrap_or(i64::MAX));
            let width = i64::from(width);
            let mut rows =
                statement.query([width, earliest, self.last, self.first, self.seq_max])?;
            while let Some(row) = rows.next()? {
                if !each(row.get(0)?, row.get_ref(1)?.as_blob()?)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Times must keep their order in SQLite; those beyond the year 292 million are kept as the last.
pub(crate) fn to_time(unix_ms: u64) -> i64 {
    i64::try_from(unix_ms).unwrap_or(i64::MAX)
}

fn report_damage(seq: i64) {
    tracing::error!(seq, "a segment of receipts is damaged and was left out");
}

/// Stands where the name of a function does not matter.
fn nobody() -> FunctionKey {
    "x".parse().expect("a letter is a name")
}

/// The name in a row of `functions`; `None` where there is none.
fn function_name(connection: &Connection, id: i64) -> rusqlite::Result<Option<FunctionKey>> {
    let sql = "SELECT namespace, name FROM functions WHERE id = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let name = statement.query_row([id], |row| {
        Ok(key_of(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?))
    });
    Ok(name.optional()?.flatten())
}

fn key_of(namespace: &str, name: &str) -> Option<FunctionKey> {
    let (Ok(namespace), Ok(name)) = (namespace.parse(), name.parse()) else {
        return None;
    };
    Some(FunctionKey { namespace, name })
}

#[cfg(test)]
mod tests;
