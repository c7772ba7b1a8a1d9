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
    /// The price of an invocation. `memory_bytes_max` is the function's memory limit: memory is billed
    /// as reserved, as Lambda does. Sums in 128 bits, so no receipt overflows.
    pub fn price_nano(&self, receipt: &Receipt, memory_bytes_max: u64) -> u64 {
        const NS_PER_S: u128 = 1_000_000_000;
        const GIB: u128 = 1 << 30;
        let wall_ns = u128::from(receipt.run_ns) + u128::from(receipt.init_ns);
        let memory = u128::from(self.gb_second_nano) * wall_ns * u128::from(memory_bytes_max)
            / (NS_PER_S * GIB);
        let cpu = u128::from(self.cpu_second_nano) * u128::from(receipt.cpu_ns) / NS_PER_S;
        let total = u128::from(self.request_nano) + memory + cpu;
        u64::try_from(total).unwrap_or(u64::MAX)
    }
}
