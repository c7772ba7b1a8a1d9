//! Numbers as bytes: LEB128 varints (as in DWARF 5, section 7.6), zigzag for signs, and CRC-32C (RFC 3720,
//! section 12.1). Reading never panics, whatever the bytes are. Refuses to know what the numbers mean.

/// A buffer on the stack for one record: appended to a vector in one piece.
pub(crate) struct Record<const N: usize> {
    bytes: [u8; N],
    n: usize,
}

impl<const N: usize> Record<N> {
    pub(crate) fn new() -> Self {
        Self {
            bytes: [0; N],
            n: 0,
        }
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes[self.n] = byte;
        self.n += 1;
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes[self.n..self.n + bytes.len()].copy_from_slice(bytes);
        self.n += bytes.len();
    }

    /// At most 10 bytes.
    pub(crate) fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    /// At most 19 bytes.
    pub(crate) fn wide_varint(&mut self, mut number: u128) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.n]
    }
}

/// Small for numbers near zero on either side.
pub(crate) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

/// The inverse of [`zigzag`].
pub(crate) fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Reads what [`Record`] wrote. Everything gives `None` at the end of the bytes or where they make no sense.
pub(crate) struct Reader<'b>(pub(crate) &'b [u8]);

impl<'b> Reader<'b> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<&'b [u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(first)
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            number |= bits << shift;
            if byte < 0x80 {
                return ((bits << shift) >> shift == bits).then_some(number);
            }
        }
        None
    }

    pub(crate) fn wide_varint(&mut self) -> Option<u128> {
        let mut number = 0;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            let bits = u128::from(byte & 0x7f);
            number |= bits << shift;
            if byte < 0x80 {
                return ((bits << shift) >> shift == bits).then_some(number);
            }
        }
        None
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}

/// Appends the checksum of everything in `bytes`.
pub(crate) fn seal(bytes: &mut Vec<u8>) {
    let checksum = crc32c(bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
}

/// What was sealed; `None` where it is not as it was.
pub(crate) fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (content, checksum) = bytes.split_last_chunk()?;
    (crc32c(content) == u32::from_le_bytes(*checksum)).then_some(content)
}

/// Castagnoli's polynomial, bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `TABLES[k][b]`: the remainder of byte `b` with `k` zero bytes behind it, for eight bytes at a time.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            let carry = remainder & 1;
            remainder >>= 1;
            if carry == 1 {
                remainder ^= POLYNOMIAL;
            }
            bit += 1;
        }
        tables[0][byte] = remainder;
        byte += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[k - 1][byte];
            tables[k][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        k += 1;
    }
    tables
}

fn crc32c(bytes: &[u8]) -> u32 {
    let at = |table: usize, word: u32, shift: u32| TABLES[table][(word >> shift & 0xff) as usize];
    let mut remainder = u32::MAX;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let [a, b, c, d, e, f, g, h] = *word;
        let low = u32::from_le_bytes([a, b, c, d]) ^ remainder;
        let high = u32::from_le_bytes([e, f, g, h]);
        remainder = at(7, low, 0)
            ^ at(6, low, 8)
            ^ at(5, low, 16)
            ^ at(4, low, 24)
            ^ at(3, high, 0)
            ^ at(2, high, 8)
            ^ at(1, high, 16)
            ^ at(0, high, 24);
    }
    for byte in rest {
        remainder = (remainder >> 8) ^ at(0, remainder ^ u32::from(*byte), 0);
    }
    !remainder
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, appendix B.4, and the usual check value.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&ascending), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    proptest! {
        #[test]
        fn numbers_round_trip(number: u64, wide: u128, shift in 0..64_u32) {
            let number = number >> shift;
            let mut record = Record::<48>::new();
            record.varint(number);
            record.wide_varint(wide >> shift);
            record.varint(zigzag(number.cast_signed()));
            let mut reader = Reader(record.as_slice());
            prop_assert_eq!(reader.varint(), Some(number));
            prop_assert_eq!(reader.wide_varint(), Some(wide >> shift));
            prop_assert_eq!(reader.varint().map(unzigzag), Some(number.cast_signed()));
            prop_assert!(reader.is_at_end());
            for end in 0..record.as_slice().len() {
                let mut reader = Reader(&record.as_slice()[..end]);
                let all = (reader.varint(), reader.wide_varint(), reader.varint());
                prop_assert!(all.0.is_none() || all.1.is_none() || all.2.is_none());
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Reader(&bytes).varint();
            let _ = Reader(&bytes).wide_varint();
            let _ = unseal(&bytes);
        }
    }
}
