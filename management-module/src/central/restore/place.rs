//! Finds where a member goes, without following a link, and puts it there.
//!
//! **Invariant:** every component below the base is opened from the directory above with `O_NOFOLLOW`; a name from
//! an archive is never resolved by the kernel as a path of several components.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, syncfs, unlinkat};
use satellite_proto::wire::backup::v1::Member;

use super::super::profile::DataSet;
use super::{RestoreError, Target, attributes};

/// Why a member is refused whose name something else has.
pub(super) const TAKEN: &str = "something of that name is there already";
/// File systems that are remembered.
const SYSTEMS: usize = 64;
const DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// Finds places, and remembers the directory in which the last one lies.
#[derive(Debug)]
pub(super) struct Places {
    target: Option<Arc<OwnedFd>>,
    last: Option<(PathBuf, Arc<OwnedFd>)>,
    /// A directory of each file system that was written to.
    systems: BTreeMap<u64, Arc<OwnedFd>>,
    /// What names of temporaries begin with.
    prefix: Arc<str>,
}

/// Where a member goes: a name in an open directory.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) parent: Arc<OwnedFd>,
    pub(super) name: OsString,
    /// For order and messages; never opened.
    pub(super) path: PathBuf,
    /// What names of temporaries begin with.
    pub(super) prefix: Arc<str>,
}

impl Places {
    pub(super) fn open(target: &Target, prefix: String) -> Result<Self, RestoreError> {
        let prefix = Arc::from(prefix);
        let Target::Directory(path) = target else {
            return Ok(Self {
                target: None,
                last: None,
                systems: BTreeMap::new(),
                prefix,
            });
        };
        let failed = |reason: String| RestoreError::Target {
            path: path.clone(),
            reason,
        };
        if !path.is_absolute() {
            return Err(failed("it is not an absolute path".to_owned()));
        }
        std::fs::create_dir_all(path).map_err(|err| failed(err.to_string()))?;
        let mut entries = std::fs::read_dir(path).map_err(|err| failed(err.to_string()))?;
        if entries.next().is_some() {
            return Err(failed(
                "it is not empty; name an empty or a new directory".to_owned(),
            ));
        }
        let dir = File::open(path).map_err(|err| failed(err.to_string()))?;
        Ok(Self {
            target: Some(Arc::new(dir.into())),
            last: None,
            systems: BTreeMap::new(),
            prefix,
        })
    }

    /// Where the member of that path goes; the directories above it are made. The error says why it is refused.
    pub(super) fn find(&mut self, target: &Target, data_set: &str, path: &[u8]) -> Result<Place, String> {
        let parts = components(path)?;
        match target {
            Target::Directory(base) => {
                let data_set_ok = (1..=63).contains(&data_set.len())
                    && data_set
                        .bytes()
                        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
                let Some(dir) = self.target.clone().filter(|_| data_set_ok) else {
                    return Err("its data set's name is not a name".to_owned());
                };
                let mut below = vec![OsStr::new(data_set)];
                below.extend(parts);
                self.descend(base, dir, &below)
            }
            Target::InPlace { profile, .. } => {
                let set = profile
                    .data_set(data_set)
                    .ok_or("the central's profile has no such data set")?;
                self.find_in_place(set, &parts)
            }
        }
    }

    fn find_in_place(&mut self, set: &DataSet, parts: &[&OsStr]) -> Result<Place, String> {
        let mut path = PathBuf::from("/");
        path.extend(parts);
        let outside = "it lies outside the paths that the central's profile names for the data set";
        let root = set.root_of(&path).ok_or(outside)?;
        // What is above the configured path is the administrator's, links included; from there on none is followed.
        let above = root.parent().ok_or(outside)?;
        std::fs::create_dir_all(above)
            .map_err(|err| format!("`{}` cannot be made: {err}", above.display()))?;
        let dir =
            File::open(above).map_err(|err| format!("`{}` cannot be opened: {err}", above.display()))?;
        let depth = above.components().count() - 1;
        self.descend(above, Arc::new(dir.into()), &parts[depth..])
    }

    fn descend(&mut self, base: &Path, dir: Arc<OwnedFd>, parts: &[&OsStr]) -> Result<Place, String> {
        let (name, above) = parts.split_last().ok_or("it has no name")?;
        let mut parent_path = base.to_path_buf();
        parent_path.extend(above);
        let remembered = self
            .last
            .as_ref()
            .filter(|(path, _)| *path == parent_path)
            .map(|(_, dir)| Arc::clone(dir));
        let parent = match remembered {
            Some(parent) => parent,
            None => {
                let mut parent = dir;
                for part in above {
                    parent = Arc::new(step(&parent, part)?);
                }
                if let Ok(stat) = fstat(parent.as_ref())
                    && self.systems.len() < SYSTEMS
                {
                    self.systems
                        .entry(stat.st_dev)
                        .or_insert_with(|| Arc::clone(&parent));
                }
                self.last = Some((parent_path.clone(), Arc::clone(&parent)));
                parent
            }
        };
        Ok(Place {
            parent,
            name: (*name).to_owned(),
            path: parent_path.join(name),
            prefix: Arc::clone(&self.prefix),
        })
    }

    /// The directory that was empty, if there is one.
    pub(super) fn directory(&self) -> Option<Arc<OwnedFd>> {
        self.target.clone()
    }

    /// Brings everything that was written to disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        let last = self.last.as_ref().map(|(_, dir)| dir);
        for dir in self.target.iter().chain(last).chain(self.systems.values()) {
            syncfs(dir.as_ref())?;
        }
        Ok(())
    }
}

impl Place {
    /// Makes the directory, or opens the one that is there.
    pub(super) fn make_directory(&self) -> Result<OwnedFd, String> {
        step(&self.parent, &self.name)
    }

    /// Makes a file of that name, which nothing has.
    pub(super) fn create(&self, name: &OsStr, mode: u32) -> nix::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(self.parent.as_ref(), name, flags, Mode::from_bits_truncate(mode))?;
        Ok(File::from(file))
    }

    pub(super) fn hard_link(&self, first: &Self, overwrite: bool) -> Result<(), String> {
        let stat = fstatat(
            first.parent.as_ref(),
            first.name.as_os_str(),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )
        .map_err(|_| "the file that it is another name of was not restored".to_owned())?;
        if SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) != SFlag::S_IFREG {
            return Err("what it is another name of is not a file".to_owned());
        }
        let temporary = self.temporary(|name| {
            linkat(
                first.parent.as_ref(),
                first.name.as_os_str(),
                self.parent.as_ref(),
                name,
                AtFlags::empty(),
            )
        })?;
        self.put(&temporary, overwrite)?;
        // Where both names are one file already, a rename does nothing and leaves the other name.
        self.remove(&temporary);
        Ok(())
    }

    pub(super) fn symlink(&self, member: &Member, overwrite: bool) -> Result<Vec<String>, String> {
        if member.link_target.is_empty() || member.link_target.contains(&0) {
            return Err("its target is not a path".to_owned());
        }
        let target = OsStr::from_bytes(&member.link_target);
        let temporary = self.temporary(|name| symlinkat(target, self.parent.as_ref(), name))?;
        let problems = attributes::set_on_link(&self.parent, &temporary, member);
        self.put(&temporary, overwrite)?;
        Ok(problems)
    }

    /// Makes something under a name that nobody has.
    pub(super) fn temporary<T>(&self, make: impl Fn(&OsStr) -> nix::Result<T>) -> Result<OsString, String> {
        for _ in 0..16 {
            let name = OsString::from(format!("{}{:016x}", self.prefix, rand::random::<u64>()));
            match make(&name) {
                Ok(_) => return Ok(name),
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(io::Error::from(errno).to_string()),
            }
        }
        Err("no free temporary name was found".to_owned())
    }

    /// Gives what was made its name, in one step. On refusal it is removed.
    pub(super) fn put(&self, temporary: &OsStr, overwrite: bool) -> Result<(), String> {
        let (dir, name) = (self.parent.as_ref(), self.name.as_os_str());
        let done = if overwrite {
            renameat(dir, temporary, dir, name)
        } else {
            match renameat2(dir, temporary, dir, name, RenameFlags::RENAME_NOREPLACE) {
                // File systems without it: there is a moment between look and rename, and nobody else is meant here.
                Err(Errno::EINVAL | Errno::ENOSYS) => {
                    match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                        Err(Errno::ENOENT) => renameat(dir, temporary, dir, name),
                        Err(errno) => Err(errno),
                        Ok(_) => Err(Errno::EEXIST),
                    }
                }
                done => done,
            }
        };
        done.map_err(|errno| {
            self.remove(temporary);
            match errno {
                Errno::EEXIST => TAKEN.to_owned(),
                Errno::EISDIR | Errno::ENOTEMPTY => "a directory of that name is there".to_owned(),
                errno => io::Error::from(errno).to_string(),
            }
        })
    }

    pub(super) fn remove(&self, temporary: &OsStr) {
        // It may have its name already.
        let _gone = unlinkat(self.parent.as_ref(), temporary, UnlinkatFlags::NoRemoveDir);
    }

    /// The directory, as a path through our own open descriptor, for calls that take only paths.
    pub(super) fn through(parent: &OwnedFd, name: &OsStr) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd())).join(name)
    }
}

/// Opens the directory `name` in `parent`, and makes it if it is not there.
fn step(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, String> {
    match mkdirat(parent, name, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => {
            return Err(format!(
                "`{}` cannot be made: {}",
                name.display(),
                io::Error::from(errno)
            ));
        }
    }
    openat(parent, name, DIRECTORY, Mode::empty()).map_err(|errno| match errno {
        Errno::ELOOP | Errno::ENOTDIR => format!("`{}` on the way is not a directory", name.display()),
        errno => format!(
            "`{}` cannot be opened: {}",
            name.display(),
            io::Error::from(errno)
        ),
    })
}

/// The components of a member's path, each a plain name.
fn components(path: &[u8]) -> Result<Vec<&OsStr>, String> {
    if path.is_empty() || path.len() > 4096 {
        return Err("its path is empty or longer than 4096 bytes".to_owned());
    }
    let parts: Vec<_> = path.split(|byte| *byte == b'/').collect();
    let plain = |part: &&[u8]| !part.is_empty() && *part != b"." && *part != b".." && !part.contains(&0);
    if !parts.iter().all(plain) {
        return Err("its path is absolute or has a component that is not a plain name".to_owned());
    }
    Ok(parts.into_iter().map(OsStr::from_bytes).collect())
}
