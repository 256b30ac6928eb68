//! Reads archives, which may have been made or changed by anyone.
//!
//! **Invariants:** no bytes make it panic or use more than a few frames of memory; what does not fit is an error.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use super::index::{Entry, Head};
use super::manifest::Manifest;
use super::member::Member;
use super::names::unescape;
use super::pax::{BadHeader, Header};
use super::reuse::Last;
use super::seek::{BadEnd, FOOTER, SEAL, Table, read_seal};
use super::stream::{TarStream, Way};
use super::{BLOCK, CHECKSUMS, DATA, MANIFEST, MAX_LINE, MAX_MANIFEST, MAX_MEMBERS, MAX_PAX, padding};

/// Why an archive could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The system.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The archive is not what it should be.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// Its end is not that of an archive.
    #[error("the archive is damaged")]
    End(#[source] BadEnd),
}

impl ReadError {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

pub(crate) fn damaged(what: impl Into<String>) -> ReadError {
    ReadError::Damaged(what.into())
}

fn bad_header(at: u64) -> impl FnOnce(BadHeader) -> ReadError {
    move |bad| damaged(format!("the member at byte {at} of the content: {bad}"))
}

/// Lower hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// An archive whose end was read and found consistent.
#[derive(Debug, Clone)]
pub struct Archive {
    pub(crate) file: Arc<File>,
    pub(crate) table: Arc<Table>,
    pub(crate) seal: [u8; SEAL],
    pub(crate) tail: Vec<u8>,
    checksums_at: u64,
    /// Bytes of the file.
    pub size: u64,
}

impl Archive {
    /// Opens a file and reads its end.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(ReadError::io("open the archive"))?;
        Self::new(file)
    }

    /// As [`Self::open`].
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn new(file: File) -> Result<Self, ReadError> {
        let read = || ReadError::io("read the end of the archive");
        let metadata = file.metadata().map_err(read())?;
        let size = metadata.len();
        if !metadata.is_file() || size < (FOOTER + SEAL) as u64 {
            return Err(ReadError::End(BadEnd::Footer));
        }
        let mut footer = [0; FOOTER];
        file.read_exact_at(&mut footer, size - FOOTER as u64)
            .map_err(read())?;
        let length = Table::length(&footer).map_err(ReadError::End)?;
        let at = size
            .checked_sub((length + SEAL) as u64)
            .ok_or(ReadError::End(BadEnd::Table))?;
        let mut tail = vec![0; length];
        file.read_exact_at(&mut tail, at + SEAL as u64).map_err(read())?;
        let mut seal = [0; SEAL];
        file.read_exact_at(&mut seal, at).map_err(read())?;
        let table = Table::decode(&tail, size).map_err(ReadError::End)?;
        let (checksums_at, _) = read_seal(&seal).map_err(ReadError::End)?;
        Ok(Self {
            file: Arc::new(file),
            table: Arc::new(table),
            seal,
            tail,
            checksums_at,
            size,
        })
    }

    pub(crate) fn direct(&self) -> Result<TarStream, ReadError> {
        TarStream::direct(Arc::clone(&self.file), Arc::clone(&self.table))
    }

    /// As [`Self::direct`], past the cache; frames are kept in `last` as they are read.
    pub(crate) fn past_cache(&self, last: Last) -> Result<TarStream, ReadError> {
        TarStream::past_cache(Arc::clone(&self.file), Arc::clone(&self.table), last)
    }

    pub(crate) fn ahead(&self, way: Way, threads: usize) -> Result<TarStream, ReadError> {
        TarStream::ahead(Arc::clone(&self.file), Arc::clone(&self.table), way, threads)
    }

    /// Reads the manifest.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn manifest(&self) -> Result<Manifest, ReadError> {
        read_manifest(&mut self.direct()?).map(|(manifest, _)| manifest)
    }

    /// Reads the index from its beginning.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn index(&self) -> Result<Index, ReadError> {
        let mut stream = self.direct()?;
        stream.seek(self.checksums_at)?;
        let size = own_header(&mut stream, CHECKSUMS)?;
        let mut index = Index {
            stream,
            left: size,
            head: None,
            listed: 0,
            ended: false,
        };
        let line = index.line()?.ok_or_else(|| damaged("the index is empty"))?;
        let text = [line.as_slice(), b"]}"].concat();
        let head: Head = serde_json::from_slice(&text).map_err(|_| damaged("the index has no head"))?;
        let is_sound = head.format == 1 && head.entries.is_empty() && head.left_out.is_sound();
        if !is_sound || head.members > MAX_MEMBERS {
            return Err(damaged("the head of the index has bad values"));
        }
        index.head = Some(head);
        Ok(index)
    }

    pub(crate) fn checksums_at(&self) -> u64 {
        self.checksums_at
    }
}

/// The manifest and the digest of its bytes.
pub(crate) fn read_manifest(stream: &mut TarStream) -> Result<(Manifest, String), ReadError> {
    let size = own_header(stream, MANIFEST)?;
    if size > MAX_MANIFEST {
        return Err(damaged("the manifest is too big"));
    }
    let mut text = vec![0; size as usize];
    stream.read_exact(&mut text)?;
    skip_padding(stream, size)?;
    let manifest =
        Manifest::parse(&text).map_err(|e| damaged(format!("the manifest cannot be read: {e}")))?;
    Ok((manifest, hex(digest(&SHA256, &text).as_ref())))
}

/// Reads the header of one of the archive's own files and answers its size.
pub(crate) fn own_header(stream: &mut TarStream, name: &str) -> Result<u64, ReadError> {
    let at = stream.offset();
    let (block, records) = headers(stream)?;
    let header = Header::parse(&block).map_err(bad_header(at))?;
    header.own_size(name, &records).map_err(bad_header(at))
}

/// Reads the header of a member.
pub(crate) fn member(stream: &mut TarStream) -> Result<Member, ReadError> {
    let at = stream.offset();
    let (block, records) = headers(stream)?;
    let header = Header::parse(&block).map_err(bad_header(at))?;
    header.member(&records).map_err(bad_header(at))
}

fn headers(stream: &mut TarStream) -> Result<([u8; BLOCK], Vec<u8>), ReadError> {
    let at = stream.offset();
    let mut block = [0; BLOCK];
    stream.read_exact(&mut block)?;
    let header = Header::parse(&block).map_err(bad_header(at))?;
    if !header.is_pax() {
        return Ok((block, Vec::new()));
    }
    let size = header.size().map_err(bad_header(at))?;
    if size > MAX_PAX {
        return Err(damaged(format!(
            "the member at byte {at} of the content: its records are too big"
        )));
    }
    let mut records = vec![0; size as usize];
    stream.read_exact(&mut records)?;
    skip_padding(stream, size)?;
    stream.read_exact(&mut block)?;
    Ok((block, records))
}

/// Reads what fills the last block: zeros.
pub(crate) fn skip_padding(stream: &mut TarStream, size: u64) -> Result<(), ReadError> {
    let mut block = [0; BLOCK];
    let fill = &mut block[..padding(size)];
    stream.read_exact(fill)?;
    if fill.iter().all(|b| *b == 0) {
        Ok(())
    } else {
        Err(damaged("the filling of a block is not zero"))
    }
}

/// The lines of the index.
pub struct Index {
    stream: TarStream,
    left: u64,
    head: Option<Head>,
    listed: u64,
    ended: bool,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index")
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

impl Index {
    /// What the archive holds.
    ///
    /// # Errors
    /// [`ReadError`] if there is no head.
    pub fn head(&self) -> Result<&Head, ReadError> {
        self.head.as_ref().ok_or_else(|| damaged("the index has no head"))
    }

    /// The next line; none after the last.
    ///
    /// # Errors
    /// [`ReadError`] also if the index ends too early or goes on after its end.
    pub fn entry(&mut self) -> Result<Option<Entry>, ReadError> {
        if self.ended {
            return Ok(None);
        }
        let line = self.line()?.ok_or_else(|| damaged("the index ends too early"))?;
        if line == b"]}" {
            self.ended = true;
            let expected = self.head()?.members + 1;
            if self.left != 0 || self.listed != expected {
                return Err(damaged("the index has another number of lines than it says"));
            }
            return Ok(None);
        }
        self.listed += 1;
        let text = line.strip_suffix(b",").unwrap_or(&line);
        let entry = serde_json::from_slice(text);
        entry
            .map(Some)
            .map_err(|e| damaged(format!("line {} of the index: {e}", self.listed + 1)))
    }

    /// The next line of a member of a data set, with its name `DATA SET/PATH`; none after the last.
    ///
    /// # Errors
    /// As [`Index::entry`], and if the index names something else than data.
    pub(super) fn data_entry(&mut self) -> Result<Option<(Entry, Vec<u8>)>, ReadError> {
        while let Some(entry) = self.entry()? {
            if entry.path == MANIFEST {
                continue;
            }
            let name = unescape(&entry.path).map_err(|_| damaged("a name in the index is badly escaped"))?;
            let short = name
                .strip_prefix(DATA)
                .ok_or_else(|| damaged("the index names a foreign member"))?;
            return Ok(Some((entry, short.to_vec())));
        }
        Ok(None)
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        let mut line = Vec::new();
        while self.left > 0 {
            let here = self.stream.fill()?;
            let most = here.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            if most == 0 {
                return Err(damaged("the content ends too early"));
            }
            let end = here[..most].iter().position(|b| *b == b'\n');
            let count = end.unwrap_or(most);
            if line.len() + count > MAX_LINE {
                return Err(damaged("a line of the index is too long"));
            }
            line.extend_from_slice(&here[..count]);
            let used = count + usize::from(end.is_some());
            self.stream.consume(used);
            self.left -= used as u64;
            if end.is_some() {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }
}
