//! `checksums.json`, the last member: digest and place of each member, one a line so that neither end holds it whole.
//!
//! **Invariant:** the whole is one JSON document, and each line can be read by itself.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};

use serde::{Deserialize, Serialize};

use super::member::{Kind, Origin};
use super::names::DataSet;

/// What is in a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Its name.
    pub name: DataSet,
    /// Members in it.
    pub members: u64,
    /// Bytes of their content.
    pub size: u64,
}

/// Most things left out that are named.
pub const MOST_LEFT_OUT: usize = 64;
/// Most bytes of what is said of one: with all of them the first line still has at most 64 KiB.
pub const LEFT_OUT_BYTES: usize = 300;

/// What the run should have brought and could not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// How many things.
    pub count: u64,
    /// The first of them, for a person.
    pub first: Vec<String>,
}

impl LeftOut {
    /// Whether everything was brought.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.count == 0
    }

    /// Whether it keeps its limits, and has nothing that moves a terminal.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let fits = |text: &String| text.len() <= LEFT_OUT_BYTES && !text.chars().any(char::is_control);
        let named = self.first.len();
        named <= MOST_LEFT_OUT && named as u64 <= self.count && self.first.iter().all(fits)
    }
}

/// First line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Version of the format: 1.
    pub format: u32,
    /// Data sets in the order in which they come.
    pub data_sets: Vec<Totals>,
    /// Members, without the archive's own two.
    pub members: u64,
    /// What is not in it and should be.
    #[serde(default, skip_serializing_if = "LeftOut::is_nothing")]
    pub left_out: LeftOut,
    /// Empty here; the lines that follow are its elements.
    pub entries: Vec<Entry>,
}

/// Type of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A hard link.
    Hardlink,
}

impl From<&Kind> for Type {
    fn from(kind: &Kind) -> Self {
        match kind {
            Kind::File(_) => Self::File,
            Kind::Directory => Self::Directory,
            Kind::Symlink(_) => Self::Symlink,
            Kind::HardLink(_) => Self::Hardlink,
        }
    }
}

/// A member's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name in the tar, escaped (see [`super::names::escape`]), without the slash of a directory.
    pub path: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Type,
    /// Bytes of content.
    pub size: u64,
    /// SHA-256 of the content, 64 hexadecimal digits; only of files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where its first header begins in the tar.
    pub offset: u64,
    /// `command` if it is what a command printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

impl Entry {
    /// Where the content came from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        if self.origin.as_deref() == Some("command") {
            Origin::Command
        } else {
            Origin::Path
        }
    }
}

/// Lines that wait on disk until all are known.
#[derive(Debug)]
pub(crate) struct Spool {
    lines: BufWriter<File>,
    empty: bool,
}

impl Spool {
    pub(crate) fn new(file: File) -> Self {
        Self {
            lines: BufWriter::with_capacity(64 << 10, file),
            empty: true,
        }
    }

    pub(crate) fn add(&mut self, entry: &Entry) -> io::Result<()> {
        if !self.empty {
            self.lines.write_all(b",\n")?;
        }
        self.empty = false;
        serde_json::to_writer(&mut self.lines, entry).map_err(io::Error::other)
    }

    /// First line, the file with the other lines, its length, and the end.
    pub(crate) fn finish(self, head: &Head) -> io::Result<(Vec<u8>, File, u64, &'static [u8])> {
        let mut file = self.lines.into_inner().map_err(io::IntoInnerError::into_error)?;
        let length = file.stream_position()?;
        file.seek(SeekFrom::Start(0))?;
        let mut first = serde_json::to_vec(head).map_err(io::Error::other)?;
        first.truncate(first.len().saturating_sub(2));
        first.push(b'\n');
        Ok((first, file, length, b"\n]}\n"))
    }
}
