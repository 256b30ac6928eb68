//! Long work: recorded on disk, watched, listed, cancelled, and adopted again after a restart of the daemon.
//!
//! **Invariant:** an operation has exactly one terminal state, and it is on the disk before anybody sees it. No work
//! is done here.

mod record;
mod replies;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use satellite_proto::wire::bridge::v1::{Operation, OperationState};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use uuid::Uuid;

use self::record::{Failure, Record, Stage};
pub use self::replies::Replies;
use crate::journal::{self, JournalError};

/// Ended operations that are kept.
const HISTORY: usize = 200;
/// The longest idempotency key, in bytes.
const LONGEST_KEY: usize = 128;

/// Why an operation cannot be begun, found or cancelled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError {
    /// No key, or one that cannot be kept.
    #[error("the idempotency key must have 1 to {LONGEST_KEY} visible ASCII characters")]
    Key,
    /// The key names another piece of work.
    #[error("the idempotency key was used before for `{kind}` of `{subject}`: use a new key for each call")]
    KeyReused {
        /// What was done then.
        kind: String,
        /// What it was done to.
        subject: String,
    },
    /// Nobody knows the id.
    #[error("there is no operation `{0}`; only the last {HISTORY} that ended are kept")]
    Unknown(String),
    /// It has ended.
    #[error("operation `{0}` has ended already")]
    Ended(String),
    /// The disk does not take the record.
    #[error("the operation cannot be recorded: check the disk of the satellite")]
    Record(#[source] JournalError),
    /// The directory cannot be used.
    #[error("cannot use `{}`", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<OperationError> for Status {
    fn from(error: OperationError) -> Self {
        let code = match &error {
            OperationError::Key | OperationError::KeyReused { .. } => Code::InvalidArgument,
            OperationError::Unknown(_) => Code::NotFound,
            OperationError::Ended(_) => Code::FailedPrecondition,
            OperationError::Record(_) | OperationError::Directory { .. } => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

/// What came of [`Operations::begin`].
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it lives for the length of one match")]
pub enum Begun {
    /// The caller does the work.
    New(OperationHandle),
    /// The same call was made before: this is what came of it so far.
    Existing(Operation),
}

/// All operations of a satellite. A cheap handle.
#[derive(Debug, Clone)]
pub struct Operations {
    dir: Arc<Path>,
    entries: Arc<Mutex<BTreeMap<Uuid, Entry>>>,
    /// Counts changes of any operation.
    version: Arc<watch::Sender<u64>>,
    /// The daemon is about to end.
    closed: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Entry {
    record: Record,
    seen: watch::Sender<Operation>,
    cancel: CancellationToken,
    /// Somebody does the work.
    adopted: bool,
}

impl Operations {
    /// Reads what is recorded in `dir`, which is made if it is missing. A damaged record is set aside.
    ///
    /// # Errors
    ///
    /// [`OperationError::Directory`] if the directory cannot be made or read.
    pub fn open(dir: &Path) -> Result<Self, OperationError> {
        let failed = |source| OperationError::Directory {
            path: dir.to_owned(),
            source,
        };
        fs::create_dir_all(dir).map_err(failed)?;
        let mut entries = BTreeMap::new();
        for file in fs::read_dir(dir).map_err(failed)? {
            let path = file.map_err(failed)?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match journal::read::<Record>(&path) {
                Ok(Some(record)) => drop(entries.insert(record.id, Entry::new(record))),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "Record of an operation set aside");
                    let _kept_for_us = fs::rename(&path, path.with_extension("damaged"));
                }
            }
        }
        let version = Arc::new(watch::Sender::new(0));
        Ok(Self {
            dir: dir.into(),
            entries: Arc::new(Mutex::new(entries)),
            version,
            closed: Arc::default(),
        })
    }

    /// Records no more ends: what is cut off because the daemon stops has not failed, its next start goes on with it.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Records a new operation in state RUNNING, or finds the one that the same key began.
    ///
    /// # Errors
    ///
    /// [`OperationError::Key`] and [`OperationError::KeyReused`] blame the caller; [`OperationError::Record`] the disk,
    /// and nothing was begun.
    pub fn begin(&self, kind: &'static str, subject: &str, key: &str) -> Result<Begun, OperationError> {
        check_key(key)?;
        let mut entries = self.lock();
        if let Some(entry) = entries.values().find(|entry| entry.record.idempotency_key == key) {
            let record = &entry.record;
            if record.kind != kind || record.subject != subject {
                let (kind, subject) = (record.kind.clone(), record.subject.clone());
                return Err(OperationError::KeyReused { kind, subject });
            }
            return Ok(Begun::Existing(record.to_wire()));
        }
        let record = Record::new(kind, subject, key);
        let id = record.id;
        journal::write(&self.path_of(id), &record).map_err(OperationError::Record)?;
        let mut entry = Entry::new(record);
        entry.adopted = true;
        let cancel = entry.cancel.clone();
        entries.insert(id, entry);
        self.prune(&mut entries);
        drop(entries);
        self.version.send_modify(|version| *version += 1);
        Ok(Begun::New(OperationHandle {
            id,
            cancel,
            operations: self.clone(),
        }))
    }

    /// Takes over an operation that was under way when the daemon stopped; `None` if there is no such one.
    #[must_use]
    pub fn adopt(&self, id: &str) -> Option<OperationHandle> {
        let id = Uuid::parse_str(id).ok()?;
        let mut entries = self.lock();
        let entry = entries
            .get_mut(&id)
            .filter(|entry| !entry.adopted && !entry.record.is_over())?;
        entry.adopted = true;
        Some(OperationHandle {
            id,
            cancel: entry.cancel.clone(),
            operations: self.clone(),
        })
    }

    /// Ends every operation that nobody adopted; called once, after all domains have recovered.
    pub fn fail_unadopted(&self) {
        let lost: Vec<Uuid> = {
            let entries = self.lock();
            let lost = entries
                .values()
                .filter(|entry| !entry.adopted && !entry.record.is_over());
            lost.map(|entry| entry.record.id).collect()
        };
        for id in lost {
            tracing::warn!(operation = %id, "Operation was interrupted by a restart");
            let message = "interrupted by a restart of the satellite's daemon: start it again";
            self.finish(id, Stage::Failed, Some(Failure::new(Code::Aborted, message)));
        }
    }

    /// The operation as it is now.
    ///
    /// # Errors
    ///
    /// [`OperationError::Unknown`].
    pub fn get(&self, id: &str) -> Result<Operation, OperationError> {
        self.find(id, |entry| entry.record.to_wire())
    }

    /// The operation's states from now on: the one it is in first.
    ///
    /// # Errors
    ///
    /// [`OperationError::Unknown`].
    pub fn watch(&self, id: &str) -> Result<watch::Receiver<Operation>, OperationError> {
        self.find(id, |entry| entry.seen.subscribe())
    }

    /// At most `limit` operations, newest first.
    #[must_use]
    pub fn list(&self, limit: usize) -> Vec<Operation> {
        self.lock()
            .values()
            .rev()
            .take(limit)
            .map(|entry| entry.record.to_wire())
            .collect()
    }

    /// Asks an operation to stop; the work itself decides when it does.
    ///
    /// # Errors
    ///
    /// [`OperationError::Unknown`], [`OperationError::Ended`].
    pub fn cancel(&self, id: &str) -> Result<Operation, OperationError> {
        self.find(id, |entry| {
            if entry.record.is_over() {
                return Err(OperationError::Ended(id.to_owned()));
            }
            entry.cancel.cancel();
            Ok(entry.record.to_wire())
        })?
    }

    /// Whether an operation for which `which` holds (given kind and subject) is under way.
    #[must_use]
    pub fn is_any_running(&self, which: impl Fn(&str, &str) -> bool) -> bool {
        let entries = self.lock();
        entries
            .values()
            .any(|entry| !entry.record.is_over() && which(&entry.record.kind, &entry.record.subject))
    }

    /// Wakes at each change of any operation.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn find<T>(&self, id: &str, read: impl FnOnce(&Entry) -> T) -> Result<T, OperationError> {
        let unknown = || OperationError::Unknown(id.to_owned());
        let uuid = Uuid::parse_str(id).map_err(|_| unknown())?;
        self.lock().get(&uuid).map(read).ok_or_else(unknown)
    }

    fn update(&self, id: Uuid, change: impl FnOnce(&mut Record)) {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(&id).filter(|entry| !entry.record.is_over()) else {
            return;
        };
        change(&mut entry.record);
        entry.record.update_time = jiff::Timestamp::now();
        entry.seen.send_replace(entry.record.to_wire());
        drop(entries);
        self.version.send_modify(|version| *version += 1);
    }

    /// The first terminal state wins. A disk that does not take it is reported; the state is seen all the same, and a
    /// restart finds the operation interrupted.
    fn finish(&self, id: Uuid, stage: Stage, failure: Option<Failure>) {
        if self.closed.load(Ordering::SeqCst) {
            tracing::info!(operation = %id, "Operation goes on at the next start");
            return;
        }
        self.update(id, |record| {
            record.stage = stage;
            record.error = failure;
            if let Err(error) = journal::write(&self.path_of(id), record) {
                tracing::error!(operation = %id, %error, "End of an operation not recorded");
            }
        });
        let mut entries = self.lock();
        self.prune(&mut entries);
    }

    fn prune(&self, entries: &mut BTreeMap<Uuid, Entry>) {
        let over: Vec<Uuid> = entries
            .iter()
            .filter(|(_, entry)| entry.record.is_over())
            .map(|(id, _)| *id)
            .collect();
        for id in over.iter().take(over.len().saturating_sub(HISTORY)) {
            entries.remove(id);
            let _gone_or_pruned_next_time = fs::remove_file(self.path_of(*id));
        }
    }

    fn path_of(&self, id: Uuid) -> PathBuf {
        self.dir.join(format!("{id}.json"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(record: Record) -> Self {
        let seen = watch::Sender::new(record.to_wire());
        Self {
            record,
            seen,
            cancel: CancellationToken::new(),
            adopted: false,
        }
    }
}

/// The right to report on one operation. Whoever holds it does the work.
#[derive(Debug, Clone)]
pub struct OperationHandle {
    id: Uuid,
    cancel: CancellationToken,
    operations: Operations,
}

impl OperationHandle {
    /// The operation's id.
    #[must_use]
    pub fn id(&self) -> String {
        self.id.to_string()
    }

    /// Says how far the work is. Kept in memory only.
    pub fn progress(&self, done: u64, total: u64, unit: &str, step: &str) {
        self.operations
            .update(self.id, |record| record.set_progress(done, total, unit, step));
    }

    /// Says whether the work waits for a connection of the server. Kept in memory only.
    pub fn await_contact(&self, awaited: bool) {
        self.operations
            .update(self.id, |record| record.awaits_contact = awaited);
    }

    /// Is cancelled when somebody asks the work to stop.
    #[must_use]
    pub fn cancel_token(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// The work ended well.
    pub fn succeed(&self) {
        self.operations.finish(self.id, Stage::Succeeded, None);
    }

    /// The work failed: what happened, to what, and what to do next.
    pub fn fail(&self, code: Code, message: impl Into<String>, log_tail: Vec<String>, rolled_back: bool) {
        let failure = Failure {
            rolled_back,
            ..Failure::new(code, message).with_log(&log_tail)
        };
        self.operations.finish(self.id, Stage::Failed, Some(failure));
    }

    /// The work stopped because somebody asked for it.
    pub fn cancelled(&self) {
        self.operations.finish(self.id, Stage::Cancelled, None);
    }

    /// The operation as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Operation {
        let lost = || Operation {
            id: self.id(),
            state: OperationState::Unspecified as i32,
            ..Operation::default()
        };
        self.operations.get(&self.id()).unwrap_or_else(|_| lost())
    }
}

impl Drop for OperationHandle {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let message = "the work stopped by a fault in the bridge: see its log, then start it again";
            self.fail(Code::Internal, message, Vec::new(), false);
        }
    }
}

/// Refuses keys that are empty, too long, or not visible ASCII.
pub(crate) fn check_key(key: &str) -> Result<(), OperationError> {
    let fits = (1..=LONGEST_KEY).contains(&key.len());
    let clean = key.bytes().all(|byte| byte.is_ascii_graphic());
    if fits && clean {
        Ok(())
    } else {
        Err(OperationError::Key)
    }
}

#[cfg(test)]
mod tests;
