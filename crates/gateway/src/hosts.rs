//! The canonical form of a connection's hosts. Nearly every connection names one host over and over: the
//! last answer is kept.
//!
//! Refuses to know routes; what is canonical is [`model::http_path`]'s to say.

use std::sync::Arc;

use http::HeaderValue;
use model::http_path::canonical_host;
use model::{Code, Failure};
use parking_lot::Mutex;

use crate::resolve::Miss;

/// The last host that was asked for. One per connection, whose requests run on one thread.
#[derive(Debug, Default)]
pub(crate) struct Hosts(Mutex<Option<(HeaderValue, Arc<str>)>>);

impl Hosts {
    /// The canonical form of `host`, as a caller sent it.
    ///
    /// # Errors
    /// `BadRequest` where it names no host.
    pub(crate) fn canonical(&self, host: &HeaderValue) -> Result<Arc<str>, Miss> {
        let mut last = self.0.lock();
        if let Some((known, canonical)) = &*last
            && known == host
        {
            return Ok(Arc::clone(canonical));
        }
        let text = host
            .to_str()
            .map_err(|_| bad_request("the host is malformed"))?;
        let canonical = canonical_host(text).map_err(|error| bad_request(&error.to_string()))?;
        let canonical: Arc<str> = canonical.into();
        // Its own copy: the caller's value keeps a whole request's bytes alive.
        let own = HeaderValue::from_bytes(host.as_bytes()).expect("it was one before");
        *last = Some((own, Arc::clone(&canonical)));
        Ok(canonical)
    }
}

fn bad_request(detail: &str) -> Miss {
    Miss::new(Failure::new(Code::BadRequest, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_is_kept_and_not_mixed_up() {
        let hosts = Hosts::default();
        let a = HeaderValue::from_static("A.test:80");
        let b = HeaderValue::from_static("b.test");
        let first = hosts.canonical(&a).expect("a host");
        assert_eq!(&*first, "a.test");
        assert!(Arc::ptr_eq(&first, &hosts.canonical(&a).expect("a host")));
        assert_eq!(&*hosts.canonical(&b).expect("a host"), "b.test");
        assert_eq!(&*hosts.canonical(&a).expect("a host"), "a.test");
        let bad = HeaderValue::from_static("a@b");
        assert!(hosts.canonical(&bad).is_err());
        assert_eq!(&*hosts.canonical(&a).expect("a host"), "a.test");
    }
}
