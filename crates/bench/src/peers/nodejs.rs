//! node's own `http` module, one process on one core: what many would write without a platform.

use std::process::Command;

use crate::lab::{Lab, RowError};
use crate::peers::Peer;
use crate::servers::{Launch, Server, Stream, scratch};

const PEER: Peer = Peer {
    program: "node",
    version_argument: "--version",
    remedy: "see https://nodejs.org",
};

const PROGRAM: &str = "
const server = require('node:http').createServer((request, response) => {
  response.setHeader('content-length', 1);
  response.end('1');
});
server.keepAliveTimeout = 3600000;
server.listen(0, '127.0.0.1', () => console.log('127.0.0.1:' + server.address().port));
";

/// Serves one byte.
///
/// # Errors
/// `Missing` where it is not installed.
pub(crate) fn serve(lab: &mut Lab) -> Result<Server, RowError> {
    let mut command = Command::new(PEER.find(lab)?);
    command.args(["--eval", PROGRAM]);
    let launch = Launch {
        name: "node",
        command,
        core: Some(lab.server_core),
        scratch: scratch()?,
        stream: Stream::Stdout,
        address: |line| Some((line.parse().ok()?, None)),
    };
    Ok(launch.start()?)
}
