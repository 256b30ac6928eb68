//! Reads one file: what is announced is what follows, also while the file changes.
//!
//! **Invariant:** a small file that changes is read again, up to three times; of a large one exactly the announced
//! number of bytes is sent, cut or filled up with zeros, and a notice says so.

use std::fs::File;
use std::io::Seek;

use bytes::Bytes;
use nix::errno::Errno;
use nix::sys::stat::{FileStat, fstat};
use nix::unistd::{Whence, lseek};
use satellite_proto::wire::backup::v1::Member;

use super::ReadError;
use super::batch::{Batcher, read_piece};

/// Files up to this size are read whole before they are announced.
const SMALL: u64 = 1024 * 1024;
const TRIES: usize = 3;

/// How the content of a file was met.
enum Small {
    /// Read while nothing changed.
    Steady(Bytes, FileStat),
    /// It changed during each try; this is the last one.
    Moving(Bytes),
    /// It has grown and is not small any more.
    Grown,
}

/// Sends the file of `member`, which is open as `file` and was looked at when it was opened. Reading errors become notices.
/// Answers how it was while it was read, if it did not change meanwhile.
pub(super) fn send(
    batcher: &mut Batcher,
    mut member: Member,
    file: &mut File,
    opened: FileStat,
) -> Result<Option<FileStat>, ReadError> {
    let nothing = |()| None;
    if size(&opened) <= SMALL {
        match read_small(file, opened) {
            Ok(Small::Steady(content, stat)) => {
                return batcher.small_file(member, content).map(|()| Some(stat));
            }
            Ok(Small::Moving(content)) => {
                batcher.notice(format!(
                    "{}: it changed during each of {TRIES} readings; the last one is kept",
                    label(&member)
                ))?;
                return batcher.small_file(member, content).map(nothing);
            }
            Ok(Small::Grown) => {}
            Err(err) => {
                let label = label(&member);
                let text = format!("{label}: it cannot be read and is left out: {err}");
                return batcher.left_out(text).map(nothing);
            }
        }
    }
    let Ok(before) = fstat(&*file) else {
        let text = format!("{}: it vanished and is left out", label(&member));
        return batcher.left_out(text).map(nothing);
    };
    if let Err(err) = file.rewind() {
        let text = format!("{}: it cannot be read and is left out: {err}", label(&member));
        return batcher.left_out(text).map(nothing);
    }
    member.size_bytes = size(&before);
    send_large(batcher, member, file, &before)
}

fn read_small(file: &mut File, opened: FileStat) -> std::io::Result<Small> {
    let (mut before, mut last) = (opened, Bytes::new());
    for attempt in 0..TRIES {
        if attempt > 0 {
            file.rewind()?;
            before = fstat(&*file)?;
        }
        if size(&before) > SMALL {
            return Ok(Small::Grown);
        }
        // One more than there should be: finds what was added meanwhile.
        let expected = usize::try_from(size(&before)).unwrap_or_default();
        last = read_piece(file, expected, expected + 1)?;
        let after = fstat(&*file)?;
        if last.len() == expected && same(&before, &after) {
            return Ok(Small::Steady(last, after));
        }
    }
    Ok(Small::Moving(last))
}

fn send_large(
    batcher: &mut Batcher,
    member: Member,
    file: &mut File,
    before: &FileStat,
) -> Result<Option<FileStat>, ReadError> {
    let label = label(&member);
    let announced = member.size_bytes;
    batcher.begin(member)?;
    let mut left = announced;
    let (mut problem, mut lost) = (None, false);
    let mut holes = is_sparse(before).then(Holes::default);
    while left > 0 {
        let room = batcher.room()?.min(usize::try_from(left).unwrap_or(usize::MAX));
        let hole = match &mut holes {
            Some(holes) if problem.is_none() => holes.at(file, announced - left),
            _ => 0,
        };
        let piece = match problem {
            None if hole > 0 => Bytes::from(vec![0; room.min(usize::try_from(hole).unwrap_or(room))]),
            None => read_piece(file, room, room).unwrap_or_else(|err| {
                problem = Some(format!("reading failed ({err}); the rest is zeros"));
                lost = true;
                Bytes::new()
            }),
            Some(_) => Bytes::from(vec![0; room]),
        };
        if piece.is_empty() && problem.is_none() {
            problem = Some("it became shorter while it was read; the rest is zeros".to_owned());
        }
        left -= piece.len() as u64;
        batcher.content(piece)?;
    }
    batcher.end()?;
    let steady = fstat(&*file).is_ok_and(|after| same(before, &after));
    let told = match problem {
        Some(problem) if lost => batcher.left_out(format!("{label}: {problem}")),
        Some(problem) => batcher.notice(format!("{label}: {problem}")),
        None if steady => return Ok(Some(*before)),
        None => batcher.notice(format!(
            "{label}: it changed while it was read; {announced} bytes are kept"
        )),
    };
    told.map(|()| None)
}

/// Whether a file takes less room than it is long. Where files are kept compressed it may have no hole all the same.
pub(super) fn is_sparse(stat: &FileStat) -> bool {
    let taken = u64::try_from(stat.st_blocks)
        .unwrap_or_default()
        .saturating_mul(512);
    taken < size(stat)
}

/// Finds the holes of a file that is read from its beginning to its end, so that they are not read.
#[derive(Default)]
struct Holes {
    /// End of the data that was found last.
    data_until: u64,
    /// End of the hole that was found last.
    hole_until: u64,
}

impl Holes {
    /// Bytes of the hole in which `offset` lies; 0: there is data, and the file is read on from there. A file system that does
    /// not tell has none.
    fn at(&mut self, file: &mut File, offset: u64) -> u64 {
        if offset < self.hole_until {
            return self.hole_until - offset;
        }
        if offset < self.data_until {
            return 0;
        }
        let Ok(from) = i64::try_from(offset) else { return 0 };
        let found = |place: i64| u64::try_from(place).unwrap_or(u64::MAX);
        match lseek(&*file, from, Whence::SeekData) {
            Ok(data) if data > from => self.hole_until = found(data),
            Ok(_) => {
                let end = lseek(&*file, from, Whence::SeekHole);
                self.data_until = end.map_or(u64::MAX, found);
            }
            // Nothing but a hole up to the end.
            Err(Errno::ENXIO) => self.hole_until = u64::MAX,
            Err(_) => self.data_until = u64::MAX,
        }
        match self.hole_until.saturating_sub(offset) {
            // Asking has moved the file.
            0 if lseek(&*file, from, Whence::SeekSet).is_err() => 0,
            hole => hole,
        }
    }
}

fn same(before: &FileStat, after: &FileStat) -> bool {
    let times = |stat: &FileStat| {
        (
            stat.st_mtime,
            stat.st_mtime_nsec,
            stat.st_ctime,
            stat.st_ctime_nsec,
        )
    };
    before.st_size == after.st_size && times(before) == times(after)
}

pub(super) fn size(stat: &FileStat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}

pub(super) fn label(member: &Member) -> String {
    format!("{}/{}", member.data_set, String::from_utf8_lossy(&member.path))
}
