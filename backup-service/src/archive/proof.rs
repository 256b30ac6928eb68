//! By what a process knows the frames again that it wrote a moment ago: a keyed tag (GMAC) of each, quicker by far than to
//! hash the file a second time.
//!
//! **Invariant:** the key is random, never leaves the process and never tags two frames with one number, so nobody can
//! make another frame that has the tag.

use std::io;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::Context;

type Tag = [u8; 16];

/// Tags frames as they are written.
pub(crate) struct Prover {
    key: LessSafeKey,
    tags: Vec<Tag>,
}

/// The tags of all frames of a file.
pub(crate) struct Proof {
    key: LessSafeKey,
    tags: Vec<Tag>,
    hash: Context,
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proof")
            .field("frames", &self.tags.len())
            .finish_non_exhaustive()
    }
}

impl Prover {
    pub(crate) fn new() -> io::Result<Self> {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).map_err(io::Error::other)?;
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(io::Error::other)?;
        Ok(Self {
            key: LessSafeKey::new(key),
            tags: Vec::new(),
        })
    }

    /// Tags the next frame.
    pub(crate) fn add(&mut self, frame: &[u8]) -> io::Result<()> {
        let tag = tag(&self.key, self.tags.len(), frame)?;
        self.tags.push(tag);
        Ok(())
    }

    /// `hash` is the digest of all frames' bytes so far.
    pub(crate) fn end(self, hash: Context) -> Proof {
        let Self { key, tags } = self;
        Proof { key, tags, hash }
    }
}

impl Proof {
    /// Whether these are the bytes of the frame with this number.
    pub(crate) fn knows(&self, number: usize, frame: &[u8]) -> bool {
        let expected = self.tags.get(number);
        let found = tag(&self.key, number, frame).ok();
        expected
            .zip(found)
            .is_some_and(|(expected, found)| verify_slices_are_equal(expected, &found).is_ok())
    }

    /// The digest of all frames' bytes, which are right if each frame is known.
    pub(crate) fn hash(&self) -> Context {
        self.hash.clone()
    }
}

fn tag(key: &LessSafeKey, number: usize, frame: &[u8]) -> io::Result<Tag> {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&(number as u64).to_le_bytes());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key
        .seal_in_place_separate_tag(nonce, Aad::from(frame), &mut [])
        .map_err(io::Error::other)?;
    let mut out = Tag::default();
    out.copy_from_slice(tag.as_ref());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::SHA256;

    use super::*;

    #[test]
    fn a_frame_is_known_by_its_bytes_and_its_number() {
        let mut prover = Prover::new().unwrap();
        let frames: [&[u8]; 3] = [b"one", &[7; 100_000], b""];
        for frame in frames {
            prover.add(frame).unwrap();
        }
        let proof = prover.end(Context::new(&SHA256));
        for (number, frame) in frames.iter().enumerate() {
            assert!(proof.knows(number, frame));
            assert!(!proof.knows(number + 1, frame));
        }
        let mut changed = frames[1].to_vec();
        for at in [0, 50_000, 99_999] {
            changed[at] ^= 1;
            assert!(!proof.knows(1, &changed), "{at}");
            changed[at] ^= 1;
        }
        assert!(!proof.knows(1, &changed[..99_999]));
    }
}
