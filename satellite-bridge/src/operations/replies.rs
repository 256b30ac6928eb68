//! The first answers to calls that change something at once, by idempotency key.
//!
//! **Invariant:** an answer that was given for a key is given again for it; a call that failed is not kept, so that it
//! can be made again.

use std::{
    collections::{HashMap, VecDeque},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use satellite_proto::bundle::Digest;
use tonic::Status;
use tracing::Instrument;

use super::{OperationError, check_key};
use crate::journal;

/// Answers that are kept.
const KEPT: usize = 500;

/// Answers by method and key. A cheap handle.
#[derive(Debug, Clone)]
pub struct Replies {
    dir: Arc<Path>,
    index: Arc<Mutex<Index>>,
}

#[derive(Debug, Default)]
struct Index {
    /// File names, oldest first.
    names: VecDeque<String>,
    /// Calls under way: the second call with a key waits for the first.
    running: HashMap<String, Arc<tokio::sync::Mutex<()>>>,
}

impl Replies {
    /// Uses `dir`, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// [`OperationError::Directory`] if it cannot be made or read.
    pub fn open(dir: &Path) -> Result<Self, OperationError> {
        let failed = |source| OperationError::Directory {
            path: dir.to_owned(),
            source,
        };
        fs::create_dir_all(dir).map_err(failed)?;
        let mut found: Vec<(SystemTime, String)> = Vec::new();
        for file in fs::read_dir(dir).map_err(failed)? {
            let file = file.map_err(failed)?;
            let name = file.file_name().to_string_lossy().into_owned();
            if let Ok(time) = file.metadata().and_then(|metadata| metadata.modified())
                && !name.contains('.')
            {
                found.push((time, name));
            }
        }
        found.sort();
        let names = found.into_iter().map(|(_, name)| name).collect();
        let index = Index {
            names,
            running: HashMap::new(),
        };
        Ok(Self {
            dir: dir.into(),
            index: Arc::new(Mutex::new(index)),
        })
    }

    /// Answers what was answered before for `key`, else does `work` and keeps its answer.
    ///
    /// # Errors
    ///
    /// INVALID_ARGUMENT for a bad key; else what `work` says.
    ///
    /// # Cancel safety
    ///
    /// The work is done and its answer kept also when the caller goes away: it may be the work that cut it off.
    pub async fn replay<T, F, W>(&self, method: &str, key: &str, work: F) -> Result<T, Status>
    where
        T: prost::Message + Default + 'static,
        F: FnOnce() -> W + Send + 'static,
        W: Future<Output = Result<T, Status>> + Send + 'static,
    {
        check_key(key)?;
        let method = method.rsplit('/').next().unwrap_or(method);
        // A digest: the longest key makes no name that is too long for the disk.
        let name = format!("{method}-{}", Digest::of(key.as_bytes()));
        let this = self.clone();
        let done = tokio::spawn(async move { this.once(name, work).await }.in_current_span());
        done.await.unwrap_or_else(|error| {
            tracing::error!(%error, "Call stopped by a fault in the bridge");
            Err(Status::internal(
                "the bridge stopped by a fault of its own: see its log",
            ))
        })
    }

    async fn once<T, F, W>(&self, name: String, work: F) -> Result<T, Status>
    where
        T: prost::Message + Default,
        F: FnOnce() -> W,
        W: Future<Output = Result<T, Status>>,
    {
        let turn = self.lock().running.entry(name.clone()).or_default().clone();
        let guard = turn.lock().await;
        let path = self.path_of(&name);
        let known = fs::read(&path)
            .ok()
            .and_then(|bytes| T::decode(bytes.as_slice()).ok());
        let answer = match known {
            Some(answer) => Ok(answer),
            None => work().await.inspect(|answer| self.keep(name.clone(), answer)),
        };
        drop(guard);
        let mut index = self.lock();
        if Arc::strong_count(&turn) == 2 {
            index.running.remove(&name);
        }
        answer
    }

    fn keep(&self, name: String, answer: &impl prost::Message) {
        if let Err(error) = journal::write_bytes(&self.path_of(&name), &answer.encode_to_vec()) {
            tracing::error!(%error, answer = name, "Answer not recorded");
            return;
        }
        let mut index = self.lock();
        index.names.push_back(name);
        while index.names.len() > KEPT {
            if let Some(oldest) = index.names.pop_front() {
                let _gone = fs::remove_file(self.path_of(&oldest));
            }
        }
    }

    fn path_of(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
