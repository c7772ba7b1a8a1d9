//! The knobs of the admin server: `[admin]` of the node's configuration. The doc comments are the
//! operator's manual.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlConfig {
    /// Where the admin API listens. It speaks plain HTTP: keep it on a loopback address, and put TLS in
    /// front of it where it has to leave the machine.
    pub address: SocketAddr,
    /// Host names besides `localhost` and addresses under which the API may be called. Requests for
    /// others are refused, so that no web page can reach it by pointing its own name here.
    pub hosts: Vec<String>,
    /// Connections at once. More wait to be accepted.
    pub n_connections_max: usize,
    /// Seconds that a client may take for a request's head, also while a connection idles.
    pub head_timeout_s: u64,
    /// Seconds that a client may take for a JSON body, and that an upload may stand still.
    pub body_timeout_s: u64,
    /// Bytes of an artifact. Larger ones are refused with H4006.
    pub artifact_bytes_max: u64,
    /// Uploads at once. More wait for `queue_timeout_s`.
    pub n_uploads_max: usize,
    /// Publications at once; each may compile. More wait for `queue_timeout_s`.
    pub n_publishes_max: usize,
    /// Seconds that an upload or a publication may wait for its turn; then it is refused with H3002.
    pub queue_timeout_s: u64,
    /// Clients that follow logs at once. More are refused with H3002.
    pub n_followers_max: usize,
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            hosts: Vec::new(),
            n_connections_max: 256,
            head_timeout_s: 30,
            body_timeout_s: 30,
            artifact_bytes_max: 250 * 1024 * 1024,
            n_uploads_max: 16,
            n_publishes_max: 16,
            queue_timeout_s: 30,
            n_followers_max: 64,
        }
    }
}
