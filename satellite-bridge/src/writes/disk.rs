//! A disk in memory: what is there, and what of it a power cut leaves.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::strace::{Argument, Call};
use super::{Cut, below};

/// What tells two disks apart.
pub(super) type Key = u64;

/// What is laid out at once; where it is all zeros a hole is left.
const PIECE: usize = 64 * 1024;

/// Names with the places of what they name.
type Names = BTreeMap<PathBuf, usize>;

#[derive(Debug, Clone)]
enum Node {
    Directory,
    Link(PathBuf),
    /// Contents are shared between copies of a disk until one is changed.
    File {
        content: Arc<Vec<u8>>,
        /// Counts the changes of the content.
        version: u64,
        synchronised: Arc<Vec<u8>>,
        synchronised_version: u64,
    },
}

/// An open file.
#[derive(Debug, Clone, Copy)]
struct Open {
    node: usize,
    offset: u64,
    appends: bool,
}

/// The disk below one directory.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    root: PathBuf,
    /// What lies in file systems of its own.
    volumes: Vec<PathBuf>,
    nodes: Vec<(Node, u32)>,
    names: Names,
    committed: Names,
    open: HashMap<u64, Open>,
    versions: u64,
}

impl Disk {
    /// What lies below `root`, all of it safe.
    pub(crate) fn read(root: &Path) -> Self {
        let mut disk = Self {
            root: root.canonicalize().unwrap(),
            volumes: Vec::new(),
            nodes: Vec::new(),
            names: Names::new(),
            committed: Names::new(),
            open: HashMap::new(),
            versions: 0,
        };
        let mut todo = vec![PathBuf::new()];
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(root.join(&dir)).unwrap() {
                let entry = entry.unwrap();
                let (path, meta) = (dir.join(entry.file_name()), entry.metadata().unwrap());
                let node = if meta.is_dir() {
                    todo.push(path.clone());
                    Node::Directory
                } else if meta.is_symlink() {
                    Node::Link(fs::read_link(entry.path()).unwrap())
                } else {
                    let content = Arc::new(fs::read(entry.path()).unwrap());
                    disk.versions += 1;
                    Node::File {
                        synchronised: content.clone(),
                        content,
                        version: disk.versions,
                        synchronised_version: disk.versions,
                    }
                };
                disk.add(path, node, meta.permissions().mode() & 0o7777);
            }
        }
        disk.committed = disk.names.clone();
        disk
    }

    /// The same where each of these directories, or disks in files, is synchronised apart from everything else.
    pub(crate) fn with_volumes(mut self, volumes: &[&str]) -> Self {
        self.volumes = volumes.iter().map(PathBuf::from).collect();
        self
    }

    /// Whether two paths are synchronised together.
    fn is_one_volume(&self, one: &Path, other: &Path) -> bool {
        let volume = |path: &Path| self.volumes.iter().position(|volume| path.starts_with(volume));
        volume(one) == volume(other)
    }

    /// The names of the volume of `path` are as they are now, whatever comes.
    fn commit(&mut self, path: &Path) {
        let mut committed = std::mem::take(&mut self.committed);
        committed.retain(|other, _| !self.is_one_volume(path, other));
        let now = self
            .names
            .iter()
            .filter(|(other, _)| self.is_one_volume(path, other));
        committed.extend(now.map(|(other, node)| (other.clone(), *node)));
        self.committed = committed;
    }

    fn add(&mut self, path: PathBuf, node: Node, mode: u32) -> usize {
        self.nodes.push((node, mode));
        self.names.insert(path, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// Does what a process did. False: it changed nothing here.
    pub(super) fn apply(&mut self, call: &Call) -> bool {
        let argument = |n: usize| &call.arguments[n];
        match call.name.as_str() {
            "openat" | "openat2" => self.open(call),
            "write" | "writev" => self.write(call, None),
            "pwrite64" | "pwritev" => self.write(call, argument(call.arguments.len() - 1).number()),
            "copy_file_range" => self.copy(call, (0, 2)),
            "sendfile" => self.copy(call, (1, 0)),
            "lseek" => {
                if let Some(open) = argument(0).number().and_then(|fd| self.open.get_mut(&fd)) {
                    open.offset = call.result;
                }
                false
            }
            "rename" => self.rename(self.plain(argument(0)), self.plain(argument(1))),
            "renameat" | "renameat2" => self.rename(self.at(call, 0), self.at(call, 2)),
            "unlink" | "rmdir" => self.remove(self.plain(argument(0))),
            "unlinkat" => self.remove(self.at(call, 0)),
            "mkdir" => self.make_directory(self.plain(argument(0)), argument(1)),
            "mkdirat" => self.make_directory(self.at(call, 0), argument(2)),
            "symlink" => self.link(argument(0), self.plain(argument(1))),
            "symlinkat" => self.link(argument(0), self.at(call, 1)),
            "ftruncate" => {
                let length = argument(1).number().unwrap();
                self.of_open(argument(0)).is_some_and(|node| {
                    self.change(node, |content| {
                        content.resize(usize::try_from(length).unwrap(), 0)
                    })
                })
            }
            "fsync" | "fdatasync" => {
                let Some(path) = self.place(argument(0)) else {
                    return false;
                };
                if let Some(node) = self.names.get(&path).copied() {
                    self.synchronise(node);
                }
                self.commit(&path);
                true
            }
            "syncfs" => {
                let Some(path) = self.place(argument(0)) else {
                    return false;
                };
                let names = self
                    .names
                    .iter()
                    .filter(|(other, _)| self.is_one_volume(&path, other));
                let nodes: Vec<usize> = names.map(|(_, node)| *node).collect();
                nodes.into_iter().for_each(|node| self.synchronise(node));
                self.commit(&path);
                true
            }
            "sync" => {
                (0..self.nodes.len()).for_each(|node| self.synchronise(node));
                self.committed = self.names.clone();
                true
            }
            "fchmod" => self
                .of_open(argument(0))
                .is_some_and(|node| self.set_mode(node, argument(1))),
            "chmod" => self.set_mode_at(self.plain(argument(0)), argument(1)),
            "fchmodat" => self.set_mode_at(self.at(call, 0), argument(2)),
            other => panic!("`{other}` is not known here: {call:?}"),
        }
    }

    /// A path that is named without a directory.
    fn plain(&self, argument: &Argument) -> Option<PathBuf> {
        below(&self.root, argument.path())
    }

    /// A path that is named from the directory before it.
    fn at(&self, call: &Call, directory: usize) -> Option<PathBuf> {
        let from = call.arguments[directory].place.as_ref()?;
        below(&self.root, &from.join(call.arguments[directory + 1].path()))
    }

    /// Where an open file or directory lies.
    fn place(&self, argument: &Argument) -> Option<PathBuf> {
        below(&self.root, argument.place.as_ref()?)
    }

    /// The open file that is meant, if it is one of ours.
    fn of_open(&self, argument: &Argument) -> Option<usize> {
        let path = self.place(argument)?;
        let open = argument.number().and_then(|fd| self.open.get(&fd));
        Some(open.map_or_else(|| self.names[&path], |open| open.node))
    }

    fn open(&mut self, call: &Call) -> bool {
        let Some(path) = call.opened.as_ref().and_then(|path| below(&self.root, path)) else {
            return false;
        };
        let flags = &call.arguments[2].word;
        let existing = self.names.get(&path).copied();
        let mut changed = false;
        let node = match existing {
            Some(node) => node,
            None if flags.contains("O_CREAT") => {
                let mode = call.arguments.get(3).filter(|_| call.name == "openat");
                let mode = mode.and_then(Argument::number).unwrap_or(0o600);
                self.versions += 1;
                let empty = Node::File {
                    content: Arc::default(),
                    version: self.versions,
                    synchronised: Arc::default(),
                    synchronised_version: self.versions,
                };
                changed = true;
                self.add(path, empty, u32::try_from(mode).unwrap() & !0o022)
            }
            None => return false,
        };
        if flags.contains("O_TRUNC") && existing.is_some() {
            changed |= self.change(node, Vec::clear);
        }
        let open = Open {
            node,
            offset: 0,
            appends: flags.contains("O_APPEND"),
        };
        self.open.insert(call.result, open);
        changed
    }

    fn write(&mut self, call: &Call, at: Option<u64>) -> bool {
        let length = usize::try_from(call.result).unwrap();
        let bytes = call.arguments[1].bytes[..length.min(call.arguments[1].bytes.len())].to_vec();
        if self.place(&call.arguments[0]).is_none() {
            return false;
        }
        assert_eq!(bytes.len(), length, "not all that was written is shown");
        self.put(call.arguments[0].number().unwrap(), &bytes, at)
    }

    fn put(&mut self, fd: u64, bytes: &[u8], at: Option<u64>) -> bool {
        let Open {
            node,
            offset,
            appends,
        } = self.open[&fd];
        let Node::File { content, .. } = &self.nodes[node].0 else {
            return false;
        };
        let offset = at.unwrap_or(if appends { content.len() as u64 } else { offset });
        let (from, to) = (
            usize::try_from(offset).unwrap(),
            usize::try_from(offset).unwrap() + bytes.len(),
        );
        let changed = self.change(node, |content| {
            content.resize(content.len().max(to), 0);
            content[from..to].copy_from_slice(bytes);
        });
        if at.is_none()
            && let Some(open) = self.open.get_mut(&fd)
        {
            open.offset = to as u64;
        }
        changed
    }

    fn copy(&mut self, call: &Call, (from, to): (usize, usize)) -> bool {
        let (source, target) = (&call.arguments[from], &call.arguments[to]);
        if call.result == 0 || self.place(target).is_none() {
            return false;
        }
        assert!(self.place(source).is_some(), "a copy from elsewhere: {call:?}");
        let fd = source.number().unwrap();
        let Open { node, offset, .. } = self.open[&fd];
        let Node::File { content, .. } = &self.nodes[node].0 else {
            return false;
        };
        let begin = usize::try_from(offset).unwrap();
        let end = begin + usize::try_from(call.result).unwrap();
        let bytes = content[begin..end].to_vec();
        if let Some(open) = self.open.get_mut(&fd) {
            open.offset = end as u64;
        }
        self.put(target.number().unwrap(), &bytes, None)
    }

    fn change(&mut self, node: usize, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.versions += 1;
        let now = self.versions;
        match &mut self.nodes[node].0 {
            Node::File { content, version, .. } => {
                change(Arc::make_mut(content));
                *version = now;
                true
            }
            _ => false,
        }
    }

    fn synchronise(&mut self, node: usize) {
        if let Node::File {
            content,
            version,
            synchronised,
            synchronised_version,
        } = &mut self.nodes[node].0
        {
            *synchronised = content.clone();
            *synchronised_version = *version;
        }
    }

    fn rename(&mut self, from: Option<PathBuf>, to: Option<PathBuf>) -> bool {
        let (Some(from), Some(to)) = (from, to) else {
            return false;
        };
        self.names.retain(|path, _| !path.starts_with(&to));
        let moved: Vec<PathBuf> = self
            .names
            .keys()
            .filter(|path| path.starts_with(&from))
            .cloned()
            .collect();
        for path in moved {
            let node = self.names.remove(&path).unwrap();
            let rest = path.strip_prefix(&from).unwrap();
            let new = if rest.as_os_str().is_empty() {
                to.clone()
            } else {
                to.join(rest)
            };
            self.names.insert(new, node);
        }
        true
    }

    fn remove(&mut self, path: Option<PathBuf>) -> bool {
        path.is_some_and(|path| self.names.remove(&path).is_some())
    }

    fn make_directory(&mut self, path: Option<PathBuf>, mode: &Argument) -> bool {
        let Some(path) = path else { return false };
        let mode = u32::try_from(mode.number().unwrap()).unwrap() & !0o022;
        self.add(path, Node::Directory, mode);
        true
    }

    fn link(&mut self, target: &Argument, path: Option<PathBuf>) -> bool {
        let Some(path) = path else { return false };
        self.add(path, Node::Link(target.path().to_owned()), 0o777);
        true
    }

    fn set_mode_at(&mut self, path: Option<PathBuf>, mode: &Argument) -> bool {
        let node = path.and_then(|path| self.names.get(&path).copied());
        node.is_some_and(|node| self.set_mode(node, mode))
    }

    /// A mode counts at once: nothing here depends on when it comes to the disk.
    fn set_mode(&mut self, node: usize, mode: &Argument) -> bool {
        self.nodes[node].1 = u32::try_from(mode.number().unwrap()).unwrap();
        false
    }

    fn names_after(&self, cut: Cut) -> &Names {
        match cut {
            Cut::Power => &self.committed,
            Cut::Killed | Cut::Torn | Cut::PowerAfterCommit => &self.names,
        }
    }

    /// The same for two disks that a cut leaves alike.
    pub(super) fn key(&self, cut: Cut) -> Key {
        let mut hasher = DefaultHasher::new();
        for (path, node) in self.names_after(cut) {
            let version = match (&self.nodes[*node].0, cut) {
                (Node::File { version, .. }, cut) if cut.keeps_all() => *version,
                (
                    Node::File {
                        synchronised_version, ..
                    },
                    _,
                ) => *synchronised_version,
                _ => 0,
            };
            (path, node, version).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Writes what a cut leaves into the empty directory `dir`.
    pub(super) fn lay_out(&self, dir: &Path, cut: Cut) {
        for (path, node) in self.names_after(cut) {
            let (path, (node, mode)) = (dir.join(path), &self.nodes[*node]);
            match node {
                Node::Directory => {
                    fs::create_dir(&path).unwrap();
                    fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
                }
                Node::Link(target) => symlink(target, &path).unwrap(),
                Node::File {
                    content,
                    synchronised,
                    ..
                } => {
                    let content = if cut.keeps_all() { content } else { synchronised };
                    let file = fs::File::create_new(&path).unwrap();
                    file.set_len(content.len() as u64).unwrap();
                    for (number, piece) in content.chunks(PIECE).enumerate() {
                        if *piece != [0; PIECE][..piece.len()] {
                            file.write_all_at(piece, (number * PIECE) as u64).unwrap();
                        }
                    }
                    file.set_permissions(fs::Permissions::from_mode(*mode)).unwrap();
                }
            }
        }
    }
}
