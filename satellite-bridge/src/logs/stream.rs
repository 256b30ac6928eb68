//! A zstd stream, cut where everything so far can be decompressed: each piece is frames of its own.
//!
//! **Invariant:** the concatenation of all pieces is what any zstd decoder reads as one stream (RFC 8878 §3).

use std::io;

use bytes::Bytes;
use satellite_proto::wire::MAX_PIECE;
use zstd::bulk;

/// How many bytes of lines go into a piece: what does not shrink still fits into a message.
pub(super) const CHUNK: usize = MAX_PIECE - 8 * 1024;

/// Fast, for the network is faster than a stronger level.
const LEVEL: i32 = 1;

/// First bytes of a frame, little-endian.
const MAGIC: u32 = 0xFD2F_B528;

/// A frame that is one segment and says its length in four bytes.
const DESCRIPTOR: u8 = 0b1010_0000;

/// Largest block in a frame.
const BLOCK: usize = 128 * 1024;

/// Compresses pieces of one stream.
pub(super) struct Compressor {
    compressor: bulk::Compressor<'static>,
    scratch: Vec<u8>,
}

impl Compressor {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            compressor: bulk::Compressor::new(LEVEL)?,
            scratch: Vec::with_capacity(MAX_PIECE),
        })
    }

    /// What `lines`, at most [`CHUNK`] bytes, add to the stream. What does not shrink is stored.
    pub(super) fn piece(&mut self, lines: &[u8]) -> io::Result<Bytes> {
        self.scratch.clear();
        self.compressor.compress_to_buffer(lines, &mut self.scratch)?;
        if self.scratch.len() < lines.len() {
            Ok(Bytes::copy_from_slice(&self.scratch))
        } else {
            stored(lines)
        }
    }
}

/// `lines`, at most [`CHUNK`] bytes, in a frame without compression: for those who take pieces faster than they can
/// be compressed.
pub(super) fn stored(lines: &[u8]) -> io::Result<Bytes> {
    let length = u32::try_from(lines.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(lines.len().saturating_add(32));
    frame.extend_from_slice(&MAGIC.to_le_bytes());
    frame.push(DESCRIPTOR);
    frame.extend_from_slice(&length.to_le_bytes());
    let mut rest = lines;
    loop {
        let (block, behind) = rest.split_at(rest.len().min(BLOCK));
        let size = u32::try_from(block.len()).map_err(io::Error::other)?;
        // Bit 0: the last block; bits 1 and 2: raw; the length above them.
        let header = (size << 3) | u32::from(behind.is_empty());
        frame.extend_from_slice(header.to_le_bytes().get(..3).unwrap_or_default());
        frame.extend_from_slice(block);
        if behind.is_empty() {
            return Ok(frame.into());
        }
        rest = behind;
    }
}

/// The end of the stream: a frame that holds nothing, so that even an empty log is a stream.
pub(super) fn end() -> io::Result<Bytes> {
    stored(&[])
}

#[cfg(test)]
mod tests {
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
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, CHUNK] {
            let (random, even) = (noise(length), vec![b'a'; length]);
            for (piece, content) in [
                (stored(&random).unwrap(), &random),
                (compressor.piece(&even).unwrap(), &even),
                (stored(&even).unwrap(), &even),
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
