//! Calling a function through the admin API.

use serde::{Deserialize, Serialize};

use crate::VersionRef;

/// How to call. The request's body, `content-type` and `accept` go to the function as they are, and a
/// header `holm-pass-NAME` as `NAME`; its answer comes back as it is, with the headers of
/// [`crate::header`] added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvokeQuery {
    /// The path and query that the function sees; `/` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The method that the function sees; `POST` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The version; by default what `live` points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionRef>,
}
