//! Servers under measurement: child processes of this binary and of others, bound to a core of their own,
//! that die with the bench. Refuses to know what is measured with them.

mod deploy;
mod many;
mod output;
mod own;
mod spawn;

use std::net::SocketAddr;
use std::process::Child;
use std::time::Duration;

use tempfile::TempDir;

use crate::machine::CpuClock;

pub(crate) use deploy::{Function, billed_cpu, deploy};
pub(crate) use many::Many;
pub(crate) use own::{Engine, NodeOptions, scratch};
pub(crate) use spawn::{Launch, Stream};

/// How long a server may take until it answers; generous, as nothing is measured meanwhile.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running server. Killed when dropped, and its directory removed.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it answers.
    pub(crate) address: SocketAddr,
    /// Where its admin API answers; others than nodes have none.
    pub(crate) admin: Option<SocketAddr>,
    /// The CPU time of its process.
    pub(crate) clock: CpuClock,
    /// From the start of the process until it said that it is ready.
    pub(crate) started_in: Duration,
    /// The node's data directory.
    data_dir: Option<std::path::PathBuf>,
    child: Child,
    /// Files that it uses.
    scratch: Vec<TempDir>,
}

impl Server {
    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives it a directory that it uses, to go when it goes.
    pub(crate) fn keep(&mut self, directory: TempDir) {
        self.scratch.push(directory);
    }

    /// Ends it as an operator would, and waits until it has ended.
    pub(crate) fn stop(mut self) -> Result<(), ServerError> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .map_err(|error| ServerError(format!("the node cannot be stopped: {error}")))?;
        let status = self.child.wait();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(ServerError(format!("the node ended with {status}"))),
            Err(error) => Err(ServerError(format!(
                "the node cannot be waited for: {error}"
            ))),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Why there is no such server. The text is for people.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ServerError(pub(crate) String);
