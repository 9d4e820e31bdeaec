//! What the process has in its memory stays there: callers' tokens, and secrets of its own.

use nix::sys::resource::{Resource, setrlimit};

/// Has no crash leave a core dump, and nobody but root look into the process meanwhile.
///
/// # Errors
/// The system lets it do one of the two only, or none.
pub(super) fn seal() -> nix::Result<()> {
    // No file. A program that the kernel hands dumps to (`core_pattern`) is not held to it.
    let limited = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    // No dump at all, and neither a debugger nor `/proc/<pid>/mem` for other processes of the
    // same user.
    #[cfg(target_os = "linux")]
    let hidden = nix::sys::prctl::set_dumpable(false);
    #[cfg(not(target_os = "linux"))]
    let hidden = Ok(());
    limited.and(hidden)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use nix::sys::prctl::get_dumpable;
    use nix::sys::resource::getrlimit;

    use super::*;

    #[test]
    fn no_dump_is_left() {
        assert_eq!(seal(), Ok(()));
        assert_eq!(getrlimit(Resource::RLIMIT_CORE), Ok((0, 0)));
        assert_eq!(get_dumpable(), Ok(false));
        // What it looks up of itself goes on.
        assert!(std::fs::read_dir("/proc/self/fd").expect("its own").count() > 3);
    }
}
