//! Outbound HTTP for functions: every request that guest code makes passes here.
//!
//! ```text
//! request -> Target   host in one spelling, port, scheme       (target)
//!         -> Grant    a rule of the manifest covers it          (policy)
//!         -> address  resolved once, every answer checked       (resolve, address, own)
//!         -> socket   connected to exactly that address         (connect, tls)
//!         -> response head and body under time and size limits  (client, body)
//! ```
//!
//! Each step takes what the step before made, so none can be left out. Denied is the default. Redirects
//! are handed to the guest, whose next request is checked like any other; proxy variables of the node's
//! environment are not read; bodies are not decompressed, so no small answer can become a big one here.
//!
//! Refuses to know engines: they turn [`EgressError`] into what their guests understand.

mod address;
mod body;
mod client;
mod config;
mod connect;
mod error;
mod gate;
mod metrics;
mod own;
mod policy;
mod request;
mod resolve;
mod target;
mod tls;

pub use address::AddressClass;
pub use body::ResponseBody;
pub use client::{EgressClient, Outbound, Timeouts};
pub use config::EgressConfig;
pub use error::{Denial, EgressError, RequestFault, Scope, Stage};
pub use metrics::{EgressCounts, EgressMetrics};
pub use own::{Listener, OwnListeners};
pub use resolve::{LookupTicket, Resolver, SystemResolver};
