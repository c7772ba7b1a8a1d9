//! nginx answering `return 200`, one worker on one core: a web server that does next to nothing per
//! request.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::lab::{Lab, RowError};
use crate::peers::Peer;
use crate::servers::{Launch, Server, ServerError, Stream, scratch};

const PEER: Peer = Peer {
    program: "nginx",
    version_argument: "-v",
    remedy: "`make bench-peers` installs it where there is apt",
};

/// How long it may take until it listens.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves one byte.
///
/// # Errors
/// `Missing` where it is not installed.
pub(crate) fn serve(lab: &mut Lab) -> Result<Server, RowError> {
    let program = PEER.find(lab)?;
    let scratch = scratch()?;
    let address = free_address().map_err(|error| ServerError(format!("a port: {error}")))?;
    let directory = scratch.path().display();
    let config = format!(
        "daemon off; master_process off; worker_processes 1;
pid {directory}/pid; error_log stderr notice;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 3600;
  client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  server {{ listen {address}; location / {{ return 200 1; }} }}
}}\n"
    );
    let file = scratch.path().join("nginx.conf");
    std::fs::write(&file, config)
        .map_err(|error| ServerError(format!("{}: {error}", file.display())))?;
    let mut command = Command::new(program);
    command.arg("-p").arg(scratch.path()).arg("-c").arg(&file);
    command.args(["-e", "stderr"]);
    let launch = Launch {
        name: "nginx",
        command,
        core: Some(lab.server_core),
        scratch,
        stream: Stream::Stderr,
        // It does not say where it listens, but when its configuration was read.
        address: |line| {
            let unspecified = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            line.contains("nginx/").then_some((unspecified, None))
        },
    };
    let mut server = launch.start()?;
    server.address = address;
    wait_until_listening(address)?;
    Ok(server)
}

/// A port that was free a moment ago.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// It listens before it says anything, in every version so far.
fn wait_until_listening(address: SocketAddr) -> Result<(), ServerError> {
    let until = Instant::now() + LISTEN_TIMEOUT;
    loop {
        match TcpStream::connect_timeout(&address, LISTEN_TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > until => {
                return Err(ServerError(format!("nginx does not listen: {error}")));
            }
            Err(_) => std::thread::yield_now(),
        }
    }
}
