//! The names of kernel images on the loader's partition, in which systemd-boot counts starts.
//!
//! Pure: names in, names out.

/// What comes before the version.
const STEM: &str = "satellite_";
/// What the loader looks for.
const SUFFIX: &str = ".efi";
/// What comes behind it where the loader is not to find it.
const HIDDEN: &str = ".hidden";
/// How often a new slot is started before the loader gives it up.
pub const TRIES: u32 = 3;

/// A kernel image, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Version of the system.
    pub version: String,
    /// Starts that are left to it; none: it was good once.
    pub left: Option<u32>,
    /// Starts that were counted.
    pub done: u32,
    /// The loader does not see it.
    pub is_hidden: bool,
}

impl Entry {
    /// Reads a file's name; none if it is not one of ours.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let shown = name.strip_suffix(HIDDEN);
        let is_hidden = shown.is_some();
        let stem = shown.unwrap_or(name).strip_prefix(STEM)?.strip_suffix(SUFFIX)?;
        let Some((version, count)) = stem.rsplit_once('+') else {
            return Some(Self {
                is_hidden,
                ..Self::good(stem)
            });
        };
        let (left, done) = count.split_once('-').unwrap_or((count, "0"));
        Some(Self {
            version: version.to_owned(),
            left: Some(left.parse().ok()?),
            done: done.parse().ok()?,
            is_hidden,
        })
    }

    /// The entry of a version that was good once.
    #[must_use]
    pub fn good(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            left: None,
            done: 0,
            is_hidden: false,
        }
    }

    /// The entry of a version that was never started.
    #[must_use]
    pub fn new(version: &str) -> Self {
        Self {
            left: Some(TRIES),
            ..Self::good(version)
        }
    }

    /// The same, of which the loader takes every other one first.
    #[must_use]
    pub fn given_up(&self) -> Self {
        Self {
            left: Some(0),
            done: self.done.max(1),
            ..self.clone()
        }
    }

    /// The same, where the loader does not find it.
    #[must_use]
    pub fn hidden(&self) -> Self {
        Self {
            is_hidden: true,
            ..self.clone()
        }
    }

    /// Whether its version is older than another, as the loader orders them; not if that cannot be said.
    #[must_use]
    pub fn is_older_than(&self, version: &str) -> bool {
        is_older(&self.version, version)
    }

    /// The file's name.
    #[must_use]
    pub fn name(&self) -> String {
        let version = &self.version;
        let hidden = if self.is_hidden { HIDDEN } else { "" };
        match (self.left, self.done) {
            (None, _) => format!("{STEM}{version}{SUFFIX}{hidden}"),
            (Some(left), 0) => format!("{STEM}{version}+{left}{SUFFIX}{hidden}"),
            (Some(left), done) => format!("{STEM}{version}+{left}-{done}{SUFFIX}{hidden}"),
        }
    }
}

/// Whether a version is older than another; not if one of them is none.
pub(super) fn is_older(version: &str, than: &str) -> bool {
    let parsed = |text: &str| text.parse::<semver::Version>().ok();
    matches!((parsed(version), parsed(than)), (Some(version), Some(than)) if version < than)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_the_loader_writes_them() {
        for (name, version, left, done) in [
            ("satellite_1.2.3.efi", "1.2.3", None, 0),
            ("satellite_1.2.3+3.efi", "1.2.3", Some(3), 0),
            ("satellite_1.2.3+2-1.efi", "1.2.3", Some(2), 1),
            ("satellite_1.2.3+0-3.efi", "1.2.3", Some(0), 3),
        ] {
            let entry = Entry::parse(name).unwrap();
            assert_eq!(
                (entry.version.as_str(), entry.left, entry.done),
                (version, left, done)
            );
            assert_eq!(entry.name(), name);
        }
    }

    #[test]
    fn what_is_hidden_is_known_to_us_and_has_another_ending() {
        let hidden = Entry::good("1.2.3").hidden();
        assert_eq!(hidden.name(), "satellite_1.2.3.efi.hidden");
        assert_eq!(Entry::parse(&hidden.name()), Some(hidden));
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(Entry::good("1.9.0").is_older_than("1.10.0"));
        assert!(!Entry::good("1.10.0").is_older_than("1.10.0"));
        assert!(!Entry::good("image-of-a-test").is_older_than("1.10.0"));
    }

    #[test]
    fn what_is_not_ours_is_no_entry() {
        for name in [
            "linux.efi",
            "satellite_1.0+x.efi",
            "satellite_1.0.efi.part",
            "satellite_1.0+3-.efi",
        ] {
            assert_eq!(Entry::parse(name), None, "{name}");
        }
    }

    #[test]
    fn what_is_given_up_has_no_start_left() {
        assert_eq!(Entry::new("2.0.0").given_up().name(), "satellite_2.0.0+0-1.efi");
        let counted = Entry::parse("satellite_2.0.0+1-2.efi").unwrap();
        assert_eq!(counted.given_up().name(), "satellite_2.0.0+0-2.efi");
    }
}
