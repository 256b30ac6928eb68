//! By what a process knows the frames again that it wrote a moment ago: a keyed tag (GMAC) of each, quicker by far than to
//! hash the file a second time.
//!
//! **Invariant:** the key is random, never leaves the process and never tags two frames with one number, so nobody can
//! make another frame that has the tag.

use std::io;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::Context;

/// Of one frame.
pub(crate) type Tag = [u8; 16];

/// What tags are made with. A cheap handle.
#[derive(Clone)]
pub(crate) struct Key(Arc<LessSafeKey>);

/// Tags frames as they are written.
pub(crate) struct Prover {
    key: Key,
    tags: Vec<Tag>,
}

/// The tags of all frames of a file.
pub(crate) struct Proof {
    key: Key,
    tags: Vec<Tag>,
    /// Numbers of the frames that were read back already, ascending.
    known: Vec<usize>,
    hash: Context,
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proof")
            .field("frames", &self.tags.len())
            .field("known", &self.known.len())
            .finish_non_exhaustive()
    }
}

impl Key {
    pub(crate) fn new() -> io::Result<Self> {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).map_err(io::Error::other)?;
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(io::Error::other)?;
        Ok(Self(Arc::new(LessSafeKey::new(key))))
    }

    /// The tag of the frame with this number.
    pub(crate) fn tag(&self, number: usize, frame: &[u8]) -> io::Result<Tag> {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(frame), &mut [])
            .map_err(io::Error::other)?;
        let mut out = Tag::default();
        out.copy_from_slice(tag.as_ref());
        Ok(out)
    }

    /// Whether these are the bytes of the frame with this number, which has this tag.
    pub(crate) fn knows(&self, number: usize, frame: &[u8], expected: &Tag) -> bool {
        self.tag(number, frame)
            .is_ok_and(|found| verify_slices_are_equal(expected, &found).is_ok())
    }
}

impl Prover {
    pub(crate) fn new(key: Key) -> Self {
        Self {
            key,
            tags: Vec::new(),
        }
    }

    /// Tags the next frame; answers its number and its tag.
    pub(crate) fn add(&mut self, frame: &[u8]) -> io::Result<(usize, Tag)> {
        let number = self.tags.len();
        let tag = self.key.tag(number, frame)?;
        self.tags.push(tag);
        Ok((number, tag))
    }

    /// `hash` is the digest of all frames' bytes so far; those with the numbers `known`, ascending, were read back.
    pub(crate) fn end(self, hash: Context, known: Vec<usize>) -> Proof {
        let Self { key, tags } = self;
        Proof {
            key,
            tags,
            known,
            hash,
        }
    }
}

impl Proof {
    /// Whether these are the bytes of the frame with this number.
    pub(crate) fn knows(&self, number: usize, frame: &[u8]) -> bool {
        let tag = self.tags.get(number);
        tag.is_some_and(|tag| self.key.knows(number, frame, tag))
    }

    /// Whether the frame with this number was read back while those after it were written.
    pub(crate) fn was_read(&self, number: usize) -> bool {
        self.known.binary_search(&number).is_ok()
    }

    /// The digest of all frames' bytes, which are right if each frame is known.
    pub(crate) fn hash(&self) -> Context {
        self.hash.clone()
    }

    /// As if nothing had been read back yet.
    #[cfg(test)]
    pub(crate) fn forget(&mut self) {
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::SHA256;

    use super::*;

    #[test]
    fn a_frame_is_known_by_its_bytes_and_its_number() {
        let mut prover = Prover::new(Key::new().unwrap());
        let frames: [&[u8]; 3] = [b"one", &[7; 100_000], b""];
        for frame in frames {
            prover.add(frame).unwrap();
        }
        let proof = prover.end(Context::new(&SHA256), vec![1]);
        for (number, frame) in frames.iter().enumerate() {
            assert!(proof.knows(number, frame));
            assert!(!proof.knows(number + 1, frame));
        }
        assert!(!proof.was_read(0) && proof.was_read(1) && !proof.was_read(2));
        let mut changed = frames[1].to_vec();
        for at in [0, 50_000, 99_999] {
            changed[at] ^= 1;
            assert!(!proof.knows(1, &changed), "{at}");
            changed[at] ^= 1;
        }
        assert!(!proof.knows(1, &changed[..99_999]));
    }
}
