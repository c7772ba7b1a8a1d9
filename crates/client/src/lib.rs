//! A typed client of the admin API: what the command line and the tests speak with a node.
//!
//! Owns the connection, the token header, and turning problem documents into errors. Refuses to know
//! where addresses and tokens come from, and how anything is shown to people. Plain HTTP/1.1 over hyper
//! only: whoever wants TLS puts a proxy or an SSH tunnel between. A connection per call: the calls are
//! few, and nothing has to be kept.

mod address;
mod calls;
mod connection;
mod error;
mod invoke;
mod logs;
mod upload;

use std::time::Duration;

pub use address::AddressError;
pub use error::ClientError;
pub use invoke::{Called, Invocation, InvocationBody};
pub use logs::LogStream;

use address::Address;

/// How to reach a node.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The admin address as `http://HOST:PORT` or `HOST:PORT`.
    pub admin: String,
    /// The bearer token; without it only the health checks answer.
    pub token: Option<String>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the node may work on an answer. Publishing compiles, so this is long; calls of
    /// functions and logs have no such limit.
    pub answer_timeout: Duration,
}

impl ClientConfig {
    /// A configuration with default times.
    pub fn new(admin: impl Into<String>, token: Option<String>) -> Self {
        Self {
            admin: admin.into(),
            token,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(300),
        }
    }
}

/// A client of one node. Cheap to make: it connects when it is used.
#[derive(Clone, Debug)]
pub struct Client {
    address: Address,
    /// `Bearer TOKEN`, marked as sensitive so that no debug output shows it.
    authorization: Option<http::HeaderValue>,
    connect_timeout: Duration,
    answer_timeout: Duration,
}

impl Client {
    /// Checks the address and the token; does not connect.
    ///
    /// # Errors
    /// [`ClientError::Address`], [`ClientError::Token`].
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let authorization = match config.token {
            Some(token) => Some(bearer(&token)?),
            None => None,
        };
        Ok(Self {
            address: config.admin.parse()?,
            authorization,
            connect_timeout: config.connect_timeout,
            answer_timeout: config.answer_timeout,
        })
    }

    /// The address as a URL, for messages.
    pub fn url(&self) -> String {
        self.address.to_string()
    }
}

fn bearer(token: &str) -> Result<http::HeaderValue, ClientError> {
    let token = token.trim();
    let is_token = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    let mut value = http::HeaderValue::try_from(format!("Bearer {token}"))
        .ok()
        .filter(|_| is_token)
        .ok_or(ClientError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}
