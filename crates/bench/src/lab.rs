//! What rows measure with: cores, servers, and blocks of load in an order that spares nobody the noise.
//!
//! Subjects take turns, forwards in one round and backwards in the next (ABBA), so that whatever drifts
//! on the machine hits them alike. A figure is made of pairs from the same round.

mod blocks;
mod caller;
mod found;
mod plan;
mod subject;

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;

use crate::guests;
use crate::load::LoadError;
use crate::machine::MachineError;
use crate::serve::ServerSpec;
use crate::servers::{Function, Many, NodeOptions, Server, ServerError, deploy};
use crate::stats::{self, Interval};

pub(crate) use blocks::{Block, median};
pub(crate) use caller::Caller;
pub(crate) use found::{Found, RowError};
pub(crate) use plan::Plan;
pub(crate) use subject::{Subject, request};

/// A guest that answers how often its instance was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Guest {
    /// Over `holm:core/1`; a few hundred bytes.
    Core,
    /// Over `wasi:http` 0.2; some ten thousand bytes.
    Http,
}

impl Guest {
    /// Its module.
    ///
    /// # Errors
    /// `Missing` where the build left it out.
    pub(crate) fn module(self) -> Result<&'static [u8], RowError> {
        let module = match self {
            Guest::Core => guests::CORE_HELLO,
            Guest::Http => guests::HTTP_HELLO,
        };
        module.map_err(RowError::no_guest)
    }
}

/// The workbench of a run.
pub(crate) struct Lab {
    /// How long and how often.
    pub(crate) plan: Plan,
    /// The servers' core; the load's is that of the calling thread.
    pub(crate) server_core: usize,
    /// What others that were measured say of themselves.
    pub(crate) versions: BTreeMap<String, String>,
    raw: Option<Rc<Server>>,
    many: BTreeMap<(Guest, usize), Rc<Many>>,
    /// Answers per second of its own CPU time that the generator takes from the fastest server.
    pub(crate) generator_ceiling_per_s: Option<f64>,
}

impl Lab {
    /// A workbench without servers yet. The calling thread is bound to the load's core.
    pub(crate) fn new(plan: Plan, server_core: usize) -> Self {
        Self {
            plan,
            server_core,
            versions: BTreeMap::new(),
            raw: None,
            many: BTreeMap::new(),
            generator_ceiling_per_s: None,
        }
    }

    /// hyper alone, started when first asked for.
    pub(crate) fn raw(&mut self) -> Result<Subject, RowError> {
        let server = match &self.raw {
            Some(server) => Rc::clone(server),
            None => {
                let server = Server::floor(self.server_core, &[], |_| ServerSpec::Raw)?;
                Rc::clone(self.raw.insert(Rc::new(server)))
            }
        };
        Ok(Subject::fixed(server))
    }

    /// An ordinary node with one function `hello`, whose instances serve `reuse` requests.
    pub(crate) fn node_with(&self, module: &'static [u8], reuse: u32) -> Result<Server, RowError> {
        self.special_node(&NodeOptions::usual(self.server_core), module, reuse)
    }

    /// The same with a node of some other kind.
    pub(crate) fn special_node(
        &self,
        options: &NodeOptions,
        module: &'static [u8],
        reuse: u32,
    ) -> Result<Server, RowError> {
        let server = Server::node(options)?;
        let function = Function {
            name: "hello".to_owned(),
            module: Bytes::from_static(module),
            reuse,
        };
        deploy(&server, vec![function])?;
        Ok(server)
    }

    /// A data directory with `n_functions` deployed, made when first asked for.
    pub(crate) fn many(&mut self, guest: Guest, n_functions: usize) -> Result<Rc<Many>, RowError> {
        if let Some(many) = self.many.get(&(guest, n_functions)) {
            return Ok(Rc::clone(many));
        }
        let smaller = self
            .many
            .range((guest, 0)..(guest, n_functions))
            .next_back();
        let before = smaller.map(|(_, many)| &**many);
        let many = Rc::new(Many::deploy(guest.module()?, n_functions, before)?);
        self.many.insert((guest, n_functions), Rc::clone(&many));
        Ok(many)
    }

    /// One server against itself: what two figures differ by when nothing differs. Also shows what the
    /// generator can do.
    pub(crate) fn control(&mut self) -> Result<Interval, RowError> {
        let raw = self.raw()?;
        let blocks = self.take_turns(&[&raw, &raw])?;
        let ceilings: Vec<f64> = blocks.iter().flatten().filter_map(Block::ceiling).collect();
        self.generator_ceiling_per_s = Some(stats::median_of(&ceilings).median);
        Ok(stats::ratio(&pairs(&blocks[0], &blocks[1])))
    }

    /// Requests per second of `ours` by those of `theirs`.
    pub(crate) fn throughput(
        &mut self,
        ours: &Subject,
        theirs: &Subject,
    ) -> Result<Found, RowError> {
        let blocks = self.take_turns(&[ours, theirs])?;
        Ok(Found::throughput(&blocks[0], &blocks[1]))
    }

    /// Closed-loop blocks of all subjects, in turns; the blocks of each, by round.
    pub(crate) fn take_turns(
        &mut self,
        subjects: &[&Subject],
    ) -> Result<Vec<Vec<Block>>, RowError> {
        let plan = self.plan;
        self.rounds(subjects, |subject| Block::closed(subject, &plan))
    }

    /// Open-loop blocks of all subjects at the same rate, in turns.
    pub(crate) fn take_turns_at(
        &mut self,
        rate_per_s: f64,
        subjects: &[&Subject],
    ) -> Result<Vec<Vec<Block>>, RowError> {
        let plan = self.plan;
        self.rounds(subjects, |subject| Block::open(subject, rate_per_s, &plan))
    }

    fn rounds(
        &self,
        subjects: &[&Subject],
        mut block: impl FnMut(&Subject) -> Result<Block, RowError>,
    ) -> Result<Vec<Vec<Block>>, RowError> {
        for subject in subjects {
            Block::warm_up(subject, &self.plan)?;
        }
        let mut blocks: Vec<Vec<Block>> = vec![Vec::new(); subjects.len()];
        for round in 0..self.plan.n_rounds {
            let forwards = 0..subjects.len();
            let order: Vec<usize> = match round % 2 {
                0 => forwards.collect(),
                _ => forwards.rev().collect(),
            };
            for index in order {
                blocks[index].push(block(subjects[index])?);
            }
        }
        Ok(blocks)
    }
}

/// Rates of blocks of the same round.
pub(crate) fn pairs(ours: &[Block], theirs: &[Block]) -> Vec<(f64, f64)> {
    ours.iter()
        .zip(theirs)
        .map(|(ours, theirs)| (ours.rate_per_s, theirs.rate_per_s))
        .collect()
}

impl From<ServerError> for RowError {
    fn from(error: ServerError) -> Self {
        RowError::Failed(error.to_string())
    }
}

impl From<LoadError> for RowError {
    fn from(error: LoadError) -> Self {
        RowError::Failed(error.to_string())
    }
}

impl From<MachineError> for RowError {
    fn from(error: MachineError) -> Self {
        RowError::Failed(error.to_string())
    }
}
