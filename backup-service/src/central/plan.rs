//! What a profile says of a central's data, checked. Pure.

use std::time::Duration;

use bytes::Bytes;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use jiff::Timestamp;

use crate::archive::names::{self, MemberPath};
use crate::destination::fault::Fault;

/// Most data sets of a plan, and things that one of them names.
const MOST: usize = 10_000;

/// A part of a central's data.
#[derive(Debug, Clone)]
pub struct DataSet {
    /// Its name.
    pub name: names::DataSet,
    /// Absolute paths, none below another.
    pub paths: Vec<Bytes>,
    /// What is left out, matched against absolute paths.
    pub excludes: GlobSet,
    /// Programs whose output is a file of it.
    pub commands: Vec<Command>,
    /// Units that are stopped meanwhile.
    pub quiesce: Vec<String>,
    /// Only files that were last changed before.
    pub changed_before: Option<Timestamp>,
}

/// A program of a profile.
#[derive(Debug, Clone)]
pub struct Command {
    /// Name of the file in the archive.
    pub name: MemberPath,
    /// What prints it.
    pub run: Vec<String>,
    /// What takes it; empty: nothing.
    pub restore: Vec<String>,
    /// How long either may take.
    pub deadline: Duration,
}

/// A data set as it came.
#[derive(Debug, Default)]
pub struct Written {
    /// Its name.
    pub name: String,
    /// Absolute paths.
    pub paths: Vec<Bytes>,
    /// Patterns.
    pub excludes: Vec<String>,
    /// Programs.
    pub commands: Vec<(String, Vec<String>, Vec<String>, Duration)>,
    /// Units.
    pub quiesce: Vec<String>,
}

impl DataSet {
    /// Doubts what came.
    ///
    /// # Errors
    /// [`Fault::Description`].
    pub fn check(written: Written) -> Result<Self, Fault> {
        let of = written.name.clone();
        let wrong = |what: String| Fault::Description(format!("data set `{of}`: {what}"));
        let counts = [
            written.paths.len(),
            written.excludes.len(),
            written.commands.len(),
            written.quiesce.len(),
        ];
        if counts.into_iter().any(|count| count > MOST) {
            return Err(wrong("it names too much".to_owned()));
        }
        for path in &written.paths {
            let below = path.strip_prefix(b"/").map(Bytes::copy_from_slice);
            if below.is_none_or(|below| MemberPath::new(below).is_err()) {
                let shown = names::escape(path);
                return Err(wrong(format!("`{shown}` is no absolute path of plain names")));
            }
        }
        let mut excludes = GlobSetBuilder::new();
        for pattern in &written.excludes {
            let glob = GlobBuilder::new(pattern).literal_separator(true).build();
            excludes
                .add(glob.map_err(|error| wrong(format!("`{pattern}` is no pattern: {}", error.kind())))?);
        }
        let excludes = excludes.build().map_err(|error| wrong(error.to_string()))?;
        if let Some(unit) = written.quiesce.iter().find(|unit| !is_unit(unit)) {
            return Err(wrong(format!("`{unit}` is not the name of a systemd unit")));
        }
        let commands = written
            .commands
            .into_iter()
            .map(|(name, run, restore, deadline)| {
                let has_nul = run.iter().chain(&restore).any(|word| word.contains('\0'));
                if run.first().is_none_or(String::is_empty) || has_nul || deadline.is_zero() {
                    return Err(wrong(format!(
                        "the command for `{name}` has no program, a NUL or no deadline"
                    )));
                }
                let name = MemberPath::new(name.into_bytes().into())
                    .map_err(|bad| wrong(format!("a command's name: {bad}")))?;
                Ok(Command {
                    name,
                    run,
                    restore,
                    deadline,
                })
            });
        Ok(Self {
            commands: commands.collect::<Result<_, _>>()?,
            name: written
                .name
                .parse()
                .map_err(|bad| wrong(format!("its name: {bad}")))?,
            paths: written.paths,
            excludes,
            quiesce: written.quiesce,
            changed_before: None,
        })
    }

    /// Whether it takes something: below a path, not excluded.
    pub(super) fn excludes(&self, path: &[u8]) -> bool {
        use std::os::unix::ffi::OsStrExt as _;
        self.excludes
            .is_match(std::path::Path::new(std::ffi::OsStr::from_bytes(path)))
    }

    /// The configured path at which or below which an absolute path lies.
    pub(super) fn root_of(&self, path: &[u8]) -> Option<&Bytes> {
        self.paths.iter().find(|root| {
            path.strip_prefix(&root[..])
                .is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
        })
    }
}

/// The name of a systemd unit, such as `x.service`: it stands in a script.
fn is_unit(text: &str) -> bool {
    let clean = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.@:\\".contains(&byte));
    clean && text.contains('.') && !text.starts_with(['-', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(change: impl FnOnce(&mut Written)) -> Option<String> {
        let mut written = Written {
            name: "core".to_owned(),
            paths: vec![Bytes::from_static(b"/etc/pbx")],
            excludes: vec!["**/*.tmp".to_owned()],
            commands: vec![(
                "dump.sql".to_owned(),
                vec!["dump".to_owned()],
                Vec::new(),
                Duration::from_secs(60),
            )],
            quiesce: vec!["pbx.service".to_owned()],
        };
        change(&mut written);
        DataSet::check(written).err().map(|fault| fault.to_string())
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        assert_eq!(fault(|_| {}), None);
        for path in ["etc", "/", "", "/a/../b", "/a//b", "/a\0"] {
            let bytes = Bytes::copy_from_slice(path.as_bytes());
            assert!(fault(|written| written.paths.push(bytes)).is_some(), "{path:?}");
        }
        for unit in [
            "x",
            "-x.service",
            "a b.service",
            "$(x).service",
            "a;b.service",
            "'.service",
        ] {
            assert!(
                fault(|written| written.quiesce.push(unit.to_owned())).is_some(),
                "{unit:?}"
            );
        }
        assert!(fault(|written| written.commands[0].1.clear()).is_some());
        assert!(fault(|written| written.commands[0].0 = "../x".to_owned()).is_some());
        assert!(fault(|written| written.name = "a/b".to_owned()).is_some());
        assert!(fault(|written| written.excludes.push("[".to_owned())).is_some());
    }

    #[test]
    fn a_path_belongs_to_the_configured_one_above_it_only() {
        let set = DataSet::check(Written {
            name: "core".to_owned(),
            paths: vec![Bytes::from_static(b"/etc/pbx")],
            ..Written::default()
        })
        .unwrap();
        assert!(set.root_of(b"/etc/pbx").is_some() && set.root_of(b"/etc/pbx/a").is_some());
        assert!(set.root_of(b"/etc/pbxa").is_none() && set.root_of(b"/etc").is_none());
    }
}
