//! The memory of the process: what is in it stays there, callers' tokens and secrets of its own,
//! and it is no more than is used.

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

/// Has memory given in the system's small pages, whatever it is set to. Of its huge ones, mostly
/// 2 MiB, each counts as a whole once a byte of it was written: the process took more than twice
/// as much, and decisions were no faster for it.
pub(super) fn use_small_pages() {
    // A system that doesn't know of it, or forbids it, has the process take more; no more than
    // that.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_thp_disable(true);
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use nix::sys::prctl::{get_dumpable, get_thp_disable};
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

    #[test]
    fn pages_are_small() {
        use_small_pages();
        assert_eq!(get_thp_disable(), Ok(true));
    }
}
