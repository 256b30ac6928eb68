//! What the last archive holds of a central's files, so that what has not changed since is neither read nor sent again.
//!
//! **Invariants:** a file counts as unchanged only if size, inode and both times are what they were when it was read, and
//! it was at rest then; what is wrong all the same is found by its digest when the archive is read back.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use nix::sys::stat::FileStat;
use prost::Message;
use satellite_proto::wire::backup::v1::Member;

/// Files that are remembered; of more the rest is sent each time.
const MOST: usize = 200_000;
/// Chunks that are remembered.
const MOST_CHUNKS: usize = 200_000;
/// A file that was changed so few seconds before it was read may be changed again within the same tick of its clock.
const RESTLESS: i64 = 2;

/// A file as it is in an archive.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SeenFile {
    /// Data set.
    #[prost(string, tag = "1")]
    pub data_set: String,
    /// Path, as the archive has it.
    #[prost(bytes = "bytes", tag = "2")]
    pub path: bytes::Bytes,
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
    pub sha256: bytes::Bytes,
    /// Its chunks in order, if it is large.
    #[prost(message, repeated, tag = "7")]
    pub chunks: Vec<Chunk>,
}

/// A part of a large file, cut where its content says.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Chunk {
    /// Its digest.
    #[prost(bytes = "bytes", tag = "1")]
    pub sha256: bytes::Bytes,
    /// Bytes of it.
    #[prost(uint32, tag = "2")]
    pub length: u32,
}

/// What an archive holds, as it is kept.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Seen {
    /// The archive.
    #[prost(string, tag = "1")]
    pub archive: String,
    /// The satellite that has it.
    #[prost(string, tag = "2")]
    pub satellite: String,
    /// Its files.
    #[prost(message, repeated, tag = "3")]
    pub files: Vec<SeenFile>,
}

/// Where a chunk lies: number of the file, first byte.
type Place = (usize, u64);

/// The same, to be asked.
#[derive(Debug, Default)]
pub struct Base {
    files: Vec<SeenFile>,
    by_name: HashMap<u64, usize>,
    chunks: HashMap<bytes::Bytes, Place>,
}

fn name(data_set: &str, path: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (data_set, path).hash(&mut hasher);
    hasher.finish()
}

fn times(stat: &FileStat) -> [i64; 4] {
    [
        stat.st_mtime,
        stat.st_mtime_nsec,
        stat.st_ctime,
        stat.st_ctime_nsec,
    ]
}

impl Base {
    /// Of what is kept.
    #[must_use]
    pub fn new(seen: Seen) -> Self {
        let files = seen.files;
        let mut by_name = HashMap::with_capacity(files.len());
        let mut chunks = HashMap::new();
        for (number, file) in files.iter().enumerate() {
            by_name.insert(name(&file.data_set, &file.path), number);
            let mut at = 0;
            for chunk in &file.chunks {
                if chunks.len() < MOST_CHUNKS {
                    chunks.entry(chunk.sha256.clone()).or_insert((number, at));
                }
                at += u64::from(chunk.length);
            }
        }
        Self {
            files,
            by_name,
            chunks,
        }
    }

    /// The file, if it is there and has not changed since.
    #[must_use]
    pub fn unchanged(&self, member: &Member, stat: &FileStat) -> Option<&SeenFile> {
        let file = self
            .files
            .get(*self.by_name.get(&name(&member.data_set, &member.path))?)?;
        let is_it = file.data_set == member.data_set && file.path == member.path;
        let is_same = file.size == super::file::size(stat)
            && file.inode == stat.st_ino
            && file.inode != 0
            && file.times == times(stat);
        (is_it && is_same && file.size > 0).then_some(file)
    }

    /// Where a chunk of a data set lies: path of the file, first byte.
    #[must_use]
    pub fn chunk(&self, data_set: &str, sha256: &[u8]) -> Option<(bytes::Bytes, u64)> {
        let (number, at) = self.chunks.get(sha256)?;
        let file = self.files.get(*number)?;
        (file.data_set == data_set).then(|| (file.path.clone(), *at))
    }
}

/// Remembers what was read.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    files: Vec<SeenFile>,
    chunks: usize,
}

impl Recorder {
    /// A file that was read while it did not change: `stat` is of then. None: the output of a command.
    pub(super) fn add(&mut self, mut file: SeenFile, stat: Option<&FileStat>) {
        let now = jiff::Timestamp::now().as_second();
        if stat.is_some_and(|stat| now - stat.st_ctime.max(stat.st_mtime) < RESTLESS) {
            // Its chunks are what they are.
            file.inode = 0;
        } else if let Some(stat) = stat {
            file.inode = stat.st_ino;
            file.times = times(stat).to_vec();
        }
        self.push(file);
    }

    pub(super) fn push(&mut self, file: SeenFile) {
        self.chunks += file.chunks.len();
        let is_of_use = file.inode != 0 || !file.chunks.is_empty();
        if is_of_use && self.files.len() < MOST && self.chunks <= MOST_CHUNKS {
            self.files.push(file);
        }
    }

    pub(super) fn files(self) -> Vec<SeenFile> {
        self.files
    }
}
