//! Asks the central's own programs what SFTP does not say of files: which names are one file, which files have holes, and which have
//! extended attributes or access control lists.
//!
//! **Invariant:** what cannot be found out is no failure: each name is then a file of its own, and nothing is told of the rest.

use std::collections::HashMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::Central;
use super::exec::{ExecError, Running};
use super::plan::DataSet;

/// Files with several names that are remembered.
const LINKS: usize = 100_000;
/// How long the central may look.
const LOOK: Duration = Duration::from_secs(600);
/// What a file must lack on the disk to have holes: what is left of a block, or lies in the inode, is none.
const HOLE: u64 = 64 << 10;

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

/// Asks for a data set.
pub(super) async fn ask(central: &Central, set: &DataSet) -> Answers {
    let paths = set.paths.iter();
    let paths = paths.filter_map(|path| std::str::from_utf8(path).ok().map(str::to_owned));
    let paths: Vec<_> = paths.collect();
    if paths.is_empty() {
        return Answers::default();
    }
    let mut answers = names_and_holes(central, &paths).await.unwrap_or_default();
    answers.attributes = attributes(central, &paths).await.unwrap_or_default();
    answers
}

async fn names_and_holes(central: &Central, paths: &[String]) -> Result<Answers, ExecError> {
    let words = ["find", "-P"].map(str::to_owned).into_iter();
    // Of each file what it takes and has, and of one with several names which file it is.
    let what = [
        "-type",
        "f",
        "-printf",
        r"%b %s\0",
        "-links",
        "+1",
        "-printf",
        r"%D:%i %p\0",
    ];
    let argv: Vec<_> = words
        .chain(paths.iter().cloned())
        .chain(what.map(str::to_owned))
        .collect();
    let mut running = Running::start(&central.ssh, &argv, LOOK).await?;
    let (mut answers, mut rest) = (Answers::default(), BytesMut::new());
    while let Some(data) = running.print().await? {
        rest.extend_from_slice(&data);
        while let Some(end) = rest.iter().position(|byte| *byte == 0) {
            let line = rest.split_to(end + 1).freeze();
            answers.take(&line.slice(..end));
        }
    }
    Ok(answers)
}

impl Answers {
    fn take(&mut self, line: &Bytes) {
        let Some(space) = line.iter().position(|byte| *byte == b' ') else {
            return;
        };
        let (first, second) = (line.slice(..space), line.slice(space + 1..));
        if first.contains(&b':') {
            if self.links.len() < LINKS {
                self.links.insert(second, first);
            }
            return;
        }
        let number = |bytes: &Bytes| std::str::from_utf8(bytes).ok()?.parse::<u64>().ok();
        if let (Some(blocks), Some(size)) = (number(&first), number(&second)) {
            self.holes += u64::from(size.saturating_sub(blocks.saturating_mul(512)) >= HOLE);
        }
    }
}

async fn attributes(central: &Central, paths: &[String]) -> Result<u64, ExecError> {
    let words = ["sh", "-c", COUNT_ATTRIBUTES, "sh"].map(str::to_owned);
    let argv: Vec<_> = words.into_iter().chain(paths.iter().cloned()).collect();
    let mut running = Running::start(&central.ssh, &argv, LOOK).await?;
    let mut said = Vec::new();
    while let Some(data) = running.print().await? {
        said.extend_from_slice(&data);
    }
    let number = std::str::from_utf8(&said)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    Ok(number.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_find_says_is_taken_apart_whatever_a_name_is() {
        let mut answers = Answers::default();
        for line in [
            &b"8 4096"[..],
            b"0 100",
            b"16 1048576",
            b"801:42 /a b\n",
            b"801:42 /c\xff",
            b"",
            b"x y",
        ] {
            answers.take(&Bytes::copy_from_slice(line));
        }
        assert_eq!((answers.holes, answers.links.len()), (1, 2));
        assert_eq!(answers.links[&b"/a b\n"[..]], answers.links[&b"/c\xff"[..]]);
    }
}
