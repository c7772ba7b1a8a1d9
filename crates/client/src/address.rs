//! The address of an admin API as people write it.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::Authority;

/// The port of the admin API where the address names none.
pub const PORT_DEFAULT: u16 = 8081;

/// The text is no address of an admin API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the address of an admin API: write http://HOST:PORT, such as http://127.0.0.1:8081"
)]
pub struct AddressError(String);

/// Host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Without brackets.
    pub host: String,
    pub port: u16,
    /// What goes into the `host` header.
    pub authority: Authority,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || AddressError(text.escape_default().to_string());
        let text = text.trim();
        let with_scheme = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let uri: Uri = with_scheme.parse().map_err(|_| refuse())?;
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let authority = uri.authority().ok_or_else(refuse)?;
        if uri.scheme_str() != Some("http") || !is_bare || authority.as_str().contains('@') {
            return Err(refuse());
        }
        // `host:` and `host:99999` parse as authorities without a port.
        let names_port = authority.as_str().len() > authority.host().len();
        let port = match authority.port_u16() {
            Some(port) => port,
            None if names_port => return Err(refuse()),
            None => PORT_DEFAULT,
        };
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let authority = format!("{}:{port}", authority.host())
            .parse()
            .map_err(|_| refuse())?;
        Ok(Self {
            host,
            port,
            authority,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, url) in [
            ("127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("http://127.0.0.1:9000/", "http://127.0.0.1:9000"),
            ("http://[::1]:9000", "http://[::1]:9000"),
            ("node.example", "http://node.example:8081"),
        ] {
            let address: Address = text.parse().expect("an address");
            assert_eq!(address.to_string(), url);
            assert!(!address.host.contains('['));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "https://a:1",
            "ftp://a",
            "http://a:99999",
            "http://a:",
            "http://a/v1",
            "http://a?b",
            "http://user:secret@a:1",
            "a b",
            "http://",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
