//! One zstd stream, cut where everything so far can be decompressed.

use std::io;

use bytes::Bytes;
use satellite_proto::wire::MAX_PIECE;
use zstd::stream::raw::{Encoder, InBuffer, Operation, OutBuffer};

/// How many bytes of lines go into a piece: what does not shrink still fits into a message.
pub(super) const CHUNK: usize = MAX_PIECE - 8 * 1024;

/// Fast, for the network is faster than a stronger level.
const LEVEL: i32 = 1;

/// Compresses pieces of one stream.
pub(super) struct Compressor {
    encoder: Encoder<'static>,
    scratch: Vec<u8>,
}

impl Compressor {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            encoder: Encoder::new(LEVEL)?,
            scratch: vec![0; MAX_PIECE],
        })
    }

    /// What `lines`, at most [`CHUNK`] bytes, add to the stream, complete in itself.
    pub(super) fn piece(&mut self, lines: &[u8]) -> io::Result<Bytes> {
        let mut output = OutBuffer::around(self.scratch.as_mut_slice());
        let mut input = InBuffer::around(lines);
        while input.pos() < lines.len() {
            let before = (input.pos(), output.pos());
            self.encoder.run(&mut input, &mut output)?;
            if before == (input.pos(), output.pos()) {
                return Err(too_long());
            }
        }
        if self.encoder.flush(&mut output)? > 0 {
            return Err(too_long());
        }
        Ok(Bytes::copy_from_slice(output.as_slice()))
    }

    /// The end of the stream.
    pub(super) fn end(&mut self) -> io::Result<Bytes> {
        let mut output = OutBuffer::around(self.scratch.as_mut_slice());
        if self.encoder.finish(&mut output, true)? > 0 {
            return Err(too_long());
        }
        Ok(Bytes::copy_from_slice(output.as_slice()))
    }
}

fn too_long() -> io::Error {
    io::Error::other("a piece of the log does not fit into a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_shrink_fits_into_a_message() {
        let mut noise = vec![0_u8; CHUNK];
        let mut state = 1_u64;
        for byte in &mut noise {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = state.to_be_bytes()[0];
        }
        let mut compressor = Compressor::new().unwrap();
        for _ in 0..4 {
            assert!(compressor.piece(&noise).unwrap().len() <= MAX_PIECE);
        }
        compressor.end().unwrap();
    }
}
