//! The gateway's knobs. The doc comments are the operator's manual: `docs/guide/gateway.md` lists them.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::guard::FramerLimits;

/// Everything that can be set about the gateway; `[gateway]` in the node's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Where to listen. Port 0 lets the system choose one.
    pub address: SocketAddr,
    /// Threads, each with its own listener and event loop; 0 is one per available core.
    pub n_workers: usize,
    /// Connections at once, on all workers. More are answered 503 (H3002) and closed. At the start this is
    /// lowered to what the process's limit of open files leaves room for.
    pub n_connections_max: usize,
    /// Connections at once on one worker.
    pub n_connections_per_worker_max: usize,
    /// Connections that the system holds for us before they are accepted.
    pub backlog: u32,
    /// How long a worker stops accepting when the system has no descriptor or memory for a connection.
    pub accept_pause_ms: u64,

    /// Bytes of a request's head: request line and headers. More is 431 (H1006).
    pub head_bytes_max: usize,
    /// Bytes of a request's URI. More is 414 (H1007).
    pub uri_bytes_max: usize,
    /// Headers of a request. More is 431 (H1006).
    pub n_headers_max: usize,
    /// Bytes of the chunk extensions of one body. More is 400 (H1011).
    pub chunk_extension_bytes_max: usize,
    /// Bytes of the trailers of one request. More is 400 (H1011).
    pub trailer_bytes_max: usize,
    /// Bytes of a response's head, as the function gives it. More is 502 (H2007).
    pub response_head_bytes_max: usize,

    /// From the connection, or from a head's first byte, to the complete head. Then 408 (H1008), or a
    /// close where nothing came.
    pub head_timeout_ms: u64,
    /// How long a connection may stay open between requests.
    pub idle_timeout_ms: u64,
    /// The longest wait for the next bytes of a request's body while the function wants them. Then 408
    /// (H1008).
    pub body_idle_timeout_ms: u64,
    /// How long a caller may take too little of a response: fewer than `write_bytes_min` bytes in this
    /// time, or a whole chunk in HTTP/2. Then the connection is reset, in HTTP/2 the stream.
    pub write_timeout_ms: u64,
    /// See `write_timeout_ms`.
    pub write_bytes_min: u64,
    /// How long a connection that is closed on our side still reads, so that the caller sees the answer.
    pub linger_timeout_ms: u64,
    /// How many bytes such a connection reads.
    pub linger_bytes_max: usize,
    /// The buffer of a connection in each direction.
    pub buffer_bytes_max: usize,

    /// What concerns HTTP/2 alone.
    pub http2: Http2Config,
    /// What concerns the event loops.
    pub event_loop: EventLoopConfig,
}

/// HTTP/2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http2Config {
    /// Streams that a caller may have open on one connection.
    pub n_streams_max: u32,
    /// Streams that a caller reset before we looked at them; more close the connection (rapid reset,
    /// CVE-2023-44487).
    pub n_pending_resets_max: usize,
    /// Streams that we reset for the caller's errors; more close the connection (CVE-2025-8671). Streams
    /// above `n_streams_max` count, which an honest caller may open before it knows that limit.
    pub n_error_resets_max: usize,
    /// Bytes that a caller may send ahead on one stream.
    pub stream_window_bytes: u32,
    /// Bytes that a caller may send ahead on one connection.
    pub connection_window_bytes: u32,
    /// Bytes held per stream when the caller does not take them.
    pub send_buffer_bytes_max: usize,
    /// Time between pings that find dead callers.
    pub keep_alive_interval_ms: u64,
    /// How long a ping may stay unanswered.
    pub keep_alive_timeout_ms: u64,
}

/// The event loop of each worker. Guests run on it in slices of about a millisecond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventLoopConfig {
    /// After how many task polls the loop looks at sockets and timers. A guest that computes makes a poll
    /// last a millisecond, so this bounds how late a socket is seen; `docs/guide/gateway.md` has figures.
    pub event_interval: u32,
    /// After how many task polls the loop looks at work from other threads.
    pub global_queue_interval: u32,
    /// Threads of each worker for blocking work such as file reads; they go when idle.
    pub n_blocking_threads_max: usize,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            n_workers: 0,
            n_connections_max: 10_000,
            n_connections_per_worker_max: 10_000,
            backlog: 1024,
            accept_pause_ms: 50,
            head_bytes_max: 32 * 1024,
            uri_bytes_max: 8 * 1024,
            n_headers_max: 100,
            chunk_extension_bytes_max: 4 * 1024,
            trailer_bytes_max: 8 * 1024,
            response_head_bytes_max: 64 * 1024,
            head_timeout_ms: 10_000,
            idle_timeout_ms: 60_000,
            body_idle_timeout_ms: 30_000,
            write_timeout_ms: 30_000,
            write_bytes_min: 4 * 1024,
            linger_timeout_ms: 1_000,
            linger_bytes_max: 256 * 1024,
            buffer_bytes_max: 64 * 1024,
            http2: Http2Config::default(),
            event_loop: EventLoopConfig::default(),
        }
    }
}

impl Default for Http2Config {
    fn default() -> Self {
        Self {
            n_streams_max: 128,
            n_pending_resets_max: 20,
            n_error_resets_max: 1024,
            stream_window_bytes: 256 * 1024,
            connection_window_bytes: 1024 * 1024,
            send_buffer_bytes_max: 128 * 1024,
            keep_alive_interval_ms: 20_000,
            keep_alive_timeout_ms: 20_000,
        }
    }
}

impl Default for EventLoopConfig {
    fn default() -> Self {
        Self {
            event_interval: 31,
            global_queue_interval: 31,
            n_blocking_threads_max: 16,
        }
    }
}

/// A value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`gateway.{name}` is {value}: it takes {rule}")]
pub struct ConfigError {
    /// The knob.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
    /// What values it takes.
    pub rule: &'static str,
}

impl GatewayConfig {
    /// Refuses values under which the gateway could not serve.
    ///
    /// # Errors
    /// The first knob with such a value.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_positive()?;
        self.check_ranges()?;
        self.http2.check()
    }

    fn check_positive(&self) -> Result<(), ConfigError> {
        let event_loop = &self.event_loop;
        all_positive([
            ("n_connections_max", self.n_connections_max as u64),
            (
                "n_connections_per_worker_max",
                self.n_connections_per_worker_max as u64,
            ),
            ("backlog", u64::from(self.backlog)),
            ("accept_pause_ms", self.accept_pause_ms),
            ("trailer_bytes_max", self.trailer_bytes_max as u64),
            (
                "response_head_bytes_max",
                self.response_head_bytes_max as u64,
            ),
            ("head_timeout_ms", self.head_timeout_ms),
            ("idle_timeout_ms", self.idle_timeout_ms),
            ("body_idle_timeout_ms", self.body_idle_timeout_ms),
            ("write_timeout_ms", self.write_timeout_ms),
            ("write_bytes_min", self.write_bytes_min),
            (
                "event_loop.event_interval",
                u64::from(event_loop.event_interval),
            ),
            (
                "event_loop.global_queue_interval",
                u64::from(event_loop.global_queue_interval),
            ),
            (
                "event_loop.n_blocking_threads_max",
                event_loop.n_blocking_threads_max as u64,
            ),
        ])
    }

    /// The bounds are those of the HTTP libraries.
    fn check_ranges(&self) -> Result<(), ConfigError> {
        let (head, buffer) = (self.head_bytes_max as u64, self.buffer_bytes_max as u64);
        all_within([
            ("n_workers", self.n_workers as u64, 0..=1024, "0 to 1024"),
            (
                "n_headers_max",
                self.n_headers_max as u64,
                1..=1000,
                "1 to 1000",
            ),
            (
                "uri_bytes_max",
                self.uri_bytes_max as u64,
                1..=65_534,
                "1 to 65534",
            ),
            ("head_bytes_max", head, 1024..=1 << 20, "1 KiB to 1 MiB"),
            (
                "buffer_bytes_max",
                buffer,
                8192..=1 << 24,
                "8 KiB to 16 MiB",
            ),
        ])
    }

    pub(crate) fn framer_limits(&self) -> FramerLimits {
        FramerLimits {
            head_bytes_max: self.head_bytes_max,
            uri_bytes_max: self.uri_bytes_max,
            n_headers_max: self.n_headers_max,
            chunk_extension_bytes_max: self.chunk_extension_bytes_max,
            trailer_bytes_max: self.trailer_bytes_max,
        }
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        Timeouts {
            head: Duration::from_millis(self.head_timeout_ms),
            idle: Duration::from_millis(self.idle_timeout_ms),
            body_idle: Duration::from_millis(self.body_idle_timeout_ms),
            write: Duration::from_millis(self.write_timeout_ms),
            write_bytes_min: self.write_bytes_min,
            linger: Duration::from_millis(self.linger_timeout_ms),
        }
    }
}

impl Http2Config {
    /// The bounds are those of the protocol (RFC 9113, sections 6.5.2 and 6.9).
    fn check(&self) -> Result<(), ConfigError> {
        all_positive([
            ("http2.n_streams_max", u64::from(self.n_streams_max)),
            ("http2.keep_alive_interval_ms", self.keep_alive_interval_ms),
            ("http2.keep_alive_timeout_ms", self.keep_alive_timeout_ms),
        ])?;
        let window = u64::from(self.stream_window_bytes);
        let connection = u64::from(self.connection_window_bytes);
        let send = self.send_buffer_bytes_max as u64;
        all_within([
            (
                "http2.stream_window_bytes",
                window,
                1024..=(1 << 31) - 1,
                "1 KiB to 2 GiB",
            ),
            (
                "http2.connection_window_bytes",
                connection,
                65_535..=(1 << 31) - 1,
                "64 KiB to 2 GiB",
            ),
            (
                "http2.send_buffer_bytes_max",
                send,
                1024..=1 << 30,
                "1 KiB to 1 GiB",
            ),
        ])
    }
}

fn all_positive<const N: usize>(knobs: [(&'static str, u64); N]) -> Result<(), ConfigError> {
    let zero = knobs.into_iter().find(|(_, value)| *value == 0);
    zero.map_or(Ok(()), |(name, value)| {
        Err(ConfigError {
            name,
            value,
            rule: "1 or more",
        })
    })
}

/// A knob's name, value, range, and the range in words.
type Ranged = (&'static str, u64, RangeInclusive<u64>, &'static str);

fn all_within<const N: usize>(knobs: [Ranged; N]) -> Result<(), ConfigError> {
    let outside = knobs
        .into_iter()
        .find(|(_, value, range, _)| !range.contains(value));
    outside.map_or(Ok(()), |(name, value, _, rule)| {
        Err(ConfigError { name, value, rule })
    })
}

/// The time limits of a connection, as durations.
#[derive(Clone, Debug)]
pub(crate) struct Timeouts {
    pub(crate) head: Duration,
    pub(crate) idle: Duration,
    pub(crate) body_idle: Duration,
    pub(crate) write: Duration,
    pub(crate) write_bytes_min: u64,
    pub(crate) linger: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_lists_every_knob() {
        let guide = include_str!("../../../docs/guide/gateway.md");
        let config = serde_json::to_value(GatewayConfig::default()).expect("plain data");
        for (name, value) in config.as_object().expect("a table") {
            match value.as_object() {
                None => assert!(guide.contains(&format!("| `{name}` |")), "{name}"),
                Some(table) => {
                    for inner in table.keys() {
                        assert!(
                            guide.contains(&format!("| `{name}.{inner}` |")),
                            "{name}.{inner}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_table_changes_what_it_names() {
        let config: GatewayConfig = toml::from_str(
            "address = \"0.0.0.0:80\"\nidle_timeout_ms = 5\n[http2]\nn_streams_max = 7\n",
        )
        .expect("valid");
        assert_eq!(config.address.port(), 80);
        assert_eq!((config.idle_timeout_ms, config.http2.n_streams_max), (5, 7));
        assert_eq!(
            config.head_timeout_ms,
            GatewayConfig::default().head_timeout_ms
        );
        let error = toml::from_str::<GatewayConfig>("idle_timeout = 5").expect_err("no such knob");
        assert!(error.to_string().contains("idle_timeout"), "{error}");
    }

    #[test]
    fn defaults_pass_and_unusable_values_are_named() {
        assert_eq!(GatewayConfig::default().check(), Ok(()));
        let zero = GatewayConfig {
            head_timeout_ms: 0,
            ..GatewayConfig::default()
        };
        assert_eq!(
            zero.check().expect_err("zero").to_string(),
            "`gateway.head_timeout_ms` is 0: it takes 1 or more"
        );
        let small = GatewayConfig {
            buffer_bytes_max: 100,
            ..GatewayConfig::default()
        };
        assert_eq!(small.check().expect_err("small").name, "buffer_bytes_max");
    }
}
