//! What came before in an archive that is written: nothing comes twice, hard links point backwards, and nothing lies below a
//! symbolic link.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use super::super::member::{Kind, Member};
use super::fault::Fault;

/// What came before, as keyed hashes: 16 bytes a member at most.
#[derive(Default)]
pub(super) struct Seen {
    keys: RandomState,
    members: HashSet<u64>,
    links: HashSet<u64>,
    /// Where the header of the open file is.
    pub(super) offset: u64,
}

impl Seen {
    /// The lowest bit says whether it is a file, to which hard links may point.
    fn key(&self, set: &str, path: &[u8]) -> u64 {
        self.keys.hash_one((set, path)) & !1
    }

    /// Takes a member, or says what is wrong with its coming now.
    pub(super) fn admit(&mut self, member: &Member) -> Result<(), Fault> {
        let set = member.data_set.as_str();
        let key = self.key(set, member.path.as_bytes());
        if self.members.contains(&key) || self.members.contains(&(key | 1)) {
            return Err(Fault::Twice);
        }
        let linked = |parent| self.links.contains(&self.key(set, parent));
        if !self.links.is_empty() && member.path.parents().any(linked) {
            return Err(Fault::BelowLink);
        }
        let is_file = match &member.kind {
            Kind::File(_) => 1,
            Kind::HardLink(target) => {
                let target = self.key(set, target.as_bytes()) | 1;
                if !self.members.contains(&target) {
                    return Err(Fault::LinkTarget);
                }
                1
            }
            Kind::Symlink(_) => {
                self.links.insert(key);
                0
            }
            Kind::Directory => 0,
        };
        self.members.insert(key | is_file);
        Ok(())
    }
}
