//! What can be typed. Parsing only; every command's own arguments stand beside it in `commands`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use model::{FunctionKey, Namespace};

use crate::commands::{
    alias, bench, completions, deploy, describe, doctor, explain, invoke, list, logs, receipt,
    remove, setup, usage, versions,
};
use crate::report::UsageError;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "holm",
    version,
    about = "Holm runs functions on your own machines, each request walled off",
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:
  holm up                              run a node
  holm deploy examples/hello-rust      build and publish a function
  holm invoke hello-rust               call it
  holm logs hello-rust -f              watch what it says
  holm usage --by function             see what it cost

Exit codes: 0 done; 1 refused or failed on your side (function, manifest, build, name);
2 wrong usage or the platform's doing."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node
    Up(UpArgs),
    /// Compile a WebAssembly file under limits: the node runs itself with this
    #[command(hide = true)]
    InternalCompileWasm,
    /// Measure how fast a node is on this machine
    Bench(bench::BenchArgs),
    /// Serve something to be measured: the bench runs itself with this
    #[command(hide = true)]
    InternalBenchServer {
        /// What to serve, as JSON
        spec: String,
    },
    /// Count the instructions of a request: `make test` runs this
    #[command(hide = true)]
    InternalBenchInstructions {
        /// The committed counts
        #[arg(long, value_name = "FILE")]
        recorded: PathBuf,
        /// Write the file instead of comparing with it
        #[arg(long)]
        record: bool,
    },
    /// What needs no node in this process.
    #[command(flatten)]
    Other(OtherCommand),
}

/// Everything but running a node.
#[derive(Debug, Subcommand)]
pub enum OtherCommand {
    /// Install the engines of isolation classes
    Setup(setup::SetupArgs),
    /// What is asked of a node.
    #[command(flatten)]
    Node(NodeCommand),
    /// Explain an error code
    Explain(explain::ExplainArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// What is asked of a node.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Build a function and publish it as a new version
    Deploy(deploy::DeployArgs),
    /// Call a function; stdout is its answer
    Invoke(invoke::InvokeArgs),
    /// List functions
    #[command(visible_alias = "list")]
    Ls(list::ListArgs),
    /// Show a function: class, limits, routes, addresses
    Describe(describe::DescribeArgs),
    /// List a function's versions
    Versions(versions::VersionsArgs),
    /// Point `live` at a version
    Promote(alias::PromoteArgs),
    /// Point `live` at what it pointed to before
    Rollback(alias::RollbackArgs),
    /// Remove a function with all its versions
    Rm(remove::RemoveArgs),
    /// Show what a function wrote
    Logs(logs::LogsArgs),
    /// Show what one invocation took and cost
    Receipt(receipt::ReceiptArgs),
    /// Show what was used, summed
    Usage(usage::UsageArgs),
    /// Check which classes and build tools this host has
    Doctor(doctor::DoctorArgs),
}

impl NodeCommand {
    /// Which node, and in which form the result is printed.
    pub fn node_args(&self) -> &NodeArgs {
        match self {
            NodeCommand::Deploy(args) => &args.node,
            NodeCommand::Invoke(args) => &args.node,
            NodeCommand::Ls(args) => &args.node,
            NodeCommand::Describe(args) => &args.node,
            NodeCommand::Versions(args) => &args.node,
            NodeCommand::Promote(args) => &args.node,
            NodeCommand::Rollback(args) => &args.node,
            NodeCommand::Rm(args) => &args.node,
            NodeCommand::Logs(args) => &args.node,
            NodeCommand::Receipt(args) => &args.node,
            NodeCommand::Usage(args) => &args.node,
            NodeCommand::Doctor(args) => &args.node,
        }
    }
}

/// Running a node.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "Examples:
  holm up
  holm up --gateway 0.0.0.0:80 --data-dir /var/lib/holm --production
  holm up --gateway 127.0.0.1:0 --admin 127.0.0.1:0 --json

Once the node is ready the bound addresses are printed; stdout carries nothing else, logs go to
stderr (HOLM_LOG filters them, such as HOLM_LOG=debug). SIGTERM or Ctrl-C drains and exits with 0;
a second one exits at once. Exit code 2: the node could not start.")]
pub struct UpArgs {
    /// Where functions, receipts and the admin token are kept [default: the XDG data directory]
    #[arg(
        long,
        value_name = "DIR",
        env = "HOLM_DATA_DIR",
        hide_env_values = true
    )]
    pub data_dir: Option<PathBuf>,
    /// Where functions answer [default: 127.0.0.1:8080]; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    pub gateway: Option<SocketAddr>,
    /// Where the admin API answers [default: 127.0.0.1:8081]; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<SocketAddr>,
    /// The node's configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The directory of engine files, shared by all nodes of the host
    #[arg(
        long,
        value_name = "DIR",
        env = "HOLM_ENGINES_DIR",
        hide_env_values = true
    )]
    pub engines_dir: Option<PathBuf>,
    /// Refuse weaker sandboxes and engines with known holes, where without it they run with a warning
    #[arg(long)]
    pub production: bool,
    /// Print the addresses as one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Which node, and in which form the result is printed.
#[derive(Clone, Debug, Default, Args)]
pub struct NodeArgs {
    /// The node's admin address [default: http://127.0.0.1:8081]
    #[arg(long, value_name = "URL", env = "HOLM_ADMIN", hide_env_values = true)]
    pub admin: Option<String>,
    /// Print the result, and a problem on stderr, as JSON
    #[arg(long)]
    pub json: bool,
}

/// Which function.
#[derive(Clone, Debug, Args)]
pub struct FunctionArgs {
    /// The function: NAME, or NAME.NAMESPACE
    #[arg(value_name = "NAME")]
    pub function: FunctionKey,
    /// Its namespace [default: default]
    #[arg(long, short, value_name = "NAMESPACE")]
    pub namespace: Option<Namespace>,
}

impl FunctionArgs {
    /// The function that is meant.
    ///
    /// # Errors
    /// Where name and flag say different namespaces.
    pub fn key(&self) -> Result<FunctionKey, UsageError> {
        let in_name = &self.function.namespace;
        match &self.namespace {
            None => Ok(self.function.clone()),
            Some(namespace) if *in_name == Namespace::default() || in_name == namespace => {
                Ok(FunctionKey {
                    namespace: namespace.clone(),
                    name: self.function.name.clone(),
                })
            }
            Some(namespace) => Err(UsageError(format!(
                "`{}` names the namespace {in_name}, --namespace names {namespace}",
                self.function
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string);
            let shows = help.is_some_and(|help| help.starts_with("Examples:\n  holm "));
            assert!(shows || command.is_hide_set(), "{}", command.get_name());
        }
    }

    #[test]
    fn namespaces_come_from_name_or_flag() {
        let key = |name: &str, namespace: Option<&str>| {
            FunctionArgs {
                function: name.parse().expect("a name"),
                namespace: namespace.map(|text| text.parse().expect("a namespace")),
            }
            .key()
            .map(|key| key.to_string())
        };
        assert_eq!(key("a", None).expect("a key"), "a");
        assert_eq!(key("a.team", None).expect("a key"), "a.team");
        assert_eq!(key("a", Some("team")).expect("a key"), "a.team");
        assert_eq!(key("a.team", Some("team")).expect("a key"), "a.team");
        assert!(key("a.team", Some("other")).is_err());
    }
}
