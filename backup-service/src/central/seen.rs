//! What the last archive holds of a central's files, compared with what the central's own `find` says of them now, so that what has
//! not changed since is not read again.
//!
//! It is kept beside the record of the archive: a mark, then 80 bytes for each file.
//!
//! **Invariants:** a file counts as unchanged only if device, inode, size and both times are to the nanosecond what they were when it
//! was last read, it was at rest then, and SFTP says nothing else; what is wrong all the same is found by its digest when the
//! archive is read back.

use std::collections::HashMap;

use aws_lc_rs::digest::{Context, SHA256, digest};

use super::sftp::Attributes;

/// Files that are remembered; of more the rest is read each time.
const MOST: usize = 200_000;
/// A file that was changed so few seconds before it was looked at may be changed again within the same tick of its clock.
const RESTLESS: i64 = 2;
/// The beginning of what is kept.
const MARK: &[u8] = b"ssf1";
/// Key, stamp, size, time and digest.
const EACH: usize = 16 + 16 + 8 + 8 + 32;

/// SHA-256 of content.
pub(super) type Digest = [u8; 32];

/// Data set and path, shortened to what no two have in common.
type Key = [u8; 16];

/// What is known of the files of a central.
#[derive(Debug, Default)]
pub struct Seen {
    files: HashMap<Key, File>,
}

#[derive(Debug, Clone, Copy)]
struct File {
    /// Device, inode, size and both times, shortened.
    stamp: [u8; 16],
    size: u64,
    /// Seconds.
    modified: i64,
    sha256: Digest,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the last archive, and not found so far.
    Before,
    /// The same as in the last archive.
    Same,
    /// Found, not read so far.
    Found,
    /// In the new archive.
    Kept,
}

/// What `find` says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Looked<'a> {
    /// `DEVICE:INODE SIZE MTIME CTIME`, as it was printed.
    told: &'a [u8],
    pub(super) size: u64,
    /// When it was changed, and when anything of it was, in seconds; none before 1970, where the fraction counts the other way.
    times: Option<(i64, i64)>,
}

impl<'a> Looked<'a> {
    /// Takes apart what `%D:%i %s %T@ %C@` prints; nothing if it is something else.
    pub(super) fn parse(told: &'a [u8]) -> Option<Self> {
        let mut words = told.split(|byte| *byte == b' ');
        let mut next = || std::str::from_utf8(words.next()?).ok();
        next()?.contains(':').then_some(())?;
        let size = next()?.parse().ok()?;
        let (modified, changed) = (next()?, next()?);
        let seconds = |text: &str| text.split('.').next()?.parse::<u32>().ok().map(i64::from);
        next().is_none().then_some(Self {
            told,
            size,
            times: seconds(modified).zip(seconds(changed)),
        })
    }
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

fn key(data_set: &str, path: &[u8]) -> Key {
    let mut context = Context::new(&SHA256);
    context.update(data_set.as_bytes());
    context.update(b"/");
    context.update(path);
    first(context.finish().as_ref())
}

impl Seen {
    /// What was kept with an archive; nothing if it is damaged, for then everything is read.
    #[must_use]
    pub fn kept(bytes: &[u8]) -> Option<Self> {
        let (files, rest) = bytes.strip_prefix(MARK)?.as_chunks::<EACH>();
        rest.is_empty().then_some(())?;
        let mut seen = Self::default();
        for file in files.iter().take(MOST) {
            let (key, file) = file.split_at(16);
            let (stamp, file) = file.split_at(16);
            let (size, file) = file.split_at(8);
            let (modified, sha256) = file.split_at(8);
            let file = File {
                stamp: first(stamp),
                size: u64::from_be_bytes(first(size)),
                modified: i64::from_be_bytes(first(modified)),
                sha256: first(sha256),
                state: State::Before,
            };
            seen.files.insert(first(key), file);
        }
        (!seen.files.is_empty()).then_some(seen)
    }

    /// To be kept with the archive that was made; nothing if there is nothing to keep.
    #[must_use]
    pub fn to_keep(&self) -> Option<Vec<u8>> {
        let mut bytes = MARK.to_vec();
        for (key, file) in self.files.iter().filter(|(_, file)| file.state == State::Kept) {
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(&file.stamp);
            bytes.extend_from_slice(&file.size.to_be_bytes());
            bytes.extend_from_slice(&file.modified.to_be_bytes());
            bytes.extend_from_slice(&file.sha256);
        }
        (bytes.len() > MARK.len()).then_some(bytes)
    }

    /// Takes what the central says of a file, by its clock.
    pub(super) fn look(&mut self, (data_set, path): (&str, &[u8]), looked: &Looked<'_>, now: i64) {
        let (key, stamp) = (key(data_set, path), first(digest(&SHA256, looked.told).as_ref()));
        let room = self.files.len() < MOST;
        let known = self.files.get_mut(&key);
        if let Some(known) = known.filter(|known| known.stamp == stamp && known.state == State::Before) {
            known.state = State::Same;
            return;
        }
        let at_rest = looked
            .times
            .filter(|(_, changed)| changed.saturating_add(RESTLESS) <= now);
        let Some((modified, _)) = at_rest.filter(|_| room) else {
            self.files.remove(&key);
            return;
        };
        let file = File {
            stamp,
            size: looked.size,
            modified,
            sha256: [0; 32],
            state: State::Found,
        };
        self.files.insert(key, file);
    }

    /// The digest of a file that is what it was; `now` is what SFTP says of it.
    pub(super) fn unchanged(&self, data_set: &str, path: &[u8], now: &Attributes) -> Option<Digest> {
        let file = self.files.get(&key(data_set, path))?;
        let is_same = file.state == State::Same
            && file.size == now.size()
            && file.modified == i64::from(now.modified());
        is_same.then_some(file.sha256)
    }

    /// A file is in the archive, with this digest.
    pub(super) fn archived(&mut self, data_set: &str, path: &[u8], sha256: &Digest) {
        if let Some(file) = self.files.get_mut(&key(data_set, path)) {
            file.sha256 = *sha256;
            file.state = State::Kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &[u8] = b"801:42 5 1700000000.1234567890 1700000001.0000000000";

    fn attributes(size: u64, modified: u32) -> Attributes {
        Attributes {
            size: Some(size),
            times: Some((0, modified)),
            ..Attributes::default()
        }
    }

    fn looked(told: &[u8]) -> Looked<'_> {
        Looked::parse(told).unwrap()
    }

    /// A file that was archived, and what was kept of it, is looked at again.
    fn again(told: &[u8], now: i64) -> Seen {
        let mut seen = Seen::default();
        seen.look(("core", b"/a"), &looked(TOLD), 1_700_000_003);
        assert_eq!(seen.unchanged("core", b"/a", &attributes(5, 1_700_000_000)), None);
        seen.archived("core", b"/a", &[7; 32]);
        let mut seen = Seen::kept(&seen.to_keep().unwrap()).unwrap();
        seen.look(("core", b"/a"), &looked(told), now);
        seen
    }

    #[test]
    fn a_file_is_the_same_only_if_everything_is() {
        let now = attributes(5, 1_700_000_000);
        let seen = again(TOLD, 1_800_000_000);
        assert_eq!(seen.unchanged("core", b"/a", &now), Some([7; 32]));
        assert_eq!(seen.unchanged("core", b"/b", &now), None);
        assert_eq!(seen.unchanged("cor", b"e/a", &now), None);
        // What SFTP sees is younger than what `find` saw.
        assert_eq!(seen.unchanged("core", b"/a", &attributes(6, 1_700_000_000)), None);
        assert_eq!(seen.unchanged("core", b"/a", &attributes(5, 1_700_000_001)), None);
        for other in [
            &b"802:42 5 1700000000.1234567890 1700000001.0000000000"[..],
            b"801:43 5 1700000000.1234567890 1700000001.0000000000",
            b"801:42 5 1700000000.1234567891 1700000001.0000000000",
            b"801:42 5 1700000000.1234567890 1700000001.0000000001",
        ] {
            assert_eq!(again(other, 1_800_000_000).unchanged("core", b"/a", &now), None);
        }
    }

    #[test]
    fn what_moved_a_moment_ago_or_was_not_archived_is_not_remembered() {
        let mut seen = Seen::default();
        seen.look(("core", b"/a"), &looked(TOLD), 1_700_000_002);
        seen.look(("core", b"/b"), &looked(TOLD), 1_700_000_003);
        seen.archived("core", b"/a", &[7; 32]);
        assert_eq!(seen.to_keep(), None);
        // What the next archive does not have is not in what is kept with it.
        assert_eq!(again(TOLD, 1_800_000_000).to_keep(), None);
    }

    #[test]
    fn a_file_of_before_1970_is_read_each_time() {
        let mut seen = Seen::default();
        let old = b"801:42 5 -1.5000000000 1700000001.0000000000";
        seen.look(("core", b"/a"), &looked(old), 1_800_000_000);
        seen.archived("core", b"/a", &[7; 32]);
        assert_eq!(seen.to_keep(), None);
    }

    #[test]
    fn what_is_damaged_or_says_something_else_is_of_no_use() {
        let mut seen = Seen::default();
        seen.look(("core", b"/a"), &looked(TOLD), 1_800_000_000);
        seen.archived("core", b"/a", &[7; 32]);
        let kept = seen.to_keep().unwrap();
        assert!(Seen::kept(&kept).is_some());
        assert!(Seen::kept(&kept[..kept.len() - 1]).is_none());
        assert!(Seen::kept(&kept[1..]).is_none() && Seen::kept(b"").is_none());
        for told in [
            &b""[..],
            b"801:42 5 1.0",
            b"801:42 5 1.0 2.0 3",
            b"801 5 1.0 2.0",
            b"801:42 x 1.0 2.0",
            b"\xff:1 5 1.0 2.0",
        ] {
            assert_eq!(Looked::parse(told), None, "{told:?}");
        }
    }
}
