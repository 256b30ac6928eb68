//! Collects items into batches of at most 256 KiB and hands them on.
//!
//! **Invariant:** a batch is never larger than the contract allows; what is not sent yet is one batch at most.

use std::hash::Hasher as _;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use aws_lc_rs::digest::{Context, SHA256, digest};
use bytes::Bytes;
use fastcdc::v2020::FastCDC;
use nix::sys::stat::FileStat;
use prost::Message as _;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use satellite_proto::wire::MAX_PIECE;
use satellite_proto::wire::backup::v1::{Batch, CopiedContent, Item, Member, MemberEnd, item};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use twox_hash::XxHash3_64;

use super::seen::{Chunks, SeenFile};
use super::{Memory, Output, Read, ReadError, Totals, count};

/// What an item's and a content's tag and length take at most.
const FRAMING: usize = 16;
/// Extended attributes of a member that an archive takes, and bytes in all of them: with more it refuses everything.
const MOST_XATTRS: usize = 128;
const MOST_XATTR_BYTES: usize = 192 * 1024;
/// Content in smaller pieces than this is not worth an item at the end of a batch.
const LEAST_PIECE: usize = 4 * 1024;

/// A file from this size on is cut into chunks, so that of one that changes little is sent. A smaller one is sent again:
/// what is cut is hashed twice, and few files between are changed in parts.
const CUT: u64 = 8 * 1024 * 1024;
/// Sizes of chunks.
const SMALLEST: usize = 64 * 1024;
const USUAL: usize = 256 * 1024;
const LARGEST: usize = 1024 * 1024;

/// Things left out that an archive names, and bytes of what it says of one.
const MOST_NAMED: usize = 64;
const NAMED_BYTES: usize = 300;

#[derive(Debug)]
pub(super) enum ContentError {
    Stopped,
    Read(io::Error),
}

/// Collects items.
pub(super) struct Batcher {
    sender: mpsc::Sender<Output>,
    cancel: CancellationToken,
    progress: Arc<AtomicU64>,
    items: Vec<Item>,
    size: usize,
    hash: Option<(Context, XxHash3_64)>,
    totals: Totals,
    memory: Memory,
    /// Size and digest of the file that was ended last.
    ended: SeenFile,
    /// Whether the file is cut into chunks; the chunks that it has, and what has none yet.
    is_cut: bool,
    chunks: Chunks,
    uncut: Window,
    /// Bytes of the file so far.
    length: u64,
    data_set: String,
}

impl Batcher {
    pub(super) fn new(
        sender: mpsc::Sender<Output>,
        cancel: CancellationToken,
        progress: Arc<AtomicU64>,
        memory: Memory,
    ) -> Self {
        Self {
            sender,
            cancel,
            progress,
            items: Vec::new(),
            size: 0,
            hash: None,
            totals: Totals::default(),
            memory,
            ended: SeenFile::default(),
            is_cut: false,
            chunks: Chunks::default(),
            uncut: Window::default(),
            length: 0,
            data_set: String::new(),
        }
    }

    /// Sends what waits, and that it was all.
    pub(super) fn end_all(mut self) -> Result<Read, ReadError> {
        self.flush()?;
        self.send(Output::Whole(self.totals.clone()))?;
        Ok(Read {
            totals: self.totals,
            seen: self.memory.recorder,
        })
    }

    /// The file as the archive before has it, if it has not changed since.
    pub(super) fn unchanged(&self, member: &Member, stat: &FileStat) -> Option<(SeenFile, Chunks)> {
        self.memory.base.as_ref()?.unchanged(member, stat)
    }

    /// A file that the receiver has as a whole.
    pub(super) fn copied_file(
        &mut self,
        mut member: Member,
        (file, chunks): (SeenFile, Chunks),
    ) -> Result<(), ReadError> {
        member.size_bytes = file.size;
        self.begin(member)?;
        self.copied(file.path.clone(), 0, file.size)?;
        self.push(item::Kind::End(MemberEnd {
            sha256: file.sha256.clone(),
            // It was not read, and the receiver's index has the digest.
            xxh3: None,
        }))?;
        if let Some(recorder) = &mut self.memory.recorder {
            recorder.push(file, &chunks);
        }
        Ok(())
    }

    fn copied(&mut self, path: Bytes, offset: u64, length: u64) -> Result<(), ReadError> {
        self.totals.bytes += length;
        count(&self.progress, usize::try_from(length).unwrap_or_default());
        self.push(item::Kind::Copied(CopiedContent { path, offset, length }))
    }

    /// Remembers the file that was ended last; `stat` is how it was while it was read.
    pub(super) fn remember(&mut self, path: Bytes, stat: Option<&FileStat>) {
        let Some(recorder) = &mut self.memory.recorder else {
            return;
        };
        let file = SeenFile {
            data_set: self.data_set.clone(),
            path,
            ..std::mem::take(&mut self.ended)
        };
        recorder.add(file, &self.chunks, stat);
    }

    /// Members sent so far.
    pub(super) fn members(&self) -> u64 {
        self.totals.members
    }

    /// Something that belongs into the archive and does not get there.
    pub(super) fn left_out(&mut self, text: String) -> Result<(), ReadError> {
        self.totals.left_out += 1;
        if self.totals.left_out_first.len() < MOST_NAMED {
            self.totals.left_out_first.push(shortened(&text));
        }
        self.notice(text)
    }

    pub(super) fn notice(&mut self, text: String) -> Result<(), ReadError> {
        self.totals.notices += 1;
        self.send(Output::Notice(text))
    }

    /// Begins a member. Extended attributes that do not fit into a batch are left out with a notice.
    pub(super) fn begin(&mut self, mut member: Member) -> Result<(), ReadError> {
        let values: usize = member.xattrs.iter().map(|x| x.name.len() + x.value.len()).sum();
        let too_many = member.xattrs.len() > MOST_XATTRS || values > MOST_XATTR_BYTES;
        if too_many || member.encoded_len() + FRAMING > MAX_PIECE {
            let path = String::from_utf8_lossy(&member.path).into_owned();
            self.left_out(format!(
                "{}/{path}: its extended attributes are too large and left out",
                member.data_set
            ))?;
            member.xattrs.clear();
        }
        self.hash = None;
        self.is_cut = member.size_unknown || member.size_bytes >= CUT;
        self.chunks.clear();
        self.uncut.clear();
        self.length = 0;
        self.data_set.clone_from(&member.data_set);
        self.totals.members += 1;
        self.push(item::Kind::Begin(member))
    }

    /// A member whose whole content is at hand.
    pub(super) fn small_file(&mut self, mut member: Member, content: Bytes) -> Result<(), ReadError> {
        member.size_bytes = content.len() as u64;
        let sha256 = Bytes::copy_from_slice(digest(&SHA256, &content).as_ref());
        let xxh3 = Some(XxHash3_64::oneshot(&content));
        self.ended = SeenFile {
            size: member.size_bytes,
            sha256: sha256.clone(),
            ..SeenFile::default()
        };
        self.begin(member)?;
        self.pieces(content)?;
        self.push(item::Kind::End(MemberEnd { sha256, xxh3 }))
    }

    /// Content of a large file. If it is cut into chunks, those are sent that the receiver has not.
    pub(super) fn content(&mut self, data: Bytes) -> Result<(), ReadError> {
        let (hash, checksum) = self.hash.get_or_insert_with(hashes);
        hash.update(&data);
        checksum.write(&data);
        self.length += data.len() as u64;
        if !self.is_cut {
            return self.pieces(data);
        }
        self.uncut.fill(&data);
        while self.uncut.bytes().len() >= LARGEST {
            self.cut()?;
        }
        Ok(())
    }

    /// Cuts the next chunk off.
    fn cut(&mut self) -> Result<(), ReadError> {
        let uncut = self.uncut.bytes();
        let length = FastCDC::new(uncut, SMALLEST, USUAL, LARGEST)
            .next()
            .map_or(uncut.len(), |chunk| chunk.length);
        let chunk = Bytes::copy_from_slice(uncut.get(..length).unwrap_or(uncut));
        let sha256 = digest(&SHA256, &chunk);
        self.uncut.take(length);
        self.chunks
            .push(sha256.as_ref(), u32::try_from(length).unwrap_or_default());
        let base = self.memory.base.as_ref();
        match base.and_then(|base| base.chunk(&self.data_set, sha256.as_ref())) {
            Some((path, offset)) => self.copied(path, offset, length as u64),
            None => self.pieces(chunk),
        }
    }

    fn pieces(&mut self, mut data: Bytes) -> Result<(), ReadError> {
        self.totals.sent += data.len() as u64;
        self.totals.bytes += data.len() as u64;
        count(&self.progress, data.len());
        while !data.is_empty() {
            let room = self.room()?;
            let piece = data.split_to(room.min(data.len()));
            self.push(item::Kind::Content(piece))?;
        }
        Ok(())
    }

    /// Sends what `source` has until its end.
    pub(super) fn content_to_end(&mut self, source: &impl AsFd) -> Result<(), ContentError> {
        loop {
            let room = self.room().map_err(|_| ContentError::Stopped)?;
            let piece = read_piece(source, room, room).map_err(ContentError::Read)?;
            if piece.is_empty() {
                return Ok(());
            }
            self.content(piece).map_err(|_| ContentError::Stopped)?;
        }
    }

    /// Bytes of content that the batch can still take; begins a new one if that is little.
    pub(super) fn room(&mut self) -> Result<usize, ReadError> {
        if self.size + FRAMING + LEAST_PIECE > MAX_PIECE {
            self.flush()?;
        }
        Ok(MAX_PIECE - self.size - FRAMING)
    }

    pub(super) fn end(&mut self) -> Result<(), ReadError> {
        while !self.uncut.bytes().is_empty() {
            self.cut()?;
        }
        let (hash, checksum) = self.hash.take().unwrap_or_else(hashes);
        let sha256 = Bytes::copy_from_slice(hash.finish().as_ref());
        self.ended = SeenFile {
            size: self.length,
            sha256: sha256.clone(),
            ..SeenFile::default()
        };
        let xxh3 = Some(checksum.finish());
        self.push(item::Kind::End(MemberEnd { sha256, xxh3 }))
    }

    fn flush(&mut self) -> Result<(), ReadError> {
        if self.items.is_empty() {
            return Ok(());
        }
        self.size = 0;
        let items = std::mem::take(&mut self.items);
        self.send(Output::Batch(Batch { items }))
    }

    fn push(&mut self, kind: item::Kind) -> Result<(), ReadError> {
        let item = Item { kind: Some(kind) };
        let length = item.encoded_len();
        let framed = length + 1 + prost::length_delimiter_len(length);
        if self.size + framed > MAX_PIECE {
            self.flush()?;
        }
        self.size += framed;
        self.items.push(item);
        Ok(())
    }

    fn send(&self, output: Output) -> Result<(), ReadError> {
        if self.cancel.is_cancelled() {
            return Err(ReadError::Cancelled);
        }
        self.sender
            .blocking_send(output)
            .map_err(|_| ReadError::Cancelled)
    }
}

/// Of nothing yet.
fn hashes() -> (Context, XxHash3_64) {
    (Context::new(&SHA256), XxHash3_64::new())
}

/// Reads at most `most` bytes, until `enough` are there or the source ends.
pub(super) fn read_piece(source: &impl AsFd, enough: usize, most: usize) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(most);
    // Not by `Read`: that takes a buffer only when it was filled with something before.
    while piece.len() < enough.max(1) {
        match rustix::io::read(source, spare_capacity(&mut piece)) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(err) => return Err(err.into()),
        }
    }
    Ok(piece.into())
}

/// Bytes that are filled in at the end and taken from the beginning; what is left is moved seldom.
#[derive(Default)]
struct Window {
    buffer: Vec<u8>,
    start: usize,
}

impl Window {
    fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    fn fill(&mut self, data: &[u8]) {
        if self.start >= 2 * LARGEST {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(data);
    }

    fn take(&mut self, length: usize) {
        self.start += length;
    }

    fn clear(&mut self) {
        self.buffer.clear();
        self.start = 0;
    }
}

/// As an archive takes it: on one line, not too long.
fn shortened(text: &str) -> String {
    let mut short = String::new();
    for shown in text.chars().map(|c| if c.is_control() { '?' } else { c }) {
        if short.len() + shown.len_utf8() > NAMED_BYTES {
            break;
        }
        short.push(shown);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_something_left_out_has_one_line_and_an_end() {
        assert_eq!(
            shortened("core: /a\nb: it is left out"),
            "core: /a?b: it is left out"
        );
        let long = shortened(&"\u{20ac}".repeat(1000));
        assert!(long.len() <= NAMED_BYTES && long.len() > NAMED_BYTES - 3);
    }
}
