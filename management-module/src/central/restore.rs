//! Writes the members of an archive back: into a directory, or to the paths that they came from.
//!
//! **Invariant:** an archive is doubted. Nothing is written outside the target directory or, in place, outside the
//! paths that the profile names for that data set; no symbolic link on the way is followed, no device is made, no
//! command runs that the profile does not name. A file has its name only after its digest was found right; in a directory
//! that was empty it may have it before, and then nobody can read it. What is refused is named.

mod attributes;
mod content;
mod place;
mod traces;
mod writer;

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use satellite_proto::wire::backup::v1::{Item, Member, MemberOrigin, MemberType, item};
use tokio_util::sync::CancellationToken;

use self::attributes::OpenDirectories;
use self::content::Content;
use self::place::{Place, Places};
use self::traces::Trace;
pub use self::traces::Traces;
use self::writer::{Writer, all_files};
use super::command::CommandError;
use super::profile::Profile;
use super::quiesce::{QuiesceError, Quiesced, StopNotes};

/// Refusals and notices that are kept by name; the others are counted.
const KEPT: usize = 1000;
/// Refused members that are remembered, 8 bytes each.
const PASSED_OVER: usize = 1_000_000;

/// Where the members go.
#[derive(Debug)]
pub enum Target {
    /// Below this directory, as `DATA SET/PATH`. It must be empty or not be there.
    Directory(PathBuf),
    /// To the paths that the profile names.
    InPlace {
        /// What may be written and run.
        profile: Box<Profile>,
        /// Also where files are there already, and what restore commands replace.
        overwrite: bool,
    },
}

impl Target {
    /// At or below what it is written.
    fn roots(&self) -> Vec<PathBuf> {
        match self {
            Self::Directory(path) => vec![path.clone()],
            Self::InPlace { profile, .. } => profile
                .data_sets
                .iter()
                .flat_map(|set| set.paths.iter().cloned())
                .collect(),
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Members restored.
    pub members: u64,
    /// Bytes of content restored.
    pub bytes: u64,
    /// Members refused.
    pub refused: u64,
    /// The first of them, each with its reason, and what else is worth knowing.
    pub notices: Vec<String>,
}

/// A restore had to stop. What was restored before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The target directory cannot be used.
    #[error("`{}` cannot receive a restore: {reason}", path.display())]
    Target {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It could not be written down, so nothing was restored.
    #[error("cannot write down where is restored to, so nothing was")]
    Trace(#[source] io::Error),
    /// The stream breaks the rules of an archive.
    #[error("the archive's stream is malformed: {0}")]
    Malformed(String),
    /// The content is not what was backed up.
    #[error("`{label}`: the content's digest is wrong; the file was not restored")]
    Digest {
        /// The member.
        label: String,
    },
    /// Something could not be written.
    #[error("cannot write `{label}`")]
    Write {
        /// The member.
        label: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A restore command failed.
    #[error("`{label}`: the restore command did not succeed")]
    Command {
        /// The member.
        label: String,
        /// Why.
        #[source]
        source: CommandError,
    },
    /// A service could not be stopped.
    #[error("data set `{data_set}`: a service could not be stopped for the time of the restore")]
    Quiesce {
        /// The data set.
        data_set: String,
        /// Why.
        #[source]
        source: QuiesceError,
    },
    /// The caller did not want it any more.
    #[error("the restore was cancelled")]
    Cancelled,
}

/// A restore under way. Blocks: it belongs into a blocking thread.
#[derive(Debug)]
pub struct Restorer {
    places: Places,
    target: Target,
    cancel: CancellationToken,
    directories: OpenDirectories,
    notes: StopNotes,
    quiesced: Option<(String, Quiesced)>,
    current: Current,
    passed_over: PassedOver,
    report: Report,
    /// Where files can have their names before their content, and be known as such after a power cut.
    writer: Option<Writer>,
    /// Let go of when all temporaries are.
    _trace: Trace,
}

#[derive(Debug)]
enum Current {
    /// Between members.
    None,
    /// The content of a refused file is passed over.
    Skipped(Member),
    /// A file is being written.
    File(Member, Box<Content>),
    /// The writer writes it.
    GivenAway,
}

impl Restorer {
    /// Prepares a restore; makes the target directory if it is not there.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Target`] if it is there and not empty; [`RestoreError::Trace`].
    pub fn new(
        target: Target,
        notes: StopNotes,
        traces: &Traces,
        cancel: CancellationToken,
    ) -> Result<Self, RestoreError> {
        let is_new = matches!(target, Target::Directory(_));
        let trace = traces
            .begin(target.roots(), is_new)
            .map_err(RestoreError::Trace)?;
        let places = Places::open(&target, trace.prefix.clone())?;
        let writer = places.directory().map(Writer::start).transpose();
        Ok(Self {
            places,
            writer: writer.map_err(all_files)?,
            target,
            notes,
            cancel,
            directories: OpenDirectories::default(),
            quiesced: None,
            current: Current::None,
            passed_over: PassedOver::default(),
            report: Report::default(),
            _trace: trace,
        })
    }

    /// Takes the next item.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]: the restore has ended with it.
    pub fn item(&mut self, item: Item) -> Result<(), RestoreError> {
        if self.cancel.is_cancelled() {
            return Err(RestoreError::Cancelled);
        }
        match (item.kind, std::mem::replace(&mut self.current, Current::None)) {
            (Some(item::Kind::Begin(member)), Current::None) => self.begin(member),
            (Some(item::Kind::Content(data)), Current::Skipped(member)) => {
                drop(data);
                self.current = Current::Skipped(member);
                Ok(())
            }
            (Some(item::Kind::Content(data)), Current::GivenAway) => {
                self.current = Current::GivenAway;
                self.report.bytes += data.len() as u64;
                self.writer.as_mut().map_or(Ok(()), |writer| writer.content(data))
            }
            (Some(item::Kind::Content(data)), Current::File(member, mut content)) => {
                content.write(&member, &data)?;
                self.report.bytes += data.len() as u64;
                self.current = Current::File(member, content);
                Ok(())
            }
            (Some(item::Kind::End(_)), Current::Skipped(_)) => Ok(()),
            (Some(item::Kind::End(end)), Current::File(member, content)) => {
                self.end(&member, *content, &end.sha256)
            }
            (Some(item::Kind::End(end)), Current::GivenAway) => self
                .writer
                .as_mut()
                .map_or(Ok(()), |writer| writer.end(end.sha256)),
            (Some(item::Kind::Begin(_)), _) => {
                Err(malformed("a member begins before the one before has ended"))
            }
            (Some(item::Kind::Copied(_)), _) => Err(malformed("content is named and does not come")),
            (Some(_), Current::None) => Err(malformed("content comes before a file was begun")),
            (None, _) => Err(malformed("an item is of a kind that this version does not know")),
        }
    }

    /// Ends the restore: times of directories are set and everything is on disk.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Malformed`] if a file was not ended.
    pub fn finish(mut self) -> Result<Report, RestoreError> {
        if !matches!(self.current, Current::None) {
            return Err(malformed("it ends in the middle of a file"));
        }
        self.close_writer()?;
        self.directories.close_all(&mut self.report);
        self.places.sync().map_err(all_files)?;
        drop(self.quiesced.take());
        Ok(self.report)
    }

    /// What was done so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    fn begin(&mut self, member: Member) -> Result<(), RestoreError> {
        let kind = member.r#type();
        let from_command = member.origin() == MemberOrigin::Command;
        if kind == MemberType::Unspecified || (from_command && kind != MemberType::File) {
            return Err(malformed(
                "a member has no type, or a command's output is not a file",
            ));
        }
        self.quiesce(&member.data_set)?;
        if let (true, Target::InPlace { profile, overwrite }) = (from_command, &self.target) {
            if !overwrite {
                let reason = "its restore command replaces what is there today: allow that with --overwrite";
                self.refuse(member, reason);
                return Ok(());
            }
            let command = profile
                .data_set(&member.data_set)
                .and_then(|set| set.command(&member.path));
            let Some(command) = command.filter(|command| !command.restore.is_empty()).cloned() else {
                let reason =
                    "the profile names no restore command for it; restore into a directory to have the file";
                self.refuse(member, reason);
                return Ok(());
            };
            let content = Content::for_command(&member, command)?;
            self.current = Current::File(member, Box::new(content));
            return Ok(());
        }
        match self.places.find(&self.target, &member.data_set, &member.path) {
            Ok(place) => self.begin_at(member, kind, place),
            Err(reason) => {
                self.refuse(member, &reason);
                Ok(())
            }
        }
    }

    fn begin_at(&mut self, member: Member, kind: MemberType, place: Place) -> Result<(), RestoreError> {
        self.directories.close_others(&place.path, &mut self.report);
        let made = match kind {
            MemberType::File => return self.begin_file(member, place),
            MemberType::Directory => place.make_directory().map(|made| {
                self.directories.open(place.path.clone(), made, member.clone());
            }),
            MemberType::HardLink if self.passed_over.has(&member.data_set, &member.link_target) => {
                Err("the file that it is another name of was refused".to_owned())
            }
            MemberType::HardLink => {
                if let Some(writer) = &mut self.writer {
                    writer.settle()?;
                }
                let first = self
                    .places
                    .find(&self.target, &member.data_set, &member.link_target);
                first.and_then(|first| place.hard_link(&first, self.overwrite()))
            }
            MemberType::Symlink => {
                let problems = place.symlink(&member, self.overwrite());
                problems.map(|problems| self.report.notices(&member, problems))
            }
            MemberType::Unspecified => Err("it has no type".to_owned()),
        };
        match made {
            Ok(()) => self.report.members += 1,
            Err(reason) => self.refuse(member, &reason),
        }
        Ok(())
    }

    fn begin_file(&mut self, member: Member, place: Place) -> Result<(), RestoreError> {
        if let Some(writer) = &mut self.writer {
            match Content::in_new_directory(&member, &place)? {
                Ok(Some(content)) => {
                    self.current = Current::GivenAway;
                    return writer.begin(member, content);
                }
                Ok(None) => self.close_writer()?,
                Err(reason) => {
                    self.refuse(member, &reason);
                    return Ok(());
                }
            }
        }
        let content = Content::for_file(&member, place, self.overwrite())?;
        self.current = Current::File(member, Box::new(content));
        Ok(())
    }

    fn end(&mut self, member: &Member, content: Content, sha256: &[u8]) -> Result<(), RestoreError> {
        let ended = content.finish(member, sha256, &self.cancel)?;
        if ended.is_err() {
            self.passed_over.note(member);
        }
        self.report.ended(member, ended);
        Ok(())
    }

    fn close_writer(&mut self) -> Result<(), RestoreError> {
        if let Some(writer) = self.writer.take() {
            self.report.add(writer.close()?);
        }
        Ok(())
    }

    fn refuse(&mut self, member: Member, reason: &str) {
        self.report.refusal(&member, reason);
        self.passed_over.note(&member);
        if member.r#type() == MemberType::File {
            self.current = Current::Skipped(member);
        }
    }

    fn overwrite(&self) -> bool {
        matches!(self.target, Target::InPlace { overwrite: true, .. })
    }

    /// In place, the services of the data set stand still while it is written.
    fn quiesce(&mut self, data_set: &str) -> Result<(), RestoreError> {
        let Target::InPlace { profile, .. } = &self.target else {
            return Ok(());
        };
        if self
            .quiesced
            .as_ref()
            .is_some_and(|(current, _)| current == data_set)
        {
            return Ok(());
        }
        self.directories.close_all(&mut self.report);
        drop(self.quiesced.take());
        let units = profile
            .data_set(data_set)
            .map(|set| [set.quiesce.as_slice(), &set.quiesce_for_restore].concat())
            .unwrap_or_default();
        let stopped = Quiesced::stop(&units, &self.notes).map_err(|source| RestoreError::Quiesce {
            data_set: data_set.to_owned(),
            source,
        })?;
        self.quiesced = Some((data_set.to_owned(), stopped));
        Ok(())
    }
}

/// Members that were refused, as keyed hashes: a further name of one of them would be given to what lies there instead.
#[derive(Debug, Default)]
struct PassedOver {
    keys: RandomState,
    members: HashSet<u64>,
}

impl PassedOver {
    fn note(&mut self, member: &Member) {
        if self.members.len() < PASSED_OVER {
            let key = self.keys.hash_one((&member.data_set, &member.path));
            self.members.insert(key);
        }
    }

    /// True also where it is not known any more.
    fn has(&self, data_set: &str, path: &Bytes) -> bool {
        let known = self.members.contains(&self.keys.hash_one((data_set, path)));
        known || self.members.len() >= PASSED_OVER
    }
}

impl Report {
    /// A file that was finished, with what could not be set on it, or that was refused in the end.
    fn ended(&mut self, member: &Member, ended: Result<Vec<String>, String>) {
        match ended {
            Ok(problems) => {
                satellite_host::fail_point("restore.placed");
                self.members += 1;
                self.notices(member, problems);
            }
            Err(reason) => self.refusal(member, &reason),
        }
    }

    fn add(&mut self, more: Self) {
        self.members += more.members;
        self.bytes += more.bytes;
        self.refused += more.refused;
        more.notices.into_iter().for_each(|text| self.notice(text));
    }

    fn refusal(&mut self, member: &Member, reason: &str) {
        self.refused += 1;
        self.notice(format!("{} was refused: {reason}", label(member)));
    }

    fn notices(&mut self, member: &Member, problems: Vec<String>) {
        for problem in problems {
            self.notice(format!("{}: {problem}", label(member)));
        }
    }

    fn notice(&mut self, text: String) {
        if self.notices.len() < KEPT {
            self.notices.push(text);
        }
    }
}

fn malformed(text: &str) -> RestoreError {
    RestoreError::Malformed(text.to_owned())
}

fn label(member: &Member) -> String {
    format!("{}/{}", member.data_set, String::from_utf8_lossy(&member.path))
}

#[cfg(test)]
mod tests;
