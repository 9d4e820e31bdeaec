//! The `stagedoor` program: the command line in front of the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    stagedoor::cli::main()
}
