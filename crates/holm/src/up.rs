//! `holm up`: configuration, logs, the node, and the signals that end it.

use std::io::{self, IsTerminal as _};

use cli::UpArgs;
use cli::console::Console;
use cli::environment::Environment;
use cli::report::{self, EXIT_DONE, ExitRule};
use model::{Code, Failure};
use node::{Node, NodeConfig};
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Runs a node until a signal ends it; the exit code.
pub fn run(args: &UpArgs, environment: &Environment) -> u8 {
    let mut console = Console::of_process(environment);
    match start(args, environment, &mut console) {
        Ok(()) => EXIT_DONE,
        Err(failure) => report::tell(&failure.into(), &mut console, args.json, ExitRule::Usual),
    }
}

fn start(args: &UpArgs, environment: &Environment, console: &mut Console) -> Result<(), Failure> {
    log_to_stderr(environment)?;
    forbid_core_dumps()?;
    let config = config(args, environment)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("holm-node")
        .build()
        .map_err(|error| internal("cannot start threads", &error))?;
    let outcome = runtime.block_on(serve(config, args.json, console));
    // The node has drained: what still runs in the background has nobody to answer to.
    runtime.shutdown_background();
    outcome
}

/// A core file would hold what guests and the manifests' environments hold. The compile worker inherits it.
fn forbid_core_dumps() -> Result<(), Failure> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)
        .map_err(|error| internal("cannot forbid core files", &error.into()))
}

async fn serve(config: NodeConfig, as_json: bool, console: &mut Console) -> Result<(), Failure> {
    // Before the start: a signal that comes meanwhile must not be lost.
    let mut signals = Signals::new().map_err(|error| internal("cannot take signals", &error))?;
    let node = tokio::select! {
        started = Node::start(config) => started?,
        () = signals.next() => return Ok(()),
    };
    if let Err(error) = Addresses::of(&node).tell(as_json, console) {
        tracing::warn!("the addresses could not be told on stdout: {error}");
    }
    node.run_until_shutdown(until_stopped(signals)).await;
    Ok(())
}

/// What is printed once the node is ready. As JSON the keys come in this order.
#[derive(Serialize)]
struct Addresses {
    gateway: String,
    admin: String,
    data_dir: String,
}

impl Addresses {
    fn of(node: &Node) -> Self {
        Self {
            gateway: format!("http://{}", node.gateway_addr()),
            admin: format!("http://{}", node.admin_addr()),
            data_dir: node.data_dir().display().to_string(),
        }
    }

    fn tell(&self, as_json: bool, console: &mut Console) -> io::Result<()> {
        if as_json {
            // One line, on a terminal too.
            return console.result_line(serde_json::to_string(self)?);
        }
        let Self {
            gateway,
            admin,
            data_dir,
        } = self;
        console.result_line(format_args!(
            "gateway  {gateway}\nadmin    {admin}\ndata     {data_dir}"
        ))
    }
}

/// The configuration file over the defaults, the command line over both.
fn config(args: &UpArgs, environment: &Environment) -> Result<NodeConfig, Failure> {
    let mut config = match &args.config {
        Some(file) => NodeConfig::read(file)?,
        None => NodeConfig::default(),
    };
    if let Some(data_dir) = &args.data_dir {
        config.data_dir.clone_from(data_dir);
    }
    if let Some(address) = args.gateway {
        config.gateway.address = address;
    }
    if let Some(address) = args.admin {
        config.admin.address = address;
    }
    config.engines_dir = args
        .engines_dir
        .clone()
        .or(config.engines_dir)
        .or_else(|| environment.default_engines_dir());
    config.production |= args.production;
    config.check()?;
    Ok(config)
}

/// Logs go to stderr; `HOLM_LOG` says what of them (the syntax of `tracing_subscriber::EnvFilter`).
fn log_to_stderr(environment: &Environment) -> Result<(), Failure> {
    let directives = environment
        .variable("HOLM_LOG")
        .map_or_else(|| "info".into(), |value| value.to_string_lossy());
    let filter = EnvFilter::try_new(&directives).map_err(|error| {
        Failure::new(
            Code::ConfigInvalid,
            format!("HOLM_LOG `{directives}`: {error}"),
        )
    })?;
    let is_coloured = io::stderr().is_terminal() && environment.variable("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(is_coloured)
        // A stderr that is gone must not take the node with it.
        .log_internal_errors(false)
        .init();
    Ok(())
}

/// The signals that end a node.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// The terminal is gone; `None` where whoever started the node said (as nohup(1) does) to ignore that.
    hangup: Option<Signal>,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: match ignores_hangup() {
                true => None,
                false => Some(signal(SignalKind::hangup())?),
            },
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = hung_up(&mut self.hangup) => {}
        }
    }
}

async fn hung_up(hangup: &mut Option<Signal>) {
    match hangup {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Whether SIGHUP was set to be ignored before the start: bit 0 of `SigIgn` (proc_pid_status(5)).
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

/// Ends with the first signal; the second one exits at once.
async fn until_stopped(mut signals: Signals) {
    signals.next().await;
    tracing::info!("draining; a second signal exits at once");
    // A terminal that goes may say so more than once.
    signals.hangup = None;
    tokio::spawn(async move {
        signals.next().await;
        // As a shell reports a process that SIGINT ended.
        std::process::exit(130);
    });
}

fn internal(what: &str, error: &io::Error) -> Failure {
    Failure::new(Code::Internal, format!("{what}: {error}"))
}
