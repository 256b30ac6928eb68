//! A member of an archive, checked. Pure.

use bytes::Bytes;

use super::names::{DataSet, MemberPath};

/// Most extended attributes of a member.
pub const MAX_XATTRS: usize = 128;

/// Most bytes of all names and values of the extended attributes of a member.
pub const MAX_XATTR_BYTES: usize = 192 << 10;

/// What kind of thing a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file with this many bytes of content.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link, with its target as it was stored.
    Symlink(Bytes),
    /// A further name of a file that came before in the same data set.
    HardLink(MemberPath),
}

/// Where a member's content came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// The central's file system.
    #[default]
    Path,
    /// The output of a command.
    Command,
}

/// A moment as a file system has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// Seconds since 1970, negative before.
    pub seconds: i64,
    /// Nanoseconds after that second, below 1,000,000,000.
    pub nanos: u32,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The data set that it belongs to.
    pub data_set: DataSet,
    /// Where in it.
    pub path: MemberPath,
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the content.
    pub modified: Moment,
    /// Extended attributes: name and value.
    pub xattrs: Vec<(Bytes, Bytes)>,
    /// Where it came from.
    pub origin: Origin,
    /// A file that has holes, to be made again when it is restored. Its content is whole all the same.
    pub sparse: bool,
    /// The owner's name, if known.
    pub user: String,
    /// The group's name, if known.
    pub group: String,
}

/// Why a member is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadMember {
    /// Its mode has other bits than those of permissions.
    #[error("its mode {0:o} is beyond 7777")]
    Mode(u32),
    /// Its time is not one.
    #[error("its time has {0} nanoseconds")]
    Nanos(u32),
    /// Its link target is empty, too long or has a NUL.
    #[error("its link target is empty, longer than 4096 bytes, or has a NUL in it")]
    Target,
    /// Too many extended attributes, or bad ones.
    #[error("its extended attributes are too many, too big, or have a bad name")]
    Xattrs,
    /// Something else than a file has holes.
    #[error("only a file has holes")]
    Sparse,
    /// The owner's or group's name is too long or has a NUL.
    #[error("the name of its owner or group is longer than 255 bytes or has a NUL in it")]
    Owner,
}

impl Member {
    /// Its name in the tar: `data/<data set>/<path>`, for a directory without the slash at the end.
    #[must_use]
    pub fn tar_name(&self) -> Vec<u8> {
        tar_name(&self.data_set, &self.path)
    }

    /// Bytes of content.
    #[must_use]
    pub fn size(&self) -> u64 {
        if let Kind::File(size) = self.kind { size } else { 0 }
    }

    /// Checks what the types do not guarantee.
    ///
    /// # Errors
    /// [`BadMember`] says which field.
    pub fn check(&self) -> Result<(), BadMember> {
        if self.mode > 0o7777 {
            return Err(BadMember::Mode(self.mode));
        }
        if self.modified.nanos > 999_999_999 {
            return Err(BadMember::Nanos(self.modified.nanos));
        }
        if let Kind::Symlink(target) = &self.kind
            && (target.is_empty() || target.len() > super::names::MAX_PATH || target.contains(&0))
        {
            return Err(BadMember::Target);
        }
        if self.sparse && !matches!(self.kind, Kind::File(_)) {
            return Err(BadMember::Sparse);
        }
        let named = |name: &String| name.len() <= 255 && !name.contains('\0');
        if !(named(&self.user) && named(&self.group)) {
            return Err(BadMember::Owner);
        }
        let bytes: usize = self
            .xattrs
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        let good = |name: &Bytes| (1..=255).contains(&name.len()) && !name.contains(&0);
        let all_good = self.xattrs.iter().all(|(name, _)| good(name));
        if self.xattrs.len() > MAX_XATTRS || bytes > MAX_XATTR_BYTES || !all_good {
            return Err(BadMember::Xattrs);
        }
        Ok(())
    }
}

/// `data/<data set>/<path>`.
pub(crate) fn tar_name(data_set: &DataSet, path: &MemberPath) -> Vec<u8> {
    [super::DATA, data_set.as_str().as_bytes(), b"/", path.as_bytes()].concat()
}
