//! Failures as values: a code, what happened in words, and the limit that fired if one did. Also their
//! public form, the problem document (RFC 9457).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Code, InvocationId, Side};

/// A limit that ended something: which, its value, and how to raise it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitHit {
    /// The limit's name, as in the manifest or the node's configuration.
    pub name: String,
    /// Its value with the unit.
    pub value: String,
    /// Where to change it.
    pub knob: String,
}

/// Why an operation did not succeed. The same type crosses every seam, so that a failure keeps its code
/// from the engine to the caller; `docs/errors/` has a page for each code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    code: Code,
    detail: String,
    limit: Option<LimitHit>,
    retry_after_s: Option<u32>,
    log_detail: Option<String>,
}

impl Failure {
    /// A failure with `code`; `detail` is one sentence that the caller may read.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            detail: detail.into(),
            limit: None,
            retry_after_s: None,
            log_detail: None,
        }))
    }

    /// Names the limit that fired.
    pub fn with_limit(
        mut self,
        name: &str,
        value: impl fmt::Display,
        knob: impl Into<String>,
    ) -> Self {
        self.0.limit = Some(LimitHit {
            name: name.to_owned(),
            value: value.to_string(),
            knob: knob.into(),
        });
        self
    }

    /// Says after how many seconds a retry may succeed.
    pub fn with_retry_after_s(mut self, seconds: u32) -> Self {
        self.0.retry_after_s = Some(seconds);
        self
    }

    /// Adds what only the function's owner may read (a backtrace): it goes to the function's log, never
    /// to the caller.
    pub fn with_log_detail(mut self, text: impl Into<String>) -> Self {
        self.0.log_detail = Some(text.into());
        self
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What happened, for the caller.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The limit that fired.
    pub fn limit(&self) -> Option<&LimitHit> {
        self.0.limit.as_ref()
    }

    /// Seconds after which a retry may succeed.
    pub fn retry_after_s(&self) -> Option<u32> {
        self.0.retry_after_s
    }

    /// What only the function's log may show.
    pub fn log_detail(&self) -> Option<&str> {
        self.0.log_detail.as_deref()
    }

    /// The public form.
    pub fn to_problem(&self, invocation: Option<InvocationId>) -> Problem {
        let code = self.code();
        Problem {
            r#type: format!("urn:holm:error:{code}"),
            title: code.title().to_owned(),
            status: code.status(),
            detail: self.detail().to_owned(),
            code,
            side: code.side(),
            retryable: code.retryable(),
            limit: self.limit().cloned(),
            instance: invocation.map(|id| format!("urn:uuid:{id}")),
            positions: Vec::new(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.detail())
    }
}

impl std::error::Error for Failure {}

/// A problem document, `application/problem+json` (RFC 9457), with Holm's extension members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:holm:error:CODE`.
    pub r#type: String,
    /// The same for every problem of this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// The stable code; `holm explain CODE` says more.
    pub code: Code,
    /// Whose doing it was.
    pub side: Side,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// The limit that fired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitHit>,
    /// The invocation, as `urn:uuid:ID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Where in the given file the faults are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub positions: Vec<Position>,
}

/// A place in a file that was given, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The file's name as the user gave it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// The field's path, such as `limits.memory`.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

/// As compilers write it: `file:line:column: field: message`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}
