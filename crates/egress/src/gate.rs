//! Counts open connections and lookups per function and per node. Refuses to queue connections: over the
//! limit a request is refused at once, so that no guest waits on another guest's behaviour. Lookups do
//! queue, for as long as the resolve timeout lets them.

use std::collections::HashMap;
use std::sync::Arc;

use model::FunctionKey;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::config::EgressConfig;
use crate::error::{EgressError, Scope};
use crate::resolve::LookupTicket;

/// Functions that are remembered before those without work are forgotten.
const IDLE_FUNCTIONS_MAX: usize = 1_024;

/// The counters.
#[derive(Debug)]
pub(crate) struct Gate {
    per_function_max: u32,
    node_max: u32,
    lookups_per_function_max: usize,
    node_lookups: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    n_open: u32,
    functions: HashMap<FunctionKey, FunctionState>,
}

#[derive(Debug)]
struct FunctionState {
    n_open: u32,
    lookups: Arc<Semaphore>,
}

/// The right to one connection; gives it back when dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Arc<Gate>,
    function: FunctionKey,
    lookups: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new(config: &EgressConfig) -> Self {
        Self {
            per_function_max: config.connections_per_function_max,
            node_max: config.connections_max,
            lookups_per_function_max: config.lookups_per_function_max.max(1) as usize,
            node_lookups: Arc::new(Semaphore::new(config.lookups_max.max(1) as usize)),
            state: Mutex::default(),
        }
    }

    pub(crate) fn enter(self: &Arc<Self>, function: &FunctionKey) -> Result<Pass, EgressError> {
        let refuse = |scope, n_max| EgressError::TooManyConnections { scope, n_max };
        let mut state = self.state.lock();
        let state = &mut *state;
        if state.n_open >= self.node_max {
            return Err(refuse(Scope::Node, self.node_max));
        }
        if state.functions.len() > IDLE_FUNCTIONS_MAX {
            let n_lookups_max = self.lookups_per_function_max;
            state.functions.retain(|_, function| {
                function.n_open > 0 || function.lookups.available_permits() < n_lookups_max
            });
        }
        let entry = state
            .functions
            .entry(function.clone())
            .or_insert_with(|| FunctionState {
                n_open: 0,
                lookups: Arc::new(Semaphore::new(self.lookups_per_function_max)),
            });
        if entry.n_open >= self.per_function_max {
            return Err(refuse(Scope::Function, self.per_function_max));
        }
        entry.n_open += 1;
        state.n_open += 1;
        Ok(Pass {
            gate: self.clone(),
            function: function.clone(),
            lookups: entry.lookups.clone(),
        })
    }

    /// Connections that are open or being opened.
    pub(crate) fn n_open(&self) -> u32 {
        self.state.lock().n_open
    }
}

impl Pass {
    /// Waits for a place among the lookups.
    pub(crate) async fn lookup_ticket(&self) -> LookupTicket {
        const OPEN: &str = "these semaphores are never closed";
        LookupTicket {
            _function: self.lookups.clone().acquire_owned().await.expect(OPEN),
            _node: self
                .gate
                .node_lookups
                .clone()
                .acquire_owned()
                .await
                .expect(OPEN),
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock();
        state.n_open -= 1;
        if let Some(function) = state.functions.get_mut(&self.function) {
            function.n_open -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str) -> FunctionKey {
        name.parse().expect("a function name")
    }

    fn gate(per_function_max: u32, node_max: u32) -> Arc<Gate> {
        Arc::new(Gate::new(&EgressConfig {
            connections_per_function_max: per_function_max,
            connections_max: node_max,
            lookups_per_function_max: 1,
            lookups_max: 2,
            ..EgressConfig::default()
        }))
    }

    #[test]
    fn functions_and_the_node_have_limits_and_places_come_back() {
        let gate = gate(2, 3);
        let a1 = gate.enter(&function("a")).unwrap();
        let _a2 = gate.enter(&function("a")).unwrap();
        let refused = gate.enter(&function("a")).unwrap_err();
        assert!(matches!(
            refused,
            EgressError::TooManyConnections {
                scope: Scope::Function,
                n_max: 2
            }
        ));
        let _b1 = gate.enter(&function("b")).unwrap();
        let refused = gate.enter(&function("b")).unwrap_err();
        assert!(matches!(
            refused,
            EgressError::TooManyConnections {
                scope: Scope::Node,
                n_max: 3
            }
        ));
        drop(a1);
        assert_eq!(gate.n_open(), 2);
        gate.enter(&function("a")).unwrap();
    }

    #[tokio::test]
    async fn a_function_that_hogs_its_lookups_leaves_room_for_others() {
        let gate = gate(10, 10);
        let a = gate.enter(&function("a")).unwrap();
        let ticket = a.lookup_ticket().await;
        // The request is gone, the lookup is not: the next request of the same function waits for it.
        drop(a);
        let a = gate.enter(&function("a")).unwrap();
        let b = gate.enter(&function("b")).unwrap();
        let mut waiting = Box::pin(a.lookup_ticket());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        let _b_ticket = b.lookup_ticket().await;
        drop(ticket);
        waiting.await;
    }

    #[test]
    fn idle_functions_are_forgotten() {
        let gate = gate(10, 10);
        for n in 0..2 * IDLE_FUNCTIONS_MAX {
            gate.enter(&function(&format!("f{n}"))).unwrap();
        }
        assert!(gate.state.lock().functions.len() <= IDLE_FUNCTIONS_MAX + 1);
    }
}
