//! Services under a service manager that is a script: what runs is a file in a directory.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;

/// Tells the child process where its world is.
const CHILD: &str = "QUIESCE_TEST_DIRECTORY";
/// Where it kills itself.
const DIES: &str = "QUIESCE_TEST_DIES";

const SCRIPT: &str = r#"#!/bin/sh
state=$(dirname "$0")/running
for unit in "$@"; do :; done
case "$1" in
is-active) test -e "$state/$unit" ;;
stop) if [ "$unit" = stuck ]; then echo "$unit does not stop" >&2; exit 1; fi; rm "$state/$unit" ;;
start) if [ -e "$state/../broken" ]; then exit 1; fi; touch "$state/$unit" ;;
esac
"#;

fn world() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("systemctl");
    files::write_atomic(&script, SCRIPT.as_bytes(), 0o755).unwrap();
    fs::create_dir(dir.path().join("running")).unwrap();
    for unit in ["database", "exchange"] {
        fs::File::create(dir.path().join("running").join(unit)).unwrap();
    }
    dir
}

fn notes(dir: &Path) -> StopNotes {
    StopNotes::with_systemctl(dir.join("stopped"), dir.join("systemctl"))
}

fn running(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join("running")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn noted(dir: &Path) -> usize {
    fs::read_dir(dir.join("stopped")).map_or(0, Iterator::count)
}

fn units(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_is_stopped_and_started_again_and_nothing_else() {
    let dir = world();
    let stopped = Quiesced::stop(&units(&["idle", "database"]), &notes(dir.path())).unwrap();
    assert_eq!(running(dir.path()), ["exchange"]);
    assert_eq!(noted(dir.path()), 1);
    drop(stopped);
    assert_eq!(running(dir.path()), ["database", "exchange"]);
    assert_eq!(noted(dir.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_does_not_stop_is_named_and_the_others_run_again() {
    let dir = world();
    fs::File::create(dir.path().join("running/stuck")).unwrap();
    let failed = Quiesced::stop(&units(&["database", "stuck"]), &notes(dir.path())).unwrap_err();
    assert!(
        crate::error_chain(&failed).contains("stuck does not stop"),
        "{failed}"
    );
    assert_eq!(running(dir.path()), ["database", "exchange", "stuck"]);
    assert_eq!(noted(dir.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stopped_that_cannot_be_noted() {
    let dir = world();
    fs::File::create(dir.path().join("stopped")).unwrap();
    let failed = Quiesced::stop(&units(&["database"]), &notes(dir.path())).unwrap_err();
    assert!(matches!(failed, QuiesceError::Note { .. }), "{failed}");
    assert_eq!(running(dir.path()), ["database", "exchange"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_start_again_is_tried_at_the_next_start() {
    let dir = world();
    let stopped = Quiesced::stop(&units(&["database", "exchange"]), &notes(dir.path())).unwrap();
    fs::File::create(dir.path().join("broken")).unwrap();
    drop(stopped);
    assert_eq!(running(dir.path()), Vec::<String>::new());
    notes(dir.path()).start_again().unwrap();
    assert_eq!(noted(dir.path()), 1, "the note stays as long as they do not run");
    fs::remove_file(dir.path().join("broken")).unwrap();
    notes(dir.path()).start_again().unwrap();
    assert_eq!(running(dir.path()), ["database", "exchange"]);
    assert_eq!(noted(dir.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_leaves_no_service_stopped() {
    for dies in ["noted", "stopped"] {
        let dir = world();
        let ended = killed(dir.path(), dies);
        assert_eq!(ended.signal(), Some(Signal::SIGKILL as i32), "{dies}: {ended:?}");
        let is_stopped = !running(dir.path()).contains(&"database".to_owned());
        assert_eq!(is_stopped, dies == "stopped");
        notes(dir.path()).start_again().unwrap();
        assert_eq!(running(dir.path()), ["database", "exchange"], "{dies}");
        assert_eq!(noted(dir.path()), 0);
    }
}

/// Runs the child below in a process of its own.
fn killed(dir: &Path, dies: &str) -> ExitStatus {
    #[expect(clippy::disallowed_methods, reason = "this very test, as another process")]
    let mut child = Command::new(std::env::current_exe().unwrap());
    let name = "central::quiesce::tests::the_process_that_is_killed";
    child.args(["--exact", name, "--ignored", "--nocapture"]);
    child.env(CHILD, dir).env(DIES, dies).status().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "only as the child of another test"]
async fn the_process_that_is_killed() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else {
        return;
    };
    let die = || kill(Pid::this(), Signal::SIGKILL).unwrap();
    if std::env::var(DIES).is_ok_and(|place| place == "noted") {
        // The service manager never gets to stop anything: the process dies when it asks.
        let text = SCRIPT.replace("case \"$1\"", "test \"$1\" = stop && kill -9 $PPID\ncase \"$1\"");
        let text = text.replace("rm \"$state", "exit 1; rm \"$state");
        files::write_atomic(&dir.join("systemctl"), text.as_bytes(), 0o755).unwrap();
    }
    let _stopped = Quiesced::stop(&units(&["database"]), &notes(&dir)).unwrap();
    die();
}
