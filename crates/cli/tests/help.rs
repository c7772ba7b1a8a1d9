//! What `--help` says, command by command: a change of it is seen in review.

use clap::CommandFactory as _;
use cli::Cli;

/// Wide enough for no line to depend on the terminal of whoever runs the tests.
const WIDTH: usize = 100;

#[test]
fn help_of_every_command() {
    let mut command = Cli::command().term_width(WIDTH);
    command.build();
    let mut text = command.render_long_help().to_string();
    for subcommand in command.get_subcommands_mut() {
        if subcommand.get_name() != "help" {
            text.push_str(&format!(
                "\n\n======== holm {} --help\n\n",
                subcommand.get_name()
            ));
            text.push_str(&subcommand.render_long_help().to_string());
        }
    }
    insta::assert_snapshot!(text);
}
