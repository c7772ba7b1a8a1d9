//! The knobs of outbound requests, with what holds when they are not turned. Refuses to know files:
//! the node reads its configuration and fills this.

use std::time::Duration;

/// Limits of outbound requests.
#[derive(Clone, Debug)]
pub struct EgressConfig {
    /// How long resolving a name may take, waiting for a place in the resolver included.
    pub resolve_timeout: Duration,
    /// How long connecting and the TLS handshake may take together, over all addresses of the name.
    pub connect_timeout: Duration,
    /// How long the response head may take, from the last byte of request body that moved.
    pub head_timeout: Duration,
    /// How long the response body may stand still while the guest waits for it.
    pub between_bytes_timeout: Duration,
    /// Open connections of one function on this node.
    pub connections_per_function_max: u32,
    /// Open connections of all functions of this node.
    pub connections_max: u32,
    /// Names that are being resolved for one function at the same time.
    pub lookups_per_function_max: u32,
    /// Names that are being resolved on this node at the same time. Each one occupies a thread.
    pub lookups_max: u32,
    /// Addresses of one name that are tried before giving up.
    pub addresses_max: usize,
    /// Bytes of a request's line and headers.
    pub request_head_bytes_max: usize,
    /// Bytes of a response's status line and headers, and of its trailers.
    pub response_head_bytes_max: usize,
    /// Headers of a response.
    pub response_headers_max: usize,
    /// Bytes that one connection buffers between socket and guest; at least 8 KiB.
    pub buffer_bytes_max: usize,
    /// Trust the certificate authorities of this host (on Debian: the package `ca-certificates`).
    pub trust_system_roots: bool,
    /// Further certificate authorities to trust, DER-encoded.
    pub extra_roots_der: Vec<Vec<u8>>,
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self {
            resolve_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(60),
            between_bytes_timeout: Duration::from_secs(60),
            connections_per_function_max: 256,
            connections_max: 4_096,
            lookups_per_function_max: 4,
            lookups_max: 32,
            addresses_max: 4,
            request_head_bytes_max: 64 * 1024,
            response_head_bytes_max: 64 * 1024,
            response_headers_max: 256,
            buffer_bytes_max: 128 * 1024,
            trust_system_roots: true,
            extra_roots_der: Vec::new(),
        }
    }
}
