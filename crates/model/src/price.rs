//! Prices: a table, and what a receipt costs by it.

use serde::{Deserialize, Serialize};

use crate::Receipt;

/// What usage costs, in billionths of the currency unit. All zero by default: counting without prices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PriceTable {
    /// The currency's name, shown beside prices.
    pub currency: String,
    /// Per request.
    pub request_nano: u64,
    /// Per gibibyte of memory limit and second of run time.
    pub gb_second_nano: u64,
    /// Per second of CPU time.
    pub cpu_second_nano: u64,
}

impl PriceTable {
    /// The price of an invocation, rounded down per component. `memory_bytes_max` is the function's memory
    /// limit: memory is billed as reserved, as Lambda does. Exact in 128 bits, and no receipt overflows:
    /// what exceeds 64 bits is the highest price.
    pub fn price_nano(&self, receipt: &Receipt, memory_bytes_max: u64) -> u64 {
        const NS_PER_S: u128 = 1_000_000_000;
        const GIB: u128 = 1 << 30;
        let wall_ns = u128::from(receipt.run_ns) + u128::from(receipt.init_ns);
        let memory_ns = wall_ns.saturating_mul(u128::from(memory_bytes_max));
        let memory = price_of(self.gb_second_nano, memory_ns, NS_PER_S * GIB);
        let cpu = price_of(self.cpu_second_nano, u128::from(receipt.cpu_ns), NS_PER_S);
        let total = memory
            .saturating_add(cpu)
            .saturating_add(u128::from(self.request_nano));
        u64::try_from(total).unwrap_or(u64::MAX)
    }
}

/// `rate * amount / unit`, where the product may exceed 128 bits though the quotient does not.
fn price_of(rate: u64, amount: u128, unit: u128) -> u128 {
    if rate == 0 {
        return 0;
    }
    // Nearly always all of it fits into 64 bits, whose division takes a tenth of the time.
    let small = u64::try_from(amount)
        .ok()
        .and_then(|amount| amount.checked_mul(rate));
    if let (Some(product), Ok(unit)) = (small, u64::try_from(unit)) {
        return u128::from(product / unit);
    }
    let rate = u128::from(rate);
    let whole = rate.saturating_mul(amount / unit);
    // Below 2^64 * 2^60.
    whole.saturating_add(rate * (amount % unit) / unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InvocationId, Isolation, StartKind};

    fn receipt(run_ns: u64, cpu_ns: u64) -> Receipt {
        Receipt {
            id: InvocationId::new(0, [0; 10]),
            function: "hello".parse().expect("a name"),
            version: 1,
            isolation: Isolation::Wasm,
            start: StartKind::Fresh,
            accepted_unix_ms: 0,
            queue_ns: 0,
            start_ns: 0,
            init_ns: 0,
            run_ns,
            cpu_ns,
            memory_peak_bytes: 0,
            bytes_in: 0,
            bytes_out: 0,
            log_bytes: 0,
            log_dropped_bytes: 0,
            status: 200,
            error: None,
            price_nano: 0,
        }
    }

    #[test]
    fn prices_add_up() {
        let prices = PriceTable {
            currency: "EUR".to_owned(),
            request_nano: 200,
            gb_second_nano: 16_667,
            cpu_second_nano: 50_000,
        };
        // Half a second at 128 MiB: a sixteenth of a GiB-second.
        let half_second = receipt(500_000_000, 100_000_000);
        assert_eq!(
            prices.price_nano(&half_second, 128 << 20),
            200 + 1_041 + 5_000
        );
        assert_eq!(PriceTable::default().price_nano(&half_second, 128 << 20), 0);
    }

    #[test]
    fn no_receipt_overflows() {
        let prices = PriceTable {
            currency: String::new(),
            request_nano: u64::MAX,
            gb_second_nano: u64::MAX,
            cpu_second_nano: u64::MAX,
        };
        let price = prices.price_nano(&receipt(u64::MAX, u64::MAX), u64::MAX);
        assert_eq!(price, u64::MAX);
        let day_ns = 86_400_000_000_000;
        assert_eq!(prices.price_nano(&receipt(day_ns, 1), 1 << 40), u64::MAX);
    }
}
