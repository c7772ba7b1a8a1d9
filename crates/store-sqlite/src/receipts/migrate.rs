//! The schema of `receipts.db` and its history: version 1 had a row per receipt, version 2 has segments.

use model::{Code, FunctionKey, InvocationId, Isolation, Receipt, StartKind};
use rusqlite::{Row, Transaction};

use crate::ledger::Ledger;
use crate::press::{Press, SEGMENT_RECEIPTS_MAX};

pub(super) const VERSION_1: &str = "
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
";

pub(super) const VERSION_2: &str = "
        CREATE TABLE segments (
            -- In order of appending; never used twice.
            seq INTEGER PRIMARY KEY,
            -- The id of the batch's first receipt, in the first segment of the batch.
            batch BLOB UNIQUE,
            n INTEGER NOT NULL,
            -- The earliest and the latest time in it, in milliseconds; it covers less than 2^width.
            width INTEGER NOT NULL,
            first INTEGER NOT NULL,
            last INTEGER NOT NULL,
            content BLOB NOT NULL
        ) STRICT;

        CREATE INDEX segments_by_time ON segments (width, first, last);

        CREATE TABLE usage (
            -- 0 for an hour, 1 for a day.
            span INTEGER NOT NULL,
            start INTEGER NOT NULL,
            function INTEGER NOT NULL REFERENCES functions (id),
            sums BLOB NOT NULL,
            PRIMARY KEY (span, start, function)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE state (
            id INTEGER PRIMARY KEY CHECK (id = 0),
            rolled_seq INTEGER NOT NULL,
            trimmed_until INTEGER NOT NULL,
            hours_trimmed_until INTEGER NOT NULL
        ) STRICT;

        INSERT INTO state VALUES (0, 0, 0, 0);
";

/// Receipts in order of time become segments; sums become rows. Killed in between, all of it is done again.
pub(super) fn rows_to_segments(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut ledger = Ledger::load(transaction)?;
    let mut press = Press::default();
    let mut batch = Vec::new();
    let mut n_damaged = 0_u64;
    {
        let mut statement = transaction.prepare(ROWS)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            match read_receipt(row)? {
                Some(receipt) => batch.push(receipt),
                None => n_damaged += 1,
            }
            if batch.len() as u64 == SEGMENT_RECEIPTS_MAX {
                press.press(transaction, &mut ledger, &batch)?;
                batch.clear();
            }
        }
    }
    press.press(transaction, &mut ledger, &batch)?;
    ledger.roll(transaction)?;
    if n_damaged > 0 {
        tracing::error!(n_damaged, "damaged receipts were left behind");
    }
    transaction.execute_batch("DROP TABLE receipts")
}

const ROWS: &str = "SELECT r.accepted_unix_ms, r.id, r.version, r.isolation, r.start, r.queue_ns,
        r.start_ns, r.init_ns, r.run_ns, r.cpu_ns, r.memory_peak_bytes, r.bytes_in, r.bytes_out,
        r.log_bytes, r.log_dropped_bytes, r.status, r.error, r.price_nano, f.namespace, f.name
    FROM receipts r JOIN functions f ON f.id = r.function ORDER BY r.accepted_unix_ms, r.id";

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
