//! Exact sums of receipts by function and hour, and by function and day: as rows, and in memory those
//! that are not rows yet.
//!
//! Sums become rows every few seconds, not with every flush: a flush with receipts of a thousand functions
//! would write a thousand rows. Until then the segments themselves tell them. `state.rolled_seq` is the
//! border, and moves in the transaction that writes the rows:
//!
//! ```text
//! segments  1 ... rolled_seq | rolled_seq + 1 ...
//!           in rows          | in memory here; read from the segments by whoever asks
//! ```
//!
//! Refuses to know how segments look inside.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use store::UsageRow;
use store::receipts::{DAY_MS, HOUR_MS};

use crate::codec::{Reader, Record, seal, unseal};

/// `usage.span` of the rows by hour and by day.
pub(crate) const HOUR: i64 = 0;
pub(crate) const DAY: i64 = 1;

/// What `state` holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    /// The sums of segments up to this one are rows.
    pub(crate) rolled_seq: i64,
    /// Receipts accepted before may have been trimmed, in milliseconds since the Unix epoch.
    pub(crate) trimmed_until: i64,
    /// Sums by hour before have been trimmed, in milliseconds since the Unix epoch.
    pub(crate) hours_trimmed_until: i64,
}

impl State {
    pub(crate) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT rolled_seq, trimmed_until, hours_trimmed_until FROM state";
        connection.prepare_cached(sql)?.query_row([], |row| {
            Ok(Self {
                rolled_seq: row.get(0)?,
                trimmed_until: row.get(1)?,
                hours_trimmed_until: row.get(2)?,
            })
        })
    }

    pub(crate) fn save(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let sql = "UPDATE state SET rolled_seq = ?1, trimmed_until = ?2, hours_trimmed_until = ?3";
        let values = params![
            self.rolled_seq,
            self.trimmed_until,
            self.hours_trimmed_until
        ];
        transaction.prepare_cached(sql)?.execute(values).map(drop)
    }
}

/// The sums that are not rows yet, and the numbers of segments.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) state: State,
    /// The number of the newest segment, also where it was trimmed.
    pub(crate) last_seq: i64,
    /// By function and hour since the epoch.
    sums: HashMap<(i64, u64), UsageRow>,
}

impl Ledger {
    /// The ledger of a file, the segments behind the border still to be counted.
    pub(crate) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let state = State::load(connection)?;
        let newest: Option<i64> =
            connection.query_row("SELECT max(seq) FROM segments", [], |row| row.get(0))?;
        Ok(Self {
            state,
            last_seq: newest.unwrap_or(0).max(state.rolled_seq),
            sums: HashMap::new(),
        })
    }

    /// How many segments are behind the border.
    pub(crate) fn n_unrolled(&self) -> i64 {
        self.last_seq - self.state.rolled_seq
    }

    /// Counts sums of a function in an hour.
    pub(crate) fn add(&mut self, function: i64, hour: u64, sums: &UsageRow) {
        self.sums.entry((function, hour)).or_default().merge(sums);
    }

    /// Makes rows of all sums. To be forgotten when the transaction fails.
    pub(crate) fn roll(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut days = HashMap::<(i64, u64), UsageRow>::new();
        // In the order of the table: pages are visited once.
        let mut hours: Vec<((i64, u64), UsageRow)> = self.sums.drain().collect();
        hours.sort_unstable_by_key(|((function, hour), _)| (*hour, *function));
        for ((function, hour), sums) in &hours {
            let day = hour / (DAY_MS / HOUR_MS);
            days.entry((*function, day)).or_default().merge(sums);
            add_to_row(transaction, HOUR, hour * HOUR_MS, *function, sums)?;
        }
        let mut days: Vec<((i64, u64), UsageRow)> = days.into_iter().collect();
        days.sort_unstable_by_key(|((function, day), _)| (*day, *function));
        for ((function, day), sums) in &days {
            add_to_row(transaction, DAY, day * DAY_MS, *function, sums)?;
        }
        self.state.rolled_seq = self.last_seq;
        self.state.save(transaction)
    }
}

fn add_to_row(
    transaction: &Transaction<'_>,
    span: i64,
    start_ms: u64,
    function: i64,
    sums: &UsageRow,
) -> rusqlite::Result<()> {
    let start_ms = start_ms.cast_signed();
    let find = "SELECT sums FROM usage WHERE span = ?1 AND start = ?2 AND function = ?3";
    let found = transaction
        .prepare_cached(find)?
        .query_row([span, start_ms, function], |row| {
            Ok(decode(row.get_ref(0)?.as_blob()?))
        })
        .optional()?;
    let mut total = match found {
        None => UsageRow::default(),
        Some(Some(before)) => before,
        Some(None) => {
            // Receipts must go on; the sum cannot be had back.
            tracing::error!(start_ms, function, "a damaged sum of usage begins anew");
            UsageRow::default()
        }
    };
    total.merge(sums);
    let replace =
        "INSERT OR REPLACE INTO usage (span, start, function, sums) VALUES (?1, ?2, ?3, ?4)";
    let values = params![span, start_ms, function, encode(&total)];
    transaction.prepare_cached(replace)?.execute(values)?;
    Ok(())
}

/// Sums as a blob: varints, and a checksum.
fn encode(sums: &UsageRow) -> Vec<u8> {
    let mut record = Record::<{ 3 * 10 + 5 * 19 }>::new();
    record.varint(sums.n_invocations);
    record.varint(sums.n_errors);
    record.varint(sums.n_cold);
    for sum in [
        sums.run_ns,
        sums.cpu_ns,
        sums.bytes_in,
        sums.bytes_out,
        sums.price_nano,
    ] {
        record.wide_varint(sum);
    }
    let mut blob = record.as_slice().to_vec();
    seal(&mut blob);
    blob
}

/// The inverse of [`encode`]; `None` when the blob is damaged.
pub(crate) fn decode(blob: &[u8]) -> Option<UsageRow> {
    let mut reader = Reader(unseal(blob)?);
    let sums = UsageRow {
        key: String::new(),
        n_invocations: reader.varint()?,
        n_errors: reader.varint()?,
        n_cold: reader.varint()?,
        run_ns: reader.wide_varint()?,
        cpu_ns: reader.wide_varint()?,
        bytes_in: reader.wide_varint()?,
        bytes_out: reader.wide_varint()?,
        price_nano: reader.wide_varint()?,
    };
    reader.is_at_end().then_some(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_round_trip_and_damage_is_noticed() {
        for shift in [0, 64, 120, 127] {
            let sums = UsageRow {
                key: String::new(),
                n_invocations: u64::MAX >> (shift / 2),
                n_errors: 1,
                n_cold: 0,
                run_ns: u128::MAX >> shift,
                cpu_ns: 1 << shift,
                bytes_in: 0,
                bytes_out: 7,
                price_nano: u128::from(u64::MAX),
            };
            let mut blob = encode(&sums);
            assert_eq!(decode(&blob), Some(sums));
            blob[3] ^= 4;
            assert_eq!(decode(&blob), None);
            assert_eq!(decode(&blob[..2]), None);
        }
    }
}
