//! Named log sources, read as one compressed stream.
//!
//! **Invariant:** a path is never taken from a caller: a source is a name from a list, and its file is opened beneath
//! the workload's state directory without following links. Memory per reader is bounded, and so is their number.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use satellite_host::files::FileError;
use satellite_host::journal::{JournalError, Scope};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

mod entries;
mod file;
mod installed;
mod stream;

pub use installed::on_disk;

/// The unit of the bridge itself.
const BRIDGE_UNIT: &str = "satellite-bridge.service";

/// Most readers at a time.
const READERS: usize = 16;

/// Pieces that wait for a slow caller.
const QUEUE: usize = 4;

/// Why a log is not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// No such source.
    #[error("there is no log source `{0}`; list them to see their names")]
    NoSource(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// The cursor points to what is gone.
    #[error("the cursor is no longer known: the log was rotated or cut since; read from the start")]
    UnknownCursor,
    /// Too many readers.
    #[error("{READERS} logs are being read already; try again when one has ended")]
    Busy,
    /// The file cannot be opened.
    #[error("the log file cannot be opened")]
    Open(#[source] FileError),
    /// The file cannot be read or compressed.
    #[error("the log cannot be read")]
    Read(#[source] std::io::Error),
    /// The journal cannot be read.
    #[error("the journal cannot be read")]
    Journal(#[source] JournalError),
}

/// What a workload logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadLog {
    /// The workload's name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Its state directory, in which `logs/` lies.
    pub state: PathBuf,
    /// The files below `logs/` that its manifest declares.
    pub files: Vec<String>,
}

/// Knows the workloads.
pub trait WorkloadLogs: fmt::Debug + Send + Sync + 'static {
    /// What the installed workloads log, by name.
    fn workload_logs(&self) -> Vec<WorkloadLog>;
}

/// For a satellite without workloads, and for tests.
impl WorkloadLogs for Vec<WorkloadLog> {
    fn workload_logs(&self) -> Vec<WorkloadLog> {
        self.clone()
    }
}

/// What kind of source it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The journal of one unit.
    Unit,
    /// A file.
    File,
    /// The kernel.
    Kernel,
    /// The whole journal.
    System,
}

/// Something that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// Bytes; 0 where not known.
    pub size: u64,
    /// When it was last written to, where known.
    pub modified: Option<Timestamp>,
    /// For a person.
    pub description: String,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// Text.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// A name from the list.
    pub source: String,
    /// Not older.
    pub since: Option<Timestamp>,
    /// Not younger.
    pub until: Option<Timestamp>,
    /// At least this urgent, 0 to 7.
    pub max_priority: Option<u8>,
    /// Only the last so many lines; none means all. A cursor goes before it.
    pub lines: Option<u64>,
    /// Go on after it.
    pub cursor: Option<String>,
    /// Go on with new lines.
    pub follow: bool,
    /// How a line looks.
    pub format: Format,
}

/// A piece of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Compressed bytes, up to a point to which all lines can be decompressed.
    pub data: Bytes,
    /// Where to go on after it.
    pub cursor: String,
    /// Lines so far.
    pub lines: u64,
}

/// What a fetch gives: pieces until the end, or an error.
pub type Pieces = ReceiverStream<Result<Piece, LogError>>;

/// Where pieces go.
type Sink = mpsc::Sender<Result<Piece, LogError>>;

/// A handle to the logs.
#[derive(Debug, Clone)]
pub struct Logs {
    workloads: Arc<dyn WorkloadLogs>,
    readers: Arc<Semaphore>,
}

impl Logs {
    /// The logs of the machine and of `workloads`.
    #[must_use]
    pub fn new(workloads: Arc<dyn WorkloadLogs>) -> Self {
        Self {
            workloads,
            readers: Arc::new(Semaphore::new(READERS)),
        }
    }

    /// What can be read, by name. Files that are declared but not there yet are left out.
    #[must_use]
    pub fn sources(&self) -> Vec<Source> {
        let journal = |name: &str, kind, description: &str| Source {
            name: name.to_owned(),
            kind,
            size: 0,
            modified: None,
            description: description.to_owned(),
        };
        let mut sources = vec![
            journal("bridge", Kind::Unit, "The bridge itself"),
            journal("kernel", Kind::Kernel, "The kernel"),
            journal("system", Kind::System, "The whole journal of the satellite"),
        ];
        for workload in self.workloads.workload_logs() {
            let name = format!("workload/{}", workload.name);
            sources.push(journal(
                &name,
                Kind::Unit,
                &format!("What {} writes to the journal", workload.name),
            ));
            sources.extend(
                workload
                    .files
                    .iter()
                    .filter_map(|file| file_source(&workload, file)),
            );
        }
        sources.sort_by(|one, other| one.name.cmp(&other.name));
        sources
    }

    /// Reads what `query` asks for, oldest first, as one zstd stream.
    ///
    /// # Errors
    ///
    /// [`LogError`] for everything that can be known before the first piece; later ones end the stream.
    pub async fn fetch(&self, query: Query) -> Result<Pieces, LogError> {
        let place = self.find(&query.source)?;
        let permit = Arc::clone(&self.readers)
            .try_acquire_owned()
            .map_err(|_| LogError::Busy)?;
        let (sink, pieces) = mpsc::channel(QUEUE);
        match place {
            Place::Journal(scope) => {
                let reader = entries::open(&query, scope).await?;
                tokio::spawn(async move {
                    entries::send(reader, &query, sink).await;
                    drop(permit);
                });
            }
            Place::File { state, file } => {
                let opened = tokio::task::spawn_blocking(move || {
                    file::Tail::open(&state, &file, &query).map(|tail| (tail, query.format))
                });
                let (tail, format) = opened
                    .await
                    .map_err(|err| LogError::Read(std::io::Error::other(err)))??;
                tokio::task::spawn_blocking(move || {
                    tail.send(format, &sink);
                    drop(permit);
                });
            }
        }
        Ok(ReceiverStream::new(pieces))
    }

    fn find(&self, name: &str) -> Result<Place, LogError> {
        let unknown = || LogError::NoSource(name.chars().filter(|c| !c.is_control()).take(200).collect());
        match name {
            "bridge" => return Ok(Place::Journal(Scope::Unit(BRIDGE_UNIT.to_owned()))),
            "kernel" => return Ok(Place::Journal(Scope::Kernel)),
            "system" => return Ok(Place::Journal(Scope::All)),
            _ => {}
        }
        let rest = name.strip_prefix("workload/").ok_or_else(unknown)?;
        let (workload, file) = match rest.split_once('/') {
            Some((workload, file)) => (workload, Some(file)),
            None => (rest, None),
        };
        let found = self
            .workloads
            .workload_logs()
            .into_iter()
            .find(|one| one.name == workload)
            .ok_or_else(unknown)?;
        match file {
            None => Ok(Place::Journal(Scope::Unit(found.unit))),
            Some(file) if found.files.iter().any(|declared| declared == file) => Ok(Place::File {
                state: found.state,
                file: file.to_owned(),
            }),
            Some(_) => Err(unknown()),
        }
    }
}

/// Where a source's lines come from.
#[derive(Debug)]
enum Place {
    Journal(Scope),
    File { state: PathBuf, file: String },
}

fn file_source(workload: &WorkloadLog, name: &str) -> Option<Source> {
    let metadata = file::open(&workload.state, name).ok()?.metadata().ok()?;
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| Timestamp::try_from(time).ok());
    Some(Source {
        name: format!("workload/{}/{name}", workload.name),
        kind: Kind::File,
        size: metadata.len(),
        modified,
        description: format!("The file {name} of {}", workload.name),
    })
}

#[cfg(test)]
mod tests;
