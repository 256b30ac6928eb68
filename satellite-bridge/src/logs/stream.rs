//! A zstd stream, cut where everything so far can be decompressed: each piece is frames of its own.
//!
//! **Invariant:** the concatenation of all pieces is what any zstd decoder reads as one stream (RFC 8878 §3).

use std::fs::File;
use std::io;

use bytes::Bytes;
use satellite_host::files;
use zstd::bulk;

/// How many bytes of lines go into a piece: the largest block of a frame, so that what does not shrink is one block.
pub(super) const CHUNK: usize = 128 * 1024;

/// Fast, for the network is faster than a stronger level.
const LEVEL: i32 = 1;

/// First bytes of a frame, little-endian.
const MAGIC: u32 = 0xFD2F_B528;

/// A frame that is one segment and says its length in four bytes.
const DESCRIPTOR: u8 = 0b1010_0000;

/// What comes before the lines of a frame with one block: magic, descriptor, length, and the block's header.
const HEADER: usize = 12;

/// Lines with room for a header before them, so that they become a frame where they were read.
#[derive(Debug)]
pub(super) struct Lines {
    frame: Vec<u8>,
}

impl Lines {
    /// The first [`CHUNK`] bytes at `offset` of `file`, or fewer at its end.
    pub(super) fn read(file: &File, offset: u64) -> io::Result<Self> {
        let mut frame = Vec::with_capacity(HEADER + CHUNK);
        frame.resize(HEADER, 0);
        files::fill_at(file, &mut frame, offset)?;
        frame.truncate(HEADER + CHUNK);
        Ok(Self { frame })
    }

    pub(super) fn of(lines: &[u8]) -> Self {
        let mut frame = Vec::with_capacity(HEADER.saturating_add(lines.len()));
        frame.resize(HEADER, 0);
        frame.extend_from_slice(lines);
        Self { frame }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.frame.get(HEADER..).unwrap_or_default()
    }

    /// Forgets what follows the first `length` bytes.
    pub(super) fn keep(&mut self, length: usize) {
        self.frame.truncate(HEADER.saturating_add(length));
    }

    /// A frame without compression: for those who take pieces faster than they can be compressed.
    pub(super) fn stored(mut self) -> io::Result<Bytes> {
        let length = u32::try_from(self.bytes().len()).map_err(io::Error::other)?;
        // Bit 0: the last block; bits 1 and 2: raw; the length above them.
        let block = (length << 3 | 1).to_le_bytes();
        let mut header = MAGIC.to_le_bytes().to_vec();
        header.push(DESCRIPTOR);
        header.extend_from_slice(&length.to_le_bytes());
        header.extend(block.iter().take(3));
        self.frame.splice(..HEADER, header);
        Ok(self.frame.into())
    }
}

/// Compresses pieces of one stream.
pub(super) struct Compressor {
    compressor: bulk::Compressor<'static>,
    scratch: Vec<u8>,
}

impl Compressor {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            compressor: bulk::Compressor::new(LEVEL)?,
            scratch: Vec::with_capacity(zstd::zstd_safe::compress_bound(CHUNK)),
        })
    }

    /// What `lines`, at most [`CHUNK`] bytes, add to the stream. What does not shrink is stored.
    pub(super) fn piece(&mut self, lines: &[u8]) -> io::Result<Bytes> {
        self.scratch.clear();
        self.compressor.compress_to_buffer(lines, &mut self.scratch)?;
        if self.scratch.len() < lines.len() {
            Ok(Bytes::copy_from_slice(&self.scratch))
        } else {
            Lines::of(lines).stored()
        }
    }
}

/// The end of the stream: a frame that holds nothing, so that even an empty log is a stream.
pub(super) fn end() -> io::Result<Bytes> {
    Lines::of(&[]).stored()
}

#[cfg(test)]
mod tests {
    use satellite_proto::wire::MAX_PIECE;

    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn what_cannot_shrink_fits_into_a_message_and_comes_back() {
        let noise = noise(CHUNK);
        let piece = Compressor::new().unwrap().piece(&noise).unwrap();
        assert!(piece.len() <= MAX_PIECE);
        assert_eq!(zstd::decode_all(&*piece).unwrap(), noise);
    }

    #[test]
    fn stored_and_compressed_pieces_make_one_stream() {
        let mut compressor = Compressor::new().unwrap();
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for length in [0, 1, 2, CHUNK - 1, CHUNK] {
            let (random, even) = (noise(length), vec![b'a'; length]);
            for (piece, content) in [
                (Lines::of(&random).stored().unwrap(), &random),
                (compressor.piece(&even).unwrap(), &even),
                (Lines::of(&even).stored().unwrap(), &even),
            ] {
                assert!(piece.len() <= MAX_PIECE);
                stream.extend_from_slice(&piece);
                expected.extend_from_slice(content);
            }
        }
        stream.extend_from_slice(&end().unwrap());
        assert!(zstd::decode_all(stream.as_slice()).unwrap() == expected);
    }
}
