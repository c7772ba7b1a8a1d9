//! One worker: a thread with its own event loop, listener and connections. Requests never change threads.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use invoker::Invoker;
use parking_lot::Mutex;
use slab::Slab;
use store::Catalog;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::config::{GatewayConfig, Timeouts};
use crate::connection::serve::serve;
use crate::connection::state::ConnectionState;
use crate::overload::Overload;
use crate::random::Random;
use crate::stats::GatewayStats;

/// What all workers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Accept and serve.
    Serving,
    /// Accept no more; end connections when what they have in flight is answered, at the latest then.
    Draining(Instant),
}

/// What the requests of one worker need.
pub(crate) struct Worker {
    pub(crate) config: Arc<GatewayConfig>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) invoker: Arc<Invoker>,
    pub(crate) random: Random,
    timeouts: Timeouts,
    stats: Arc<GatewayStats>,
    connections: Mutex<Slab<Arc<ConnectionState>>>,
    /// Woken when a connection ends.
    ended: Notify,
}

/// A connection's place among those of its worker and of the gateway.
struct Place {
    worker: Arc<Worker>,
    key: usize,
}

impl Worker {
    pub(crate) fn new(
        config: Arc<GatewayConfig>,
        catalog: Arc<Catalog>,
        invoker: Arc<Invoker>,
        stats: Arc<GatewayStats>,
    ) -> Arc<Self> {
        Arc::new(Self {
            timeouts: config.timeouts(),
            config,
            catalog,
            invoker,
            random: Random::from_system(),
            stats,
            connections: Mutex::default(),
            ended: Notify::new(),
        })
    }

    /// Accepts and serves until told to drain, then drains. Returns how many connections were still open.
    pub(crate) async fn run(
        self: Arc<Self>,
        listener: TcpListener,
        mut phase: watch::Receiver<Phase>,
    ) -> usize {
        self.accept(&listener, &mut phase).await;
        drop(listener);
        let until = match *phase.borrow() {
            Phase::Draining(until) => until,
            // The handle is gone without a word.
            Phase::Serving => Instant::now(),
        };
        for (_, state) in &*self.connections.lock() {
            state.drain();
        }
        // Every end is looked at: `notify_one` keeps one wake-up for a late listener.
        let _ = tokio::time::timeout_at(until, async {
            while !self.connections.lock().is_empty() {
                self.ended.notified().await;
            }
        })
        .await;
        self.connections.lock().len()
    }

    async fn accept(self: &Arc<Self>, listener: &TcpListener, phase: &mut watch::Receiver<Phase>) {
        let mut overload = Overload::new(self.timeouts.linger);
        loop {
            let accepted = tokio::select! {
                biased;
                _ = phase.changed() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, caller)) => self.take(stream, caller, &overload),
                // The caller gave up before we looked.
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    self.stats.accept_error();
                    let n_shed = overload.shed(listener, &self.stats);
                    tracing::warn!(%error, n_shed, "cannot accept connections");
                    // The listener stays ready: without a pause this would be a busy loop.
                    let pause = Duration::from_millis(self.config.accept_pause_ms);
                    tokio::select! {
                        biased;
                        _ = phase.changed() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
    }

    fn take(self: &Arc<Self>, stream: TcpStream, caller: SocketAddr, overload: &Overload) {
        let Some((place, state)) = self.enter(caller) else {
            self.stats.refused();
            overload.refuse(stream);
            return;
        };
        let worker = Arc::clone(self);
        tokio::spawn(async move {
            let _place = place;
            serve(worker, stream, state).await;
        });
    }

    fn enter(self: &Arc<Self>, caller: SocketAddr) -> Option<(Place, Arc<ConnectionState>)> {
        let mut connections = self.connections.lock();
        if connections.len() >= self.config.n_connections_per_worker_max
            || !self.stats.enter(self.config.n_connections_max)
        {
            return None;
        }
        let state = ConnectionState::new(caller.ip(), self.timeouts.clone());
        let key = connections.insert(Arc::clone(&state));
        let worker = Arc::clone(self);
        Some((Place { worker, key }, state))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.worker.connections.lock().remove(self.key);
        self.worker.stats.leave();
        self.worker.ended.notify_one();
    }
}

/// Whether an error of `accept` concerns one connection and not the listener (accept(2), "Error handling").
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}
