//! What a contract implements: making an instance, and serving one request with it. Everything else about
//! a sandbox (driving, metering, the response's way out) is the same for all contracts.

use std::future::Future;
use std::sync::Arc;

use http::Request;
use model::{Contract, Failure};
use runtime::Body;

use crate::host::HostState;

/// An instance with its store.
pub(crate) trait Guest: Send + Sized + 'static {
    /// What is made once per artifact: the module bound to the host's functions.
    type Prepared: Send + Sync + 'static;

    /// The contract spoken.
    const CONTRACT: Contract;
    /// Whether an instance may serve again, where the manifest asks for it.
    const IS_REUSABLE: bool = true;

    /// Makes an instance and runs its init. Guest code runs inside the polls of this future.
    ///
    /// # Errors
    /// What kept the instance from starting, as a code.
    fn start(
        prepared: Arc<Self::Prepared>,
        host: HostState,
    ) -> impl Future<Output = Result<Self, Failure>> + Send;

    /// The common part of the store's data.
    fn host(&mut self) -> &mut HostState;

    /// Serves one request to its end. The response leaves through the `Exchange`, head first; the body's
    /// end is this future's.
    ///
    /// # Errors
    /// What the guest did, as a code.
    fn serve(&mut self, request: Request<Body>)
    -> impl Future<Output = Result<(), Failure>> + Send;
}
