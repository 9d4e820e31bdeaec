//! What is in the memory of `stagedoor serve` doesn't leave it by a crash.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use crate::support::process::Process;
use crate::support::stack::Options;
use tokio::process::Command;

/// As generous as the system is to whoever starts it.
const GENEROUS: &str = "ulimit -S -c \"$(ulimit -H -c)\" && exec \"$0\" \"$@\"";

#[tokio::test]
async fn a_crash_leaves_no_core_dump() {
    let mut process = Process::begin(&Options::default(), |command, folder| {
        let mut shell = Command::new("sh");
        shell.args(["-c", GENEROUS]).arg(command.as_std().get_program());
        shell.args(command.as_std().get_args()).current_dir(folder);
        *command = shell;
    })
    .await;
    process.address().await;
    let pid = process.child.id().unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
    let [soft, hard, _] = line.unwrap().split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{limits}")
    };
    assert_eq!((soft, hard), ("0", "0"), "{limits}");
    // Root's own, like all that only root may look into.
    assert_eq!(std::fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid(), 0);

    // Not by the limit alone: programs that the kernel hands dumps to are not held to it. Who may
    // not raise it sees less here.
    let raised = ["--pid", &pid.to_string(), "--core=unlimited:unlimited"];
    let _ = Command::new("prlimit").args(raised).stderr(Stdio::null()).status().await;
    process.signal("ABRT");
    let ended = process.child.wait().await.unwrap();
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false));
    let left = std::fs::read_dir(process.folder.path()).unwrap().map(Result::unwrap);
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("core")), "{left:?}");
}
