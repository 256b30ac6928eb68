//! What the last archive holds of a central's files, so that what has not changed since is neither read nor sent again.
//!
//! It is kept in a file and written as the files are read: per file a length of four bytes, a [`SeenFile`], and of a large one
//! its chunks, 36 bytes each; at the end a [`Head`], its length, and a mark. In memory is only where to look.
//!
//! **Invariants:** a file counts as unchanged only if size, inode and both times are what they were when it was read, and
//! it was at rest then; what is wrong all the same is found by its digest when the archive is read back.

use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use nix::sys::stat::FileStat;
use prost::Message;
use satellite_proto::wire::backup::v1::Member;

use crate::files;

/// Files that are remembered; of more the rest is sent each time.
const MOST: u64 = 200_000;
/// Chunks that are remembered.
const MOST_CHUNKS: u64 = 200_000;
/// A file that was changed so few seconds before it was read may be changed again within the same tick of its clock.
const RESTLESS: i64 = 2;
/// Bytes of the file that are read at once.
const WINDOW: usize = 64 * 1024;
/// A description of a file is never longer.
const MOST_BYTES: u32 = 64 * 1024;
/// The end of what is kept: other than in what an earlier version wrote, which is of no use.
const MARK: [u8; 4] = *b"sfn1";
/// The length of the head, and the mark.
const TAIL: u64 = 8;

/// A file as it is in an archive.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SeenFile {
    /// Data set.
    #[prost(string, tag = "1")]
    pub data_set: String,
    /// Path, as the archive has it.
    #[prost(bytes = "bytes", tag = "2")]
    pub path: Bytes,
    /// Bytes of it.
    #[prost(uint64, tag = "3")]
    pub size: u64,
    /// Inode; 0: it is the output of a command.
    #[prost(uint64, tag = "4")]
    pub inode: u64,
    /// Last changes of content and of anything, in seconds and nanoseconds.
    #[prost(int64, repeated, tag = "5")]
    pub times: Vec<i64>,
    /// Digest of the content.
    #[prost(bytes = "bytes", tag = "6")]
    pub sha256: Bytes,
    /// Its chunks, if it is large: so many follow.
    #[prost(uint32, tag = "7")]
    pub chunks: u32,
}

/// What the description of files is of.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Head {
    /// The archive.
    #[prost(string, tag = "1")]
    pub archive: String,
    /// The satellite that has it.
    #[prost(string, tag = "2")]
    pub satellite: String,
}

/// The chunks of a large file in order, cut where its content says: digest and length of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunks(Vec<u8>);

impl Chunks {
    const DIGEST: usize = 32;
    const EACH: usize = Self::DIGEST + 4;

    pub(super) fn push(&mut self, sha256: &[u8], length: u32) {
        self.0.extend_from_slice(sha256);
        self.0.extend_from_slice(&length.to_be_bytes());
    }

    fn count(&self) -> u32 {
        u32::try_from(self.0.len() / Self::EACH).unwrap_or(u32::MAX)
    }

    /// Digest and length of each.
    fn iter(&self) -> impl Iterator<Item = (&[u8], u32)> {
        let (each, _) = self.0.as_chunks::<{ Self::EACH }>();
        each.iter().map(|each| {
            let (sha256, length) = each.split_at(Self::DIGEST);
            let length = <[u8; 4]>::try_from(length).unwrap_or_default();
            (sha256, u32::from_be_bytes(length))
        })
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Where in what is kept a file is described.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: u64,
    length: u32,
}

/// What was read last of the file. Files are asked for in about the order in which they lie there.
#[derive(Debug, Default)]
struct Window {
    at: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn get(&self, at: u64, length: usize) -> Option<&[u8]> {
        let start = usize::try_from(at.checked_sub(self.at)?).ok()?;
        self.bytes.get(start..start.checked_add(length)?)
    }
}

/// What the last archive holds, to be asked.
#[derive(Debug)]
pub struct Base {
    file: File,
    head: Head,
    /// Where the head begins.
    end: u64,
    /// Sorted by the hash of the name.
    by_name: Vec<(u64, Place)>,
    window: Mutex<Window>,
    /// Files that have chunks.
    large: Vec<Place>,
    /// By the beginning of a chunk's digest: number of the file in `large`, first byte.
    chunks: HashMap<u128, (u32, u64)>,
}

fn name(data_set: &str, path: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (data_set, path).hash(&mut hasher);
    hasher.finish()
}

fn beginning(sha256: &[u8]) -> Option<u128> {
    sha256.first_chunk().map(|first| u128::from_be_bytes(*first))
}

fn times(stat: &FileStat) -> [i64; 4] {
    [
        stat.st_mtime,
        stat.st_mtime_nsec,
        stat.st_ctime,
        stat.st_ctime_nsec,
    ]
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not what was written")
}

fn decoded<M: Message + Default>(bytes: Vec<u8>) -> io::Result<M> {
    M::decode(Bytes::from(bytes)).map_err(|_| invalid())
}

fn read_number(source: &mut impl Read) -> io::Result<u32> {
    let mut number = [0; 4];
    source.read_exact(&mut number)?;
    Ok(u32::from_be_bytes(number))
}

fn read_bytes(source: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| invalid())?];
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}

impl Base {
    /// Opens what is kept and reads what it is of; nothing is found in it before [`Self::indexed`].
    ///
    /// # Errors
    /// It is not there, or not what was written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let all = file.metadata()?.len();
        file.seek(SeekFrom::Start(all.checked_sub(TAIL).ok_or_else(invalid)?))?;
        let length = read_number(&mut file)?;
        let mark = read_bytes(&mut file, MARK.len() as u64)?;
        let end = all.checked_sub(TAIL + u64::from(length));
        let end = end
            .filter(|_| mark == MARK && length <= MOST_BYTES)
            .ok_or_else(invalid)?;
        file.seek(SeekFrom::Start(end))?;
        let head = decoded(read_bytes(&mut file, length.into())?)?;
        Ok(Self {
            file,
            head,
            end,
            by_name: Vec::new(),
            window: Mutex::default(),
            large: Vec::new(),
            chunks: HashMap::new(),
        })
    }

    /// What it is of.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Notes where each file and chunk is.
    ///
    /// # Errors
    /// It is not what was written.
    pub fn indexed(mut self) -> io::Result<Self> {
        self.file.rewind()?;
        let mut source = BufReader::new(&self.file);
        let mut at = 0;
        while at < self.end {
            let length = read_number(&mut source)?;
            if length > MOST_BYTES {
                return Err(invalid());
            }
            let place = Place { at: at + 4, length };
            let seen: SeenFile = decoded(read_bytes(&mut source, length.into())?)?;
            let of_chunks = u64::from(seen.chunks) * Chunks::EACH as u64;
            at = place.at + u64::from(length) + of_chunks;
            if at > self.end || u64::from(seen.chunks) > MOST_CHUNKS {
                return Err(invalid());
            }
            self.by_name.push((name(&seen.data_set, &seen.path), place));
            if seen.chunks > 0 {
                let number = u32::try_from(self.large.len()).map_err(|_| invalid())?;
                self.large.push(place);
                let chunks = Chunks(read_bytes(&mut source, of_chunks)?);
                let mut first_byte = 0;
                for (sha256, length) in chunks.iter() {
                    if let Some(beginning) = beginning(sha256) {
                        self.chunks.entry(beginning).or_insert((number, first_byte));
                    }
                    first_byte += u64::from(length);
                }
            }
        }
        self.by_name.sort_unstable_by_key(|(name, _)| *name);
        self.by_name.shrink_to_fit();
        Ok(self)
    }

    fn bytes_at(&self, at: u64, length: usize) -> Option<Vec<u8>> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.get(at, length).is_none() {
            let left = usize::try_from(self.end.checked_sub(at)?).unwrap_or(usize::MAX);
            let mut bytes = std::mem::take(&mut window.bytes);
            bytes.resize(length.max(WINDOW).min(left), 0);
            self.file.read_exact_at(&mut bytes, at).ok()?;
            *window = Window { at, bytes };
        }
        window.get(at, length).map(<[u8]>::to_vec)
    }

    fn file_at(&self, place: Place) -> Option<SeenFile> {
        decoded(self.bytes_at(place.at, place.length as usize)?).ok()
    }

    /// The file and its chunks, if it is there and has not changed since.
    #[must_use]
    pub fn unchanged(&self, member: &Member, stat: &FileStat) -> Option<(SeenFile, Chunks)> {
        let hash = name(&member.data_set, &member.path);
        let found = self.by_name.binary_search_by_key(&hash, |(name, _)| *name).ok()?;
        let (_, place) = *self.by_name.get(found)?;
        let file = self.file_at(place)?;
        let is_it = file.data_set == member.data_set && file.path == member.path;
        let is_same = file.size == super::file::size(stat)
            && file.inode == stat.st_ino
            && file.inode != 0
            && file.times == times(stat);
        if !(is_it && is_same && file.size > 0) {
            return None;
        }
        let at = place.at + u64::from(place.length);
        let chunks = self.bytes_at(at, file.chunks as usize * Chunks::EACH)?;
        Some((file, Chunks(chunks)))
    }

    /// Where a chunk of a data set lies: path of the file, first byte.
    #[must_use]
    pub fn chunk(&self, data_set: &str, sha256: &[u8]) -> Option<(Bytes, u64)> {
        let (number, at) = *self.chunks.get(&beginning(sha256)?)?;
        let file = self.file_at(*self.large.get(number as usize)?)?;
        (file.data_set == data_set).then_some((file.path, at))
    }
}

/// Remembers what is read, beside where it is to be kept.
#[derive(Debug)]
pub struct Recorder {
    /// None: it could not be written, and the next backup sends everything.
    file: Option<BufWriter<File>>,
    path: PathBuf,
    files: u64,
    chunks: u64,
}

impl Recorder {
    /// Begins a list that will be kept at `path`.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn create(path: PathBuf) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            files::make_directory(directory, 0o700)?;
        }
        let file = files::create_draft(&path, 0o600)?;
        Ok(Self {
            file: Some(BufWriter::new(file)),
            path,
            files: 0,
            chunks: 0,
        })
    }

    /// A file that was read while it did not change: `stat` is of then. None: the output of a command.
    pub(super) fn add(&mut self, mut file: SeenFile, chunks: &Chunks, stat: Option<&FileStat>) {
        let now = jiff::Timestamp::now().as_second();
        if stat.is_some_and(|stat| now - stat.st_ctime.max(stat.st_mtime) < RESTLESS) {
            // Its chunks are what they are.
            file.inode = 0;
        } else if let Some(stat) = stat {
            file.inode = stat.st_ino;
            file.times = times(stat).to_vec();
        }
        self.push(file, chunks);
    }

    pub(super) fn push(&mut self, mut file: SeenFile, chunks: &Chunks) {
        file.chunks = chunks.count();
        let chunks_then = self.chunks + u64::from(file.chunks);
        let is_of_use = file.inode != 0 || file.chunks > 0;
        let Some(writer) = self.file.as_mut() else { return };
        if !is_of_use || self.files >= MOST || chunks_then > MOST_CHUNKS {
            return;
        }
        let written = write_record(writer, &file).and_then(|()| writer.write_all(&chunks.0));
        match written {
            Ok(()) => (self.files, self.chunks) = (self.files + 1, chunks_then),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "What the archive holds cannot be noted; the next backup will send everything");
                self.file = None;
            }
        }
    }

    /// Keeps the list: it is of that archive.
    ///
    /// # Errors
    /// What the operating system says; what was kept before stays then.
    pub fn keep(mut self, head: &Head) -> io::Result<()> {
        let Some(mut writer) = self.file.take().filter(|_| self.files > 0) else {
            return Ok(());
        };
        let head = head.encode_to_vec();
        writer.write_all(&head)?;
        writer.write_all(&u32::try_from(head.len()).map_err(|_| invalid())?.to_be_bytes())?;
        writer.write_all(&MARK)?;
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        files::put_in_place(&file, &self.path)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Gone already if it was kept; what cannot be removed is replaced by the next one.
        let _gone = fs::remove_file(files::draft(&self.path));
    }
}

fn write_record(writer: &mut impl Write, file: &SeenFile) -> io::Result<()> {
    let bytes = file.encode_to_vec();
    let length = u32::try_from(bytes.len()).ok();
    let length = length
        .filter(|length| *length <= MOST_BYTES)
        .ok_or_else(invalid)?;
    writer.write_all(&length.to_be_bytes())?;
    writer.write_all(&bytes)
}
