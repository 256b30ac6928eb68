//! Compares two trees: names, kinds, owners, modes, times, link targets and every byte.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// More differences than this are not listed.
const LISTED: usize = 20;

/// What was compared, and what differs.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Entries in the first tree.
    pub entries: usize,
    /// Bytes of its files.
    pub bytes: u64,
    /// The first differences, for a person.
    pub differences: Vec<String>,
}

/// Compares `left` with `right`, not going into or looking at the paths of `left` (relative) that `skip` names.
///
/// The roots' own metadata are not compared.
///
/// # Errors
///
/// If something in either tree cannot be read.
pub fn compare(left: &Path, right: &Path, skip: &[&str]) -> anyhow::Result<Comparison> {
    let (lefts, rights) = (entries(left, skip)?, entries(right, skip)?);
    let mut found = Comparison {
        entries: lefts.len(),
        ..Comparison::default()
    };
    for path in rights.keys().filter(|path| !lefts.contains_key(*path)) {
        found.differ(path, "only in the second tree");
    }
    for (path, meta) in &lefts {
        let Some(other) = rights.get(path) else {
            found.differ(path, "only in the first tree");
            continue;
        };
        found.metadata(path, meta, other);
        if meta.is_file() && other.is_file() {
            found.bytes += meta.len();
            if !same_bytes(&left.join(path), &right.join(path))? {
                found.differ(path, "other bytes");
            }
        } else if meta.is_symlink()
            && std::fs::read_link(left.join(path))? != std::fs::read_link(right.join(path))?
        {
            found.differ(path, "another link target");
        }
    }
    Ok(found)
}

impl Comparison {
    fn metadata(&mut self, path: &Path, left: &std::fs::Metadata, right: &std::fs::Metadata) {
        let pairs = [
            ("kind and mode", u64::from(left.mode()), u64::from(right.mode())),
            ("owner", u64::from(left.uid()), u64::from(right.uid())),
            ("group", u64::from(left.gid()), u64::from(right.gid())),
        ];
        for (what, left, right) in pairs {
            if left != right {
                self.differ(path, &format!("{what}: {left:o} and {right:o}"));
            }
        }
        let times = [
            (left.mtime(), left.mtime_nsec()),
            (right.mtime(), right.mtime_nsec()),
        ];
        if times[0] != times[1] && !left.is_symlink() {
            self.differ(path, &format!("time: {:?} and {:?}", times[0], times[1]));
        }
    }

    fn differ(&mut self, path: &Path, how: &str) {
        if self.differences.len() < LISTED {
            self.differences.push(format!("{}: {how}", path.display()));
        }
    }
}

fn entries(root: &Path, skip: &[&str]) -> anyhow::Result<BTreeMap<PathBuf, std::fs::Metadata>> {
    let mut found = BTreeMap::new();
    let inside = |entry: &walkdir::DirEntry| {
        let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
        !skip.iter().any(|skipped| relative == Path::new(skipped))
    };
    for entry in walkdir::WalkDir::new(root)
        .min_depth(1)
        .into_iter()
        .filter_entry(inside)
    {
        let entry = entry.with_context(|| format!("cannot read {}", root.display()))?;
        found.insert(
            entry.path().strip_prefix(root)?.to_owned(),
            entry.path().symlink_metadata()?,
        );
    }
    Ok(found)
}

fn same_bytes(left: &Path, right: &Path) -> anyhow::Result<bool> {
    let open = |path: &Path| {
        File::open(path)
            .map(BufReader::new)
            .with_context(|| format!("cannot read {}", path.display()))
    };
    let (mut left, mut right) = (open(left)?, open(right)?);
    let (mut one, mut other) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let read = left.read(&mut one)?;
        if read == 0 {
            return Ok(right.read(&mut other)? == 0);
        }
        if right.read_exact(&mut other[..read]).is_err() || one[..read] != other[..read] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::write;

    fn check(change: impl Fn(&Path), expected: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        let (left, right) = (dir.path().join("left"), dir.path().join("right"));
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        for root in [&left, &right] {
            write(&root.join("a/b"), "bytes").unwrap();
            File::options()
                .write(true)
                .open(root.join("a/b"))
                .unwrap()
                .set_modified(old)
                .unwrap();
            std::os::unix::fs::symlink("b", root.join("a/link")).unwrap();
            File::open(root.join("a")).unwrap().set_modified(old).unwrap();
        }
        change(&right);
        File::open(right.join("a")).unwrap().set_modified(old).unwrap();
        let found = compare(&left, &right, &["skipped"]).unwrap();
        assert_eq!(found.differences, expected);
        assert_eq!((found.entries, found.bytes), (3, 5));
    }

    #[test]
    fn equal_trees_have_no_differences() {
        check(|right| write(&right.join("skipped/x"), "y").unwrap(), &[]);
    }

    #[test]
    fn a_changed_byte_is_found() {
        check(
            |right| {
                let time = right.join("a/b").metadata().unwrap().modified().unwrap();
                write(&right.join("a/b"), "bytez").unwrap();
                File::options()
                    .write(true)
                    .open(right.join("a/b"))
                    .unwrap()
                    .set_modified(time)
                    .unwrap();
            },
            &["a/b: other bytes"],
        );
    }

    #[test]
    fn an_entry_too_many_and_another_target_are_found() {
        check(
            |right| {
                write(&right.join("a/c"), "").unwrap();
                std::fs::remove_file(right.join("a/link")).unwrap();
                std::os::unix::fs::symlink("c", right.join("a/link")).unwrap();
            },
            &["a/c: only in the second tree", "a/link: another link target"],
        );
    }
}
