//! Reads data sets of a central as the items of an archive.
//!
//! **Invariant:** the stream is well-formed whatever happens to the files meanwhile: as many bytes follow as were
//! announced, each file ends with the digest of what was sent. Symbolic links are never followed. Memory is bounded.

mod batch;
mod file;
pub mod seen;
mod walk;

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use satellite_proto::wire::backup::v1::{Batch, Member, MemberOrigin, MemberType};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::batch::Batcher;
use self::seen::{Base, Recorder};
use super::command::{self, CommandError};
use super::profile::{DataSet, DumpCommand};
use super::quiesce::{QuiesceError, Quiesced, StopNotes};

pub use self::walk::{Measured, measure, measure_and_sample};

/// Batches that are read ahead, each of at most 256 KiB.
const AHEAD: usize = 16;

/// What the reader sends.
#[derive(Debug)]
pub enum Output {
    /// Items of the archive.
    Batch(Batch),
    /// Something that a person should know and that did not end the work.
    Notice(String),
    /// Everything was sent.
    Whole(Totals),
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Members that were sent.
    pub members: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Bytes of those that were sent; the others the receiver had.
    pub sent: u64,
    /// Notices that were given.
    pub notices: u64,
    /// Things that should be in the archive and are not: each was a notice too.
    pub left_out: u64,
    /// The first of them, as an archive takes them.
    pub left_out_first: Vec<String>,
}

/// What was read, and what is to be known of it the next time.
#[derive(Debug, Default)]
pub struct Read {
    /// How much it was.
    pub totals: Totals,
    /// The files, if they were to be noted.
    pub seen: Option<Recorder>,
}

/// What is known of the last archive, and where this one is noted.
#[derive(Debug, Default)]
pub struct Memory {
    /// What has not changed since is neither read nor sent.
    pub base: Option<Arc<Base>>,
    /// Takes what is read.
    pub recorder: Option<Recorder>,
}

/// Data sets could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A command failed: what it prints is needed whole.
    #[error("data set `{data_set}`: the command for `{name}` did not succeed")]
    Command {
        /// The data set.
        data_set: String,
        /// The file that it should have made.
        name: String,
        /// Why.
        #[source]
        source: CommandError,
    },
    /// A service could not be stopped.
    #[error("data set `{data_set}`: a service could not be stopped for the time of the backup")]
    Quiesce {
        /// The data set.
        data_set: String,
        /// Why.
        #[source]
        source: QuiesceError,
    },
    /// Not one of the data set's paths exists.
    #[error("data set `{data_set}`: none of its paths exists on this machine; correct the central's profile")]
    NothingThere {
        /// The data set.
        data_set: String,
    },
    /// What a command printed could not be read.
    #[error("data set `{data_set}`: cannot read what the command for `{name}` prints")]
    Pipe {
        /// The data set.
        data_set: String,
        /// The file that it should have made.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The receiver went away, or the caller cancelled.
    #[error("reading was cancelled")]
    Cancelled,
}

/// A reading under way.
#[derive(Debug)]
pub struct Reading {
    /// What it sends; closed when it ends.
    pub output: mpsc::Receiver<Output>,
    /// Bytes of content read so far.
    pub bytes: Arc<AtomicU64>,
    /// How it ended.
    pub task: tokio::task::JoinHandle<Result<Read, ReadError>>,
}

/// Starts to read `data_sets` in a blocking thread.
///
/// # Cancel safety
///
/// Dropping the receiver or cancelling the token ends the thread soon; a running command is killed by the token.
#[must_use]
pub fn start(
    data_sets: Vec<DataSet>,
    notes: StopNotes,
    cancel: CancellationToken,
    memory: Memory,
) -> Reading {
    let (sender, output) = mpsc::channel(AHEAD);
    let bytes = Arc::new(AtomicU64::new(0));
    let mut batcher = Batcher::new(sender, cancel.clone(), Arc::clone(&bytes), memory);
    let task = tokio::task::spawn_blocking(move || {
        for set in &data_sets {
            read_data_set(&mut batcher, set, &notes, &cancel)?;
        }
        batcher.end_all()
    });
    Reading { output, bytes, task }
}

fn read_data_set(
    batcher: &mut Batcher,
    set: &DataSet,
    notes: &StopNotes,
    cancel: &CancellationToken,
) -> Result<(), ReadError> {
    let quiesced = Quiesced::stop(&set.quiesce, notes).map_err(|source| ReadError::Quiesce {
        data_set: set.name.clone(),
        source,
    })?;
    // Databases first: files that they name are then there, as a rule.
    for dump in &set.commands {
        read_command(batcher, set, dump, cancel)?;
    }
    walk::read_paths(batcher, set)?;
    drop(quiesced);
    Ok(())
}

fn read_command(
    batcher: &mut Batcher,
    set: &DataSet,
    dump: &DumpCommand,
    cancel: &CancellationToken,
) -> Result<(), ReadError> {
    let failed = |source| match source {
        CommandError::Cancelled { .. } => ReadError::Cancelled,
        source => ReadError::Command {
            data_set: set.name.clone(),
            name: dump.name.clone(),
            source,
        },
    };
    let mut running =
        command::start(&dump.run, Stdio::null(), Stdio::piped(), dump.deadline, cancel).map_err(failed)?;
    batcher.begin(command_member(set, dump))?;
    if let Some(stdout) = running.stdout() {
        batcher.content_to_end(&stdout).map_err(|err| match err {
            batch::ContentError::Stopped => ReadError::Cancelled,
            batch::ContentError::Read(source) => ReadError::Pipe {
                data_set: set.name.clone(),
                name: dump.name.clone(),
                source,
            },
        })?;
    }
    running.finish().map_err(failed)?;
    batcher.end()?;
    batcher.remember(dump.name.clone().into_bytes().into(), None);
    Ok(())
}

fn command_member(set: &DataSet, dump: &DumpCommand) -> Member {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Member {
        data_set: set.name.clone(),
        path: dump.name.clone().into_bytes().into(),
        r#type: MemberType::File.into(),
        mode: 0o600,
        modify_time: Some(prost_types::Timestamp {
            seconds: i64::try_from(now.as_secs()).unwrap_or_default(),
            nanos: i32::try_from(now.subsec_nanos()).unwrap_or_default(),
        }),
        origin: MemberOrigin::Command.into(),
        size_unknown: true,
        ..Member::default()
    }
}

fn count(bytes: &AtomicU64, more: usize) {
    bytes.fetch_add(more as u64, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
