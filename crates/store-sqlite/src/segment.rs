//! A segment: the receipts of a flush as one blob. Refuses to know SQL; functions are the numbers of their
//! rows here.
//!
//! ```text
//! version   1 byte, 1
//! n         varint, receipts
//! base      varint, milliseconds since the Unix epoch
//! kinds     varint n, then of each: function, version (varints), class (1 byte)
//! receipts  of each: kind (varint), flags (1 byte), id's time - base (zigzag), id's other 10 bytes,
//!           then varints: what the flags say is there, and the rest
//! checksum  4 bytes, CRC-32C of all before
//! ```
//!
//! What is the same for all receipts of a function's version stands once; what is nearly always the same
//! is a flag. A small function's receipt takes about 30 bytes, of which 10 are its id's random bits.

use std::collections::HashMap;

use model::{Code, FunctionKey, InvocationId, Isolation, Receipt, StartKind};

use crate::codec::{Reader, Record, seal, unseal, unzigzag, zigzag};

const VERSION: u8 = 1;

/// Bytes of one receipt at most: 16 varints, the id, the flags.
const RECEIPT_BYTES_MAX: usize = 16 * 10 + 11;

// Flags; the two lowest bits are the start kind.
const HAS_TIME: u8 = 1 << 2;
const HAS_INIT: u8 = 1 << 3;
const HAS_LOG: u8 = 1 << 4;
const HAS_STATUS: u8 = 1 << 5;
const HAS_ERROR: u8 = 1 << 6;
const HAS_PRICE: u8 = 1 << 7;

const STATUS_OF_MOST: u16 = 200;

const STARTS: [StartKind; 4] = [
    StartKind::None,
    StartKind::Warm,
    StartKind::Fresh,
    StartKind::Cold,
];

/// What the receipts of one version share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    /// The number of the function's row.
    pub(crate) function: i64,
    pub(crate) version: u64,
    pub(crate) isolation: Isolation,
}

/// Milliseconds of an id's time (RFC 9562, section 5.7).
pub(crate) fn time_of(id: InvocationId) -> u64 {
    let bytes = id.to_bytes();
    let [a, b, c, d, e, f] = *bytes.first_chunk().expect("16 are more than 6");
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// Makes segments; its buffers serve again and again.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    kinds: Vec<Kind>,
    numbers: HashMap<Kind, u32>,
    body: Vec<u8>,
    n: u64,
    base_ms: u64,
    /// The earliest and the latest time of an id or of an acceptance.
    range_ms: (u64, u64),
}

/// What stands beside a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) n: u64,
    pub(crate) range_ms: (u64, u64),
}

impl Encoder {
    pub(crate) fn len(&self) -> u64 {
        self.n
    }

    /// The number of a kind in this segment.
    pub(crate) fn kind(&mut self, kind: Kind) -> u32 {
        let Self { kinds, numbers, .. } = self;
        *numbers.entry(kind).or_insert_with(|| {
            kinds.push(kind);
            u32::try_from(kinds.len() - 1).expect("a segment holds thousands")
        })
    }

    /// Adds a receipt of kind number `kind`.
    pub(crate) fn push(&mut self, kind: u32, receipt: &Receipt) {
        let id_ms = time_of(receipt.id);
        let accepted_ms = receipt.accepted_unix_ms;
        if self.n == 0 {
            self.base_ms = id_ms;
            self.range_ms = (id_ms, id_ms);
        }
        self.n += 1;
        let (first, last) = self.range_ms;
        self.range_ms = (
            first.min(id_ms).min(accepted_ms),
            last.max(id_ms).max(accepted_ms),
        );
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let log = (receipt.log_bytes, receipt.log_dropped_bytes);
        let flags = start_number(receipt.start)
            | flag(accepted_ms != id_ms, HAS_TIME)
            | flag(receipt.init_ns != 0, HAS_INIT)
            | flag(log != (0, 0), HAS_LOG)
            | flag(receipt.status != STATUS_OF_MOST, HAS_STATUS)
            | flag(receipt.error.is_some(), HAS_ERROR)
            | flag(receipt.price_nano != 0, HAS_PRICE);

        let mut record = Record::<RECEIPT_BYTES_MAX>::new();
        record.varint(u64::from(kind));
        record.byte(flags);
        record.varint(zigzag(id_ms.wrapping_sub(self.base_ms).cast_signed()));
        record.bytes(&receipt.id.to_bytes()[6..]);
        record.varint(receipt.queue_ns);
        record.varint(receipt.start_ns);
        record.varint(receipt.run_ns);
        record.varint(receipt.cpu_ns);
        record.varint(receipt.memory_peak_bytes);
        record.varint(receipt.bytes_in);
        record.varint(receipt.bytes_out);
        if flags & HAS_TIME != 0 {
            record.varint(zigzag(accepted_ms.wrapping_sub(id_ms).cast_signed()));
        }
        if flags & HAS_INIT != 0 {
            record.varint(receipt.init_ns);
        }
        if flags & HAS_LOG != 0 {
            record.varint(receipt.log_bytes);
            record.varint(receipt.log_dropped_bytes);
        }
        if flags & HAS_STATUS != 0 {
            record.varint(u64::from(receipt.status));
        }
        if let Some(code) = receipt.error {
            record.varint(code as u64);
        }
        if flags & HAS_PRICE != 0 {
            record.varint(receipt.price_nano);
        }
        self.body.extend_from_slice(record.as_slice());
    }

    /// Puts the segment into `blob`, in place of what is there, and begins the next.
    pub(crate) fn finish(&mut self, blob: &mut Vec<u8>) -> Extent {
        blob.clear();
        let mut head = Record::<31>::new();
        head.byte(VERSION);
        head.varint(self.n);
        head.varint(self.base_ms);
        head.varint(self.kinds.len() as u64);
        blob.extend_from_slice(head.as_slice());
        for kind in &self.kinds {
            let mut record = Record::<21>::new();
            record.varint(kind.function.cast_unsigned());
            record.varint(kind.version);
            record.byte(class_number(kind.isolation));
            blob.extend_from_slice(record.as_slice());
        }
        blob.extend_from_slice(&self.body);
        seal(blob);
        let extent = Extent {
            n: self.n,
            range_ms: self.range_ms,
        };
        self.clear();
        extent
    }

    /// Forgets what was pushed.
    pub(crate) fn clear(&mut self) {
        self.kinds.clear();
        self.numbers.clear();
        self.body.clear();
        self.n = 0;
    }
}

/// A segment that is whole.
pub(crate) struct Segment<'b> {
    kinds: Vec<Kind>,
    n: u64,
    base_ms: u64,
    body: &'b [u8],
}

/// A receipt without the name of its function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nameless {
    pub(crate) kind: Kind,
    pub(crate) id: InvocationId,
    pub(crate) accepted_unix_ms: u64,
    start: StartKind,
    queue_ns: u64,
    start_ns: u64,
    init_ns: u64,
    run_ns: u64,
    cpu_ns: u64,
    memory_peak_bytes: u64,
    bytes_in: u64,
    bytes_out: u64,
    log_bytes: u64,
    log_dropped_bytes: u64,
    status: u16,
    error: Option<Code>,
    price_nano: u64,
}

impl<'b> Segment<'b> {
    /// `None` when the blob is damaged.
    pub(crate) fn read(blob: &'b [u8]) -> Option<Self> {
        let mut reader = Reader(unseal(blob)?);
        if reader.byte()? != VERSION {
            return None;
        }
        let (n, base_ms) = (reader.varint()?, reader.varint()?);
        let mut kinds = Vec::new();
        for _ in 0..reader.varint()? {
            kinds.push(Kind {
                function: reader.varint()?.cast_signed(),
                version: reader.varint()?,
                isolation: class_of(reader.byte()?)?,
            });
        }
        Some(Self {
            kinds,
            n,
            base_ms,
            body: reader.0,
        })
    }

    /// All receipts; `None` when the blob is damaged in spite of its checksum.
    pub(crate) fn receipts(&self) -> Option<Vec<Nameless>> {
        let mut reader = Reader(self.body);
        let mut receipts = Vec::new();
        for _ in 0..self.n {
            receipts.push(self.receipt(&mut reader)?);
        }
        reader.is_at_end().then_some(receipts)
    }

    fn receipt(&self, reader: &mut Reader<'_>) -> Option<Nameless> {
        let kind = usize::try_from(reader.varint()?).ok()?;
        let kind = *self.kinds.get(kind)?;
        let flags = reader.byte()?;
        let since_base = unzigzag(reader.varint()?).cast_unsigned();
        let id_ms = self.base_ms.wrapping_add(since_base);
        let mut id = [0; 16];
        let [zero_a, zero_b, time @ ..] = id_ms.to_be_bytes();
        if (zero_a, zero_b) != (0, 0) {
            return None;
        }
        id[..6].copy_from_slice(&time);
        id[6..].copy_from_slice(reader.array::<10>()?);
        let mut numbers = [0; 7];
        for number in &mut numbers {
            *number = reader.varint()?;
        }
        let [
            queue_ns,
            start_ns,
            run_ns,
            cpu_ns,
            memory,
            bytes_in,
            bytes_out,
        ] = numbers;
        let mut optional = |flag: u8, without: u64| match flags & flag {
            0 => Some(without),
            _ => reader.varint(),
        };
        let since_id = unzigzag(optional(HAS_TIME, 0)?).cast_unsigned();
        let init_ns = optional(HAS_INIT, 0)?;
        let (log_bytes, log_dropped_bytes) = (optional(HAS_LOG, 0)?, optional(HAS_LOG, 0)?);
        let status = optional(HAS_STATUS, u64::from(STATUS_OF_MOST))?;
        let error = optional(HAS_ERROR, 0)?;
        let price_nano = optional(HAS_PRICE, 0)?;
        Some(Nameless {
            kind,
            id: InvocationId::from_bytes(id),
            accepted_unix_ms: id_ms.wrapping_add(since_id),
            start: STARTS[usize::from(flags & 3)],
            queue_ns,
            start_ns,
            init_ns,
            run_ns,
            cpu_ns,
            memory_peak_bytes: memory,
            bytes_in,
            bytes_out,
            log_bytes,
            log_dropped_bytes,
            status: u16::try_from(status).ok()?,
            error: match flags & HAS_ERROR {
                0 => None,
                _ => Some(code_of(error)?),
            },
            price_nano,
        })
    }
}

impl Nameless {
    /// With the function's name.
    pub(crate) fn of(self, function: FunctionKey) -> Receipt {
        Receipt {
            id: self.id,
            function,
            version: self.kind.version,
            isolation: self.kind.isolation,
            start: self.start,
            accepted_unix_ms: self.accepted_unix_ms,
            queue_ns: self.queue_ns,
            start_ns: self.start_ns,
            init_ns: self.init_ns,
            run_ns: self.run_ns,
            cpu_ns: self.cpu_ns,
            memory_peak_bytes: self.memory_peak_bytes,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            log_bytes: self.log_bytes,
            log_dropped_bytes: self.log_dropped_bytes,
            status: self.status,
            error: self.error,
            price_nano: self.price_nano,
        }
    }
}

fn code_of(number: u64) -> Option<Code> {
    let index = Code::ALL.binary_search_by_key(&number, |code| *code as u64);
    index.ok().map(|index| Code::ALL[index])
}

/// The place in [`STARTS`]. Written to disk: never changed.
fn start_number(start: StartKind) -> u8 {
    match start {
        StartKind::None => 0,
        StartKind::Warm => 1,
        StartKind::Fresh => 2,
        StartKind::Cold => 3,
    }
}

/// Written to disk: never changed, only added to.
fn class_number(isolation: Isolation) -> u8 {
    match isolation {
        Isolation::Wasm => 1,
        Isolation::V8 => 2,
        Isolation::Container => 3,
        Isolation::Gvisor => 4,
        Isolation::Microvm => 5,
    }
}

fn class_of(number: u8) -> Option<Isolation> {
    let all = Isolation::ALL.into_iter();
    all.into_iter()
        .find(|isolation| class_number(*isolation) == number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use store::conformance::data::any_receipt;

    use super::*;

    fn encode(receipts: &[Receipt]) -> (Vec<u8>, Extent) {
        let mut encoder = Encoder::default();
        for receipt in receipts {
            let kind = encoder.kind(Kind {
                function: receipt.function.name.as_str().len() as i64,
                version: receipt.version,
                isolation: receipt.isolation,
            });
            encoder.push(kind, receipt);
        }
        let mut blob = vec![1, 2, 3];
        let extent = encoder.finish(&mut blob);
        assert_eq!(encoder.len(), 0);
        (blob, extent)
    }

    fn any_receipts() -> impl Strategy<Value = Vec<Receipt>> {
        let receipts = proptest::collection::vec((any_receipt(), any::<i32>()), 0..40);
        receipts.prop_map(|receipts| {
            let shifted = receipts.into_iter().map(|(receipt, shift)| Receipt {
                accepted_unix_ms: receipt.accepted_unix_ms.wrapping_add_signed(shift.into()),
                ..receipt
            });
            shifted.collect()
        })
    }

    proptest! {
        #[test]
        fn receipts_round_trip(receipts in any_receipts()) {
            let (blob, extent) = encode(&receipts);
            let segment = Segment::read(&blob).expect("whole");
            let found = segment.receipts().expect("whole");
            prop_assert_eq!(found.len() as u64, extent.n);
            for (found, receipt) in found.into_iter().zip(&receipts) {
                prop_assert_eq!(&found.of(receipt.function.clone()), receipt);
                let (first, last) = extent.range_ms;
                prop_assert!((first..=last).contains(&receipt.accepted_unix_ms));
                prop_assert!((first..=last).contains(&time_of(receipt.id)));
            }
        }

        /// Any change of a byte and any cut is noticed: CRC-32 finds all bursts up to 32 bits.
        #[test]
        fn damage_is_noticed(receipts in any_receipts(), at: prop::sample::Index, bits in 1..=u8::MAX) {
            let (blob, _) = encode(&receipts);
            let at = at.index(blob.len());
            let mut damaged = blob.clone();
            damaged[at] ^= bits;
            prop_assert!(Segment::read(&damaged).is_none());
            prop_assert!(Segment::read(&blob[..at]).is_none());
        }

        /// Bytes that somebody made, with a checksum that is right.
        #[test]
        fn hostile_bytes_are_read_or_refused(
            receipts in any_receipts(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            noise in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let (mut blob, _) = encode(&receipts);
            blob.truncate(blob.len() - 4);
            for (at, byte) in changes {
                let at = at.index(blob.len());
                blob[at] = byte;
            }
            let mut noise = [&[VERSION], noise.as_slice()].concat();
            for blob in [&mut blob, &mut noise] {
                seal(blob);
                let _ = Segment::read(blob).and_then(|segment| segment.receipts());
            }
        }
    }

    #[test]
    fn a_small_receipt_is_small() {
        let mut receipts = Vec::new();
        for n in 0..1000_u64 {
            receipts.push(Receipt {
                id: InvocationId::new(1_790_000_000_000 + n / 20, [n as u8; 10]),
                function: "hello".parse().expect("a key"),
                version: 3,
                isolation: Isolation::Wasm,
                start: StartKind::Fresh,
                accepted_unix_ms: 1_790_000_000_000 + n / 20,
                queue_ns: 300,
                start_ns: 4_000,
                init_ns: 0,
                run_ns: 30_000,
                cpu_ns: 20_000,
                memory_peak_bytes: 1 << 20,
                bytes_in: 100,
                bytes_out: 2_000,
                log_bytes: 0,
                log_dropped_bytes: 0,
                status: 200,
                error: None,
                price_nano: 220,
            });
        }
        let (blob, _) = encode(&receipts);
        assert!(blob.len() < 32_000, "{} bytes", blob.len());
    }
}
