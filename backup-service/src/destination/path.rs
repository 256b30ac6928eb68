//! Paths at a destination, relative to where it begins. Pure.
//!
//! **Invariant:** a path leads out of no directory, and each of its parts is a name on every kind of destination.

use std::fmt;

use crate::age::ENDING;

use crate::archive::names::Label;

/// Longest part of a path, in bytes.
const LONGEST: usize = 255;

/// Ending of a file that is not whole.
const PART: &str = ".part";

/// Ending of an archive.
const ARCHIVE: &str = ".sar";

/// A path of one to three parts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlacePath(Vec<String>);

impl PlacePath {
    /// A directory directly at the destination.
    #[must_use]
    pub fn top(name: &Label) -> Self {
        Self(vec![name.to_string()])
    }

    /// Something in this directory; none if `name` is no name.
    #[must_use]
    pub fn join(&self, name: &str) -> Option<Self> {
        is_name(name).then(|| {
            let mut parts = self.0.clone();
            parts.push(name.to_owned());
            Self(parts)
        })
    }

    /// The path of an archive as a caller names it: `base/directory/file.sar`.
    #[must_use]
    pub fn of_archive(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split('/').map(str::to_owned).collect();
        let good = parts.len() == 3 && parts.iter().all(|part| is_name(part)) && is_archive(&parts[2]);
        good.then_some(Self(parts))
    }

    /// The parts.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The last part.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// The directory in which it is.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, above) = self.0.split_last()?;
        (!above.is_empty()).then(|| Self(above.to_vec()))
    }
}

impl fmt::Display for PlacePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

/// Whether it may be a part of a path.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let bad = |c: char| c.is_control() || "/\\:*?\"<>|".contains(c);
    (1..=LONGEST).contains(&name.len())
        && !name.starts_with('.')
        && !name.ends_with(['.', ' '])
        && !name.contains(bad)
}

/// Whether a name is that of an archive, encrypted or not.
#[must_use]
pub fn is_archive(name: &str) -> bool {
    let plain = name.strip_suffix(ENDING).unwrap_or(name);
    plain.len() > ARCHIVE.len() && plain.ends_with(ARCHIVE)
}

/// The name that a temporary is to get, whoever's it is; none if it is no temporary.
#[must_use]
pub fn becomes(name: &str) -> Option<&str> {
    let (rest, mark) = name.strip_suffix(PART)?.rsplit_once('.')?;
    (Mark::new(mark).is_some() && !rest.is_empty()).then_some(rest)
}

/// Marks temporaries as those of one backup-service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(String);

impl Mark {
    /// Eight hexadecimal digits.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let good = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
        good.then(|| Self(text.to_owned()))
    }

    /// A mark that nobody else has.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string()[..8].to_owned())
    }

    /// As it is kept.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Name under which a file is written.
    #[must_use]
    pub fn temporary(&self, name: &str) -> String {
        format!("{name}.{}{PART}", self.0)
    }

    /// Whether a file is a temporary of this very service.
    #[must_use]
    pub fn is_ours(&self, name: &str) -> bool {
        name.strip_suffix(PART)
            .and_then(|rest| rest.strip_suffix(&self.0))
            .is_some_and(|rest| rest.ends_with('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leads_elsewhere_is_none() {
        for text in [
            "",
            "a.sar",
            "b/a.sar",
            "b/c/d/a.sar",
            "../c/a.sar",
            "b/../a.sar",
            "/b/a.sar",
            "b//a.sar",
            "b/c/a.tar",
            "b/c/.sar",
            "b/c/a.sar/",
            "b\\x/c/a.sar",
            "b/c/a\0.sar",
        ] {
            assert_eq!(PlacePath::of_archive(text), None, "{text:?}");
        }
        let path = PlacePath::of_archive("starface-backup/Größe 1/pbx_1.sar").unwrap();
        assert_eq!(path.to_string(), "starface-backup/Größe 1/pbx_1.sar");
        assert_eq!(path.parent().unwrap().to_string(), "starface-backup/Größe 1");
        assert_eq!(path.name(), "pbx_1.sar");
        assert!(is_archive("a.sar.age") && !is_archive("a.age") && !is_archive(".sar.age"));
    }

    #[test]
    fn a_temporary_is_known_by_its_maker_alone() {
        let (ours, theirs) = (Mark::new("0123abcd").unwrap(), Mark::random());
        assert_eq!(ours.temporary("a.sar"), "a.sar.0123abcd.part");
        assert!(ours.is_ours("a.sar.0123abcd.part"));
        assert!(!theirs.is_ours("a.sar.0123abcd.part"));
        assert!(!ours.is_ours("a.sar"));
        assert!(!ours.is_ours("0123abcd.part"));
        assert_eq!(Mark::new("../../.."), None);
        assert_eq!(becomes("a.sar.0123abcd.part"), Some("a.sar"));
        for name in [
            "a.sar",
            "a.sar.part",
            "0123abcd.part",
            ".0123abcd.part",
            "a.sar.0123abcg.part",
        ] {
            assert_eq!(becomes(name), None, "{name}");
        }
    }
}
