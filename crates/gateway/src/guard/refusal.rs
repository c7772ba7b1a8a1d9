//! Why the guard let something not pass. Small and copyable: it becomes a [`Failure`] where the answer is
//! written.

use model::{Code, Failure};

/// Why a head or a body was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The code of the answer.
    pub(crate) code: Code,
    /// What was wrong, for the caller.
    pub(crate) detail: &'static str,
    /// The limit that fired: its name in the configuration, its value, and the value's unit.
    limit: Option<(&'static str, u64, &'static str)>,
}

impl Refusal {
    /// A head that is not HTTP as this node reads it.
    pub(crate) const fn head(detail: &'static str) -> Self {
        Self::new(Code::BadRequest, detail)
    }

    /// A body whose framing is broken.
    pub(crate) const fn body(detail: &'static str) -> Self {
        Self::new(Code::BodyMalformed, detail)
    }

    pub(crate) const fn new(code: Code, detail: &'static str) -> Self {
        Self {
            code,
            detail,
            limit: None,
        }
    }

    /// Names the limit that fired.
    pub(crate) const fn with_limit(
        mut self,
        name: &'static str,
        value: u64,
        unit: &'static str,
    ) -> Self {
        self.limit = Some((name, value, unit));
        self
    }

    /// The same as a failure.
    pub(crate) fn to_failure(self) -> Failure {
        let failure = Failure::new(self.code, self.detail);
        match self.limit {
            None => failure,
            Some((name, value, unit)) => failure.with_limit(
                &format!("gateway.{name}"),
                format!("{value} {unit}"),
                format!("`{name}` under [gateway] in the node's configuration"),
            ),
        }
    }
}
