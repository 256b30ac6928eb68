//! Goes through the paths of a data set, sorted, and sends or measures what is there.
//!
//! **Invariant:** no component below a configured path is followed if it is a symbolic link, even if it is swapped
//! for one meanwhile: every step is taken from the open directory above.

mod sample;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, ReadDir};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use prost_types::Timestamp;
use satellite_proto::wire::backup::v1::{ExtendedAttribute, Member, MemberOrigin, MemberType};
use xattr::FileExt as _;

use super::super::profile::DataSet;
use super::batch::Batcher;
use super::{ReadError, file};

use self::sample::Sampler;
use crate::plan::space::Shrunk;

/// Names of a directory that are sorted at a time; a larger directory comes in several sorted runs.
const RUN: usize = 100_000;
/// Directories in one another, below a configured path.
const DEEPEST: usize = 200;
/// Bytes of a path, with the first slash, that an archive takes: with more it refuses everything.
const LONGEST: usize = 4096;
/// Files with several names that are remembered, for each data set.
const LINKS: usize = 100_000;

/// What a data set holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measured {
    /// Files.
    pub files: u64,
    /// Bytes in them, each counted once.
    pub bytes: u64,
}

/// What happens to what the walk finds.
trait Visitor {
    fn notice(&mut self, text: String) -> Result<(), ReadError>;

    /// The same for what belongs to the data set and cannot be had.
    fn left_out(&mut self, text: String) -> Result<(), ReadError> {
        self.notice(text)
    }
    fn found(&mut self, entry: &Entry<'_>) -> Result<(), ReadError>;
}

/// Something that the walk found, seen from the directory in which it lies.
struct Entry<'a> {
    parent: &'a File,
    name: &'a OsStr,
    path: &'a Path,
    stat: FileStat,
}

/// Sends all of the data set's paths.
pub(super) fn read_paths(batcher: &mut Batcher, set: &DataSet) -> Result<(), ReadError> {
    let mut sender = Sender {
        batcher,
        set,
        links: HashMap::new(),
    };
    if walk(&mut sender, set)? == 0 && !set.paths.is_empty() && set.commands.is_empty() {
        return Err(ReadError::NothingThere {
            data_set: set.name.clone(),
        });
    }
    Ok(())
}

/// What the data set holds at the moment, without what commands print. Blocks.
#[must_use]
pub fn measure(set: &DataSet) -> Measured {
    weighed(set, None)
}

fn weighed(set: &DataSet, sampler: Option<&mut Sampler>) -> Measured {
    let mut scale = Scale {
        sampler,
        ..Scale::default()
    };
    // A scale never stops a walk.
    drop(walk(&mut scale, set));
    scale.measured
}

/// The same of several, and how much all of it becomes in an archive, as far as a sample tells. Blocks.
#[must_use]
pub fn measure_and_sample(sets: &[DataSet]) -> (Vec<Measured>, Shrunk) {
    let mut sampler = Sampler::default();
    let measured: Vec<_> = sets.iter().map(|set| weighed(set, Some(&mut sampler))).collect();
    let sum = |count: fn(&Measured) -> u64| measured.iter().map(count).sum();
    let shrunk = sampler.shrunk(sum(|one| one.files), sum(|one| one.bytes));
    (measured, shrunk)
}

/// Answers how many of the configured paths are there.
fn walk(visitor: &mut impl Visitor, set: &DataSet) -> Result<usize, ReadError> {
    let mut there = 0;
    for root in &set.paths {
        let (Some(above), Some(name)) = (root.parent(), root.file_name()) else {
            continue;
        };
        match File::open(above).and_then(|parent| Ok((stat_at(&parent, name)?, parent))) {
            Ok((stat, parent)) => {
                there += 1;
                if kind(&stat) == SFlag::S_IFLNK {
                    let text = "it is a symbolic link: the link is kept, not what it points to";
                    visitor.notice(format!("{}: {}: {text}", set.name, root.display()))?;
                }
                visit(
                    visitor,
                    set,
                    &Entry {
                        parent: &parent,
                        name,
                        path: root,
                        stat,
                    },
                    0,
                )?;
            }
            Err(err) => {
                visitor.left_out(format!("{}: {}: it is left out: {err}", set.name, root.display()))?
            }
        }
    }
    Ok(there)
}

fn visit(
    visitor: &mut impl Visitor,
    set: &DataSet,
    entry: &Entry<'_>,
    depth: usize,
) -> Result<(), ReadError> {
    if set.excludes.is_match(entry.path) || stays(set, &entry.stat) {
        return Ok(());
    }
    if entry.path.as_os_str().len() > LONGEST {
        let text = "its path is too long for an archive, so it is left out";
        return visitor.left_out(format!("{}: {}: {text}", set.name, entry.path.display()));
    }
    visitor.found(entry)?;
    if kind(&entry.stat) != SFlag::S_IFDIR {
        return Ok(());
    }
    if depth >= DEEPEST {
        return visitor.left_out(format!(
            "{}: {}: too deep, what is in it is left out",
            set.name,
            entry.path.display()
        ));
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let opened = openat(entry.parent, entry.name, flags, Mode::empty())
        .map_err(io::Error::from)
        .map(File::from);
    let listed = opened.and_then(|dir| {
        Ok((
            std::fs::read_dir(format!("/proc/self/fd/{}", dir.as_raw_fd()))?,
            dir,
        ))
    });
    match listed {
        Ok(listing) => visit_children(visitor, set, entry.path, listing, depth),
        Err(err) => visitor.left_out(format!(
            "{}: {}: what is in it cannot be read and is left out: {err}",
            set.name,
            entry.path.display()
        )),
    }
}

/// Whether something is no part of what is moved into an archive: too new, or nothing that holds data.
fn stays(set: &DataSet, stat: &FileStat) -> bool {
    let Some(limit) = set.changed_before else {
        return false;
    };
    match kind(stat) {
        SFlag::S_IFDIR => false,
        SFlag::S_IFREG => stat.st_mtime >= limit.as_second(),
        _ => true,
    }
}

fn visit_children(
    visitor: &mut impl Visitor,
    set: &DataSet,
    above: &Path,
    (mut names, dir): (ReadDir, File),
    depth: usize,
) -> Result<(), ReadError> {
    loop {
        let mut run: Vec<Box<[u8]>> = Vec::new();
        for name in names.by_ref().take(RUN) {
            match name {
                Ok(name) => run.push(name.file_name().into_vec().into_boxed_slice()),
                Err(err) => visitor.left_out(format!("{}: {}: {err}", set.name, above.display()))?,
            }
        }
        if run.is_empty() {
            return Ok(());
        }
        run.sort_unstable();
        for name in run {
            let name = OsStr::from_bytes(&name);
            let path = above.join(name);
            match stat_at(&dir, name) {
                Ok(stat) => visit(
                    visitor,
                    set,
                    &Entry {
                        parent: &dir,
                        name,
                        path: &path,
                        stat,
                    },
                    depth + 1,
                )?,
                // Gone between list and look: it is as if it had never been there.
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => {
                    visitor.left_out(format!("{}: {}: it is left out: {err}", set.name, path.display()))?
                }
            }
        }
    }
}

/// Sends what is found.
struct Sender<'a> {
    batcher: &'a mut Batcher,
    set: &'a DataSet,
    links: HashMap<(u64, u64), Bytes>,
}

impl Visitor for Sender<'_> {
    fn notice(&mut self, text: String) -> Result<(), ReadError> {
        self.batcher.notice(text)
    }

    fn left_out(&mut self, text: String) -> Result<(), ReadError> {
        self.batcher.left_out(text)
    }

    fn found(&mut self, entry: &Entry<'_>) -> Result<(), ReadError> {
        let mut member = member(self.set, entry);
        match kind(&entry.stat) {
            SFlag::S_IFDIR => {
                member.r#type = MemberType::Directory.into();
                member.xattrs = attributes(entry);
                self.batcher.begin(member)
            }
            SFlag::S_IFLNK => match readlinkat(entry.parent, entry.name) {
                Ok(target) => {
                    member.r#type = MemberType::Symlink.into();
                    member.link_target = target.into_vec().into();
                    member.xattrs = attributes(entry);
                    self.batcher.begin(member)
                }
                Err(err) => self.unreadable(entry, err),
            },
            SFlag::S_IFREG => self.file(entry, member),
            _ => self.notice(format!(
                "{}: {}: neither file, directory nor link, so it is left out",
                self.set.name,
                entry.path.display()
            )),
        }
    }
}

impl Sender<'_> {
    fn file(&mut self, entry: &Entry<'_>, mut member: Member) -> Result<(), ReadError> {
        let id = (entry.stat.st_dev, entry.stat.st_ino);
        if entry.stat.st_nlink > 1
            && let Some(first) = self.links.get(&id)
        {
            member.r#type = MemberType::HardLink.into();
            member.sparse = false;
            member.link_target = first.clone();
            return self.batcher.begin(member);
        }
        if let Some(unchanged) = self.batcher.unchanged(&member, &entry.stat) {
            member.xattrs = attributes(entry);
            self.remember_link(entry, member.path.clone());
            return self.batcher.copied_file(member, unchanged);
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let mut file = match openat(entry.parent, entry.name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(err) => return self.unreadable(entry, err),
        };
        let Some(opened) = fstat(&file).ok().filter(|stat| kind(stat) == SFlag::S_IFREG) else {
            return self.left_out(format!(
                "{}: {}: it was replaced and is left out",
                self.set.name,
                entry.path.display()
            ));
        };
        member.xattrs = attributes_of(&file);
        let path = member.path.clone();
        let before = self.batcher.members();
        let steady = file::send(self.batcher, member, &mut file, opened)?;
        if let Some(stat) = steady {
            self.batcher.remember(path.clone(), Some(&stat));
        }
        if self.batcher.members() > before {
            self.remember_link(entry, path);
        }
        Ok(())
    }

    /// Further names of the file become hard links.
    fn remember_link(&mut self, entry: &Entry<'_>, path: Bytes) {
        if entry.stat.st_nlink > 1 && self.links.len() < LINKS {
            self.links.insert((entry.stat.st_dev, entry.stat.st_ino), path);
        }
    }

    fn unreadable(&mut self, entry: &Entry<'_>, err: nix::Error) -> Result<(), ReadError> {
        if err == nix::Error::ENOENT {
            return Ok(());
        }
        let err = io::Error::from(err);
        self.left_out(format!(
            "{}: {}: it is left out: {err}",
            self.set.name,
            entry.path.display()
        ))
    }
}

/// Adds up what is found.
#[derive(Default)]
struct Scale<'a> {
    measured: Measured,
    links: HashMap<(u64, u64), ()>,
    sampler: Option<&'a mut Sampler>,
}

impl Visitor for Scale<'_> {
    fn notice(&mut self, _: String) -> Result<(), ReadError> {
        Ok(())
    }

    fn found(&mut self, entry: &Entry<'_>) -> Result<(), ReadError> {
        if kind(&entry.stat) != SFlag::S_IFREG {
            return Ok(());
        }
        self.measured.files += 1;
        let several = entry.stat.st_nlink > 1 && self.links.len() < LINKS;
        if several
            && self
                .links
                .insert((entry.stat.st_dev, entry.stat.st_ino), ())
                .is_some()
        {
            return Ok(());
        }
        self.measured.bytes += file::size(&entry.stat);
        if let Some(sampler) = &mut self.sampler {
            sampler.found(entry);
        }
        Ok(())
    }
}

fn member(set: &DataSet, entry: &Entry<'_>) -> Member {
    let path = entry.path.as_os_str().as_bytes();
    Member {
        data_set: set.name.clone(),
        path: Bytes::copy_from_slice(path.strip_prefix(b"/").unwrap_or(path)),
        r#type: MemberType::File.into(),
        mode: entry.stat.st_mode & 0o7777,
        uid: entry.stat.st_uid,
        gid: entry.stat.st_gid,
        modify_time: Some(Timestamp {
            seconds: entry.stat.st_mtime,
            nanos: i32::try_from(entry.stat.st_mtime_nsec).unwrap_or_default(),
        }),
        origin: MemberOrigin::Path.into(),
        sparse: kind(&entry.stat) == SFlag::S_IFREG && file::is_sparse(&entry.stat),
        ..Member::default()
    }
}

fn stat_at(parent: &File, name: &OsStr) -> io::Result<FileStat> {
    Ok(fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?)
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// Extended attributes of a directory or a symbolic link, by way of the open directory above.
fn attributes(entry: &Entry<'_>) -> Vec<ExtendedAttribute> {
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", entry.parent.as_raw_fd()));
    path.push(entry.name);
    collect(xattr::list(&path), |name| xattr::get(&path, name))
}

fn attributes_of(file: &File) -> Vec<ExtendedAttribute> {
    collect(file.list_xattr(), |name| file.get_xattr(name))
}

/// A file system without extended attributes has none: that is no reason to stop.
fn collect(
    names: io::Result<xattr::XAttrs>,
    get: impl Fn(&OsString) -> io::Result<Option<Vec<u8>>>,
) -> Vec<ExtendedAttribute> {
    let mut found: Vec<_> = names
        .into_iter()
        .flatten()
        .filter_map(|name| {
            let value = get(&name).ok()??;
            Some(ExtendedAttribute {
                name: name.into_vec().into(),
                value: value.into(),
            })
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}
