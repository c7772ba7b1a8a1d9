//! A node with parts of the bench's own: an engine that does nothing, receipts or logs thrown away.

use std::sync::Arc;

use invoker::UsageSink;
use model::{Failure, FunctionVersion, Receipt};
use node::{Node, NodeConfig, Parts};
use runtime::{LogLine, LogSink, Runtime};

use super::noop::NoopRuntime;
use super::{EngineSpec, NodeSpec, internal, tell};

/// Keeps nothing.
pub(super) struct Dropping;

impl UsageSink for Dropping {
    fn settle(&self, _receipt: Receipt, _version: &FunctionVersion) {}
}

impl LogSink for Dropping {
    fn write(&self, _line: &LogLine<'_>) {}
}

pub(super) fn run(spec: NodeSpec) -> Result<(), Failure> {
    let config = NodeConfig::read(&spec.config)?;
    // As `holm up` makes it.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| internal("threads", &error))?;
    runtime.block_on(async {
        let node = Node::start_with(config, parts(&spec)).await?;
        tell(node.gateway_addr(), Some(node.admin_addr()))?;
        node.run_until_shutdown(std::future::pending()).await;
        Ok(())
    })
}

fn parts(spec: &NodeSpec) -> Parts {
    let engine: Option<Arc<dyn Runtime>> = match spec.engine {
        EngineSpec::Usual => None,
        EngineSpec::Noop => Some(Arc::new(NoopRuntime)),
    };
    Parts {
        runtimes: engine.into_iter().collect(),
        usage: (!spec.metering).then(|| Arc::new(Dropping) as Arc<dyn UsageSink>),
        log: (!spec.logs).then(|| Arc::new(Dropping) as Arc<dyn LogSink>),
    }
}
