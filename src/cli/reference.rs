//! The reference of commands, made from what the command line itself says of them.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use super::Cli;

/// Every command with its arguments, in Markdown.
fn commands() -> String {
    let mut cli = Cli::command();
    cli.build();
    let mut text = String::new();
    for command in cli.get_subcommands_mut() {
        describe(&mut text, "##", command);
    }
    text
}

fn describe(text: &mut String, heading: &str, command: &mut Command) {
    if command.get_name() == "help" {
        return;
    }
    let name = command.get_bin_name().unwrap_or_default().to_owned();
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let _ = write!(text, "\n{heading} {name}\n\n{}\n", sentence(&about));
    if command.has_subcommands() {
        for command in command.get_subcommands_mut() {
            describe(text, "###", command);
        }
        return;
    }
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let _ = write!(text, "\n```\n{usage}\n```\n");
    let arguments: Vec<&Arg> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set() && argument.get_id() != "help")
        .collect();
    if !arguments.is_empty() {
        text.push_str("\n| | |\n| --- | --- |\n");
    }
    for argument in arguments {
        let help = argument.get_long_help().or_else(|| argument.get_help());
        let help = sentence(&help.map(ToString::to_string).unwrap_or_default());
        let _ = writeln!(text, "| `{argument}` | {}{} |", cell(&help), cell(&values(argument)));
    }
}

/// The values that an argument takes, and what it is without one.
fn values(argument: &Arg) -> String {
    if !argument.get_action().takes_values() {
        return String::new();
    }
    let mut text = String::new();
    let possible: Vec<_> = argument
        .get_possible_values()
        .iter()
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !possible.is_empty() {
        let _ = write!(text, " One of {}.", possible.join(", "));
    }
    for default in argument.get_default_values() {
        let _ = write!(text, " Without it `{}`.", default.display());
    }
    text
}

/// The text as a sentence: clap takes the final stop of a doc comment away.
fn sentence(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() || text.ends_with(['.', '!', '?']) { text } else { text + "." }
}

/// Text that stays in its cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// What the program says of its commands is what is documented.
#[test]
fn the_commands_are_written_down() {
    const START: &str = "<!-- commands -->\n";
    const END: &str = "\n<!-- end of commands -->";
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");
    let text = std::fs::read_to_string(file).unwrap();
    let (before, rest) = text.split_once(START).unwrap();
    let (now, after) = rest.split_once(END).unwrap();
    let want = commands();
    assert!(want.contains("\n## stagedoor serve\n"), "{want}");
    if std::env::var_os("STAGEDOOR_UPDATE").is_some() {
        std::fs::write(file, format!("{before}{START}{want}{END}{after}")).unwrap();
    } else {
        assert!(now == want, "docs/commands.md is old: run the test with STAGEDOOR_UPDATE=1");
    }
}
