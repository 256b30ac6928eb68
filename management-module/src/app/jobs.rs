//! Long work in this process: who does it publishes, who is curious subscribes.
//!
//! **Invariant:** nobody who watches can slow or stop the work. A watcher that falls behind misses events in the
//! middle, never the last one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use satellite_proto::wire::management::v1::JobEvent;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use crate::app::AppError;
use crate::store::{JobRow, JobState, Store, StoreError};

/// Events that a watcher may be behind before it misses some.
const BACKLOG: usize = 256;

/// Ended jobs whose last event is kept at hand.
const KEPT: usize = 256;

/// Notices of a job that are kept at hand.
const NOTICES: usize = 100;

/// How often progress within one step reaches the disk.
const WRITE_EVERY: Duration = Duration::from_secs(5);

/// The handle of all jobs; clones share it.
#[derive(Debug, Clone)]
pub struct Jobs {
    store: Store,
    live: Arc<Mutex<Live>>,
}

#[derive(Debug, Default)]
struct Live {
    entries: HashMap<String, Entry>,
    ended: VecDeque<String>,
}

#[derive(Debug)]
struct Entry {
    last: JobEvent,
    /// What was worth knowing so far.
    notices: Vec<String>,
    sender: broadcast::Sender<JobEvent>,
}

/// What came of the wish to begin a job.
#[derive(Debug)]
pub enum Begun {
    /// It is begun, and the caller does it.
    New(Job),
    /// The same call was made before; this is the id of its job.
    Existing(String),
}

/// A job under way. Dropping it without an end tells watchers that it was interrupted.
#[derive(Debug)]
pub struct Job {
    id: String,
    satellite: String,
    jobs: Jobs,
    last: Box<JobEvent>,
    written: Option<Instant>,
    ended: bool,
}

/// How a job went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFailure {
    /// What happened, to what, and what to do next.
    pub message: String,
    /// The kind of fault.
    pub code: tonic::Code,
    /// The last lines of the log of what failed.
    pub log_tail: Vec<String>,
}

impl JobFailure {
    /// What happened with the last thing that the workload itself said, for records that keep no log.
    pub(super) fn with_last_words(&self) -> String {
        // The service manager names the unit in each of its lines; the bridge notes each end.
        let is_own = |line: &&String| {
            !line.contains("satellite-workload-")
                && line.as_str() != "Workload ended"
                && !line.trim().is_empty()
        };
        match self.log_tail.iter().rev().find(is_own) {
            Some(line) => format!("{}; its log ends with: {}", self.message, line.trim()),
            None => self.message.clone(),
        }
    }
}

impl Jobs {
    /// Jobs that are recorded in `store`. Those that a former process left under way are marked as interrupted.
    ///
    /// # Errors
    /// What the store says.
    pub async fn open(store: Store) -> Result<Self, StoreError> {
        for row in store.running_jobs().await? {
            let event = interrupted(row.event);
            store
                .note_job(&row.id, JobState::Failed, &event, Timestamp::now())
                .await?;
        }
        Ok(Self {
            store,
            live: Arc::default(),
        })
    }

    /// Begins a job of a kind, for one satellite (empty: several). A repeated `idempotency_key` gives the first job.
    ///
    /// # Errors
    /// What the store says.
    pub async fn begin(
        &self,
        kind: &'static str,
        satellite: &str,
        idempotency_key: &str,
    ) -> Result<Begun, StoreError> {
        if let Some(row) = self.by_key(kind, idempotency_key).await? {
            return Ok(Begun::Existing(row.id));
        }
        let id = uuid::Uuid::now_v7().to_string();
        let last = JobEvent {
            job_id: id.clone(),
            satellite: satellite.to_owned(),
            ..JobEvent::default()
        };
        let now = Timestamp::now();
        let row = JobRow {
            id: id.clone(),
            kind: kind.to_owned(),
            satellite: satellite.to_owned(),
            idempotency_key: idempotency_key.to_owned(),
            remote_operation: String::new(),
            state: JobState::Running,
            event: last.clone(),
            created_at: now,
            updated_at: now,
        };
        match self.store.add_job(&row).await {
            // Another call with the same key was quicker.
            Err(StoreError::Exists(source)) => {
                let row = self
                    .by_key(kind, idempotency_key)
                    .await?
                    .ok_or(StoreError::Exists(source))?;
                return Ok(Begun::Existing(row.id));
            }
            other => other?,
        }
        let (sender, _) = broadcast::channel(BACKLOG);
        self.lock().entries.insert(
            id.clone(),
            Entry {
                last: last.clone(),
                notices: Vec::new(),
                sender,
            },
        );
        Ok(Begun::New(Job {
            id,
            satellite: satellite.to_owned(),
            jobs: self.clone(),
            last: Box::new(last),
            written: None,
            ended: false,
        }))
    }

    /// The job's last event, then each that follows; ends after the one that has `ended`.
    ///
    /// # Errors
    /// [`AppError::NotFound`] if there is no such job.
    pub async fn subscribe(&self, id: &str) -> Result<impl Stream<Item = JobEvent> + Send + use<>, AppError> {
        let live = {
            let live = self.lock();
            live.entries
                .get(id)
                .map(|entry| (entry.last.clone(), entry.sender.subscribe()))
        };
        let (last, receiver) = match live {
            Some((last, receiver)) => (last, Some(receiver)),
            None => {
                let row = self.store.job(id).await?.ok_or_else(|| AppError::no("job", id))?;
                (row.event, None)
            }
        };
        Ok(async_stream::stream! {
            let over = last.ended;
            yield last;
            let Some(receiver) = receiver.filter(|_| !over) else { return };
            let mut events = BroadcastStream::new(receiver);
            while let Some(event) = events.next().await {
                // A watcher that fell behind goes on with what is newest.
                let Ok(event) = event else { continue };
                let over = event.ended;
                yield event;
                if over {
                    return;
                }
            }
        })
    }

    /// What a job has told that a person should know; of one that ended long ago nothing.
    #[must_use]
    pub fn notices(&self, id: &str) -> Vec<String> {
        let live = self.lock();
        live.entries
            .get(id)
            .map_or_else(Vec::new, |entry| entry.notices.clone())
    }

    async fn by_key(&self, kind: &str, key: &str) -> Result<Option<JobRow>, StoreError> {
        if key.is_empty() {
            return Ok(None);
        }
        self.store.job_by_key(kind, key).await
    }

    fn tell(&self, event: &JobEvent) {
        let mut live = self.lock();
        let Some(entry) = live.entries.get_mut(&event.job_id) else {
            return;
        };
        entry.last = event.clone();
        let is_new = !event.notice.is_empty() && !entry.notices.contains(&event.notice);
        if is_new && entry.notices.len() < NOTICES {
            entry.notices.push(event.notice.clone());
        }
        // No receiver means that nobody watches, which is fine.
        let _ = entry.sender.send(event.clone());
        if event.ended {
            live.ended.push_back(event.job_id.clone());
            if live.ended.len() > KEPT
                && let Some(oldest) = live.ended.pop_front()
            {
                live.entries.remove(&oldest);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    /// Names the job.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Tells how far the job is. Id is filled in, the satellite too if the event names none; `ended` is ignored.
    pub async fn publish(&mut self, event: JobEvent) {
        let new_step = event.step != self.last.step;
        let event = self.own(JobEvent {
            ended: false,
            ..event
        });
        self.jobs.tell(&event);
        let due = self.written.is_none_or(|at| at.elapsed() >= WRITE_EVERY);
        if new_step || due {
            self.written = Some(Instant::now());
            self.write(JobState::Running, &event).await;
        }
        *self.last = event;
    }

    /// Tells something that a person should know.
    pub async fn note(&mut self, notice: String) {
        self.publish(JobEvent {
            notice,
            ..JobEvent::default()
        })
        .await;
    }

    /// Tells how far the job is, by its parts.
    pub async fn progress(&mut self, step: &str, done: u64, total: u64, unit: &str) {
        let event = JobEvent {
            step: step.into(),
            done,
            total,
            unit: unit.into(),
            ..JobEvent::default()
        };
        self.publish(event).await;
    }

    /// Notes the operation on the satellite that the job waits for.
    pub async fn remote_operation(&self, operation: &str) {
        if let Err(error) = self.jobs.store.note_remote_operation(&self.id, operation).await {
            tracing::warn!(job = %self.id, error = %crate::error_chain(&error), "Operation of a job not recorded");
        }
    }

    /// Ends the job well, or partly if `last` says so. What it carries besides the step (archive, notice) reaches the
    /// watchers.
    pub async fn succeed(mut self, last: JobEvent) {
        let step = if last.step.is_empty() {
            self.last.step.clone()
        } else {
            last.step.clone()
        };
        let event = self.own(JobEvent {
            step,
            ended: true,
            ..last
        });
        let state = if event.partly {
            JobState::Partly
        } else {
            JobState::Succeeded
        };
        self.end(state, event).await;
    }

    /// Ends the job with what went wrong.
    pub async fn fail(mut self, failure: JobFailure) {
        let event = self.own(JobEvent {
            step: self.last.step.clone(),
            done: self.last.done,
            total: self.last.total,
            unit: self.last.unit.clone(),
            ended: true,
            error: failure.message,
            error_code: failure.code.into(),
            log_tail: failure.log_tail,
            ..JobEvent::default()
        });
        self.end(JobState::Failed, event).await;
    }

    async fn end(&mut self, state: JobState, event: JobEvent) {
        // On disk first: a watcher that sees the end may rely on it.
        self.write(state, &event).await;
        self.ended = true;
        self.jobs.tell(&event);
    }

    async fn write(&self, state: JobState, event: &JobEvent) {
        if let Err(error) = self
            .jobs
            .store
            .note_job(&self.id, state, event, Timestamp::now())
            .await
        {
            tracing::warn!(job = %self.id, error = %crate::error_chain(&error), "State of a job not recorded");
        }
    }

    fn own(&self, mut event: JobEvent) -> JobEvent {
        event.job_id.clone_from(&self.id);
        if event.satellite.is_empty() {
            event.satellite.clone_from(&self.satellite);
        }
        event
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let event = self.own(interrupted((*self.last).clone()));
        self.jobs.tell(&event);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (store, id) = (self.jobs.store.clone(), self.id.clone());
            runtime.spawn(async move {
                // A row that stays "running" is marked at the next start.
                let _ = store
                    .note_job(&id, JobState::Failed, &event, Timestamp::now())
                    .await;
            });
        }
    }
}

fn interrupted(event: JobEvent) -> JobEvent {
    JobEvent {
        ended: true,
        error: "interrupted: the management module stopped while this was under way; ask for it again".into(),
        error_code: tonic::Code::Aborted.into(),
        ..event
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::fresh;

    async fn new_job(jobs: &Jobs, key: &str) -> Job {
        match jobs.begin("push", "s1", key).await.unwrap() {
            Begun::New(job) => job,
            Begun::Existing(id) => panic!("{id} exists"),
        }
    }

    #[test]
    fn a_record_without_a_log_has_the_last_words_of_the_workload_itself() {
        let mut failure = JobFailure {
            message: "it did not start".to_owned(),
            code: tonic::Code::FailedPrecondition,
            log_tail: Vec::new(),
        };
        assert_eq!(failure.with_last_words(), "it did not start");
        failure.log_tail = [
            "Starting satellite-workload-echo.service - Workload echo 2.0.0...",
            "no room for the index ",
            "satellite-workload-echo.service: Main process exited, code=exited, status=3/NOTIMPLEMENTED",
            "Workload ended",
        ]
        .map(str::to_owned)
        .to_vec();
        let words = "it did not start; its log ends with: no room for the index";
        assert_eq!(failure.with_last_words(), words);
    }

    #[tokio::test]
    async fn a_watcher_that_comes_late_sees_the_last_event_and_the_end() {
        let (_dir, store) = fresh().await;
        let jobs = Jobs::open(store).await.unwrap();
        let mut job = new_job(&jobs, "").await;
        let id = job.id().to_owned();
        job.progress("Pushing", 1, 2, "bytes").await;
        let early = jobs.subscribe(&id).await.unwrap();
        job.progress("Pushing", 2, 2, "bytes").await;
        job.succeed(JobEvent::default()).await;
        let steps: Vec<_> = early.map(|e| (e.done, e.ended)).collect().await;
        assert_eq!(steps, [(1, false), (2, false), (0, true)]);
        let late: Vec<_> = jobs.subscribe(&id).await.unwrap().collect().await;
        assert_eq!(late.len(), 1);
        assert!(late[0].ended && late[0].error.is_empty() && late[0].satellite == "s1");
    }

    #[tokio::test]
    async fn a_watcher_that_does_not_read_misses_events_but_not_the_last() {
        let (_dir, store) = fresh().await;
        let jobs = Jobs::open(store).await.unwrap();
        let mut job = new_job(&jobs, "").await;
        let events = jobs.subscribe(job.id()).await.unwrap();
        for done in 0..1000 {
            job.progress("Pushing", done, 1000, "bytes").await;
        }
        job.succeed(JobEvent::default()).await;
        let events: Vec<_> = events.collect().await;
        assert!(events.len() < 1000 && events.last().unwrap().ended);
    }

    #[tokio::test]
    async fn the_same_key_gives_the_first_job() {
        let (_dir, store) = fresh().await;
        let jobs = Jobs::open(store).await.unwrap();
        let job = new_job(&jobs, "k").await;
        let again = jobs.begin("push", "s1", "k").await.unwrap();
        assert!(matches!(again, Begun::Existing(id) if id == job.id()));
    }

    #[tokio::test]
    async fn a_job_left_under_way_by_a_former_process_is_interrupted() {
        let (_dir, store) = fresh().await;
        let jobs = Jobs::open(store.clone()).await.unwrap();
        let job = new_job(&jobs, "").await;
        let id = job.id().to_owned();
        std::mem::forget(job);
        let jobs = Jobs::open(store).await.unwrap();
        let events: Vec<_> = jobs.subscribe(&id).await.unwrap().collect().await;
        assert!(events[0].ended && events[0].error.starts_with("interrupted"));
    }

    #[tokio::test]
    async fn a_job_that_is_dropped_tells_its_watchers() {
        let (_dir, store) = fresh().await;
        let jobs = Jobs::open(store).await.unwrap();
        let job = new_job(&jobs, "").await;
        let events = jobs.subscribe(job.id()).await.unwrap();
        drop(job);
        let events: Vec<_> = events.collect().await;
        assert!(events.last().unwrap().ended);
    }
}
