//! One listening socket per worker on one address: the system spreads connections over them.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;

/// Opens a listener on `address` for each of `runtimes`, to be used there. With port 0 the first listener
/// picks the port and the others share it.
///
/// # Errors
/// Those of the system; `AddrInUse` too where another process shares its address in the same way.
pub(crate) fn open(
    address: SocketAddr,
    backlog: u32,
    runtimes: &[&Handle],
) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    // The first socket is bound before it may share its address, so that it cannot join the sockets of
    // another process; once it holds the address, only we can share it.
    let first = new_socket(address)?;
    first.bind(address)?;
    first.set_reuseport(true)?;
    let bound = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..runtimes.len() {
        let socket = new_socket(bound)?;
        socket.set_reuseport(true)?;
        socket.bind(bound)?;
        sockets.push(socket);
    }
    let listeners = sockets.into_iter().zip(runtimes).map(|(socket, runtime)| {
        let _entered = runtime.enter();
        socket.listen(backlog)
    });
    Ok((bound, listeners.collect::<io::Result<_>>()?))
}

fn new_socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A restarted node need not wait for the old one's connections to be forgotten.
    socket.set_reuseaddr(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_a_port_and_strangers_do_not() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let handle = runtime.handle();
        let (bound, listeners) = open(any, 16, &[handle, handle, handle]).expect("port 0 is free");
        assert_eq!(listeners.len(), 3);
        assert_ne!(bound.port(), 0);
        for listener in &listeners {
            assert_eq!(listener.local_addr().expect("it is bound"), bound);
        }
        let second = open(bound, 16, &[handle, handle]).expect_err("the address is taken");
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        drop(listeners);
        open(bound, 16, &[handle]).expect("the address is free again");
    }
}
