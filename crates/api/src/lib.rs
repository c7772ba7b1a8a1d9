//! The admin API as types: the table of operations, requests, answers, header names. What the command
//! line and every other client speak with a node; `openapi.json` beside this crate's manifest describes
//! the same for clients in other languages, and a test of `control` holds it against a running node.
//!
//! Owns the shapes and the paths. Refuses to know how anything is served, sent or kept: no IO, no HTTP
//! library.

pub mod functions;
pub mod invoke;
pub mod node;
pub mod operation;
pub mod usage;
pub mod version_ref;

pub use functions::{
    AliasResponse, ArtifactInfo, ArtifactRef, Change, FunctionDetail, FunctionPage,
    FunctionSummary, ListQuery, PublishRequest, PublishResponse, RemoveResponse, RollbackRequest,
    SetLiveRequest, VersionDetail, VersionList,
};
pub use invoke::InvokeQuery;
pub use node::{
    ClassInfo, ClassState, ConfigResponse, Health, InstanceInfo, InstanceList, InstanceState,
    NodeInfo,
};
pub use operation::{Answer, Auth, Method, Operation, Payload};
pub use usage::{
    LogRecord, LogSource, LogsQuery, Margin, Price, ReceiptResponse, UsageBy, UsageQuery,
    UsageResponse, UsageRow,
};
pub use version_ref::{VersionRef, VersionRefError};

/// The OpenAPI 3.1 document, as JSON text.
pub const OPENAPI_JSON: &str = include_str!("../openapi.json");

/// The most bytes that a JSON request may have: a manifest and its environment.
pub const JSON_BODY_BYTES_MAX: usize = 1024 * 1024;

/// Entries of a page where the request names no number.
pub const PAGE_SIZE_DEFAULT: usize = 100;

/// The most entries of a page.
pub const PAGE_SIZE_MAX: usize = 1_000;

/// Lines that `logs` starts with where the request names no number.
pub const LOG_TAIL_DEFAULT: usize = 100;

/// The most lines that `logs` starts with.
pub const LOG_TAIL_MAX: usize = 10_000;

/// The content type of a failure (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The content type of a stream of JSON values, one per line.
pub const NDJSON: &str = "application/x-ndjson";

/// Names of HTTP headers, lower-case.
pub mod header {
    /// The id of the invocation that an answer belongs to.
    pub const INVOCATION_ID: &str = "holm-invocation-id";
    /// On answers of `invoke`: `function` where the function made the answer, `problem` where the
    /// platform did.
    pub const ANSWER: &str = "holm-answer";
    /// On requests of `invoke`: `holm-pass-NAME` reaches the function as `NAME`.
    pub const PASS_PREFIX: &str = "holm-pass-";
    /// The stable code, on every failure.
    pub const ERROR: &str = "holm-error";
    /// The version that answered.
    pub const VERSION: &str = "holm-version";
}

/// The value of [`header::ANSWER`] where the function made the answer.
pub const ANSWER_FUNCTION: &str = "function";

/// The value of [`header::ANSWER`] where the platform made the answer.
pub const ANSWER_PROBLEM: &str = "problem";
