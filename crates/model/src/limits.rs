//! The limits of one function: what may be set, what holds when nothing is set, and the operator's
//! ceilings above which nobody may go.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::{duration_ms, format_duration_ms, format_size, size};
use crate::{Code, Failure, Isolation};

/// One mebibyte in bytes.
pub const MIB: u64 = 1024 * 1024;

/// The limits under which every invocation of a function runs. All of them are visible in
/// `holm describe`, and the error that a limit causes names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory of one instance, in bytes.
    pub memory_bytes_max: u64,
    /// CPU time of one invocation in milliseconds, apart from the wall clock.
    pub cpu_ms_max: u64,
    /// Wall-clock time from the start of the run to the end of the answer, in milliseconds.
    pub timeout_ms: u64,
    /// Time a request may wait for an instance and its init, in milliseconds; not part of `timeout_ms`.
    pub start_timeout_ms: u64,
    /// Invocations of the function that run at the same time on one node.
    pub concurrency_max: u32,
    /// Bytes of a request body, and of a response body.
    pub body_bytes_max: u64,
    /// Bytes of log that one invocation may write; what exceeds it is dropped and counted.
    pub log_bytes_max: u64,
}

impl Limits {
    /// The defaults of `isolation`: see `docs/guide/limits.md`.
    pub fn defaults(isolation: Isolation) -> Self {
        let (memory_mib, start_timeout_s) = match isolation {
            Isolation::Wasm | Isolation::V8 => (128, 10),
            Isolation::Container | Isolation::Gvisor => (256, 60),
            Isolation::Microvm => (256, 120),
        };
        Self {
            memory_bytes_max: memory_mib * MIB,
            cpu_ms_max: 30_000,
            timeout_ms: 30_000,
            start_timeout_ms: start_timeout_s * 1_000,
            concurrency_max: 250,
            body_bytes_max: 100 * MIB,
            log_bytes_max: MIB,
        }
    }

    /// The value of `limit` in its smallest unit: bytes, milliseconds or a count.
    pub fn get(&self, limit: Limit) -> u64 {
        match limit {
            Limit::Memory => self.memory_bytes_max,
            Limit::CpuMs => self.cpu_ms_max,
            Limit::Timeout => self.timeout_ms,
            Limit::StartTimeout => self.start_timeout_ms,
            Limit::Concurrency => u64::from(self.concurrency_max),
            Limit::Body => self.body_bytes_max,
            Limit::Log => self.log_bytes_max,
        }
    }
}

/// One of the limits, by its key in the manifest's `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// `memory`
    Memory,
    /// `cpu_ms`
    CpuMs,
    /// `timeout`
    Timeout,
    /// `start_timeout`
    StartTimeout,
    /// `concurrency`
    Concurrency,
    /// `body`
    Body,
    /// `log`
    Log,
}

/// In which unit a limit is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitUnit {
    /// Bytes, or a text such as `128MiB`.
    Size,
    /// A text such as `30s`.
    Duration,
    /// A plain number.
    Number,
}

impl Limit {
    /// All limits, in the order of listings.
    pub const ALL: [Limit; 7] = [
        Limit::Memory,
        Limit::CpuMs,
        Limit::Timeout,
        Limit::StartTimeout,
        Limit::Concurrency,
        Limit::Body,
        Limit::Log,
    ];

    /// The key in `[limits]` of the manifest, and in `[ceilings]` of the node's configuration.
    pub fn key(self) -> &'static str {
        match self {
            Limit::Memory => "memory",
            Limit::CpuMs => "cpu_ms",
            Limit::Timeout => "timeout",
            Limit::StartTimeout => "start_timeout",
            Limit::Concurrency => "concurrency",
            Limit::Body => "body",
            Limit::Log => "log",
        }
    }

    /// How its value is written.
    pub fn unit(self) -> LimitUnit {
        match self {
            Limit::Memory | Limit::Body | Limit::Log => LimitUnit::Size,
            Limit::Timeout | Limit::StartTimeout => LimitUnit::Duration,
            Limit::CpuMs | Limit::Concurrency => LimitUnit::Number,
        }
    }

    /// The smallest value that makes sense; below it no function could run.
    pub fn value_min(self) -> u64 {
        match self {
            // One page of WebAssembly memory.
            Limit::Memory => 64 * 1024,
            _ => 1,
        }
    }

    /// The largest value that a manifest may name at all; operators set lower [`Ceilings`].
    pub fn value_max(self) -> u64 {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        match self {
            Limit::Memory => MIB * MIB,
            Limit::CpuMs | Limit::Timeout => DAY_MS,
            Limit::StartTimeout => DAY_MS / 24,
            Limit::Concurrency => 100_000,
            Limit::Body => MIB * MIB,
            Limit::Log => 1024 * MIB,
        }
    }

    /// `value` as people write it for this limit.
    pub fn format(self, value: u64) -> String {
        match self.unit() {
            LimitUnit::Size => format_size(value),
            LimitUnit::Duration => format_duration_ms(value),
            LimitUnit::Number => value.to_string(),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.key())
    }
}

/// The highest limits that a function may have on a node: `[ceilings]` of the node's configuration.
/// A deploy above one is refused; versions published before a ceiling was lowered keep running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ceilings {
    /// For `limits.memory`.
    #[serde(with = "size")]
    pub memory: u64,
    /// For `limits.cpu_ms`.
    pub cpu_ms: u64,
    /// For `limits.timeout`.
    #[serde(with = "duration_ms")]
    pub timeout: u64,
    /// For `limits.start_timeout`.
    #[serde(with = "duration_ms")]
    pub start_timeout: u64,
    /// For `limits.concurrency`.
    pub concurrency: u32,
    /// For `limits.body`.
    #[serde(with = "size")]
    pub body: u64,
    /// For `limits.log`.
    #[serde(with = "size")]
    pub log: u64,
}

impl Default for Ceilings {
    fn default() -> Self {
        Self {
            memory: 4096 * MIB,
            cpu_ms: 900_000,
            timeout: 900_000,
            start_timeout: 600_000,
            concurrency: 10_000,
            body: 5 * 1024 * MIB,
            log: 64 * MIB,
        }
    }
}

impl Ceilings {
    /// The ceiling of `limit` in its smallest unit.
    pub fn get(&self, limit: Limit) -> u64 {
        match limit {
            Limit::Memory => self.memory,
            Limit::CpuMs => self.cpu_ms,
            Limit::Timeout => self.timeout,
            Limit::StartTimeout => self.start_timeout,
            Limit::Concurrency => u64::from(self.concurrency),
            Limit::Body => self.body,
            Limit::Log => self.log,
        }
    }

    /// The ceilings in the shape of limits, as the admin API shows them.
    pub fn as_limits(&self) -> Limits {
        Limits {
            memory_bytes_max: self.memory,
            cpu_ms_max: self.cpu_ms,
            timeout_ms: self.timeout,
            start_timeout_ms: self.start_timeout,
            concurrency_max: self.concurrency,
            body_bytes_max: self.body,
            log_bytes_max: self.log,
        }
    }

    /// `limits`, each lowered to its ceiling where it is above.
    pub fn cap(&self, limits: &Limits) -> Limits {
        Limits {
            memory_bytes_max: limits.memory_bytes_max.min(self.memory),
            cpu_ms_max: limits.cpu_ms_max.min(self.cpu_ms),
            timeout_ms: limits.timeout_ms.min(self.timeout),
            start_timeout_ms: limits.start_timeout_ms.min(self.start_timeout),
            concurrency_max: limits.concurrency_max.min(self.concurrency),
            body_bytes_max: limits.body_bytes_max.min(self.body),
            log_bytes_max: limits.log_bytes_max.min(self.log),
        }
    }

    /// Holds `limits` against the ceilings.
    ///
    /// # Errors
    /// [`Code::LimitAboveCeiling`], naming the first limit that is too high and the operator's knob.
    pub fn check(&self, limits: &Limits) -> Result<(), Failure> {
        for limit in Limit::ALL {
            let (value, ceiling) = (limits.get(limit), self.get(limit));
            if value > ceiling {
                let (value, ceiling) = (limit.format(value), limit.format(ceiling));
                return Err(Failure::new(
                    Code::LimitAboveCeiling,
                    format!("limits.{limit} is {value}, above this node's ceiling of {ceiling}"),
                )
                .with_limit(
                    &format!("ceilings.{limit}"),
                    ceiling,
                    format!("`{limit}` under [ceilings] in the node's configuration"),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_below_the_ceilings() {
        for isolation in Isolation::ALL {
            let limits = Limits::defaults(isolation);
            assert_eq!(Ceilings::default().check(&limits), Ok(()));
            for limit in Limit::ALL {
                let value = limits.get(limit);
                assert!(
                    (limit.value_min()..=limit.value_max()).contains(&value),
                    "{limit}"
                );
            }
        }
    }

    #[test]
    fn each_limit_has_a_ceiling_that_names_it() {
        type Raise = fn(&mut Limits);
        let raise: [(Limit, Raise); 7] = [
            (Limit::Memory, |l| l.memory_bytes_max = 1 << 40),
            (Limit::CpuMs, |l| l.cpu_ms_max = 900_001),
            (Limit::Timeout, |l| l.timeout_ms = 900_001),
            (Limit::StartTimeout, |l| l.start_timeout_ms = 600_001),
            (Limit::Concurrency, |l| l.concurrency_max = 10_001),
            (Limit::Body, |l| l.body_bytes_max = 1 << 40),
            (Limit::Log, |l| l.log_bytes_max = 65 * MIB),
        ];
        for (limit, raise) in raise {
            let mut limits = Limits::defaults(Isolation::Wasm);
            raise(&mut limits);
            let failure = Ceilings::default().check(&limits).expect_err("above");
            assert_eq!(failure.code(), Code::LimitAboveCeiling);
            let hit = failure.limit().expect("named");
            assert_eq!(hit.name, format!("ceilings.{limit}"));
            assert!(failure.detail().starts_with(&format!("limits.{limit} is ")));
        }
    }

    #[test]
    fn ceilings_are_written_as_in_the_manifest() {
        let ceilings: Ceilings =
            toml::from_str("memory = \"1GiB\"\ntimeout = \"2m\"\nbody = 1000").expect("valid");
        assert_eq!(
            (ceilings.memory, ceilings.timeout, ceilings.body),
            (1 << 30, 120_000, 1000)
        );
        assert_eq!(ceilings.log, Ceilings::default().log);
        let text = toml::to_string(&ceilings).expect("serialises");
        assert_eq!(toml::from_str::<Ceilings>(&text).expect("valid"), ceilings);
        assert!(toml::from_str::<Ceilings>("memroy = 1").is_err());
    }
}
