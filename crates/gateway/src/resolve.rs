//! Which function a request is for, and the path that the function sees. One rule, on the canonical forms
//! of [`model::http_path`]:
//!
//! 1. A host `NAME.localhost` or `NAME.NAMESPACE.localhost` is a function's own: the whole path is its.
//! 2. Else the routes decide; a route with a host beats everything else on that host.
//! 3. Else `/function/NAME/rest` and `/function/NAME.NAMESPACE/rest` reach the function at `/rest`.
//!
//! Refuses to know connections and headers. Reads the catalog's snapshot only: no IO, no lock.

use std::sync::Arc;

use memchr::memchr;
use model::route::Match;
use model::{Code, Failure};
use store::{FunctionEntry, LiveVersion, Snapshot};

/// The namespace where names stand alone.
const DEFAULT_NAMESPACE: &str = "default";

/// What a request is for.
pub(crate) struct Target {
    /// The version that `live` points to.
    pub(crate) version: Arc<LiveVersion>,
    /// Where in the canonical path the function's own path begins; at its end the path is `/`.
    pub(crate) path_at: usize,
    /// Whether other functions answer on the same origin.
    pub(crate) shares_origin: bool,
}

/// Why a request is for no function.
#[derive(Debug)]
pub(crate) struct Miss {
    pub(crate) failure: Failure,
    /// The methods that are allowed, where it is for that.
    pub(crate) allow: Option<String>,
}

/// Finds the function of a request. `host` and `path` are canonical.
pub(crate) fn resolve(
    snapshot: &Snapshot,
    host: &str,
    path: &str,
    method: &str,
) -> Result<Target, Miss> {
    if let Some(function) = host.strip_suffix(".localhost") {
        let entry = find(snapshot, function)?;
        return target(entry, 0, false);
    }
    if snapshot.routes.n_functions() > 0 {
        match snapshot.routes.lookup(host, path, method) {
            Match::Found(key) => {
                let entry = snapshot
                    .get(key)
                    .ok_or_else(|| no_function(&key.to_string()))?;
                return target(entry, 0, true);
            }
            Match::MethodNotAllowed { allow } => return Err(not_allowed(method, &allow)),
            Match::None => {}
        }
    }
    let Some(address) = path.strip_prefix("/function/") else {
        return Err(Miss::new(Failure::new(
            Code::NoRoute,
            "no function answers at this address: call one as /function/NAME/ or give it a route",
        )));
    };
    let end = memchr(b'/', address.as_bytes()).unwrap_or(address.len());
    let function = &address[..end];
    let entry = find(snapshot, function)?;
    target(entry, "/function/".len() + function.len(), true)
}

/// The function's own path.
pub(crate) fn own_path(path: &str, path_at: usize) -> &str {
    match &path[path_at..] {
        "" => "/",
        rest => rest,
    }
}

/// Finds `NAME` or `NAME.NAMESPACE`.
fn find<'a>(snapshot: &'a Snapshot, text: &str) -> Result<&'a Arc<FunctionEntry>, Miss> {
    let (name, namespace) = match memchr(b'.', text.as_bytes()) {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, DEFAULT_NAMESPACE),
    };
    snapshot
        .find(namespace, name)
        .ok_or_else(|| no_function(text))
}

fn target(entry: &FunctionEntry, path_at: usize, shares_origin: bool) -> Result<Target, Miss> {
    match &entry.live {
        Some(live) => Ok(Target {
            version: Arc::clone(live),
            path_at,
            shares_origin,
        }),
        None => Err(Miss::new(Failure::new(
            Code::FunctionNotFound,
            format!("function `{}` has no live version: promote one", entry.key),
        ))),
    }
}

fn no_function(text: &str) -> Miss {
    Miss::new(Failure::new(
        Code::FunctionNotFound,
        if text.is_empty() {
            "the name is missing: call a function as /function/NAME/".to_owned()
        } else {
            format!("there is no function `{text}`")
        },
    ))
}

fn not_allowed(method: &str, allow: &[&str]) -> Miss {
    let allow = allow.join(", ");
    let detail = format!("the route does not allow {method}, but {allow}");
    Miss {
        failure: Failure::new(Code::MethodNotAllowed, detail),
        allow: Some(allow),
    }
}

impl Miss {
    pub(crate) fn new(failure: Failure) -> Self {
        Self {
            failure,
            allow: None,
        }
    }
}
