//! Copies an archive to a destination.
//!
//! **Invariants:** the copy gets its name only after it was read back there and has the digest that the catalogue knows;
//! every step can be cut and done again; a temporary of an earlier call is used or removed by the next.

use std::collections::BTreeSet;
use std::io::{self, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};
use satellite_host::fail_point;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::PIECE;
use super::fault::Fault;
use super::gauge::Stage;
use super::path::{Mark, PlacePath, becomes};
use super::place::Entry;
use super::visit::Visit;
use crate::age::Sealed;

/// What to copy where.
#[derive(Debug)]
pub struct Job<'a> {
    /// What is copied.
    pub content: Content<'a>,
    /// Its name at the destination.
    pub path: PlacePath,
    /// Bytes of it.
    pub size: u64,
    /// SHA-256, lower hexadecimal digits.
    pub sha256: &'a str,
    /// Marks our temporaries.
    pub mark: &'a Mark,
    /// Temporaries that are being written.
    pub flights: &'a Flights,
}

/// What is copied: the archive's file, or what it becomes when it is encrypted.
#[derive(Debug)]
pub enum Content<'a> {
    /// The file.
    Plain(&'a Path),
    /// Made as it is sent.
    Sealed(&'a Sealed),
}

/// What becomes of a content piece by piece.
enum Reader {
    Plain(File),
    Sealed(Sealed, u64),
}

impl Content<'_> {
    /// Reads from `offset` on.
    async fn from(&self, offset: u64) -> io::Result<Reader> {
        match self {
            Self::Plain(path) => {
                let mut file = File::open(path).await?;
                file.seek(SeekFrom::Start(offset)).await?;
                Ok(Reader::Plain(file))
            }
            Self::Sealed(sealed) => Ok(Reader::Sealed((*sealed).clone(), offset)),
        }
    }
}

impl Reader {
    /// The next bytes: as many as are asked for, or what there is up to the end.
    async fn next(&mut self, length: usize) -> io::Result<Bytes> {
        match self {
            Self::Plain(file) => {
                let mut piece = BytesMut::zeroed(length);
                let mut filled = 0;
                while filled < length {
                    match file.read(&mut piece[filled..]).await? {
                        0 => break,
                        count => filled += count,
                    }
                }
                piece.truncate(filled);
                Ok(piece.freeze())
            }
            Self::Sealed(sealed, at) => {
                let (work, from) = (sealed.clone(), *at);
                let read = tokio::task::spawn_blocking(move || work.read(from, length)).await;
                let piece = read.map_err(io::Error::other)?.map_err(io::Error::other)?;
                *at += piece.len() as u64;
                Ok(piece.into())
            }
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// It was there already, and right.
    pub existed: bool,
    /// It was read back.
    pub read_back: bool,
}

/// Temporaries that are being written by this process, so that nobody sweeps or writes them as well.
#[derive(Debug, Clone, Default)]
pub struct Flights(Arc<Mutex<BTreeSet<(String, String)>>>);

/// While it lives, nobody else writes that copy.
#[derive(Debug)]
pub struct Flight {
    flights: Flights,
    key: (String, String),
}

impl Flights {
    /// Claims a copy: `at` is where, `path` its path there.
    ///
    /// # Errors
    /// [`Fault::InProgress`].
    pub fn claim(&self, at: &str, path: &PlacePath) -> Result<Flight, Fault> {
        let key = (path.to_string(), at.to_owned());
        if self.lock().insert(key.clone()) {
            Ok(Flight {
                flights: self.clone(),
                key,
            })
        } else {
            Err(Fault::InProgress(format!("`{path}`")))
        }
    }

    /// Whether a file of this path is being written anywhere: two descriptions may mean one place.
    fn has(&self, path: &PlacePath) -> bool {
        let path = path.to_string();
        self.lock().iter().any(|(claimed, _)| *claimed == path)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<(String, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.key);
    }
}

/// What is remembered from one try to the next.
#[derive(Debug, Default)]
struct Memory {
    /// What an earlier call left was wrong: begin with nothing.
    distrust: bool,
    /// Bytes that this try has sent, with those that were there.
    sent: u64,
    /// The most that any try has sent.
    furthest: u64,
}

enum Attempt {
    Done(Copied),
    /// What was there already turned out to be wrong and is gone.
    Again,
}

/// Copies; goes on after cuts.
///
/// # Errors
/// [`Fault`]; a temporary may stay, which the next call to that directory uses or removes.
///
/// # Cancel safety
/// As after a cut.
pub async fn copy(job: &Job<'_>, visit: &mut Visit) -> Result<Copied, Fault> {
    let mut memory = Memory::default();
    loop {
        visit.gauge.begin(Stage::Prepare, 0, 0);
        match attempt(job, visit, &mut memory).await {
            Ok(Attempt::Done(copied)) => return Ok(copied),
            Ok(Attempt::Again) => {}
            Err(fault) => visit.recover(fault).await?,
        }
    }
}

async fn attempt(job: &Job<'_>, visit: &mut Visit, memory: &mut Memory) -> Result<Attempt, Fault> {
    if visit.place.only_takes() {
        fits(job, visit, 0).await?;
        send(job, visit, memory, (&job.path, 0)).await?;
        return Ok(Attempt::Done(Copied {
            existed: false,
            read_back: false,
        }));
    }
    let directory = job.path.parent().ok_or_else(|| nameless(&job.path))?;
    if let Some(base) = directory.parent() {
        visit.place.make_directory(&base).await?;
    }
    visit.place.make_directory(&directory).await?;
    let entries = visit.place.list(&directory).await?;
    if let Some(there) = find(&entries, job.path.name()) {
        if there.size == job.size && digest(visit, &job.path, job.size, Stage::Verify).await? == job.sha256 {
            return Ok(Attempt::Done(Copied {
                existed: true,
                read_back: true,
            }));
        }
        tracing::warn!(path = %job.path, "A copy that is not what it should be is made anew");
        visit.place.remove(&job.path).await?;
    }
    let temporary = job.mark.temporary(job.path.name());
    let part = directory.join(&temporary).ok_or_else(|| nameless(&job.path))?;
    sweep(job, visit, &directory, &entries, &temporary).await?;
    let arrived = find(&entries, &temporary).map_or(0, |entry| entry.size);
    let trusted = arrived.saturating_sub(visit.place.overlap());
    let offset = if memory.distrust || arrived > job.size {
        0
    } else {
        trusted
    };
    fits(job, visit, arrived).await?;
    fail_point("copy.begun");
    if let Err(fault) = send(job, visit, memory, (&part, offset)).await {
        return Err(given_up(job, visit, &part, memory, fault).await);
    }
    fail_point("copy.sent");
    let arrived = visit.place.size(&part).await?;
    let same =
        arrived == Some(job.size) && digest(visit, &part, job.size, Stage::Verify).await? == job.sha256;
    if !same {
        visit.place.remove(&part).await?;
        return wrong(job, offset, memory).await;
    }
    fail_point("copy.verified");
    visit.place.rename(&part, &job.path).await?;
    fail_point("copy.named");
    Ok(Attempt::Done(Copied {
        existed: false,
        read_back: true,
    }))
}

fn find<'a>(entries: &'a [Entry], name: &str) -> Option<&'a Entry> {
    entries
        .iter()
        .find(|entry| entry.name == name && !entry.is_directory)
}

fn nameless(path: &PlacePath) -> Fault {
    Fault::Description(format!("`{path}` is too long a name for a file"))
}

/// Removes what earlier calls left, but for our own temporary.
async fn sweep(
    job: &Job<'_>,
    visit: &mut Visit,
    directory: &PlacePath,
    entries: &[Entry],
    temporary: &str,
) -> Result<(), Fault> {
    let ours = entries
        .iter()
        .filter(|entry| !entry.is_directory && entry.name != temporary && job.mark.is_ours(&entry.name));
    for left in ours {
        let becomes = becomes(&left.name).and_then(|name| directory.join(name));
        let path = directory.join(&left.name);
        if let (Some(path), Some(becomes)) = (path, becomes)
            && !job.flights.has(&becomes)
        {
            visit.place.remove(&path).await?;
            tracing::info!(path = %path, "Removed what an interrupted copy left at a destination");
        }
    }
    Ok(())
}

/// Whether the archive fits, of which `arrived` bytes are there.
async fn fits(job: &Job<'_>, visit: &mut Visit, arrived: u64) -> Result<(), Fault> {
    if let Some(most) = visit.place.most().await?
        && most < job.size
    {
        return Err(Fault::TooLarge {
            at: "the destination".to_owned(),
            needed: job.size,
            most,
        });
    }
    let needed = job.size.saturating_sub(arrived);
    match visit.place.free().await? {
        Some(available) if available < needed => Err(Fault::Full { needed, available }),
        _ => Ok(()),
    }
}

/// What cannot be gone on with does not stay; a disk that became full is told with numbers.
async fn given_up(
    job: &Job<'_>,
    visit: &mut Visit,
    part: &PlacePath,
    memory: &Memory,
    fault: Fault,
) -> Fault {
    if fault.is_transient() {
        return fault;
    }
    let free = match fault {
        Fault::Full { .. } => visit.place.free().await.ok().flatten(),
        _ => None,
    };
    if let Err(error) = visit.place.remove(part).await {
        tracing::warn!(path = %part, %error, "Half a copy stays at a destination until the next run");
    }
    match fault {
        Fault::Full { .. } => Fault::Full {
            needed: job.size - memory.sent,
            available: free.unwrap_or(0),
        },
        fault => fault,
    }
}

/// Sends the file from `offset` on.
async fn send(
    job: &Job<'_>,
    visit: &mut Visit,
    memory: &mut Memory,
    (path, offset): (&PlacePath, u64),
) -> Result<(), Fault> {
    let own = || Fault::own("read the archive");
    let mut content = job.content.from(offset).await.map_err(own())?;
    visit.gauge.begin(Stage::Send, offset, job.size);
    visit.place.begin(path, offset, job.size).await?;
    let mut at = offset;
    memory.sent = at;
    while at < job.size {
        let left = usize::try_from(job.size - at).unwrap_or(PIECE);
        let piece = content.next(visit.pace.piece().min(left)).await.map_err(own())?;
        let length = piece.len();
        if length == 0 {
            return Err(own()(io::ErrorKind::UnexpectedEof.into()));
        }
        visit.place.put(piece).await?;
        fail_point("copy.sending");
        at += length as u64;
        memory.sent = at;
        if at > memory.furthest {
            memory.furthest = at;
            visit.moved();
        }
        visit.gauge.set(at);
        visit.pace.spend(length).await;
    }
    visit.place.end().await
}

/// What to do if other bytes came back than were sent from `offset` on.
async fn wrong(job: &Job<'_>, offset: u64, memory: &mut Memory) -> Result<Attempt, Fault> {
    if offset > 0 {
        tracing::warn!(path = %job.path, "What an earlier call left at a destination was wrong: begins anew");
        memory.distrust = true;
        return Ok(Attempt::Again);
    }
    if digest_of(&job.content).await? != job.sha256 {
        return Err(Fault::Damaged {
            path: "the disk of the backup-service".to_owned(),
            why: "the archive itself is damaged: verify it, and check disk and memory".to_owned(),
        });
    }
    Err(Fault::Damaged {
        path: format!("`{}`", job.path),
        why: "it was removed; check the destination's disk and memory, and try again".to_owned(),
    })
}

/// SHA-256 of a file at a destination, read from its beginning; goes on after cuts.
pub(super) async fn digest(
    visit: &mut Visit,
    path: &PlacePath,
    size: u64,
    stage: Stage,
) -> Result<String, Fault> {
    let mut hash = Context::new(&SHA256);
    visit.gauge.begin(stage, 0, size);
    let mut at = 0;
    while at < size {
        let piece = read(visit, path, at, size).await?;
        hash.update(&piece);
        at += piece.len() as u64;
        visit.gauge.set(at);
    }
    Ok(data_encoding::HEXLOWER.encode(hash.finish().as_ref()))
}

/// The next piece of a file of `size` bytes; connects anew after cuts.
pub(super) async fn read(visit: &mut Visit, path: &PlacePath, at: u64, size: u64) -> Result<Bytes, Fault> {
    let left = usize::try_from(size - at).unwrap_or(PIECE);
    let length = visit.pace.piece().min(left);
    loop {
        match visit.place.get(path, at, length).await {
            Ok(piece) if piece.is_empty() || piece.len() > length => {
                return Err(Fault::Damaged {
                    path: format!("`{path}`"),
                    why: format!("it ends after {at} of {size} bytes"),
                });
            }
            Ok(piece) => {
                visit.moved();
                visit.pace.spend(piece.len()).await;
                return Ok(piece);
            }
            Err(fault) => visit.recover(fault).await?,
        }
    }
}

async fn digest_of(content: &Content<'_>) -> Result<String, Fault> {
    let own = || Fault::own("read the archive");
    let mut reader = content.from(0).await.map_err(own())?;
    let mut hash = Context::new(&SHA256);
    loop {
        let piece = reader.next(PIECE).await.map_err(own())?;
        if piece.is_empty() {
            return Ok(data_encoding::HEXLOWER.encode(hash.finish().as_ref()));
        }
        hash.update(&piece);
    }
}
