//! Why an outbound request failed. Refuses to know what a guest is told: each engine maps these.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use crate::address::AddressClass;

/// An outbound request did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// Policy forbids it. Nothing was sent.
    #[error("outbound request to {target} denied: {denial}")]
    Denied {
        /// `host:port`, or what there is of it.
        target: String,
        /// Why.
        denial: Denial,
    },
    /// The request is not one that can be sent over HTTP.
    #[error("invalid outbound request: {0}")]
    InvalidRequest(RequestFault),
    /// Too many outbound connections are open.
    #[error("too many outbound connections: {n_max} are open {scope}")]
    TooManyConnections {
        /// Whose limit it is.
        scope: Scope,
        /// The limit, `connections_per_function_max` or `connections_max`.
        n_max: u32,
    },
    /// The name has no address, or its servers did not answer properly.
    #[error("the name {host} could not be resolved")]
    DnsFailed {
        /// The name.
        host: String,
        /// What the resolver said; `None` where it answered with no address.
        #[source]
        source: Option<io::Error>,
    },
    /// No address accepted a connection.
    #[error("connecting to {target} failed")]
    ConnectFailed {
        /// `host:port`.
        target: String,
        /// What the last address answered.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake failed: certificate, name or protocol.
    #[error("the TLS handshake with {target} failed")]
    TlsFailed {
        /// `host:port`.
        target: String,
        /// What rustls said.
        #[source]
        source: io::Error,
    },
    /// Something took longer than it may.
    #[error("{stage} took longer than {} ms", limit.as_millis())]
    Timeout {
        /// What took too long.
        stage: Stage,
        /// The limit that fired.
        limit: Duration,
    },
    /// The server's response head or trailers exceed `response_head_bytes_max` or
    /// `response_headers_max`.
    #[error("the response's headers are too large")]
    HeadTooLarge,
    /// The other side broke HTTP, or hung up in the middle.
    #[error("the response is not proper HTTP, or ended too early")]
    Protocol(#[source] hyper::Error),
    /// The other side answered with a protocol switch that nobody asked for.
    #[error("the server switched protocols unasked")]
    UnexpectedUpgrade,
    /// The body that the guest sends failed at its source.
    #[error("the request body failed: {0}")]
    RequestBody(String),
}

impl EgressError {
    /// Whether a TLS handshake failed because of the server's certificate: unknown authority, wrong
    /// name, out of date.
    pub fn is_certificate_error(&self) -> bool {
        let EgressError::TlsFailed { source, .. } = self else {
            return false;
        };
        let inner = source.get_ref().and_then(|inner| inner.downcast_ref());
        matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
    }
}

/// Why policy forbids a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// No rule of the manifest covers it.
    #[error("no rule of `[egress] allow` covers it")]
    NoRule,
    /// The URI carries a user name or password.
    #[error("user names and passwords in a URI are not accepted")]
    UserInfo,
    /// The host is neither a DNS name nor an address.
    #[error("the host is malformed")]
    HostMalformed,
    /// The host is a number, but not a canonical IPv4 address.
    #[error("IPv4 addresses must be written as four decimal numbers")]
    AmbiguousAddress,
    /// It leads to an address that the matching rule does not grant.
    #[error("it leads to {ip}, {class}, which takes a rule with `private:`")]
    Address {
        /// The address.
        ip: IpAddr,
        /// Its class.
        class: AddressClass,
    },
    /// It leads to an address that no rule can grant.
    #[error("it leads to {ip}, {class}, which no rule grants")]
    NeverGranted {
        /// The address.
        ip: IpAddr,
        /// Its class.
        class: AddressClass,
    },
    /// It leads to cloud metadata, and the rule does not name that very address.
    #[error(
        "it leads to {ip}, a cloud metadata address, which takes a rule that names it: `private:{ip}`"
    )]
    Metadata {
        /// The address.
        ip: IpAddr,
    },
    /// It leads to the admin API of this node.
    #[error("it leads to the admin API of this node, which no rule grants")]
    OwnAdmin,
    /// It leads to the gateway of this node.
    #[error("it leads to the gateway of this node, which takes a rule with `private:`")]
    OwnGateway,
}

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestFault {
    /// The scheme is neither `http` nor `https`.
    #[error("the scheme must be http or https")]
    Scheme,
    /// The URI has no host.
    #[error("the URI has no host")]
    NoHost,
    /// `CONNECT` would make a tunnel.
    #[error("the method CONNECT is not supported")]
    Method,
    /// The head is larger than `request_head_bytes_max`.
    #[error("the request's headers are too large")]
    HeadTooLarge,
    /// `content-length` is not a number, is there more than once, or is not the body's length.
    #[error("content-length does not fit the body")]
    ContentLength,
}

/// Whose connections are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of one function.
    Function,
    /// Those of the whole node.
    Node,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Scope::Function => "for this function",
            Scope::Node => "on this node",
        })
    }
}

/// What a time limit was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Resolving the name (`resolve_timeout`).
    Resolve,
    /// TCP connection and TLS handshake (`connect_timeout`).
    Connect,
    /// Waiting for the response head (`head_timeout`).
    Head,
    /// Waiting for more of the response body (`between_bytes_timeout`).
    BetweenBytes,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Stage::Resolve => "resolving the name",
            Stage::Connect => "connecting",
            Stage::Head => "waiting for the response",
            Stage::BetweenBytes => "waiting for more of the response body",
        })
    }
}

impl From<RequestFault> for EgressError {
    fn from(fault: RequestFault) -> Self {
        EgressError::InvalidRequest(fault)
    }
}

impl From<Denial> for EgressError {
    /// The target is filled in by the client, which knows what was asked for.
    fn from(denial: Denial) -> Self {
        EgressError::Denied {
            target: String::new(),
            denial,
        }
    }
}
