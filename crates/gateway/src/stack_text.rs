//! Short texts for header values, written on the stack by hand: `std::fmt` costs several times as much, and
//! every answer needs two of them.

use std::time::Duration;

use http::HeaderValue;
use runtime::TraceContext;

/// A text of at most `N` bytes of visible ASCII. What does not fit is a bug.
pub(crate) struct StackText<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> StackText<N> {
    pub(crate) fn new() -> Self {
        Self {
            bytes: [0; N],
            length: 0,
        }
    }

    pub(crate) fn push(&mut self, text: &str) {
        let end = self.length + text.len();
        self.bytes[self.length..end].copy_from_slice(text.as_bytes());
        self.length = end;
    }

    /// Milliseconds with three decimals.
    pub(crate) fn push_millis(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.push_number(micros / 1000);
        let thousandths = micros % 1000;
        let digit = |n: u64| b'0' + u8::try_from(n % 10).expect("a digit");
        let decimals = [
            b'.',
            digit(thousandths / 100),
            digit(thousandths / 10),
            digit(thousandths),
        ];
        self.push_ascii(&decimals);
    }

    fn push_number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + u8::try_from(number % 10).expect("a digit");
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.push_ascii(&digits[at..]);
    }

    fn push_hex(&mut self, bytes: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for byte in bytes {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            self.push_ascii(&[DIGITS[high], DIGITS[low]]);
        }
    }

    fn push_ascii(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        self.bytes[self.length..end].copy_from_slice(bytes);
        self.length = end;
    }

    pub(crate) fn to_value(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.bytes[..self.length]).expect("only visible ASCII is pushed")
    }
}

/// The `traceparent` of a span: as [`TraceContext`] displays itself.
pub(crate) fn traceparent(trace: &TraceContext) -> HeaderValue {
    let mut text = StackText::<55>::new();
    text.push("00-");
    text.push_hex(&trace.trace_id.to_be_bytes());
    text.push("-");
    text.push_hex(&trace.span_id.to_be_bytes());
    text.push("-");
    text.push_hex(&[trace.flags]);
    text.to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn millis_have_three_decimals() {
        for (micros, expected) in [
            (0, "0.000"),
            (7, "0.007"),
            (91, "0.091"),
            (1_250_000, "1250.000"),
            (u64::MAX, "18446744073709551.615"),
        ] {
            let mut text = StackText::<24>::new();
            text.push_millis(Duration::from_micros(micros));
            assert_eq!(text.to_value(), expected);
        }
    }

    #[test]
    fn traceparents_are_as_displayed() {
        for trace in [
            TraceContext::root(1, 2),
            TraceContext {
                trace_id: u128::MAX - 5,
                span_id: u64::MAX,
                parent_span_id: Some(1),
                flags: 1,
            },
        ] {
            assert_eq!(traceparent(&trace), trace.to_string().as_str());
        }
    }
}
