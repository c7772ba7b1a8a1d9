//! The three small traits behind which every isolation class lives. Slow work sits in the early stages:
//!
//! ```text
//! Runtime::prepare  compile, pull or build once, cached by content      (at deploy; again after eviction)
//!   -> Template::start   make a boundary and run the function's init    (the cold path)
//!        -> Sandbox::invoke   one invocation; bodies stream             (the hot path)
//! ```
//!
//! A new ability is a new small trait here, never a "not supported" error.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use model::{Artifact, Contract, Failure, FunctionConfig, FunctionKey, Isolation};
use tokio::time::Instant;

use crate::Body;
use crate::invocation::{Invocation, InvocationContext};

/// A boxed future that may move between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// Whether this host can run a class, found out by trying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    /// Usable; the text names engine and version.
    Available(String),
    /// Usable with a weakness that an operator should know: refused under `--production`.
    Weak(String),
    /// Not usable, and why, and what to do about it.
    Unavailable(String),
}

/// What [`Runtime::prepare`] works on.
#[derive(Clone, Debug)]
pub struct PrepareRequest {
    /// The function, for messages and logs.
    pub function: FunctionKey,
    /// How it is configured.
    pub config: Arc<FunctionConfig>,
    /// What was uploaded.
    pub artifact: Artifact,
    /// Where its bytes are. The engine only reads the file; it was verified against the digest.
    pub artifact_path: PathBuf,
}

/// An isolation engine.
pub trait Runtime: Send + Sync + 'static {
    /// The class it implements.
    fn isolation(&self) -> Isolation;

    /// Whether this host can run it. Cheap: the probe ran when the engine was made.
    fn availability(&self) -> Availability;

    /// Makes a version startable: checks the artifact, compiles or unpacks it under limits in a separate
    /// process, caches the result by content digest and engine version. Idempotent; called at deploy and
    /// again when the template was evicted, when it finds the cache and is quick. Must not block the
    /// calling thread for more than a few microseconds: file and process work goes to other threads.
    /// A dropped future leaves nothing behind but a partial cache that the next call replaces.
    fn prepare(&self, request: PrepareRequest) -> BoxFuture<Result<Arc<dyn Template>, Failure>>;
}

/// A prepared version.
pub trait Template: Send + Sync + 'static {
    /// The contract that the artifact speaks.
    fn contract(&self) -> Contract;

    /// Makes a boundary and runs the function's init in it. May be called any number of times, also
    /// concurrently. A dropped future discards the half-made boundary.
    ///
    /// # Errors
    /// `InitFailed` or a limit's code where the function's own init failed; `NodeAtCapacity` where the
    /// engine has no place left; `Internal` otherwise.
    fn start(&self, request: StartRequest) -> BoxFuture<Result<Started, Failure>>;
}

/// What [`Template::start`] is told.
#[derive(Clone)]
pub struct StartRequest {
    /// The invocation that waits for the instance: init's logs go under its id. `None` for prewarming.
    pub invocation: Option<Arc<InvocationContext>>,
    /// When the start must be over.
    pub deadline: Instant,
}

/// A started boundary.
pub struct Started {
    /// The live boundary.
    pub sandbox: Arc<dyn Sandbox>,
    /// How long the function's own init ran.
    pub init: Duration,
    /// CPU time that init used.
    pub init_cpu: Duration,
}

/// A live boundary around a function. Dropping the last reference destroys it at once.
pub trait Sandbox: Send + Sync + 'static {
    /// Runs one invocation and returns when the response's head is there; the body streams, and the
    /// invocation goes on until the body ended, failed or was dropped. The caller keeps to the
    /// function's concurrency (1 for `wasm`): the sandbox need not check it.
    ///
    /// A reply with [`Body::Empty`] or [`Body::Full`] says that the guest is finished and the meter is
    /// final: the instance is released at once. While the guest still works the body is a stream.
    ///
    /// Cancellation: dropping the future, or later the body, stops the guest as soon as the engine can
    /// (wasm: at once) and makes the sandbox unfit for reuse. Deadlines are the caller's: it drops.
    /// CPU time, memory and log volume are the sandbox's to enforce and to record in the invocation's
    /// [`crate::Meter`].
    ///
    /// # Errors
    /// A function-side code for what the guest did, a platform-side code for the engine's own failure.
    /// A failure after the head is the body's last frame error.
    fn invoke(
        self: Arc<Self>,
        invocation: Invocation,
    ) -> BoxFuture<Result<Response<Body>, Failure>>;

    /// Whether another invocation may follow. Asked when the last one's body has ended.
    fn is_reusable(&self) -> bool;

    /// Ends the sandbox, giving a running invocation `grace` to finish. Idempotent.
    fn stop(self: Arc<Self>, grace: Duration) -> BoxFuture<()>;
}
