//! The `stagedoor` program: the command line in front of the library.

use std::process::ExitCode;

/// By measurement: `docs/performance.md` compares it with the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    stagedoor::cli::main()
}
