//! Why a call of the admin API did not succeed.

use model::{Code, Failure, Problem};

use crate::AddressError;

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The node answered with a problem document.
    #[error("{}: {}", .0.code, .0.detail)]
    Problem(Box<Problem>),
    /// Nothing listens at the address, or nothing that can be reached.
    #[error(
        "no node answers at {url} ({cause}): start one with `holm up`, or name another one with \
         `--admin` or HOLM_ADMIN"
    )]
    NodeNotRunning {
        /// The address.
        url: String,
        /// What the system said.
        cause: String,
    },
    /// The node did not answer in time.
    #[error("the node at {url} gave no answer within {seconds} s")]
    Timeout {
        /// The address.
        url: String,
        /// How long the client waited.
        seconds: u64,
    },
    /// The connection broke before the answer had ended.
    #[error("the connection to the node at {url} broke: {cause}")]
    Broken {
        /// The address.
        url: String,
        /// What happened.
        cause: String,
    },
    /// Something answered, and it is no admin API of Holm.
    #[error("{url} does not answer like an admin API of Holm: {cause}")]
    Protocol {
        /// The address.
        url: String,
        /// What is wrong with the answer.
        cause: String,
    },
    /// The address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The token is none.
    #[error("the token is empty or holds characters that no token has")]
    Token,
    /// The caller's own file or stream failed.
    #[error("{0}")]
    Local(#[source] std::io::Error),
}

impl ClientError {
    /// The stable code: the node's, or the one for what the client met.
    pub fn code(&self) -> Code {
        match self {
            ClientError::Problem(problem) => problem.code,
            ClientError::NodeNotRunning { .. } => Code::NodeNotRunning,
            ClientError::Timeout { .. } | ClientError::Broken { .. } => Code::NodeNotRunning,
            ClientError::Protocol { .. } => Code::Internal,
            ClientError::Address(_) | ClientError::Token | ClientError::Local(_) => {
                Code::InvalidArgument
            }
        }
    }

    /// The same as a problem document, for `--json` and for one way of printing errors.
    pub fn to_problem(&self) -> Problem {
        match self {
            ClientError::Problem(problem) => problem.as_ref().clone(),
            other => Failure::new(other.code(), other.to_string()).to_problem(None),
        }
    }
}
