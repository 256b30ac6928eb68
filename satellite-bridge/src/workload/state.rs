//! The copy of a workload's state that a version change can go back to.
//!
//! **Invariant:** the workload owns its state and may have put anything there: every name is resolved beneath the state
//! directory, and no link is followed.

use std::path::Path;

use satellite_host::files::{self, Beneath, FileError};
use satellite_host::{disk, fail_point};

use super::places::Home;

/// Space that stays free whatever is copied, in bytes.
pub(crate) const MARGIN: u64 = 64 * 1024 * 1024;

/// Copies `paths` below `state` aside. Whatever was aside before is replaced.
///
/// # Errors
///
/// If something cannot be copied, for want of space above all; nothing is then aside.
pub(crate) fn save(home: &Home, state: &Path, paths: &[String]) -> Result<(), FileError> {
    forget(home)?;
    let part = home.snapshot_part();
    files::create_dir(&part, 0o700)?;
    if state.is_dir() {
        let (from, to) = (Beneath::open(state)?, Beneath::open(&part)?);
        for path in paths {
            from.copy_to(Path::new(path), &to)?;
            check_space(&part)?;
        }
    }
    files::sync_file_system(&part)?;
    fail_point("install.state-copied");
    files::rename(&part, &home.snapshot())
}

/// Puts `paths` back to what they were when they were saved. Can be done again after it was interrupted.
///
/// # Errors
///
/// If something cannot be removed or copied.
pub(crate) fn restore(home: &Home, state: &Path, paths: &[String]) -> Result<(), FileError> {
    let snapshot = home.snapshot();
    if !(snapshot.is_dir() && state.is_dir()) {
        return Ok(());
    }
    let (from, to) = (Beneath::open(&snapshot)?, Beneath::open(state)?);
    for path in paths {
        to.remove(Path::new(path))?;
        from.copy_to(Path::new(path), &to)?;
    }
    files::sync_file_system(state)
}

/// Removes the copy.
///
/// # Errors
///
/// If it cannot be removed.
pub(crate) fn forget(home: &Home) -> Result<(), FileError> {
    files::remove_tree(&home.snapshot_part())?;
    // Renamed first: a copy that is half gone must not be taken for a whole one.
    if home.snapshot().exists() {
        files::rename(&home.snapshot(), &home.snapshot_part())?;
        files::remove_tree(&home.snapshot_part())?;
    }
    Ok(())
}

fn check_space(path: &Path) -> Result<(), FileError> {
    let failed = |source| FileError {
        action: "copy the state to",
        path: path.to_owned(),
        source,
    };
    let free = disk::space(path).map_err(failed)?.free;
    if free < MARGIN {
        return Err(failed(std::io::Error::from(std::io::ErrorKind::StorageFull)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::str::FromStr;

    use satellite_proto::bundle::WorkloadName;

    use crate::workload::Places;

    #[test]
    fn state_comes_back_as_it_was_and_what_was_not_saved_stays() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places {
            state_dir: dir.path().join("s"),
            run_dir: dir.path().join("r"),
            unit_dir: dir.path().join("u"),
            workload_state_dir: dir.path().join("w"),
            trust_anchors: Vec::new(),
            own_command: Vec::new(),
        };
        let name = WorkloadName::from_str("echo").unwrap();
        let (home, state) = (places.home(&name), places.state(&name));
        fs::create_dir_all(home.root()).unwrap();
        fs::create_dir_all(state.join("db")).unwrap();
        files::write_atomic(&state.join("db/rows"), b"old", 0o600).unwrap();
        files::write_atomic(&state.join("kept"), b"old", 0o600).unwrap();
        let paths = ["db".to_owned(), "absent/file".to_owned()];
        save(&home, &state, &paths).unwrap();
        files::write_atomic(&state.join("db/rows"), b"new", 0o600).unwrap();
        files::write_atomic(&state.join("db/more"), b"new", 0o600).unwrap();
        files::write_atomic(&state.join("kept"), b"new", 0o600).unwrap();
        for _ in 0..2 {
            restore(&home, &state, &paths).unwrap();
            assert_eq!(fs::read(state.join("db/rows")).unwrap(), b"old");
            assert!(!state.join("db/more").exists());
            assert_eq!(fs::read(state.join("kept")).unwrap(), b"new");
        }
        forget(&home).unwrap();
        assert_eq!(fs::read_dir(home.root()).unwrap().count(), 0);
    }
}
