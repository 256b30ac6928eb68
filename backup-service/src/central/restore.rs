//! Writes members of an archive back to the paths of a central that they came from.
//!
//! **Invariants:** nothing is written but at or below the paths that the plan names for that data set, and no command runs that it
//! does not name. A file has its name, and a command hears of it, only after its digest was found right. What is refused is named.

mod place;

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use bytes::{Bytes, BytesMut};
use satellite_host::fail_point;
use tokio::sync::mpsc::Receiver;

use self::place::{Open, Places};
use super::exec::{Quiesced, Running};
use super::plan::{Command, DataSet};
use super::sftp::{Attributes, SftpError};
use super::{Central, CentralError, shown};
use crate::archive::member::{Kind, Member, Origin};
use crate::archive::write::Room;

/// Refusals and notices that are kept by name; the others are counted.
const KEPT: usize = 1000;
/// Refused members that are remembered, so that no link is made to one.
const PASSED_OVER: usize = 1_000_000;
/// Directories whose times are set in the end.
const DIRECTORIES: usize = 1_000_000;
/// Bytes of a dump that its command is given at once.
const PIECE: usize = 128 << 10;

/// A piece of the archive.
#[derive(Debug)]
pub enum Piece {
    /// A member begins.
    Begin(Member),
    /// Content of the file that began.
    Content(Bytes),
    /// The file that began ends: its digest was found right.
    End,
    /// The archive cannot be read any further, and why.
    Broken(String),
    /// Everything came.
    Whole,
}

/// What may be written and run.
#[derive(Debug)]
pub struct Wish {
    /// The data sets, as the profile has them now.
    pub sets: Vec<DataSet>,
    /// Also where files are there already, and what commands replace.
    pub overwrite: bool,
    /// Where what commands take waits until it came whole.
    pub room: Room,
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

/// Restores what comes. `told` hears how many bytes there are by now. Dropped, it ends; what was written stays.
///
/// # Errors
/// [`CentralError`].
pub async fn restore(
    central: &Central,
    wish: Wish,
    mut pieces: Receiver<Piece>,
    mut told: impl FnMut(u64) + Send,
) -> Result<Report, CentralError> {
    let mut restorer = Restorer {
        places: Places::new(central, wish.overwrite),
        central,
        wish,
        current: Current::None,
        quiesced: None,
        directories: Vec::new(),
        passed_over: HashSet::new(),
        report: Report::default(),
    };
    while let Some(piece) = pieces.recv().await {
        match piece {
            Piece::Begin(member) => restorer.begin(member).await?,
            Piece::Content(data) => restorer.content(data).await?,
            Piece::End => restorer.end().await?,
            Piece::Broken(why) => return Err(CentralError::Archive(why)),
            Piece::Whole => return restorer.finish().await,
        }
        told(restorer.report.bytes);
    }
    Err(CentralError::Cancelled)
}

struct Restorer<'a> {
    places: Places<'a>,
    central: &'a Central,
    wish: Wish,
    current: Current,
    /// The data set whose services are stopped.
    quiesced: Option<(String, usize, Option<Quiesced>)>,
    directories: Vec<(Vec<u8>, Attributes)>,
    passed_over: HashSet<(String, Bytes)>,
    report: Report,
}

enum Current {
    None,
    Skipped,
    File(Member, Open),
    Command(Member, Command, File),
}

impl Restorer<'_> {
    async fn begin(&mut self, member: Member) -> Result<(), CentralError> {
        let name = member.data_set.to_string();
        let set = self
            .wish
            .sets
            .iter()
            .find(|set| set.name == member.data_set)
            .cloned();
        let Some(set) = set else {
            self.refuse(&member, "the central's profile has no such data set");
            return Ok(());
        };
        self.quiesce(&name, &set).await?;
        if member.origin == Origin::Command {
            return self.begin_command(member, &set);
        }
        let path = [b"/", &member.path.as_bytes()[..]].concat();
        let Some(root) = set.root_of(&path).cloned() else {
            self.refuse(&member, "the central's profile does not name a path above it");
            return Ok(());
        };
        let place = match self.places.find(&root, path).await {
            Ok(place) => place,
            Err(error) => return self.failed(&member, error),
        };
        let attributes = attributes(&member);
        let made = match &member.kind {
            Kind::File(_) => {
                return match self.places.begin(&place).await {
                    Ok(open) => {
                        self.current = Current::File(member, open);
                        Ok(())
                    }
                    Err(error) => self.failed(&member, error),
                };
            }
            Kind::Directory => {
                if self.directories.len() < DIRECTORIES {
                    self.directories.push((place.clone(), attributes));
                }
                self.places.directory(&place).await
            }
            Kind::Symlink(target) => self.places.symlink(&place, target, &attributes).await,
            Kind::HardLink(first) if self.passed_over.contains(&(name, first.as_bytes().clone())) => Err(
                SftpError::Other("the file that it is another name of was refused".to_owned()),
            ),
            Kind::HardLink(first) => {
                let first = [b"/", &first.as_bytes()[..]].concat();
                match set.root_of(&first).cloned() {
                    None => Err(SftpError::Other(
                        "what it is another name of is elsewhere".to_owned(),
                    )),
                    Some(root) => match self.places.find(&root, first).await {
                        Ok(first) => self.places.hard_link(&first, &place).await,
                        Err(error) => Err(error),
                    },
                }
            }
        };
        match made {
            Ok(()) => {
                self.report.members += 1;
                Ok(())
            }
            Err(error) => self.failed(&member, error),
        }
    }

    fn begin_command(&mut self, member: Member, set: &DataSet) -> Result<(), CentralError> {
        let named = set.commands.iter().find(|command| command.name == member.path);
        let Some(command) = named.filter(|command| !command.restore.is_empty()).cloned() else {
            let reason =
                "the profile names no restore command for it; restore into a directory to have the file";
            self.refuse(&member, reason);
            return Ok(());
        };
        if !self.wish.overwrite {
            let reason = "its restore command replaces what is there today: allow that with --overwrite";
            self.refuse(&member, reason);
            return Ok(());
        }
        let spool = self.wish.room.spool().map_err(own)?;
        self.current = Current::Command(member, command, spool);
        Ok(())
    }

    async fn content(&mut self, data: Bytes) -> Result<(), CentralError> {
        let size = data.len() as u64;
        match &mut self.current {
            Current::None | Current::Skipped => return Ok(()),
            Current::Command(_, _, spool) => spool.write_all(&data).map_err(own)?,
            Current::File(member, open) => {
                if let Err(error) = self.places.write(open, data).await {
                    let member = member.clone();
                    self.current = Current::Skipped;
                    return self.failed(&member, error);
                }
            }
        }
        self.report.bytes += size;
        Ok(())
    }

    async fn end(&mut self) -> Result<(), CentralError> {
        match std::mem::replace(&mut self.current, Current::None) {
            Current::None | Current::Skipped => Ok(()),
            Current::Command(member, command, spool) => {
                let ran = self.run(&command, spool).await;
                ran.map_err(|source| CentralError::Command {
                    data_set: member.data_set.to_string(),
                    name: shown(member.path.as_bytes()),
                    source: Box::new(source),
                })?;
                self.report.members += 1;
                Ok(())
            }
            Current::File(member, open) => match self.places.end(open, &attributes(&member)).await {
                Ok(problem) => {
                    self.report.members += 1;
                    if let Some(problem) = problem {
                        self.note(format!("{}: {problem}", label(&member)));
                    }
                    Ok(())
                }
                Err(error) => self.failed(&member, error),
            },
        }
    }

    async fn run(&self, command: &Command, mut spool: File) -> Result<(), CentralError> {
        spool.seek(SeekFrom::Start(0)).map_err(own)?;
        let mut running = Running::fed(&self.central.ssh, &command.restore, command.deadline).await?;
        loop {
            let mut piece = BytesMut::zeroed(PIECE);
            let count = spool.read(&mut piece).map_err(own)?;
            if count == 0 {
                break;
            }
            piece.truncate(count);
            running.give(piece.freeze()).await?;
            fail_point("central.given");
        }
        running.given().await;
        Ok(running.finish().await?)
    }

    /// Stops the services of a data set, and starts those of the one before.
    async fn quiesce(&mut self, name: &str, set: &DataSet) -> Result<(), CentralError> {
        if self.quiesced.as_ref().is_some_and(|(of, ..)| of == name) {
            return Ok(());
        }
        self.start_again().await;
        let stopped = Quiesced::stop(&self.central.ssh, &set.quiesce).await;
        let stopped = stopped.map_err(|source| CentralError::Quiesce {
            data_set: name.to_owned(),
            source: Box::new(source),
        })?;
        self.quiesced = Some((name.to_owned(), set.quiesce.len(), stopped));
        fail_point("central.held");
        Ok(())
    }

    async fn start_again(&mut self) {
        if let Some((name, units, Some(quiesced))) = self.quiesced.take()
            && let Err(error) = quiesced.start(units).await
        {
            self.note(format!("{name}: {}", crate::rpc::chain(&error)));
        }
    }

    async fn finish(mut self) -> Result<Report, CentralError> {
        // The innermost first: what is written in one changes its time.
        for (path, attributes) in std::mem::take(&mut self.directories).into_iter().rev() {
            if let Err(error) = self.places.set(&path, &attributes).await {
                if error.is_cut() {
                    return Err(self.central.cut(&error));
                }
                self.note(format!("{}: mode, owner or time not set: {error}", shown(&path)));
            }
        }
        self.start_again().await;
        Ok(self.report)
    }

    fn failed(&mut self, member: &Member, error: SftpError) -> Result<(), CentralError> {
        if error.is_cut() {
            return Err(self.central.cut(&error));
        }
        self.refuse(member, &error.to_string());
        Ok(())
    }

    fn refuse(&mut self, member: &Member, reason: &str) {
        self.report.refused += 1;
        if self.passed_over.len() < PASSED_OVER {
            self.passed_over
                .insert((member.data_set.to_string(), member.path.as_bytes().clone()));
        }
        self.note(format!("{}: refused: {reason}", label(member)));
        if matches!(member.kind, Kind::File(_)) {
            self.current = Current::Skipped;
        }
    }

    fn note(&mut self, text: String) {
        if self.report.notices.len() < KEPT {
            self.report.notices.push(text);
        }
    }
}

fn own(source: std::io::Error) -> CentralError {
    CentralError::Own {
        what: "keep what a command is to take",
        source,
    }
}

fn label(member: &Member) -> String {
    format!("{}/{}", member.data_set, shown(member.path.as_bytes()))
}

/// What the protocol can carry of it: seconds, no extended attributes.
fn attributes(member: &Member) -> Attributes {
    let modified = u32::try_from(member.modified.seconds).unwrap_or_default();
    Attributes {
        size: None,
        owner: Some((member.uid, member.gid)),
        mode: Some(member.mode),
        times: Some((modified, modified)),
    }
}
