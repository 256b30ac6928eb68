//! Asks the central's own programs what SFTP does not say of files: which names are one file, which have not changed since the last
//! archive, which have holes, and which have extended attributes or access control lists.
//!
//! **Invariant:** what cannot be found out is no failure: each name is then a file of its own, each file is read, and nothing is told
//! of the rest.

use std::collections::HashMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::Central;
use super::exec::{ExecError, Running};
use super::plan::DataSet;
use super::seen::{Looked, Seen};

/// Files with several names that are remembered.
const LINKS: usize = 100_000;
/// How long the central may look.
const LOOK: Duration = Duration::from_secs(600);
/// What a file must lack on the disk to have holes: what is left of a block, or lies in the inode, is none.
const HOLE: u64 = 64 << 10;

/// Says how late it is on the central, and then whatever `find` prints: each ends with a NUL.
const FIND: &str = r#"printf '%s\0' "$(date +%s)" && exec find -P "$@""#;

/// Of each file the blocks that it takes, its names, and what [`Looked::parse`] takes; then its path.
const PRINTED: &str = r"%b %n %D:%i %s %T@ %C@\0%p\0";

/// Bytes of what is said of one file: much more than any path has.
const LONGEST: usize = 1 << 20;

/// Files with attributes, or at least with access control lists: `ls` knows of these.
const COUNT_ATTRIBUTES: &str = r#"if command -v getfattr >/dev/null; then
  getfattr -R -P -h --absolute-names -m '^(user\.|trusted\.|system\.posix_acl|security\.capability)' -- "$@" | grep -c '^# file: '
else
  find -P "$@" -exec ls -ldn -- {} + | grep -c '^[^ ]*[+] '
fi 2>/dev/null"#;

/// What was found out.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Which file a name with others beside it is one of.
    pub(super) links: HashMap<Bytes, Bytes>,
    /// Files with holes.
    pub(super) holes: u64,
    /// Files and directories with attributes or lists.
    pub(super) attributes: u64,
}

impl Answers {
    /// What is lost of a data set, for a person; nothing if nothing is. What is left out was counted too.
    pub(super) fn lost(&self, set: &DataSet) -> Option<String> {
        let holes = match self.holes {
            0 => None,
            1 => Some("1 file has holes, which come back as zeros".to_owned()),
            many => Some(format!("{many} files have holes, which come back as zeros")),
        };
        let attributes = match self.attributes {
            0 => None,
            1 => Some(
                "1 thing has extended attributes or an access control list, which are not kept".to_owned(),
            ),
            many => Some(format!(
                "{many} things have extended attributes or access control lists, which are not kept"
            )),
        };
        let told: Vec<_> = attributes.into_iter().chain(holes).collect();
        (!told.is_empty())
            .then(|| format!("{}: not all can be read over SFTP: {}", set.name, told.join("; ")))
    }
}

/// Asks for a data set. What has not changed is noted in `seen`.
pub(super) async fn ask(central: &Central, set: &DataSet, seen: &mut Seen) -> Answers {
    let paths = set.paths.iter();
    let paths = paths.filter_map(|path| std::str::from_utf8(path).ok().map(str::to_owned));
    let paths: Vec<_> = paths.collect();
    if paths.is_empty() {
        return Answers::default();
    }
    let mut answers = files(central, (set.name.as_str(), &paths), seen)
        .await
        .unwrap_or_default();
    answers.attributes = attributes(central, &paths).await.unwrap_or_default();
    answers
}

async fn files(
    central: &Central,
    (data_set, paths): (&str, &[String]),
    seen: &mut Seen,
) -> Result<Answers, ExecError> {
    let words = ["sh", "-c", FIND, "sh"].map(str::to_owned).into_iter();
    let what = ["-type", "f", "-printf", PRINTED];
    let argv: Vec<_> = words
        .chain(paths.iter().cloned())
        .chain(what.map(str::to_owned))
        .collect();
    let mut running = Running::start(&central.ssh, &argv, LOOK).await?;
    let (mut answers, mut rest) = (Answers::default(), BytesMut::new());
    let (mut now, mut looked): (Option<i64>, Option<Bytes>) = (None, None);
    while let Some(data) = running.print().await? {
        rest.extend_from_slice(&data);
        while let Some(end) = rest.iter().position(|byte| *byte == 0) {
            let part = rest.split_to(end + 1).freeze().slice(..end);
            match (now, looked.take()) {
                // Of a clock that is not understood nothing is at rest.
                (None, _) => now = Some(number(&part).unwrap_or(i64::MIN)),
                (Some(_), None) => looked = Some(part),
                (Some(now), Some(looked)) => {
                    if let Some(looked) = answers.take(&looked, &part) {
                        seen.look((data_set, &part), &looked, now);
                    }
                }
            }
        }
        if rest.len() > LONGEST {
            // What says so much of a file is not `find`.
            break;
        }
    }
    Ok(answers)
}

impl Answers {
    /// Takes what was printed of a file.
    fn take<'a>(&mut self, told: &'a [u8], path: &Bytes) -> Option<Looked<'a>> {
        let (blocks, rest) = word(told)?;
        let (names, looked) = word(rest)?;
        let (file, _) = word(looked)?;
        let (blocks, names): (u64, u64) = (number(blocks)?, number(names)?);
        let looked = Looked::parse(looked)?;
        let taken = blocks.saturating_mul(512);
        self.holes += u64::from(looked.size.saturating_sub(taken) >= HOLE);
        if names > 1 && self.links.len() < LINKS {
            self.links.insert(path.clone(), Bytes::copy_from_slice(file));
        }
        Some(looked)
    }
}

fn number<N: std::str::FromStr>(text: &[u8]) -> Option<N> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// A word and what follows the blank after it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = text.iter().position(|byte| *byte == b' ')?;
    Some((text.get(..blank)?, text.get(blank + 1..)?))
}

async fn attributes(central: &Central, paths: &[String]) -> Result<u64, ExecError> {
    let words = ["sh", "-c", COUNT_ATTRIBUTES, "sh"].map(str::to_owned);
    let argv: Vec<_> = words.into_iter().chain(paths.iter().cloned()).collect();
    let mut running = Running::start(&central.ssh, &argv, LOOK).await?;
    let said = running.answer().await?;
    Ok(number(&said).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_find_says_is_taken_apart_whatever_a_name_is() {
        let mut answers = Answers::default();
        for (told, path) in [
            (&b"8 1 801:1 4096 1.0 2.0"[..], &b"/a"[..]),
            (b"0 1 801:2 100 1.0 2.0", b"/small"),
            (b"16 1 801:3 1048576 1.0 2.0", b"/hole"),
            (b"8 2 801:42 5 1.0 2.0", b"/a b\n"),
            (b"8 2 801:42 5 1.0 2.0", b"/c\xff"),
        ] {
            let path = Bytes::copy_from_slice(path);
            assert!(answers.take(told, &path).is_some(), "{path:?}");
        }
        assert_eq!((answers.holes, answers.links.len()), (1, 2));
        assert_eq!(answers.links[&b"/a b\n"[..]], answers.links[&b"/c\xff"[..]]);
        for told in [&b""[..], b"x y", b"8 2 801:42 5", b"x 1 801:1 4096 1.0 2.0"] {
            assert_eq!(answers.take(told, &Bytes::from_static(b"/d")), None);
        }
        assert_eq!(answers.links.len(), 2);
        // Its time does not count for what it is one of.
        let old = Bytes::from_static(b"/of 1969");
        assert!(answers.take(b"8 2 801:42 5 -1.5 2.0", &old).is_some());
        assert_eq!(answers.links[&old[..]], answers.links[&b"/c\xff"[..]]);
    }
}
