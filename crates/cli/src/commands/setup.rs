//! `holm setup`: engine files of isolation classes, in one directory for all nodes of the host.

use std::path::{Path, PathBuf};

use clap::Args;
use model::{Code, Failure, Isolation};
use serde::Serialize;

use crate::console::Console;
use crate::environment::Environment;
use crate::report::{EXIT_DONE, EXIT_PLATFORM};
use crate::text::Table;

/// Installing engines.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holm setup                 everything that this release can install
  holm setup wasm
  holm setup --engines-dir /srv/holm/engines

Exit codes: 0 everything that was asked for is there; 2 a class was named that this release has no
engine for, or the directory cannot be made.")]
pub struct SetupArgs {
    /// The isolation classes: wasm, v8, container, gvisor, microvm [default: all]
    #[arg(value_name = "CLASS")]
    pub classes: Vec<Isolation>,
    /// The directory of engine files [default: /var/lib/holm/engines as root, else the XDG data directory]
    #[arg(
        long,
        value_name = "DIR",
        env = "HOLM_ENGINES_DIR",
        hide_env_values = true
    )]
    pub engines_dir: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Outcome {
    engines_dir: PathBuf,
    classes: Vec<Engine>,
}

/// What there is for one class.
#[derive(Debug, Serialize)]
struct Engine {
    isolation: Isolation,
    is_ready: bool,
    detail: &'static str,
}

/// Makes the directory and installs what is to be installed.
pub fn run(
    args: &SetupArgs,
    environment: &Environment,
    console: &mut Console,
) -> Result<u8, anyhow::Error> {
    let engines_dir = args
        .engines_dir
        .clone()
        .or_else(|| environment.default_engines_dir())
        .ok_or_else(|| {
            Failure::new(
                Code::ConfigInvalid,
                "no engines directory: neither HOME nor XDG_DATA_HOME is set; give --engines-dir",
            )
        })?;
    make(&engines_dir)?;
    let is_named = !args.classes.is_empty();
    let classes = if is_named {
        &args.classes[..]
    } else {
        &Isolation::ALL
    };
    let outcome = Outcome {
        engines_dir,
        classes: classes.iter().map(|class| engine(*class)).collect(),
    };
    let n_missing = outcome.classes.iter().filter(|e| !e.is_ready).count();
    if args.json {
        console.json(&outcome)?;
    } else {
        console.result_line(format_args!("engines: {}", outcome.engines_dir.display()))?;
        let mut table = Table::new(&["CLASS", "ENGINE", "DETAIL"]);
        for engine in &outcome.classes {
            let state = if engine.is_ready { "ready" } else { "none" };
            table.row([
                engine.isolation.to_string(),
                state.into(),
                engine.detail.into(),
            ]);
        }
        console.result(&table.render(console.style()))?;
    }
    Ok(if is_named && n_missing > 0 {
        EXIT_PLATFORM
    } else {
        EXIT_DONE
    })
}

fn engine(isolation: Isolation) -> Engine {
    let is_ready = isolation == Isolation::Wasm;
    Engine {
        isolation,
        is_ready,
        detail: if is_ready {
            "wasmtime is part of this program: nothing to install"
        } else {
            "this release of Holm has no engine for the class"
        },
    }
}

fn make(engines_dir: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(engines_dir).map_err(|error| {
        Failure::new(
            Code::ConfigInvalid,
            format!(
                "cannot make the engines directory {}: {error}; choose another with --engines-dir",
                engines_dir.display()
            ),
        )
    })
}
