//! Starting a process that is bound to a core and dies with this one.

use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_setaffinity};
use tempfile::TempDir;

use super::output::Output;
use super::{START_TIMEOUT, Server, ServerError};
use crate::machine::CpuClock;

/// Which of its streams a server says its address on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Where a server answers, and where its admin API does if it has one.
pub(crate) type Addresses = (SocketAddr, Option<SocketAddr>);

/// A server about to be started.
pub(crate) struct Launch<'a> {
    /// What it is called in messages.
    pub(crate) name: &'a str,
    /// The program with its arguments. Must be started from a thread that lives as long as the server:
    /// the kernel takes the end of that thread for the parent's.
    pub(crate) command: Command,
    /// The core it is bound to; none where nothing is measured.
    pub(crate) core: Option<usize>,
    /// Its files.
    pub(crate) scratch: TempDir,
    /// Where it says its address.
    pub(crate) stream: Stream,
    /// Finds the address (and that of the admin API) in a line.
    pub(crate) address: fn(&str) -> Option<Addresses>,
}

impl Launch<'_> {
    /// Starts it and waits until it has said where it answers.
    ///
    /// # Errors
    /// With what it said instead.
    pub(crate) fn start(mut self) -> Result<Server, ServerError> {
        let name = self.name;
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        bind_to_us(&mut self.command, self.core);
        let began = Instant::now();
        let child = self
            .command
            .spawn()
            .map_err(|error| ServerError(format!("{name} does not start: {error}")))?;
        let mut child = Unready(Some(child));
        let mut output = Output::of(child.get(), self.stream);
        let Some((address, admin)) = output.wait_for(self.address, START_TIMEOUT) else {
            return Err(ServerError(format!(
                "{name} did not become ready: {}",
                output.last_words()
            )));
        };
        let started_in = began.elapsed();
        let clock = CpuClock::of(child.get().id())
            .map_err(|error| ServerError(format!("{name}: {error}")))?;
        Ok(Server {
            address,
            admin,
            clock,
            started_in,
            data_dir: None,
            child: child.take(),
            scratch: vec![self.scratch],
        })
    }
}

/// A child that is killed unless it becomes a server.
struct Unready(Option<Child>);

impl Unready {
    fn get(&mut self) -> &mut Child {
        self.0.as_mut().expect("taken once, at the end")
    }

    fn take(mut self) -> Child {
        self.0.take().expect("taken once, at the end")
    }
}

impl Drop for Unready {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn bind_to_us(command: &mut Command, core: Option<usize>) {
    let parent = getpid();
    let cores = core.map(|core| {
        let mut cores = CpuSet::new();
        cores.set(core);
        cores
    });
    let prepare = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() != Some(parent) {
            // We were gone before the line above: nobody would end the server.
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        match &cores {
            Some(cores) => Ok(sched_setaffinity(None, cores)?),
            None => Ok(()),
        }
    };
    // SAFETY: between fork and exec only what is async-signal-safe may run: these are three system calls
    // on values that were made before, without an allocation or a lock.
    unsafe { command.pre_exec(prepare) };
}
