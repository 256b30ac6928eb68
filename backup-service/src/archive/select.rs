//! Reads chosen members of an archive, in its order, and only the frames that hold them.
//!
//! **Invariant:** content is given out as it is read. A member whose digest is wrong ends with an error, here or at the taker, who
//! is given the digest that it must have.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;

use super::member::{Kind, Member};
use super::names::escape;
use super::read::{Archive, Index, ReadError, damaged, member, skip_padding};
use super::stream::{TarStream, Way};
use super::{DATA, threads};

/// What to read.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only these data sets; none means all.
    pub data_sets: BTreeSet<String>,
    /// Only these and what is below them, as `DATA SET/PATH`; none means all.
    pub paths: BTreeSet<Vec<u8>>,
}

impl Selection {
    fn is_all(&self) -> bool {
        self.data_sets.is_empty() && self.paths.is_empty()
    }

    /// Whether it takes a member, given as `DATA SET/PATH`.
    fn takes(&self, name: &[u8], found: &mut BTreeSet<Vec<u8>>) -> bool {
        let set = name.split(|b| *b == b'/').next().unwrap_or_default();
        let in_set = self.data_sets.is_empty() || self.data_sets.iter().any(|s| s.as_bytes() == set);
        if !in_set || self.paths.is_empty() {
            return in_set;
        }
        let ends = name
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'/')
            .map(|(at, _)| at)
            .chain([name.len()]);
        let Some(end) = ends.into_iter().find(|end| self.paths.contains(&name[..*end])) else {
            return false;
        };
        if !found.contains(&name[..end]) {
            found.insert(name[..end].to_vec());
        }
        true
    }
}

/// Who compares contents with their digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// We do, while they are read.
    Here,
    /// The taker does, which would do so anyway.
    AtTaker,
}

/// What comes out of an archive.
#[derive(Debug)]
pub enum Piece<'a> {
    /// A member begins.
    Begin(Member),
    /// Content of the file that began.
    Content(&'a [u8]),
    /// The file that began ends, with the digest that its content has or, if the taker compares, must have.
    End([u8; 32]),
}

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// The archive.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Something was asked for that is not in the archive.
    #[error("`{0}` is not in the archive")]
    Missing(String),
    /// The taker does not want more.
    #[error("the reader went away")]
    Stopped,
}

/// Gives the chosen members to `take`, which answers false to stop.
///
/// # Errors
/// [`SelectError`].
pub fn select(
    archive: &Archive,
    selection: &Selection,
    check: Check,
    mut take: impl FnMut(Piece<'_>) -> bool,
) -> Result<(), SelectError> {
    let mut index = archive.index()?;
    for set in &selection.data_sets {
        if !index.head()?.data_sets.iter().any(|t| t.name.as_str() == set) {
            return Err(SelectError::Missing(set.clone()));
        }
    }
    let mut stream = if selection.is_all() {
        archive.ahead(Way::Cached, threads())?
    } else {
        archive.direct()?
    };
    let mut found = BTreeSet::new();
    let takes = |name: &[u8]| selection.takes(name, &mut found);
    read_selected(&mut index, &mut stream, check, takes, &mut take)?;
    match selection.paths.iter().find(|path| !found.contains(*path)) {
        Some(path) => Err(SelectError::Missing(escape(path))),
        None => Ok(()),
    }
}

fn read_selected(
    index: &mut Index,
    stream: &mut TarStream,
    check: Check,
    mut takes: impl FnMut(&[u8]) -> bool,
    take: &mut impl FnMut(Piece<'_>) -> bool,
) -> Result<(), SelectError> {
    while let Some((entry, name)) = index.data_entry()? {
        if !takes(&name) {
            continue;
        }
        stream.seek(entry.offset)?;
        let mut member = member(stream)?;
        if member.tar_name().strip_prefix(DATA) != Some(&name[..]) || member.size() != entry.size {
            return Err(damaged(format!("`{}` is not where the index says", entry.path)).into());
        }
        member.origin = entry.origin();
        let size = matches!(member.kind, Kind::File(_)).then_some(entry.size);
        give(take, Piece::Begin(member))?;
        let Some(size) = size else { continue };
        let another = || damaged(format!("the content of `{}` has another digest", entry.path));
        let must_be = entry.sha256.as_deref().and_then(digest).ok_or_else(another)?;
        let give_content = |bytes: &[u8]| give(take, Piece::Content(bytes));
        let digest = match check {
            Check::Here => hashed(stream, size, give_content)?,
            Check::AtTaker => content(stream, size, give_content).map(|()| must_be)?,
        };
        if digest != must_be {
            return Err(another().into());
        }
        give(take, Piece::End(must_be))?;
    }
    Ok(())
}

fn give(take: &mut impl FnMut(Piece<'_>) -> bool, piece: Piece<'_>) -> Result<(), SelectError> {
    if take(piece) {
        Ok(())
    } else {
        Err(SelectError::Stopped)
    }
}

/// SHA-256 as the index has it.
fn digest(digits: &str) -> Option<[u8; 32]> {
    let bytes = HEXLOWER.decode(digits.as_bytes()).ok()?;
    bytes.try_into().ok()
}

/// Reads the content of a file and what fills its last block; answers the digest.
pub(crate) fn hashed<E: From<ReadError>>(
    stream: &mut TarStream,
    size: u64,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<[u8; 32], E> {
    let mut hash = Context::new(&SHA256);
    content(stream, size, |bytes| {
        hash.update(bytes);
        take(bytes)
    })?;
    let mut digest = [0; 32];
    digest.copy_from_slice(hash.finish().as_ref());
    Ok(digest)
}

fn content<E: From<ReadError>>(
    stream: &mut TarStream,
    size: u64,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut left = size;
    while left > 0 {
        let here = stream.fill()?;
        let count = here
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX))
            .min(128 << 10);
        if count == 0 {
            return Err(damaged("the content ends too early").into());
        }
        take(&here[..count])?;
        stream.consume(count);
        left -= count as u64;
    }
    Ok(skip_padding(stream, size)?)
}
