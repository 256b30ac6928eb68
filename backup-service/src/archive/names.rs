//! Names that may become parts of a path, and the escaping of those that are not text. Pure.
//!
//! **Invariant:** a name that was parsed here cannot lead out of the directory that it is joined to.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Most bytes of a member's path.
pub const MAX_PATH: usize = 4096;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadName {
    /// It has no or too many characters.
    #[error("it must have 1 to {most} bytes, not {length}")]
    Length {
        /// What it has.
        length: usize,
        /// What it may have.
        most: usize,
    },
    /// A character that some file system refuses or that means something in a path.
    #[error("the character {0:?} is not allowed in it")]
    Character(char),
    /// A name that some system keeps for itself, or one that begins or ends badly.
    #[error("it may not be a reserved name, nor begin with `.`, `-` or a blank, nor end with `.` or a blank")]
    Shape,
    /// An absolute path, `.`, `..`, an empty component or a NUL.
    #[error("it must be relative, without `.`, `..`, empty components and NUL bytes")]
    Path,
    /// An escape sequence that is not one.
    #[error("a backslash in it begins no `\\\\` and no `\\xNN`")]
    Escape,
}

/// A data set's name: 1 to 63 of `A-Za-z0-9_-`, not beginning with `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DataSet(String);

impl DataSet {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DataSet {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        check_length(text.len(), 63)?;
        let odd = text
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')));
        match odd {
            Some(c) => Err(BadName::Character(c)),
            None if text.starts_with('-') => Err(BadName::Shape),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl TryFrom<String> for DataSet {
    type Error = BadName;
    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<DataSet> for String {
    fn from(name: DataSet) -> Self {
        name.0
    }
}

impl fmt::Display for DataSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that people choose and that becomes a file or directory name: of a central or a backup configuration.
///
/// It is accepted as it is or refused, never changed: two configurations can not end in one directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

impl Label {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        check_length(text.len(), 120)?;
        let bad = |c: &char| c.is_control() || "/\\:*?\"<>|".contains(*c);
        if let Some(c) = text.chars().find(bad) {
            return Err(BadName::Character(c));
        }
        let begins = text.starts_with(['.', '-']) || text.starts_with(char::is_whitespace);
        let ends = text.ends_with('.') || text.ends_with(char::is_whitespace);
        if begins || ends || is_reserved(text) {
            return Err(BadName::Shape);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Label {
    type Error = BadName;
    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<Label> for String {
    fn from(name: Label) -> Self {
        name.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What Windows keeps for devices, with or without an extension: a destination may be a Windows share.
fn is_reserved(text: &str) -> bool {
    let stem = text
        .split('.')
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_ascii_uppercase();
    let numbered = |device: &str| {
        stem.strip_prefix(device)
            .is_some_and(|n| n.len() == 1 && n.bytes().all(|b| b.is_ascii_digit()))
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT")
}

/// A path below a data set, in the bytes of the file system that it came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberPath(Bytes);

impl MemberPath {
    /// Checks the bytes.
    ///
    /// # Errors
    /// [`BadName`] if they are no relative path, or too long.
    pub fn new(bytes: Bytes) -> Result<Self, BadName> {
        check_length(bytes.len(), MAX_PATH)?;
        let fits = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && part.len() <= 255;
        if bytes.contains(&0) || !bytes.split(|&b| b == b'/').all(fits) {
            return Err(BadName::Path);
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The paths of the directories above it, outermost first.
    pub fn parents(&self) -> impl Iterator<Item = &[u8]> {
        let slashes = self.0.iter().enumerate().filter(|(_, b)| **b == b'/');
        slashes.map(|(at, _)| &self.0[..at])
    }
}

fn check_length(length: usize, most: usize) -> Result<(), BadName> {
    if (1..=most).contains(&length) {
        Ok(())
    } else {
        Err(BadName::Length { length, most })
    }
}

/// Writes bytes as text, losing nothing: what is UTF-8 stays, a backslash becomes `\\` and any other byte `\xNN`.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            text.push(c);
            if c == '\\' {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            text.push_str("\\x");
            text.push_str(&data_encoding::HEXLOWER.encode(&[*byte]));
        }
    }
    text
}

/// The inverse of [`escape`].
///
/// # Errors
/// [`BadName::Escape`] if a backslash begins neither sequence.
pub fn unescape(text: &str) -> Result<Vec<u8>, BadName> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'\\', [b'\\', tail @ ..]) => {
                bytes.push(b'\\');
                tail
            }
            (b'\\', [b'x', high, low, tail @ ..]) => {
                let byte = data_encoding::HEXLOWER
                    .decode(&[*high, *low])
                    .map_err(|_| BadName::Escape)?;
                bytes.extend_from_slice(&byte);
                tail
            }
            (b'\\', _) => return Err(BadName::Escape),
            (byte, tail) => {
                bytes.push(byte);
                tail
            }
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_survive_the_escaping(bytes: Vec<u8>) {
            prop_assert_eq!(unescape(&escape(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn no_text_upsets_the_unescaping(text: String) {
            let _ = unescape(&text);
        }
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        for bad in ["", "/etc", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\0b"] {
            assert!(
                MemberPath::new(Bytes::from_static(bad.as_bytes())).is_err(),
                "{bad:?}"
            );
        }
        assert!(MemberPath::new(Bytes::from(vec![b'a'; 256])).is_err());
        for good in [&b"a"[..], b"a/b", b"...", b"\xff\xfe/x", b"a b/\n"] {
            assert!(MemberPath::new(Bytes::from_static(good)).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn names_that_are_no_file_names_are_refused() {
        for bad in [
            "", ".", "..", ".x", "a/b", "a\\b", "con", "NUL.txt", "Com1", "x ", " x", "x.", "a:b", "-r",
            "a\n",
        ] {
            assert!(bad.parse::<Label>().is_err(), "{bad:?}");
        }
        for good in ["Nightly", "Täglich um 2", "com10", "a.b", "console"] {
            assert!(good.parse::<Label>().is_ok(), "{good:?}");
        }
    }
}
