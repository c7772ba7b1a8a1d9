//! `holm completions`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Cli;
use crate::console::Console;
use crate::report::EXIT_DONE;

/// Printing a completion script.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holm completions bash > ~/.local/share/bash-completion/completions/holm
  holm completions zsh > \"${fpath[1]}/_holm\"
  holm completions fish > ~/.config/fish/completions/holm.fish

Exit codes: 0 printed; 2 an unknown shell.")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Prints the script.
pub fn run(args: &CompletionsArgs, console: &mut Console) -> Result<u8, anyhow::Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "holm", &mut script);
    console.result_bytes(&script)?;
    Ok(EXIT_DONE)
}
