//! The content of a file: pieces of 64 KiB, each with a tag, numbered, the last one marked.
//!
//! **Invariant:** the same file with the same key and beginning has the same bytes: any part of it can be made when it is
//! asked for, and nothing of it need lie on a disk.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};

use super::AgeError;
use super::header::{FileKey, aead, derived, random};

/// Bytes of a piece, and of its tag.
const PIECE: u64 = 64 << 10;
const TAG: u64 = 16;
/// Bytes of the number that makes the key of the content.
const NONCE: usize = 16;

/// A file that is encrypted as it is read.
#[derive(Debug, Clone)]
pub struct Sealed {
    plain: Arc<File>,
    plain_size: u64,
    /// Beginning and number, before the content.
    head: Vec<u8>,
    key: Arc<LessSafeKey>,
    file_key: FileKey,
}

impl Sealed {
    pub(super) fn new(plain: &File, file_key: FileKey, mut head: Vec<u8>) -> Result<Self, AgeError> {
        head.extend_from_slice(&random::<NONCE>()?);
        Self::again(plain, file_key.0.as_slice(), head)
    }

    /// The same file as one that was made before, by what [`Self::kept`] answered.
    ///
    /// # Errors
    /// [`AgeError`].
    pub fn again(plain: &File, file_key: &[u8], head: Vec<u8>) -> Result<Self, AgeError> {
        let file_key = file_key.try_into().map_err(|_| AgeError::Primitive)?;
        let file_key = FileKey(zeroize::Zeroizing::new(file_key));
        let number = head.len().checked_sub(NONCE).and_then(|at| head.get(at..));
        let number = number.ok_or(AgeError::Header("it is too short"))?;
        let key = aead(&derived(&file_key.0[..], number, b"payload")?[..])?;
        let plain = plain.try_clone().map_err(AgeError::Io)?;
        Ok(Self {
            plain_size: plain.metadata().map_err(AgeError::Io)?.len(),
            plain: Arc::new(plain),
            head,
            key: Arc::new(key),
            file_key,
        })
    }

    /// What makes the same file again, beside the plain one: its key, which is secret, and its beginning.
    #[must_use]
    pub fn kept(&self) -> (&[u8], &[u8]) {
        (&self.file_key.0[..], &self.head)
    }

    /// Bytes of the encrypted file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.head.len() as u64 + self.plain_size + self.pieces() * TAG
    }

    fn pieces(&self) -> u64 {
        self.plain_size.div_ceil(PIECE).max(1)
    }

    /// Bytes of the encrypted file from `offset` on: `length` of them, or what there is up to its end.
    ///
    /// # Errors
    /// [`AgeError`].
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, AgeError> {
        let end = offset.saturating_add(length as u64).min(self.size());
        let mut out = Vec::with_capacity(usize::try_from(end.saturating_sub(offset)).unwrap_or_default());
        let mut at = offset;
        let head = self.head.len() as u64;
        if at < head.min(end) {
            let part = self
                .head
                .get(at as usize..head.min(end) as usize)
                .unwrap_or_default();
            out.extend_from_slice(part);
            at = head;
        }
        while at < end {
            let number = (at - head) / (PIECE + TAG);
            let skip = (at - head) % (PIECE + TAG);
            let piece = self.piece(number)?;
            let most = (end - at).min(piece.len() as u64 - skip);
            out.extend_from_slice(
                piece
                    .get(skip as usize..(skip + most) as usize)
                    .unwrap_or_default(),
            );
            at += most;
        }
        Ok(out)
    }

    fn piece(&self, number: u64) -> Result<Vec<u8>, AgeError> {
        let at = number * PIECE;
        let length = (self.plain_size - at.min(self.plain_size)).min(PIECE) as usize;
        let mut piece = Vec::with_capacity(length + TAG as usize);
        piece.resize(length, 0);
        self.plain.read_exact_at(&mut piece, at).map_err(AgeError::Io)?;
        let nonce = nonce(number, number + 1 == self.pieces());
        self.key
            .seal_in_place_append_tag(nonce, Aad::empty(), &mut piece)
            .map_err(|_| AgeError::Primitive)?;
        Ok(piece)
    }
}

fn nonce(number: u64, is_last: bool) -> Nonce {
    let mut bytes = [0; 12];
    bytes[3..11].copy_from_slice(&number.to_be_bytes());
    bytes[11] = u8::from(is_last);
    Nonce::assume_unique_for_key(bytes)
}

/// Decrypts the content of a file whose beginning has `length` bytes.
pub(super) fn open(from: &File, to: &mut File, key: &FileKey, length: u64) -> Result<(), AgeError> {
    let size = from.metadata().map_err(AgeError::Io)?.len();
    let begins = length + NONCE as u64;
    let content = size.checked_sub(begins).ok_or(AgeError::Payload(0))?;
    let mut number = [0; NONCE];
    from.read_exact_at(&mut number, length).map_err(AgeError::Io)?;
    let key = aead(&derived(&key.0[..], &number, b"payload")?[..])?;
    let pieces = content.div_ceil(PIECE + TAG).max(1);
    for number in 0..pieces {
        let at = number * (PIECE + TAG);
        let bad = || AgeError::Payload(number * PIECE);
        let is_last = number + 1 == pieces;
        let length = (content - at).min(PIECE + TAG);
        // An empty last piece is right for an empty file only.
        if length < TAG || (length == TAG && number > 0) {
            return Err(bad());
        }
        let mut piece = vec![0; length as usize];
        from.read_exact_at(&mut piece, begins + at)
            .map_err(AgeError::Io)?;
        let plain = key
            .open_in_place(nonce(number, is_last), Aad::empty(), &mut piece)
            .map_err(|_| bad())?;
        to.write_all(plain).map_err(AgeError::Io)?;
    }
    Ok(())
}
