//! Why there is no count.

use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::lab::RowError;
use crate::load::{LoadError, Offence};

/// Why there is no count.
#[derive(Debug, Error)]
pub(super) enum CountError {
    /// This system does not let a process trace its child.
    #[error(
        "tracing a child process is refused ({0}): a container's seccomp profile, \
         kernel.yama.ptrace_scope or a debugger is in the way"
    )]
    Refused(#[source] io::Error),
    /// Tracing failed in a way that no policy explains.
    #[error("tracing failed: {0}")]
    Trace(#[source] io::Error),
    /// The traced thread has ended.
    #[error("the thread ended while it was traced")]
    Ended,
    /// It took too long and was killed.
    #[error("no answer within {0:?}: the server was killed")]
    TimedOut(Duration),
    /// A server that nobody traces does not answer.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// There is no thread of that name.
    #[error("the server has no thread {0}")]
    NoThread(&'static str),
    /// The traced server answers something else.
    #[error("a wrong answer: {0}")]
    Wrong(#[from] Offence),
    /// No connection to the server.
    #[error("{0}")]
    Load(#[from] LoadError),
    /// The counting's own system calls.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<CountError> for RowError {
    fn from(error: CountError) -> Self {
        match error {
            CountError::Refused(_) => RowError::Missing(error.to_string()),
            _ => RowError::Failed(error.to_string()),
        }
    }
}
