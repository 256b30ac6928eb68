//! What archives become when they are encrypted: made when it is asked for, and the same each time, so that a copy that was
//! cut goes on and one that is there is known again.
//!
//! **Invariant:** what is kept opens copies of an archive that lies beside it in the clear, and goes with it.

use std::fs::File;
use std::path::PathBuf;
use std::sync::PoisonError;

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Catalog, Reading};
use crate::age::{self, AgeError, For, Sealed};
use crate::durable;

/// How the files end in which this is kept.
pub(super) const ENDING: &str = "age";

/// Bytes that are encrypted and hashed at once.
const PIECE: usize = 1 << 20;

/// Encrypted forms of one archive that are remembered.
const MOST: usize = 8;

/// An archive as it is when it is encrypted.
#[derive(Debug, Clone)]
pub struct SealedArchive {
    /// Its bytes, made as they are read.
    pub sealed: Sealed,
    /// SHA-256 of them, lower hexadecimal digits.
    pub sha256: String,
    /// Name of the file.
    pub file_name: String,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    /// None: a passphrase.
    recipients: Option<Vec<String>>,
    key: String,
    head: String,
    sha256: String,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Kept {
    fn again(&self, file: &File, whom: &For) -> Option<Sealed> {
        let head = BASE64.decode(self.head.as_bytes()).ok()?;
        let key = Zeroizing::new(HEXLOWER.decode(self.key.as_bytes()).ok()?);
        let is_for = match (whom, &self.recipients) {
            (For::Recipients(all), Some(kept)) => all.iter().map(age::Recipient::as_str).eq(kept.iter()),
            (For::Passphrase(passphrase), None) => age::is_opened_by(&head, passphrase),
            _ => false,
        };
        is_for.then(|| Sealed::again(file, &key, head).ok()).flatten()
    }
}

impl Catalog {
    /// What an archive becomes when it is encrypted for somebody. Blocks: the first time the file is read whole.
    ///
    /// # Errors
    /// [`AgeError`].
    pub fn sealed(&self, reading: &Reading, whom: &For) -> Result<SealedArchive, AgeError> {
        let file = File::open(&reading.path).map_err(AgeError::Io)?;
        let answer = |sealed, sha256| SealedArchive {
            sealed,
            sha256,
            file_name: format!("{}{}", reading.record.file_name, age::ENDING),
        };
        // Two copies at once are copies of one and the same.
        let _one_at_a_time = self.0.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.seals_path(reading.record.id);
        let mut all: Vec<Kept> = std::fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        for kept in &all {
            if let Some(sealed) = kept.again(&file, whom) {
                return Ok(answer(sealed, kept.sha256.clone()));
            }
        }
        let sealed = age::seal(&file, whom)?;
        let sha256 = digest(&sealed)?;
        let (key, head) = sealed.kept();
        all.push(Kept {
            recipients: match whom {
                For::Recipients(all) => Some(all.iter().map(|one| one.as_str().to_owned()).collect()),
                For::Passphrase(_) => None,
            },
            key: HEXLOWER.encode(key),
            head: BASE64.encode(head),
            sha256: sha256.clone(),
        });
        let surplus = all.len().saturating_sub(MOST);
        all.drain(..surplus);
        let bytes = Zeroizing::new(serde_json::to_vec(&all).unwrap_or_default());
        durable::write_atomic(&path, &bytes).map_err(AgeError::Io)?;
        Ok(answer(sealed, sha256))
    }

    fn seals_path(&self, id: Uuid) -> PathBuf {
        self.beside_record(id, ENDING)
    }
}

fn digest(sealed: &Sealed) -> Result<String, AgeError> {
    let (mut hash, mut at) = (Context::new(&SHA256), 0);
    loop {
        let piece = sealed.read(at, PIECE)?;
        if piece.is_empty() {
            return Ok(HEXLOWER.encode(hash.finish().as_ref()));
        }
        hash.update(&piece);
        at += piece.len() as u64;
    }
}
