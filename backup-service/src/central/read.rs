//! Reads data sets of a central as the messages of an archive.
//!
//! **Invariants:** as many bytes follow as were announced, whatever happens to the files meanwhile; a file that changes is read
//! again if it is small, up to three times, and cut or filled up with zeros if it is large; a notice says so.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::{self, StreamExt as _};
use satellite_host::fail_point;
use satellite_proto::wire::backup::v1::{Member, MemberOrigin, MemberType};

use super::exec::{Quiesced, Running};
use super::feed::Feed;
pub use super::feed::{Taker, Totals};
use super::plan::{Command, DataSet};
use super::seen::Digest;
pub use super::seen::Seen;
use super::sftp::{Attributes, Handle, Kind, PIECE, READ, Sftp, SftpError};
use super::walk::{self, Found, Visitor};
use super::{Central, CentralError, ask, shown};

/// Files up to this size are read whole before they are announced.
const SMALL: u64 = 1 << 20;
const TRIES: usize = 3;
/// Requests for parts of a file that are under way at once.
const AHEAD: usize = 32;

/// Reads everything but what `seen` has unchanged, and notes there what the new archive has. Dropped, it ends: programs are ended
/// with the line, services are started by the central.
///
/// # Errors
/// [`CentralError`]: there is no archive then.
pub async fn read(
    central: &Central,
    sets: &[DataSet],
    taker: Taker,
    seen: &mut Seen,
) -> Result<Totals, CentralError> {
    let mut feed = Feed::new(taker);
    for set in sets {
        let quiesced = Quiesced::stop(&central.ssh, &set.quiesce).await;
        let quiesced = quiesced.map_err(|source| CentralError::Quiesce {
            data_set: set.name.to_string(),
            source: Box::new(source),
        })?;
        fail_point("central.stopped");
        let done = data_set(central, set, &mut feed, seen).await;
        if let Some(quiesced) = quiesced
            && let Err(error) = quiesced.start(set.quiesce.len()).await
        {
            feed.notice(&format!("{}: {}", set.name, crate::rpc::chain(&error)));
        }
        done?;
    }
    feed.finish().await
}

async fn data_set(
    central: &Central,
    set: &DataSet,
    feed: &mut Feed,
    seen: &mut Seen,
) -> Result<(), CentralError> {
    // Databases first: files that they name are then there, as a rule.
    for dump in &set.commands {
        let read = command(central, set, dump, feed).await;
        read.map_err(|source| match source {
            CentralError::Cancelled => CentralError::Cancelled,
            source => CentralError::Command {
                data_set: set.name.to_string(),
                name: shown(dump.name.as_bytes()),
                source: Box::new(source),
            },
        })?;
    }
    let answers = ask::ask(central, set, seen).await;
    if let Some(lost) = answers.lost(set) {
        feed.notice(&lost);
    }
    let links = answers.links;
    let mut reader = Reader {
        central,
        set,
        feed,
        seen,
        links,
        first: HashMap::new(),
    };
    let there = walk::walk(central, &mut reader, set).await?;
    if there == 0 && !set.paths.is_empty() && set.commands.is_empty() {
        return Err(CentralError::NothingThere {
            data_set: set.name.to_string(),
        });
    }
    Ok(())
}

async fn command(
    central: &Central,
    set: &DataSet,
    dump: &Command,
    feed: &mut Feed,
) -> Result<(), CentralError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let member = Member {
        data_set: set.name.to_string(),
        path: dump.name.as_bytes().clone(),
        r#type: MemberType::File.into(),
        mode: 0o600,
        modify_time: Some(prost_types::Timestamp {
            seconds: i64::try_from(now.as_secs()).unwrap_or_default(),
            nanos: 0,
        }),
        origin: MemberOrigin::Command.into(),
        size_unknown: true,
        ..Member::default()
    };
    let mut running = Running::start(&central.ssh, &dump.run, dump.deadline).await?;
    feed.begin(member).await?;
    while let Some(data) = running.print().await? {
        feed.content(data).await?;
    }
    running.finish().await?;
    feed.end().await?;
    Ok(())
}

/// Sends what is found.
struct Reader<'a> {
    central: &'a Central,
    set: &'a DataSet,
    feed: &'a mut Feed,
    seen: &'a mut Seen,
    /// Which file a name with others beside it is one of.
    links: HashMap<Bytes, Bytes>,
    /// The first of them that was sent, and how it was: one that is not alike by now is a file of its own.
    first: HashMap<Bytes, (Bytes, Attributes)>,
}

impl Visitor for Reader<'_> {
    fn found<'a>(&'a mut self, found: Vec<Found>) -> BoxFuture<'a, Result<(), CentralError>> {
        Box::pin(async move {
            let central = self.central;
            let (links, set) = (&self.links, self.set.name.as_str());
            let seen = &*self.seen;
            let prepared = found.iter().map(|one| {
                let unchanged = seen.unchanged(set, &one.path, &one.attributes);
                prepare(central, one, (links.contains_key(&one.path), unchanged))
            });
            // Content of at most sixteen small files.
            let prepared = join_all(prepared).await;
            for (found, prepared) in found.into_iter().zip(prepared) {
                self.send(&found, prepared).await?;
            }
            fail_point("central.read");
            Ok(())
        })
    }

    fn notice(&mut self, text: String) {
        self.feed.notice(&text);
    }

    fn left_out(&mut self, text: String) {
        self.feed.left_out(&text);
    }
}

/// What is known of something before it is announced.
enum Prepared {
    Directory,
    Symlink(Bytes),
    /// As it is in the archive before, with this digest.
    Unchanged(Digest),
    /// Read while nothing changed.
    Steady(Bytes, Attributes),
    /// It changed during each try; this is the last one.
    Moving(Bytes, Attributes),
    /// It is read when its turn comes.
    Later,
    /// Neither file, directory nor link.
    Other,
    Failed(SftpError),
}

async fn prepare(
    central: &Central,
    found: &Found,
    (has_others, unchanged): (bool, Option<Digest>),
) -> Prepared {
    if let (Kind::File, false, Some(sha256)) = (found.attributes.kind(), has_others, unchanged) {
        return Prepared::Unchanged(sha256);
    }
    let prepared = match found.attributes.kind() {
        Kind::Directory => Ok(Prepared::Directory),
        Kind::Symlink => central.sftp.link_target(&found.path).await.map(Prepared::Symlink),
        Kind::File if has_others || found.attributes.size() > SMALL => Ok(Prepared::Later),
        Kind::File => small(central, found).await,
        Kind::Other => Ok(Prepared::Other),
    };
    prepared.unwrap_or_else(Prepared::Failed)
}

/// Opens what is a file still, and not a link that was put in its place.
async fn open(sftp: &Sftp, path: &[u8]) -> Result<(Handle, Attributes), SftpError> {
    let file = sftp.open(path, READ, 0).await?;
    let opened = sftp.look_at(&file).await?;
    let named = sftp.look(path).await?;
    if opened.kind() == Kind::File && named.kind() == Kind::File {
        return Ok((file, opened));
    }
    sftp.close(file).await?;
    Err(SftpError::Other("it was replaced".to_owned()))
}

async fn small(central: &Central, found: &Found) -> Result<Prepared, SftpError> {
    let sftp = &central.sftp;
    let (file, mut before) = open(sftp, &found.path).await?;
    let mut last = None;
    for _ in 0..TRIES {
        if before.size() > SMALL {
            sftp.close(file).await?;
            return Ok(Prepared::Later);
        }
        let expected = usize::try_from(before.size()).unwrap_or_default();
        // One more than there should be: finds what was added meanwhile.
        let content = content(sftp, &file, before.size() + 1).await?;
        let after = sftp.look_at(&file).await?;
        if content.len() == expected && same(&before, &after) {
            sftp.close(file).await?;
            return Ok(Prepared::Steady(content, after));
        }
        last = Some(content);
        before = after;
    }
    sftp.close(file).await?;
    Ok(Prepared::Moving(last.unwrap_or_default(), before))
}

async fn content(sftp: &Sftp, file: &Handle, length: u64) -> Result<Bytes, SftpError> {
    let mut parts = stream::iter(parts(0, length))
        .map(|(offset, length)| sftp.read_whole(file, offset, length))
        .buffered(AHEAD);
    let mut whole = BytesMut::new();
    while let Some(part) = parts.next().await {
        let part = part?;
        if part.is_empty() {
            break;
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole.freeze())
}

/// The parts of a file that are asked for one after the other.
fn parts(from: u64, to: u64) -> impl Iterator<Item = (u64, u32)> {
    let mut at = from;
    std::iter::from_fn(move || {
        let length = u32::try_from(to.saturating_sub(at)).map_or(PIECE, |left| left.min(PIECE));
        let part = (length > 0).then_some((at, length));
        at += u64::from(length);
        part
    })
}

/// Seconds and sizes are all that the protocol has.
fn same(before: &Attributes, after: &Attributes) -> bool {
    before.size == after.size && before.modified() == after.modified()
}

impl Reader<'_> {
    fn label(&self, found: &Found) -> String {
        format!("{}: {}", self.set.name, shown(&found.path))
    }

    async fn send(&mut self, found: &Found, prepared: Prepared) -> Result<(), CentralError> {
        let mut member = member(self.set, found);
        match prepared {
            Prepared::Directory => {
                member.r#type = MemberType::Directory.into();
                self.feed.begin(member).await
            }
            Prepared::Symlink(target) => {
                member.r#type = MemberType::Symlink.into();
                member.link_target = target;
                self.feed.begin(member).await
            }
            Prepared::Unchanged(sha256) => {
                member.size_bytes = found.attributes.size();
                self.feed.copied(member, &sha256).await?;
                self.archived(found, &sha256);
                Ok(())
            }
            Prepared::Steady(content, attributes) => {
                timed(&mut member, &attributes);
                let sha256 = self.feed.whole(member, content).await?;
                self.archived(found, &sha256);
                Ok(())
            }
            Prepared::Moving(content, attributes) => {
                timed(&mut member, &attributes);
                let text = format!("it changed during each of {TRIES} readings; the last one is kept");
                self.feed.notice(&format!("{}: {text}", self.label(found)));
                self.feed.whole(member, content).await?;
                Ok(())
            }
            Prepared::Later => self.later(found, member).await,
            Prepared::Other => {
                let text = "neither file, directory nor link, so it is left out";
                self.feed.notice(&format!("{}: {text}", self.label(found)));
                Ok(())
            }
            Prepared::Failed(error) => self.failed(found, &error),
        }
    }

    /// It is in the new archive, as it was when it was looked at or younger.
    fn archived(&mut self, found: &Found, sha256: &Digest) {
        self.seen.archived(self.set.name.as_str(), &found.path, sha256);
    }

    fn failed(&mut self, found: &Found, error: &SftpError) -> Result<(), CentralError> {
        match error {
            error if error.is_cut() => Err(self.central.cut(error)),
            // Gone between list and look: it is as if it had never been there.
            SftpError::Gone => Ok(()),
            error => {
                let text = format!("{}: it is left out: {error}", self.label(found));
                self.feed.left_out(&text);
                Ok(())
            }
        }
    }

    /// A file that is large, or one that has several names.
    async fn later(&mut self, found: &Found, mut member: Member) -> Result<(), CentralError> {
        let id = self.links.get(&found.path).cloned();
        let first = id.as_ref().and_then(|id| self.first.get(id));
        if let Some((first, _)) = first.filter(|(_, of_first)| same(of_first, &found.attributes)) {
            member.r#type = MemberType::HardLink.into();
            member.link_target = first.clone();
            return self.feed.begin(member).await;
        }
        let set = self.set.name.as_str();
        if let Some(sha256) = self.seen.unchanged(set, &found.path, &found.attributes) {
            if let Some(id) = id {
                self.first.insert(id, (member.path.clone(), found.attributes));
            }
            return Box::pin(self.send(found, Prepared::Unchanged(sha256))).await;
        }
        if let Some(id) = id
            && found.attributes.size() <= SMALL
        {
            let prepared = small(self.central, found).await;
            let prepared = prepared.unwrap_or_else(Prepared::Failed);
            match prepared {
                Prepared::Steady(_, attributes) | Prepared::Moving(_, attributes) => {
                    self.first.insert(id, (member.path.clone(), attributes));
                    return Box::pin(self.send(found, prepared)).await;
                }
                Prepared::Failed(error) => return self.failed(found, &error),
                _ => {}
            }
        }
        let (file, before) = match open(&self.central.sftp, &found.path).await {
            Ok(opened) => opened,
            Err(error) => return self.failed(found, &error),
        };
        if let Some(id) = self.links.get(&found.path).cloned() {
            self.first.insert(id, (member.path.clone(), before));
        }
        timed(&mut member, &before);
        member.size_bytes = before.size();
        self.large(found, member, file, &before).await
    }

    async fn large(
        &mut self,
        found: &Found,
        member: Member,
        file: Handle,
        before: &Attributes,
    ) -> Result<(), CentralError> {
        let (sftp, announced) = (&self.central.sftp, member.size_bytes);
        self.feed.begin(member).await?;
        let (mut came, mut problem, mut lost) = (0, None, false);
        let mut coming = stream::iter(parts(0, announced))
            .map(|(offset, length)| {
                let file = &file;
                async move { (length, sftp.read_whole(file, offset, length).await) }
            })
            .buffered(AHEAD);
        while let Some((length, part)) = coming.next().await {
            match part {
                Ok(part) => {
                    came += part.len() as u64;
                    let is_short = part.len() < length as usize;
                    self.feed.content(part).await?;
                    if is_short {
                        problem = Some("it became shorter while it was read; the rest is zeros".to_owned());
                        break;
                    }
                }
                Err(error) if error.is_cut() => return Err(self.central.cut(&error)),
                Err(error) => {
                    problem = Some(format!("reading failed ({error}); the rest is zeros"));
                    lost = true;
                    break;
                }
            }
        }
        drop(coming);
        let zeros = Bytes::from(vec![0; PIECE as usize]);
        while came < announced {
            let length = usize::try_from(announced - came).map_or(zeros.len(), |left| left.min(zeros.len()));
            self.feed.content(zeros.slice(..length)).await?;
            came += length as u64;
        }
        let sha256 = self.feed.end().await?;
        let after = sftp.look_at(&file).await;
        // A file that was read only has nothing to lose.
        let _closed = sftp.close(file).await;
        let steady = after.is_ok_and(|after| same(before, &after));
        let label = self.label(found);
        match problem {
            Some(problem) if lost => self.feed.left_out(&format!("{label}: {problem}")),
            Some(problem) => self.feed.notice(&format!("{label}: {problem}")),
            None if steady => self.archived(found, &sha256),
            None => {
                let text = format!("it changed while it was read; {announced} bytes are kept");
                self.feed.notice(&format!("{label}: {text}"));
            }
        }
        Ok(())
    }
}

fn member(set: &DataSet, found: &Found) -> Member {
    let (uid, gid) = found.attributes.owner.unwrap_or_default();
    let mut member = Member {
        data_set: set.name.to_string(),
        path: found.path.slice(1..),
        r#type: MemberType::File.into(),
        uid,
        gid,
        origin: MemberOrigin::Path.into(),
        ..Member::default()
    };
    timed(&mut member, &found.attributes);
    member
}

/// What may have changed until the file was opened.
fn timed(member: &mut Member, attributes: &Attributes) {
    member.mode = attributes.mode.unwrap_or(0o600) & 0o7777;
    member.modify_time = Some(prost_types::Timestamp {
        seconds: i64::from(attributes.modified()),
        nanos: 0,
    });
}
