//! Which threads go first.

/// Lowers the priority of the calling thread by so much (`nice`, 0 to 19). Where the system
/// doesn't know priorities of single threads, it stays.
pub(crate) fn lower(by: i32) {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, by) {
        tracing::debug!(%error, "the priority of a thread stays as it is");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = by;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::getpriority_process;

    #[test]
    fn of_one_thread_and_no_other() {
        let before = getpriority_process(None).expect("a priority");
        let lowered = std::thread::spawn(|| {
            super::lower(19);
            getpriority_process(None)
        });
        assert_eq!(lowered.join().expect("no panic"), Ok(19));
        assert_eq!(getpriority_process(None), Ok(before));
    }
}
