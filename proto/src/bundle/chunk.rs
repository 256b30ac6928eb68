//! Digests and chunks.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::{BundleError, ChunkEntry};

/// The fewest bytes of a chunk, but for the last of a file.
pub const CHUNK_LEAST: usize = 16 * 1024;
/// The bytes that chunks have on average.
pub const CHUNK_AVERAGE: usize = 64 * 1024;
/// The most bytes of a chunk, uncompressed.
pub const CHUNK_MOST: usize = 256 * 1024;

/// SHA-256 (FIPS 180-4), written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// What is not a digest.
#[derive(Debug, thiserror::Error)]
#[error("a digest is 32 bytes, or 64 lower-case hexadecimal digits")]
pub struct NotADigest;

impl TryFrom<&[u8]> for Digest {
    type Error = NotADigest;

    fn try_from(bytes: &[u8]) -> Result<Self, NotADigest> {
        Ok(Self(bytes.try_into().map_err(|_| NotADigest)?))
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| NotADigest)?;
        Self::try_from(bytes.as_slice())
    }
}

impl TryFrom<String> for Digest {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, NotADigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Makes a [`Digest`] of what comes in pieces.
#[derive(Clone)]
pub struct Hasher(digest::Context);

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken.
    #[must_use]
    pub fn finish(self) -> Digest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.finish().as_ref());
        Digest(bytes)
    }
}

/// Compresses a chunk into one zstd frame.
///
/// # Errors
/// [`BundleError::Io`].
pub fn pack_chunk(chunk: &[u8]) -> Result<Bytes, BundleError> {
    zstd::bulk::compress(chunk, 9)
        .map(Bytes::from)
        .map_err(|source| BundleError::Io {
            doing: "compress a chunk",
            source,
        })
}

/// Decompresses and checks chunks, one after the other, in the same memory.
pub struct Unpacker {
    decompressor: zstd::bulk::Decompressor<'static>,
    chunk: Vec<u8>,
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unpacker")
    }
}

impl Unpacker {
    /// Has no memory of chunks yet.
    ///
    /// # Errors
    /// [`BundleError::Io`] if there is too little memory.
    pub fn new() -> Result<Self, BundleError> {
        let decompressor = zstd::bulk::Decompressor::new().map_err(|source| BundleError::Io {
            doing: "decompress a chunk",
            source,
        })?;
        Ok(Self {
            decompressor,
            chunk: Vec::new(),
        })
    }

    /// The content of the chunk in `frame`. Never takes more memory than the manifest says the chunk has.
    ///
    /// # Errors
    /// [`BundleError::Chunk`]: damaged, larger or smaller than listed, or another chunk.
    pub fn unpack(&mut self, entry: &ChunkEntry, frame: &[u8]) -> Result<&[u8], BundleError> {
        let damaged = |fault| BundleError::Chunk {
            digest: entry.digest,
            fault,
        };
        let size = usize::try_from(entry.size).map_err(|_| damaged("its size is not possible"))?;
        if size == 0 || size > CHUNK_MOST {
            return Err(damaged("its size is not possible"));
        }
        if frame.len() > frame_most(size) {
            return Err(damaged("it is larger packed than it can be"));
        }
        self.chunk.clear();
        self.chunk.reserve_exact(size);
        let unpacked = self.decompressor.decompress_to_buffer(frame, &mut self.chunk);
        unpacked.map_err(|_| damaged("it cannot be decompressed to the size that is listed"))?;
        if self.chunk.len() < size {
            return Err(damaged("it is shorter than listed"));
        }
        // A chunk before it may have been larger, and have left more room than this one may take.
        if self.chunk.len() > size {
            return Err(damaged("it cannot be decompressed to the size that is listed"));
        }
        if Digest::of(&self.chunk) != entry.digest {
            return Err(damaged("its digest is another one"));
        }
        Ok(&self.chunk)
    }
}

/// Decompresses one chunk and checks it: see [`Unpacker::unpack`].
///
/// # Errors
/// [`BundleError::Chunk`], [`BundleError::Io`].
pub fn unpack_chunk(entry: &ChunkEntry, frame: &[u8]) -> Result<Bytes, BundleError> {
    let mut unpacker = Unpacker::new()?;
    unpacker.unpack(entry, frame)?;
    Ok(Bytes::from(unpacker.chunk))
}

/// The most bytes a frame of a chunk of `size` bytes can have.
pub(super) fn frame_most(size: usize) -> usize {
    zstd::zstd_safe::compress_bound(size)
}
