//! Reading a bundle file, front to back, once.
//!
//! **Invariant:** every byte of the file is accounted for: a header must be exactly the one that this crate writes for that
//! name and size, padding is zero, and nothing follows the end.

use std::io::{ErrorKind, Read};

use bytes::Bytes;

use super::chunk::{Digest, Hasher, frame_most};
use super::manifest::{ChunkEntry, Manifest};
use super::{BundleError, MANIFEST_MOST, SIGNATURE_MOST, SIGNATURES_MOST};

pub(super) const MANIFEST_NAME: &str = "manifest.json";
pub(super) const SIGNATURES_DIR: &str = "signatures/";
pub(super) const CHUNKS_DIR: &str = "chunks/";

const BLOCK: usize = 512;

/// The tar header (POSIX ustar) of a member: the same for the same name and size, always.
pub(super) fn header(name: &str, size: u64) -> Result<tar::Header, BundleError> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).map_err(|source| BundleError::Io {
        doing: "name a member",
        source,
    })?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Ok(header)
}

pub(super) fn padding(size: u64) -> usize {
    let over = usize::try_from(size % 512).unwrap_or(0);
    (BLOCK - over) % BLOCK
}

/// A bundle whose manifest and signatures have been read, and nothing else.
pub struct BundleReader<R> {
    source: R,
    manifest: Bytes,
    signatures: Vec<Bytes>,
    /// The header of the first chunk, or of the end.
    ahead: [u8; BLOCK],
}

impl<R> std::fmt::Debug for BundleReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BundleReader")
            .field("signatures", &self.signatures.len())
            .finish_non_exhaustive()
    }
}

impl<R: Read> BundleReader<R> {
    /// Reads manifest and signatures. Neither is believed: see [`super::verify`].
    ///
    /// # Errors
    /// [`BundleError::Structure`], [`BundleError::Io`].
    pub fn open(mut source: R) -> Result<Self, BundleError> {
        let block = read_block(&mut source)?;
        let manifest = member(&mut source, &block, MANIFEST_NAME, MANIFEST_MOST)?;
        let mut signatures = Vec::new();
        loop {
            let ahead = read_block(&mut source)?;
            if !ahead.starts_with(SIGNATURES_DIR.as_bytes()) {
                return Ok(Self {
                    source,
                    manifest,
                    signatures,
                    ahead,
                });
            }
            if signatures.len() == SIGNATURES_MOST {
                return Err(BundleError::Structure(format!(
                    "it has more than {SIGNATURES_MOST} signatures"
                )));
            }
            let name = format!("{SIGNATURES_DIR}{:02}.minisig", signatures.len());
            signatures.push(member(&mut source, &ahead, &name, SIGNATURE_MOST)?);
        }
    }

    /// The manifest's bytes.
    #[must_use]
    pub fn manifest_bytes(&self) -> &Bytes {
        &self.manifest
    }

    /// The signatures.
    #[must_use]
    pub fn signatures(&self) -> &[Bytes] {
        &self.signatures
    }

    /// Goes on to the chunks, as `manifest` lists them.
    #[must_use]
    pub fn chunks(self, manifest: &Manifest) -> Chunks<'_, R> {
        Chunks {
            source: self.source,
            ahead: Some(self.ahead),
            left: manifest.chunks.iter(),
            packed: Packed::Digested(Hasher::default()),
            expected: manifest.packed,
        }
    }

    /// The same for a receiver that checks each chunk: the digest over all of them is not computed.
    pub fn chunks_unchecked(self, manifest: &Manifest) -> Chunks<'_, R> {
        Chunks {
            packed: Packed::Taken,
            ..self.chunks(manifest)
        }
    }
}

/// The chunks of a bundle, packed, in order. After the last one it checks the digest over all and the end of the file, so only one who
/// has come to the end without an error knows that the bundle is whole.
pub struct Chunks<'m, R> {
    source: R,
    ahead: Option<[u8; BLOCK]>,
    left: std::slice::Iter<'m, ChunkEntry>,
    packed: Packed,
    expected: Digest,
}

/// What is known of the bytes of all chunks so far.
enum Packed {
    Digested(Hasher),
    /// Somebody else checks them.
    Taken,
    /// There are no more, for good or bad.
    Ended,
}

impl<R> std::fmt::Debug for Chunks<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunks")
            .field("left", &self.left.len())
            .finish_non_exhaustive()
    }
}

impl<R: Read> Chunks<'_, R> {
    fn step(&mut self) -> Result<Option<(ChunkEntry, Bytes)>, BundleError> {
        if matches!(self.packed, Packed::Ended) {
            return Ok(None);
        }
        let block = match self.ahead.take() {
            Some(block) => block,
            None => read_block(&mut self.source)?,
        };
        if let Some(entry) = self.left.next() {
            let most = usize::try_from(entry.size).map(frame_most).unwrap_or(0);
            let frame = member(
                &mut self.source,
                &block,
                &format!("{CHUNKS_DIR}{}", entry.digest),
                most,
            )?;
            if let Packed::Digested(packed) = &mut self.packed {
                packed.update(&frame);
            }
            return Ok(Some((*entry, frame)));
        }
        let packed = std::mem::replace(&mut self.packed, Packed::Ended);
        if let Packed::Digested(packed) = packed
            && packed.finish() != self.expected
        {
            return Err(BundleError::Structure(
                "its chunks are not the ones that were signed".to_owned(),
            ));
        }
        let last = read_block(&mut self.source)?;
        if block != [0; BLOCK] || last != [0; BLOCK] {
            return Err(BundleError::Structure(
                "there is more in it than the manifest lists".to_owned(),
            ));
        }
        match self.source.read(&mut [0; 1]) {
            Ok(0) => Ok(None),
            Ok(_) => Err(BundleError::Structure("something follows its end".to_owned())),
            Err(source) => Err(BundleError::Io {
                doing: "read the bundle",
                source,
            }),
        }
    }
}

impl<R: Read> Iterator for Chunks<'_, R> {
    type Item = Result<(ChunkEntry, Bytes), BundleError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.step().transpose();
        if matches!(item, Some(Err(_))) {
            self.packed = Packed::Ended;
        }
        item
    }
}

fn read_block(source: &mut impl Read) -> Result<[u8; BLOCK], BundleError> {
    let mut block = [0; BLOCK];
    fill(source, &mut block)?;
    Ok(block)
}

fn fill(source: &mut impl Read, buffer: &mut [u8]) -> Result<(), BundleError> {
    source.read_exact(buffer).map_err(|source| match source.kind() {
        ErrorKind::UnexpectedEof => BundleError::Structure("it ends in the middle".to_owned()),
        _ => BundleError::Io {
            doing: "read the bundle",
            source,
        },
    })
}

/// The body of the member that `block` heads, if that is `name` with at most `most` bytes.
fn member(
    source: &mut impl Read,
    block: &[u8; BLOCK],
    name: &str,
    most: usize,
) -> Result<Bytes, BundleError> {
    let strange = || BundleError::Structure(format!("where `{name}` should be is something else"));
    let size = tar::Header::from_byte_slice(block)
        .size()
        .map_err(|_| strange())?;
    let length = usize::try_from(size).ok().filter(|length| *length <= most);
    let length =
        length.ok_or_else(|| BundleError::Structure(format!("`{name}` is larger than it may be")))?;
    if header(name, size)?.as_bytes() != block {
        return Err(strange());
    }
    let mut body = vec![0; length];
    fill(source, &mut body)?;
    let mut rest = [0; BLOCK];
    let rest = &mut rest[..padding(size)];
    fill(source, rest)?;
    if rest.iter().any(|byte| *byte != 0) {
        return Err(strange());
    }
    Ok(Bytes::from(body))
}
