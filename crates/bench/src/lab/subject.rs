//! A server together with what is asked of it.

use std::rc::Rc;

use bytes::Bytes;

use crate::load::{Expect, N_CONNECTIONS_DEFAULT, Target};
use crate::servers::Server;

/// A server together with what is asked of it.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// The server.
    pub(crate) server: Rc<Server>,
    /// The requests and the right answer.
    pub(crate) target: Target,
    /// Connections of a closed loop.
    pub(crate) n_connections: usize,
}

impl Subject {
    /// A server that answers `1` to everything.
    pub(crate) fn fixed(server: Rc<Server>) -> Self {
        Self::functions(
            server,
            ["hello".to_owned()],
            Expect::Body(Bytes::from_static(b"1")),
        )
    }

    /// A function whose fresh instances answer `1`: a server that reuses one is found out.
    pub(crate) fn fresh(server: Rc<Server>) -> Self {
        Self::fixed(server)
    }

    /// One request at a time.
    pub(crate) fn one_by_one(mut self) -> Self {
        self.n_connections = 1;
        self
    }

    /// Functions of a node, called in turn.
    pub(crate) fn functions(
        server: Rc<Server>,
        names: impl IntoIterator<Item = String>,
        expect: Expect,
    ) -> Self {
        let requests = names.into_iter().map(|name| request(&name)).collect();
        let target = Target {
            address: server.address,
            requests,
            expect,
        };
        Self {
            server,
            target,
            n_connections: N_CONNECTIONS_DEFAULT,
        }
    }
}

/// The same bytes for every server, whoever looks at the path.
pub(crate) fn request(function: &str) -> Bytes {
    format!("GET /function/{function} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").into()
}
