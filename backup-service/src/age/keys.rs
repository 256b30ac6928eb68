//! Keys of recipients, as `age-keygen` writes them.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::agreement::{PrivateKey, X25519};
use satellite_proto::bech32;
use zeroize::Zeroizing;

use super::AgeError;

/// For whom a file is encrypted: the public half of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    text: String,
    pub(super) key: [u8; 32],
}

impl Recipient {
    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Recipient {
    type Err = AgeError;

    fn from_str(text: &str) -> Result<Self, AgeError> {
        let is_lower = text.starts_with("age1");
        let key = bech32::decode(text, "age").filter(|_| is_lower);
        let key = key.ok_or_else(|| AgeError::Recipient(text.chars().take(80).collect()))?;
        Ok(Self {
            text: text.to_owned(),
            key,
        })
    }
}

/// What opens a file: the secret half of a key.
#[derive(Clone)]
pub struct Identity(Zeroizing<[u8; 32]>);

impl Identity {
    /// Reads what `age-keygen` has written: lines, some of them comments.
    ///
    /// # Errors
    /// [`AgeError::Identity`] if there is no key in it, or something else.
    pub fn read(text: &str) -> Result<Vec<Self>, AgeError> {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let one = |line: &str| {
            let is_upper = line.starts_with("AGE-SECRET-KEY-1");
            bech32::decode(line, "age-secret-key-")
                .filter(|_| is_upper)
                .map(|key| Self(Zeroizing::new(key)))
        };
        let all: Option<Vec<_>> = lines.map(one).collect();
        all.filter(|all| !all.is_empty()).ok_or(AgeError::Identity)
    }

    pub(super) fn key(&self) -> Result<PrivateKey, AgeError> {
        PrivateKey::from_private_key(&X25519, &self.0[..]).map_err(|_| AgeError::Identity)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}
