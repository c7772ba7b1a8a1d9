//! From a batch of receipts to segments, inside a transaction, counting their sums on the way.
//!
//! Receipts that were accepted long before the others of their batch go into a segment of their own: a
//! segment covers the time from its earliest to its latest receipt, and one slow invocation must not make
//! it cover minutes. So nearly all segments are narrow, and the wide ones are small.

use std::collections::HashMap;

use model::{FunctionKey, Isolation, Receipt};
use rusqlite::{OptionalExtension, Transaction, params};
use store::UsageRow;
use store::receipts::HOUR_MS;

use crate::ledger::Ledger;
use crate::receipts::to_time;
use crate::segment::{Encoder, Extent, Kind, Nameless};

/// Receipts of one segment: finding one reads this many.
pub(crate) const SEGMENT_RECEIPTS_MAX: u64 = 4_096;

/// A receipt accepted this many milliseconds before the newest of its batch is late.
const LATE_MS: u64 = 1_000;

/// Functions whose row number is remembered.
const N_KNOWN_FUNCTIONS_MAX: usize = 100_000;

/// Where names lie in memory tells functions apart while their receipts are held: a power of two.
const N_SEEN: usize = 1_024;

/// Makes segments of batches. Everything in it serves again, so that a flush allocates next to nothing.
#[derive(Debug, Default)]
pub(crate) struct Press {
    functions: HashMap<FunctionKey, i64>,
    prompt: Piece,
    late: Piece,
    blob: Vec<u8>,
    /// The batch's first id, until it stands in a segment's row.
    batch: Option<[u8; 16]>,
}

/// A segment in the making.
#[derive(Debug, Default)]
struct Piece {
    encoder: Encoder,
    /// By number of the kind: the hour since the epoch, and the sums of its receipts in it.
    sums: Vec<(u64, UsageRow)>,
    functions: Vec<i64>,
    seen: Vec<Option<Seen>>,
}

/// A version whose number of a kind is known, by the addresses of its function's names. Names are shared,
/// not copied, from receipt to receipt; and while a batch is held, an address has one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    name: usize,
    namespace: usize,
    version: u64,
    isolation: Isolation,
    kind: u32,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pressed {
    /// It is in segments now, if the transaction is committed.
    New,
    /// It had been before; the transaction is to be rolled back, and the ledger is as it was.
    ThereAlready,
}

impl Press {
    /// Inserts the segments of a batch that is not empty. After an error the ledger is wrong, and
    /// [`Press::forget`] is due.
    pub(crate) fn press(
        &mut self,
        transaction: &Transaction<'_>,
        ledger: &mut Ledger,
        receipts: &[Receipt],
    ) -> rusqlite::Result<Pressed> {
        let Some(first) = receipts.first() else {
            return Ok(Pressed::ThereAlready);
        };
        let batch = first.id.to_bytes();
        if is_there(transaction, &batch)? {
            return Ok(Pressed::ThereAlready);
        }
        self.prompt.clear();
        self.late.clear();
        self.batch = Some(batch);
        let newest = receipts
            .iter()
            .map(|receipt| receipt.accepted_unix_ms)
            .max();
        let prompt_since = newest.unwrap_or(0).saturating_sub(LATE_MS);
        for receipt in receipts {
            let is_late = receipt.accepted_unix_ms < prompt_since;
            let piece = match is_late {
                true => &mut self.late,
                false => &mut self.prompt,
            };
            let kind = match piece.seen_kind(receipt) {
                Some(kind) => kind,
                None => {
                    let function =
                        function_id(&mut self.functions, transaction, &receipt.function)?;
                    piece.new_kind(receipt, function)
                }
            };
            piece.push(kind, receipt, ledger);
            if piece.encoder.len() == SEGMENT_RECEIPTS_MAX {
                self.finish(transaction, ledger, is_late)?;
            }
        }
        for is_late in [false, true] {
            self.finish(transaction, ledger, is_late)?;
        }
        if self.functions.len() > N_KNOWN_FUNCTIONS_MAX {
            self.functions.clear();
        }
        Ok(Pressed::New)
    }

    /// Forgets row numbers: those made in a transaction that failed are none.
    pub(crate) fn forget(&mut self) {
        self.functions.clear();
    }

    fn finish(
        &mut self,
        transaction: &Transaction<'_>,
        ledger: &mut Ledger,
        is_late: bool,
    ) -> rusqlite::Result<()> {
        let piece = match is_late {
            true => &mut self.late,
            false => &mut self.prompt,
        };
        if piece.encoder.len() == 0 {
            return Ok(());
        }
        let extent = piece.encoder.finish(&mut self.blob);
        for (function, (hour, sums)) in piece.functions.iter().zip(&piece.sums) {
            ledger.add(*function, *hour, sums);
        }
        piece.clear();
        ledger.last_seq += 1;
        let batch = self.batch.take();
        insert(transaction, ledger.last_seq, batch, extent, &self.blob)
    }
}

impl Piece {
    fn clear(&mut self) {
        self.encoder.clear();
        self.sums.clear();
        self.functions.clear();
        self.seen.clear();
    }

    fn seen_kind(&self, receipt: &Receipt) -> Option<u32> {
        let (slot, seen) = slot_of(receipt, 0);
        let known = (*self.seen.get(slot)?)?;
        let is_it = Seen {
            kind: known.kind,
            ..seen
        } == known;
        is_it.then_some(known.kind)
    }

    fn new_kind(&mut self, receipt: &Receipt, function: i64) -> u32 {
        let kind = self.encoder.kind(Kind {
            function,
            version: receipt.version,
            isolation: receipt.isolation,
        });
        if kind as usize == self.sums.len() {
            self.functions.push(function);
            self.sums.push((hour_of(receipt), UsageRow::default()));
        }
        self.seen.resize(N_SEEN, None);
        let (slot, seen) = slot_of(receipt, kind);
        self.seen[slot] = Some(seen);
        kind
    }

    fn push(&mut self, kind: u32, receipt: &Receipt, ledger: &mut Ledger) {
        self.encoder.push(kind, receipt);
        let hour = hour_of(receipt);
        let (hour_before, sums) = &mut self.sums[kind as usize];
        if *hour_before != hour {
            ledger.add(self.functions[kind as usize], *hour_before, sums);
            (*hour_before, *sums) = (hour, UsageRow::default());
        }
        sums.add(receipt);
    }
}

fn slot_of(receipt: &Receipt, kind: u32) -> (usize, Seen) {
    let address = |text: &str| text.as_ptr().addr();
    let name = address(receipt.function.name.as_str());
    // Fibonacci hashing: the high bits of the product depend on all bits of the address.
    let hash = (name as u64)
        .wrapping_add(receipt.version)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let slot = (hash >> 32) as usize % N_SEEN;
    let seen = Seen {
        name,
        namespace: address(receipt.function.namespace.as_str()),
        version: receipt.version,
        isolation: receipt.isolation,
        kind,
    };
    (slot, seen)
}

/// The hour since the epoch.
fn hour_of(receipt: &Receipt) -> u64 {
    to_time(receipt.accepted_unix_ms).cast_unsigned() / HOUR_MS
}

/// Counts the receipts of a segment that was written before.
pub(crate) fn count(receipts: &[Nameless], nobody: &FunctionKey, ledger: &mut Ledger) {
    for nameless in receipts {
        let receipt = nameless.of(nobody.clone());
        let mut sums = UsageRow::default();
        sums.add(&receipt);
        ledger.add(nameless.kind.function, hour_of(&receipt), &sums);
    }
}

fn is_there(transaction: &Transaction<'_>, batch: &[u8; 16]) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached("SELECT 1 FROM segments WHERE batch = ?1")?
        .exists([batch])
}

fn insert(
    transaction: &Transaction<'_>,
    seq: i64,
    batch: Option<[u8; 16]>,
    extent: Extent,
    blob: &[u8],
) -> rusqlite::Result<()> {
    let (first, last) = extent.range_ms;
    let values = params![
        seq,
        batch,
        extent.n.cast_signed(),
        width_of(to_time(first), to_time(last)),
        to_time(first),
        to_time(last),
        blob
    ];
    let sql = "INSERT INTO segments (seq, batch, n, width, first, last, content)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    transaction.prepare_cached(sql)?.execute(values).map(drop)
}

/// The bits of the time that a segment covers: it is shorter than 2 to this power, in milliseconds.
fn width_of(first: i64, last: i64) -> u32 {
    64 - (last - first).cast_unsigned().leading_zeros()
}

fn function_id(
    known: &mut HashMap<FunctionKey, i64>,
    transaction: &Transaction<'_>,
    key: &FunctionKey,
) -> rusqlite::Result<i64> {
    if let Some(id) = known.get(key) {
        return Ok(*id);
    }
    let names = params![key.namespace.as_str(), key.name.as_str()];
    let find = "SELECT id FROM functions WHERE namespace = ?1 AND name = ?2";
    let found = transaction
        .prepare_cached(find)?
        .query_row(names, |row| row.get(0))
        .optional()?;
    let id = match found {
        Some(id) => id,
        None => transaction
            .prepare_cached("INSERT INTO functions (namespace, name) VALUES (?1, ?2)")?
            .insert(names)?,
    };
    known.insert(key.clone(), id);
    Ok(id)
}
