//! What is beyond age or size goes, oldest first, in small steps. SQLite keeps the pages that become free
//! and writes on them again: the file stops growing, it does not shrink.

use rusqlite::{OptionalExtension, Transaction, TransactionBehavior};
use store::Keep;
use store::receipts::HOUR_MS;

use super::{WIDTH_MAX, Writer, to_time};

/// Segments that one step removes.
const N_STEP: usize = 64;

/// A segment that is to go.
struct Candidate {
    seq: i64,
    last: i64,
}

impl Writer {
    /// One step; whether there may be more.
    pub(super) fn trim(&mut self, keep: Keep) -> rusqlite::Result<bool> {
        let since = to_time(keep.since_unix_ms);
        let mut candidates = self.too_old(since)?;
        if candidates.is_empty() {
            candidates = self.too_many(keep.bytes_max)?;
        }
        let hour = self.oldest_hour(since)?;
        if candidates.is_empty() && hour.is_none() {
            return Ok(false);
        }
        let mut ledger = self.take_ledger()?;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !candidates.is_empty() && ledger.n_unrolled() > 0 {
            // Their sums must be rows before they go.
            ledger.roll(&transaction)?;
        }
        for candidate in &candidates {
            remove(&transaction, candidate.seq)?;
            let until = candidate.last.saturating_add(1);
            ledger.state.trimmed_until = ledger.state.trimmed_until.max(until);
        }
        if let Some(hour) = hour {
            let sql = "DELETE FROM usage WHERE span = 0 AND start = ?1";
            transaction.prepare_cached(sql)?.execute([hour])?;
            let until = hour.saturating_add(HOUR_MS.cast_signed());
            ledger.state.hours_trimmed_until = ledger.state.hours_trimmed_until.max(until);
        }
        ledger.state.save(&transaction)?;
        transaction.commit()?;
        self.ledger = Some(ledger);
        Ok(true)
    }

    /// By the time that they cover and not by number: a clock that was wrong for a while must not keep all
    /// that came after.
    fn too_old(&self, since: i64) -> rusqlite::Result<Vec<Candidate>> {
        let sql = "SELECT seq, last FROM segments
            WHERE width = ?1 AND first < ?2 AND last < ?2 ORDER BY first LIMIT ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut candidates = Vec::new();
        for width in 0..=WIDTH_MAX {
            let n_left = (N_STEP - candidates.len()) as i64;
            let found = statement.query_map([i64::from(width), since, n_left], |row| {
                Ok(Candidate {
                    seq: row.get(0)?,
                    last: row.get(1)?,
                })
            })?;
            for candidate in found {
                candidates.push(candidate?);
            }
        }
        Ok(candidates)
    }

    fn too_many(&self, bytes_max: u64) -> rusqlite::Result<Vec<Candidate>> {
        let number = |pragma: &str| {
            let number = self
                .connection
                .pragma_query_value(None, pragma, |row| row.get(0));
            number.map(i64::cast_unsigned)
        };
        let n_pages = number("page_count")?.saturating_sub(number("freelist_count")?);
        let used_bytes = n_pages.saturating_mul(number("page_size")?);
        let mut over_bytes = to_time(used_bytes.saturating_sub(bytes_max));
        let mut candidates = Vec::new();
        if over_bytes == 0 {
            return Ok(candidates);
        }
        let sql = "SELECT seq, last, length(content) FROM segments ORDER BY seq LIMIT ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([N_STEP as i64])?;
        while let Some(row) = rows.next()? {
            candidates.push(Candidate {
                seq: row.get(0)?,
                last: row.get(1)?,
            });
            over_bytes -= row.get::<_, i64>(2)?;
            if over_bytes <= 0 {
                break;
            }
        }
        Ok(candidates)
    }

    /// The start of the oldest hour that has sums and ended before `since`.
    fn oldest_hour(&self, since: i64) -> rusqlite::Result<Option<i64>> {
        let sql = "SELECT start FROM usage WHERE span = 0 AND start <= ?1 ORDER BY start LIMIT 1";
        self.connection
            .prepare_cached(sql)?
            .query_row([since.saturating_sub(HOUR_MS.cast_signed())], |row| {
                row.get(0)
            })
            .optional()
    }
}

fn remove(transaction: &Transaction<'_>, seq: i64) -> rusqlite::Result<()> {
    let sql = "DELETE FROM segments WHERE seq = ?1";
    transaction.prepare_cached(sql)?.execute([seq]).map(drop)
}
