//! The file format of age, version 1 (age-encryption.org/v1): archives that leave the house can be encrypted with it, and
//! `age -d` opens them without our software.
//!
//! **Invariants:** the primitives are those of aws-lc; a file that was changed in any bit is refused; keys are wiped and
//! never printed. Files are opened with recipients' keys or a passphrase; nothing else of age is spoken.

mod header;
mod keys;
mod payload;

use std::fs::File;
use std::io;

pub use self::header::FileKey;
pub use self::keys::{Identity, Recipient};
pub use self::payload::Sealed;

use crate::destination::target::Secret;

/// How files that are encrypted so end.
pub const ENDING: &str = ".age";

/// Least characters of a passphrase: whoever has the file may try as long as he likes.
pub const LEAST_PASSPHRASE: usize = 16;

/// Most recipients of a file.
pub const MOST_RECIPIENTS: usize = 20;

/// For whom a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum For {
    /// Whoever has one of their keys.
    Recipients(Vec<Recipient>),
    /// Whoever knows the passphrase.
    Passphrase(Secret),
}

/// What opens a file.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// Keys of recipients.
    pub identities: Vec<Identity>,
    /// A passphrase.
    pub passphrase: Option<Secret>,
}

/// Why a file cannot be encrypted or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgeError {
    /// The text is no recipient.
    #[error("`{0}` is no recipient: it begins with age1, as `age-keygen` shows it")]
    Recipient(String),
    /// The text is no identity; it is not repeated, as it may be secret.
    #[error("there is no key in it: a line of it begins with AGE-SECRET-KEY-1, as `age-keygen` writes it")]
    Identity,
    /// Not of that format.
    #[error("it is not encrypted with age, or its beginning is damaged: {0}")]
    Header(&'static str),
    /// Nothing opens it.
    #[error("none of the keys opens it: it is for others, or encrypted with {0}")]
    NoKey(&'static str),
    /// More than we compute.
    #[error("its passphrase takes more memory to be checked than there is: open it with `age -d` elsewhere")]
    Work,
    /// Damaged.
    #[error("it is damaged or was changed, at byte {0} of its content")]
    Payload(u64),
    /// The provider of primitives failed, which it does not.
    #[error("the cryptographic library failed")]
    Primitive,
    /// The disk.
    #[error("cannot read or write the file")]
    Io(#[source] io::Error),
}

/// Encrypts what `plain` holds for somebody, with a key of its own.
///
/// # Errors
/// [`AgeError`].
pub fn seal(plain: &File, whom: &For) -> Result<Sealed, AgeError> {
    let key = FileKey::random()?;
    let head = header::write(&key, whom)?;
    Sealed::new(plain, key, head)
}

/// Decrypts `from` into `to`, which is empty.
///
/// # Errors
/// [`AgeError`]; what was written until then is of no use.
pub fn open(from: &File, to: &mut File, keys: &Keys) -> Result<(), AgeError> {
    let (key, length) = header::open(from, keys)?;
    payload::open(from, to, &key, length)
}

/// Whether a beginning, as [`Sealed::kept`] answers it, is opened by a passphrase.
#[must_use]
pub fn is_opened_by(head: &[u8], passphrase: &Secret) -> bool {
    let keys = Keys {
        identities: Vec::new(),
        passphrase: Some(passphrase.clone()),
    };
    header::read(head, &keys).is_ok()
}

/// Whether bytes are the beginning of such a file.
#[must_use]
pub fn is_age(beginning: &[u8]) -> bool {
    beginning.starts_with(header::MAGIC)
}

#[cfg(test)]
mod tests;
