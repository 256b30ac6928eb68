//! A log file of a workload, read from any place, compressed, and followed through its rotation.
//!
//! **Invariant:** runs on threads that may wait; holds two buffers of one piece each, however large the file is.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use satellite_host::files::{Beneath, FileError};

use super::stream::{self, CHUNK, Compressor, Lines};
use super::{Format, LogError, Piece, QUEUE, Query, Sink};

/// How often a followed file is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Pieces that are compressed in any case: short logs, and what goes into the buffers of a slow network.
const WARM_UP: u64 = 8;

/// Bytes read at a time when lines are counted from the end.
const BLOCK: usize = 64 * 1024;

/// Opens `file` below `logs/` in a state directory. No link on the way is followed, and a file that has a second name
/// elsewhere is refused: a workload must not be able to show what it cannot read itself.
pub(super) fn open(state: &Path, file: &str) -> Result<File, FileError> {
    let name = Path::new("logs").join(file);
    let opened = Beneath::open(state)?.open_file(&name)?;
    let refused = |source| FileError {
        action: "open",
        path: state.join(&name),
        source,
    };
    let links = opened.metadata().map_err(refused)?.nlink();
    if links > 1 {
        let source = io::Error::new(io::ErrorKind::PermissionDenied, "it has more than one name");
        return Err(refused(source));
    }
    Ok(opened)
}

/// What tells a file from the one that takes its name at a rotation, also if it gets the same inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: u64,
    born: u128,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        let born = metadata
            .created()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self {
            inode: metadata.ino(),
            born: born.map_or(0, |since| since.as_nanos()),
        }
    }
}

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    identity: Identity,
    offset: u64,
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text
            .strip_prefix("file-")?
            .split('-')
            .map(|part| u128::from_str_radix(part, 16));
        let mut next = || parts.next()?.ok();
        let (inode, born, offset) = (next()?, next()?, next()?);
        let nothing_else = parts.next().is_none();
        let identity = Identity {
            inode: u64::try_from(inode).ok()?,
            born,
        };
        nothing_else.then_some(Self {
            identity,
            offset: u64::try_from(offset).ok()?,
        })
    }

    fn text(self) -> String {
        format!(
            "file-{:x}-{:x}-{:x}",
            self.identity.inode, self.identity.born, self.offset
        )
    }
}

/// An open file and the place up to which it was read.
#[derive(Debug)]
pub(super) struct Tail {
    state: PathBuf,
    name: String,
    file: File,
    place: Cursor,
    follow: bool,
    lines: u64,
    sent: u64,
}

impl Tail {
    /// Opens the file at the place that `query` asks for.
    pub(super) fn open(state: &Path, name: &str, query: &Query) -> Result<Self, LogError> {
        if query.since.is_some() || query.until.is_some() || query.max_priority.is_some() {
            return Err(LogError::Invalid(
                "a file has no times and priorities that are known; ask for lines instead",
            ));
        }
        let file = open(state, name).map_err(LogError::Open)?;
        let metadata = file.metadata().map_err(LogError::Read)?;
        let identity = Identity::of(&metadata);
        let offset = match (&query.cursor, query.lines) {
            (Some(cursor), _) => {
                let cursor =
                    Cursor::parse(cursor).ok_or(LogError::Invalid("this is not a cursor of a file"))?;
                if cursor.identity != identity || cursor.offset > metadata.len() {
                    return Err(LogError::UnknownCursor);
                }
                cursor.offset
            }
            (None, Some(lines)) => last_lines(&file, metadata.len(), lines).map_err(LogError::Read)?,
            (None, None) => 0,
        };
        let (state, name, follow) = (state.to_owned(), name.to_owned(), query.follow);
        Ok(Self {
            state,
            name,
            file,
            place: Cursor { identity, offset },
            follow,
            lines: 0,
            sent: 0,
        })
    }

    /// Sends what there is, and what comes if it is to be followed, until the end or until nobody listens any more.
    pub(super) fn send(mut self, format: Format, sink: &Sink) {
        if let Err(err) = self.pump(format, sink) {
            let _ = sink.blocking_send(Err(err));
        }
    }

    fn pump(&mut self, format: Format, sink: &Sink) -> Result<(), LogError> {
        let mut compressor = Compressor::new().map_err(LogError::Read)?;
        loop {
            let mut lines = Lines::read(&self.file, self.place.offset).map_err(LogError::Read)?;
            lines.keep(self.whole(lines.bytes()));
            if !lines.bytes().is_empty() {
                if !self.send_lines(lines, format, &mut compressor, sink)? {
                    return Ok(());
                }
            } else if !self.follow {
                let data = stream::end().map_err(LogError::Read)?;
                let _ = sink.blocking_send(Ok(self.piece(data)));
                return Ok(());
            } else if !self.wait(sink)? {
                return Ok(());
            }
        }
    }

    /// How much of what was read is sent: whole lines, and more only if there is no end of line to wait for.
    fn whole(&self, raw: &[u8]) -> usize {
        match raw.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => last.saturating_add(1),
            None if raw.len() == CHUNK || !self.follow => raw.len(),
            None => 0,
        }
    }

    fn send_lines(
        &mut self,
        lines: Lines,
        format: Format,
        compressor: &mut Compressor,
        sink: &Sink,
    ) -> Result<bool, LogError> {
        let (length, number) = (lines.bytes().len() as u64, count(lines.bytes()));
        let parts = match format {
            Format::Text => vec![lines],
            Format::Json => {
                let json = as_json(lines.bytes()).map_err(LogError::Read)?;
                json.chunks(CHUNK).map(Lines::of).collect()
            }
        };
        // Until the last part is sent, the place to go on is before all of them.
        let mut parts = parts.into_iter().peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                self.place.offset = self.place.offset.saturating_add(length);
                self.lines = self.lines.saturating_add(number);
            }
            if !self.send_part(part, compressor, sink)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Says whether somebody still listens. A caller that has taken all so far is faster than the compressor: on a
    /// fast network, lines go out sooner as they are.
    fn send_part(
        &mut self,
        lines: Lines,
        compressor: &mut Compressor,
        sink: &Sink,
    ) -> Result<bool, LogError> {
        let is_waiting = sink.capacity() == QUEUE;
        let data = if is_waiting && self.sent >= WARM_UP {
            lines.stored()
        } else {
            compressor.piece(lines.bytes())
        };
        self.sent = self.sent.saturating_add(1);
        let piece = self.piece(data.map_err(LogError::Read)?);
        Ok(sink.blocking_send(Ok(piece)).is_ok())
    }

    fn piece(&self, data: bytes::Bytes) -> Piece {
        Piece {
            data,
            cursor: self.place.text(),
            lines: self.lines,
        }
    }

    /// Waits until there may be more to read. Says whether somebody still listens.
    fn wait(&mut self, sink: &Sink) -> Result<bool, LogError> {
        std::thread::sleep(LOOK);
        if sink.is_closed() {
            return Ok(false);
        }
        let length = self.file.metadata().map_err(LogError::Read)?.len();
        if length < self.place.offset {
            self.place.offset = 0;
        }
        if length > self.place.offset {
            return Ok(true);
        }
        // Nothing more in this one: is there another under its name? It may be missing for a moment.
        let Ok(file) = open(&self.state, &self.name) else {
            return Ok(true);
        };
        let identity = Identity::of(&file.metadata().map_err(LogError::Read)?);
        if identity != self.place.identity {
            self.file = file;
            self.place = Cursor { identity, offset: 0 };
        }
        Ok(true)
    }
}

/// Reads at `offset` until `buffer` is full or the file ends.
fn fill(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0_usize;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled = filled.saturating_add(read),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(filled)
}

/// Where the last `lines` lines begin in a file of `length` bytes.
fn last_lines(file: &File, length: u64, lines: u64) -> io::Result<u64> {
    let mut block = vec![0_u8; BLOCK];
    let mut end = length;
    let mut left = lines;
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let size = usize::try_from(end.saturating_sub(start)).unwrap_or(BLOCK);
        let part = block.get_mut(..size).unwrap_or_default();
        let filled = fill(file, part, start)?;
        for index in (0..filled).rev() {
            let position = start.saturating_add(index as u64);
            // The end of the last line begins no line.
            let begins = part.get(index) == Some(&b'\n') && position.saturating_add(1) < length;
            if begins {
                left = left.saturating_sub(1);
                if left == 0 {
                    return Ok(position.saturating_add(1));
                }
            }
        }
        end = start;
    }
    Ok(0)
}

/// Ends of lines, summed in bytes that the compiler can add many at a time: this runs over every byte of large files.
fn count(bytes: &[u8]) -> u64 {
    let mut total = 0_u64;
    for part in bytes.chunks(255) {
        let ends: u8 = part
            .iter()
            .map(|byte| u8::from(*byte == b'\n'))
            .fold(0, u8::wrapping_add);
        total = total.saturating_add(ends.into());
    }
    total
}

fn as_json(raw: &[u8]) -> io::Result<Vec<u8>> {
    let mut lines = Vec::with_capacity(raw.len().saturating_mul(2));
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
        serde_json::to_writer(&mut lines, &serde_json::json!({ "message": text }))?;
        lines.push(b'\n');
    }
    Ok(lines)
}

#[cfg(test)]
mod tests;
