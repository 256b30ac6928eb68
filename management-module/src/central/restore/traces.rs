//! Notes where restores write and how their temporaries are called, so that none stays after this process was killed.
//!
//! **Invariants:** a note is on the disk before the first temporary is made. A name is removed only if it carries the mark
//! of a noted restore: a mark is drawn by lot for each, and nothing else has it. In a directory that was empty, a file is
//! also removed if its mode says that it is not finished and it was written since the note was: what was there before, and
//! files of an archive with that mode, which are given their own time when they are whole, are older.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tracing::{error, warn};
use walkdir::{DirEntry, WalkDir};

use super::content::UNFINISHED;
use crate::files;

/// Where the notes lie. A cheap handle.
#[derive(Debug, Clone)]
pub struct Traces {
    directory: PathBuf,
}

/// What one note says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    mark: String,
    roots: Vec<PathBuf>,
    /// The roots were empty when it began.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_new: bool,
}

/// A restore that is noted as long as this lives.
#[derive(Debug)]
pub(super) struct Trace {
    note: PathBuf,
    /// What its temporaries begin with.
    pub(super) prefix: String,
}

impl Traces {
    /// Notes in `directory`, which is made when it is needed.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Notes a restore that writes at or below `roots`, which are empty if `is_new`.
    pub(super) fn begin(&self, roots: Vec<PathBuf>, is_new: bool) -> io::Result<Trace> {
        let mark = uuid::Uuid::new_v4().simple().to_string();
        let trace = Trace {
            note: self.directory.join(format!("{mark}.json")),
            prefix: prefix(&mark),
        };
        files::make_directory(&self.directory, 0o700)?;
        let note = Note { mark, roots, is_new };
        files::write_atomic(&trace.note, &serde_json::to_vec(&note)?, 0o600)?;
        Ok(trace)
    }

    /// The notes that a former process left, as long as this one has begun no restore.
    ///
    /// # Errors
    ///
    /// They cannot be listed.
    pub fn left(&self) -> io::Result<Vec<PathBuf>> {
        let notes = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut left = notes
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()?;
        left.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        Ok(left)
    }

    /// Removes what restores of a former process left half done. Blocks, as long as it takes to look through their places.
    /// A note that cannot be read, or where something stays, is kept and logged.
    pub fn sweep(left: Vec<PathBuf>) {
        for path in left {
            let swept = fs::read(&path)
                .and_then(|bytes| Ok(serde_json::from_slice::<Note>(&bytes)?))
                .and_then(|note| sweep(&note, fs::metadata(&path)?.modified()?));
            let forgotten = swept.and_then(|removed| {
                warn!(removed, "What an interrupted restore left half done was removed");
                fs::remove_file(&path)
            });
            if let Err(error) = forgotten {
                error!(path = %path.display(), %error, "What an interrupted restore left half done stays until the next start");
            }
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.note) {
            warn!(path = %self.note.display(), %error, "Note of a restore not removed");
        }
    }
}

fn prefix(mark: &str) -> String {
    format!(".restore-{mark}-")
}

fn sweep(note: &Note, noted: SystemTime) -> io::Result<usize> {
    let prefix = prefix(&note.mark);
    let has_mark = |entry: &DirEntry| {
        entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(prefix.as_bytes())
    };
    let is_unfinished = |entry: &DirEntry| {
        note.is_new
            && entry.file_type().is_file()
            && entry.metadata().is_ok_and(|found| {
                found.mode() & 0o7777 == UNFINISHED && found.modified().is_ok_and(|at| at >= noted)
            })
    };
    let mut removed = 0;
    for root in &note.roots {
        // The temporary of the root itself lies beside it.
        let beside = root.parent().unwrap_or(root);
        removed += sweep_below(WalkDir::new(beside).max_depth(1), has_mark)?;
        removed += sweep_below(WalkDir::new(root), |entry| {
            has_mark(entry) || is_unfinished(entry)
        })?;
    }
    Ok(removed)
}

/// Links are not followed, and what cannot be looked into holds nothing of ours: we had made it there.
fn sweep_below(places: WalkDir, is_ours: impl Fn(&DirEntry) -> bool) -> io::Result<usize> {
    let mut removed = 0;
    for entry in places.into_iter().flatten() {
        if !entry.file_type().is_dir() && is_ours(&entry) {
            remove(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_a_killed_restore_left_goes_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let traces = Traces::new(dir.path().join("notes"));
        let place = dir.path().join("place");
        fs::create_dir_all(place.join("deep")).unwrap();
        let killed = traces
            .begin(vec![place.join("deep"), place.join("one.conf")], false)
            .unwrap();
        let names = [
            "deep/a",
            "deep/.restore-0123456789abcdef-0",
            ".restore",
            "one.conf",
        ];
        for name in names {
            fs::File::create(place.join(name)).unwrap();
        }
        for above in ["deep/", ""] {
            fs::File::create(place.join(format!("{above}{}1", killed.prefix))).unwrap();
        }
        std::mem::forget(killed);
        let ended = traces.begin(vec![place.clone()], false).unwrap();
        drop(ended);
        Traces::sweep(traces.left().unwrap());
        let there = WalkDir::new(&place).into_iter().flatten();
        let there = there.filter(|entry| !entry.file_type().is_dir()).count();
        assert_eq!(there, names.len());
        assert!(names.iter().all(|name| place.join(name).exists()));
        assert_eq!(fs::read_dir(&traces.directory).unwrap().count(), 0);
    }

    #[test]
    fn an_unfinished_file_goes_only_where_nothing_was_before() {
        let dir = tempfile::tempdir().unwrap();
        let traces = Traces::new(dir.path().join("notes"));
        let (new, old) = (dir.path().join("new"), dir.path().join("old"));
        for (place, is_new) in [(&new, true), (&old, false)] {
            fs::create_dir(place).unwrap();
            for (name, mode) in [("done", 0o1600), ("none", 0), ("begun", UNFINISHED)] {
                fs::File::create(place.join(name)).unwrap();
                fs::set_permissions(place.join(name), fs::Permissions::from_mode(mode)).unwrap();
            }
            std::mem::forget(traces.begin(vec![place.clone()], is_new).unwrap());
            // What a restore has written since.
            let since = fs::File::open(place.join("begun")).unwrap();
            since.set_modified(SystemTime::now()).unwrap();
            // Whole, with that mode and its own time.
            let whole = fs::File::create(place.join("whole")).unwrap();
            whole
                .set_modified(SystemTime::now() - Duration::from_hours(1))
                .unwrap();
            let mode = fs::Permissions::from_mode(UNFINISHED);
            fs::set_permissions(place.join("whole"), mode).unwrap();
        }
        Traces::sweep(traces.left().unwrap());
        let there = |place: &Path| fs::read_dir(place).unwrap().count();
        assert_eq!((there(&new), there(&old)), (3, 4));
        assert!(!new.join("begun").exists());
    }
}
