//! Brings satellites to what is desired of them: one task each, woken by start, change and time.
//!
//! **Invariants:** a pass takes no hint but reads desired and observed state whole; one satellite is changed by one
//! pass at a time; no more satellites than the configuration allows are changed at once.

mod pass;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use satellite_proto::bundle::Digest;
use satellite_proto::wire::bridge::v1 as bridge;
use tokio::sync::{OwnedMutexGuard, Semaphore, watch};
use tracing::{Instrument, debug, info_span, warn};

use super::execute::{self, Failed};
use super::history;
use super::observe::{self, Shortfall};
use super::{App, AppError, JobFailure};
use crate::fleet::{Backoff, Facts, FleetError, Reachability};
use crate::names::SatelliteName;
use crate::plan;
pub use pass::Pass;

/// Waits after passes that failed for a cause that may go away by itself.
const RETRY: Backoff = Backoff {
    first: Duration::from_secs(4),
    longest: Duration::from_mins(5),
};

/// How soon a satellite is looked at again on which something is under way.
const LOOK: Duration = Duration::from_secs(5);

/// How long a pass that found all as it is meant waits until the satellite's own reports show that too.
const SHOWN: Duration = Duration::from_secs(5);

/// How often one pass plans anew: what is seen after the steps must need none.
const ROUNDS: usize = 3;

/// How long a person's change waits for a pass that is under way.
const TURN: Duration = Duration::from_secs(60);

/// The handle of all reconciling tasks; clones share it.
#[derive(Debug, Clone)]
pub struct Reconciler {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tasks: Mutex<HashMap<SatelliteName, Entry>>,
    permits: Semaphore,
}

#[derive(Debug)]
struct Entry {
    wishes: watch::Sender<u64>,
    pass: watch::Receiver<Pass>,
    turn: Arc<tokio::sync::Mutex<()>>,
    named: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reconciler {
    /// No tasks yet; at most `changes` satellites are changed at once.
    #[must_use]
    pub fn new(changes: usize) -> Self {
        let inner = Inner {
            tasks: Mutex::default(),
            permits: Semaphore::new(changes),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Begins to reconcile a satellite that is in the fleet.
    pub fn add(&self, app: &App, name: &SatelliteName) {
        let (wishes, wished) = watch::channel(0);
        let (sender, pass) = watch::channel(Pass::default());
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        let named = Arc::new(AtomicBool::new(false));
        let task = Task {
            app: app.clone(),
            name: name.clone(),
            wished,
            sender,
            turn: turn.clone(),
            named: named.clone(),
            cause: None,
        };
        let span = info_span!("reconcile", satellite = %name);
        let task = tokio::spawn(task.run().instrument(span));
        self.lock().insert(
            name.clone(),
            Entry {
                wishes,
                pass,
                turn,
                named,
                task,
            },
        );
    }

    /// Ends the task of a satellite.
    pub fn remove(&self, name: &SatelliteName) {
        self.lock().remove(name);
    }

    /// Wakes the task of a satellite. A pass that covers the number read everything that is stored now.
    ///
    /// # Errors
    /// The satellite is not known.
    pub fn wake(&self, name: &SatelliteName) -> Result<(u64, watch::Receiver<Pass>), AppError> {
        let tasks = self.lock();
        let entry = tasks.get(name).ok_or_else(|| unknown(name))?;
        entry.named.store(true, Ordering::SeqCst);
        entry.wishes.send_modify(|number| *number += 1);
        Ok((*entry.wishes.borrow(), entry.pass.clone()))
    }

    /// Wakes all tasks.
    pub fn wake_all(&self) {
        for entry in self.lock().values() {
            entry.wishes.send_modify(|number| *number += 1);
        }
    }

    /// How the last or present pass goes, with every change.
    ///
    /// # Errors
    /// The satellite is not known.
    pub fn watch(&self, name: &SatelliteName) -> Result<watch::Receiver<Pass>, AppError> {
        self.lock()
            .get(name)
            .map(|entry| entry.pass.clone())
            .ok_or_else(|| unknown(name))
    }

    /// How the last or present pass goes.
    #[must_use]
    pub fn last(&self, name: &SatelliteName) -> Pass {
        let tasks = self.lock();
        let Some(entry) = tasks.get(name) else {
            return Pass::default();
        };
        let mut pass = entry.pass.borrow().clone();
        pass.converged &= pass.covers >= *entry.wishes.borrow();
        pass
    }

    /// The right to change a satellite, which passes need too.
    ///
    /// # Errors
    /// The satellite is not known, or a pass changes it for longer than a minute.
    pub async fn turn(&self, name: &SatelliteName) -> Result<OwnedMutexGuard<()>, AppError> {
        let turn = self
            .lock()
            .get(name)
            .map(|entry| entry.turn.clone())
            .ok_or_else(|| unknown(name))?;
        tokio::time::timeout(TURN, turn.lock_owned()).await.map_err(|_| {
            AppError::Precondition(format!(
                "satellite {name} is being changed (see `management-module satellite show {name}`); try again later"
            ))
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SatelliteName, Entry>> {
        self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(name: &SatelliteName) -> AppError {
    FleetError::Unknown(name.to_string()).into()
}

struct Task {
    app: App,
    name: SatelliteName,
    wished: watch::Receiver<u64>,
    sender: watch::Sender<Pass>,
    turn: Arc<tokio::sync::Mutex<()>>,
    /// There is a reason to call this satellite rather than to believe what was last seen of it: somebody wants
    /// something of it, or has just had an answer. Not set by what concerns all: a fleet is not called in one second.
    named: Arc<AtomicBool>,
    /// The version whose step failed last, and why.
    cause: Option<(Digest, JobFailure)>,
}

/// How a pass ended.
enum End {
    /// All is as it is meant, and this is what is there.
    Converged(Facts),
    /// Something is on its way there; the satellite reports when it is done.
    Pending,
    Failed(Failed),
}

impl Task {
    async fn run(mut self) {
        let Ok(mut link) = self.app.fleet.watch(&self.name) else {
            return;
        };
        let mut attempt = 0;
        loop {
            let covers = *self.wished.borrow_and_update();
            let gist = link.borrow_and_update().gist();
            self.sender.send_modify(|pass| *pass = pass.next(covers));
            let end = {
                let _turn = self.turn.clone().lock_owned().await;
                self.pass().await.unwrap_or_else(End::Failed)
            };
            let retry = matches!(&end, End::Failed(failed) if failed.retry);
            let is_pending = matches!(end, End::Pending);
            if let End::Converged(facts) = &end {
                self.shown(facts).await;
            }
            self.publish(end);
            let wait = if retry {
                attempt += 1;
                Duration::from_secs(1) + RETRY.delay(attempt - 1, rand::random())
            } else if is_pending {
                attempt = 0;
                LOOK
            } else {
                attempt = 0;
                // Spread, so that satellites that were taken up together are not checked together.
                self.app
                    .config
                    .reconcile_interval
                    .mul_f64(0.8 + 0.2 * rand::random::<f64>())
            };
            let changed = async {
                while link.changed().await.is_ok() {
                    if link.borrow_and_update().gist() != gist {
                        return;
                    }
                }
                std::future::pending().await
            };
            tokio::select! {
                wished = self.wished.changed() => if wished.is_err() { return },
                () = changed => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn publish(&self, end: End) {
        self.sender.send_modify(|pass| {
            pass.ended = true;
            pass.converged = matches!(end, End::Converged(_));
            match end {
                End::Converged(facts) => pass.seen = facts,
                End::Failed(failed) => pass.failure = Some(failed.failure),
                End::Pending => {}
            }
        });
    }

    /// Waits until the link shows what the satellite answered: its reports come a moment later, and whoever waits for this
    /// pass looks at them next.
    async fn shown(&self, facts: &Facts) {
        if let Ok(mut link) = self.app.fleet.watch(&self.name) {
            let shown = link.wait_for(|link| link.facts() == *facts);
            if tokio::time::timeout(SHOWN, shown).await.is_err() {
                debug!("Satellite still reports what was there before");
            }
        }
    }

    async fn pass(&mut self) -> Result<End, Failed> {
        self.reach().await?;
        let unseen = history::catch_up(&self.app, &self.name).await?;
        self.cause = unseen.into_iter().last().or(self.cause.take());
        for _ in 0..ROUNDS {
            let seen = observe::observed(&self.app, &self.name).await?;
            let desired = observe::desired(&self.app, &self.name)
                .await
                .map_err(AppError::from)?;
            let steps = plan::plan(&desired, &seen.state);
            if steps.is_empty() {
                let shortfalls = observe::shortfalls(&desired, &seen.satellite);
                if !shortfalls.is_empty() {
                    // What was begun before this process may wait to be reached.
                    if let Err(error) = execute::meet_awaiting(&self.app, &self.name).await {
                        debug!(error = %crate::error_chain(&error), "Not known whether the satellite waits to be met");
                    }
                }
                let is_blocked = |digest: &Digest| {
                    let mut all = desired.workloads.values();
                    all.any(|wanted| wanted.blocked && wanted.target == Some(*digest))
                };
                let cause = self.cause.as_ref().filter(|(digest, _)| is_blocked(digest));
                let end = end_of(shortfalls.into_values().collect(), &seen.satellite);
                return Ok(match (end, cause) {
                    // The pass before tried it, and the satellite's going back woke this one: why it failed is
                    // what whoever waits is to be told.
                    (End::Failed(failed), Some((_, cause))) => End::Failed(Failed {
                        failure: cause.clone(),
                        ..failed
                    }),
                    (end, _) => end,
                });
            }
            self.tell("Waiting for a turn");
            let Ok(_permit) = self.app.reconciler.inner.permits.acquire().await else {
                return Ok(End::Pending);
            };
            for step in steps {
                let tried = execute::version_of(&desired, &step);
                let done = execute::step(&self.app, &self.name, &desired, step, &self.sender).await;
                if let (Some((_, digest)), Err(failed)) = (tried, &done) {
                    self.cause = Some((digest, failed.failure.clone()));
                }
                done?;
                // It answered: a link that says otherwise is behind.
                self.named.store(true, Ordering::SeqCst);
            }
        }
        warn!("Satellite still differs after three rounds");
        Ok(End::Pending)
    }

    /// Waits for first contact, or for one more try where there is a reason for it; fails at once where there is none.
    async fn reach(&self) -> Result<(), Failed> {
        let mut link = self.app.fleet.watch(&self.name).map_err(AppError::from)?;
        let failures = {
            let link = link.borrow();
            (link.reachability == Reachability::Unreachable).then_some(link.failures)
        };
        if let Some(failures) = failures.filter(|_| self.named.swap(false, Ordering::SeqCst)) {
            self.tell("Calling");
            self.app.fleet.call_now(&self.name).map_err(AppError::from)?;
            let tried = link
                .wait_for(|link| link.reachability != Reachability::Unreachable || link.failures != failures);
            let _ = tokio::time::timeout(self.app.config.call_deadline, tried).await;
        }
        if link.borrow().reachability == Reachability::Connecting {
            self.tell("Connecting");
            let first = link.wait_for(|link| link.reachability != Reachability::Connecting);
            let _ = tokio::time::timeout(self.app.config.call_deadline, first).await;
        }
        let link = link.borrow();
        if link.reachability == Reachability::Reachable {
            return Ok(());
        }
        let problem = if link.problem.is_empty() {
            "it does not answer yet"
        } else {
            &link.problem
        };
        Err(Failed {
            failure: JobFailure {
                message: format!(
                    "satellite {}: {problem}. What is meant is stored and is done when it answers",
                    self.name
                ),
                code: tonic::Code::Unavailable,
                log_tail: Vec::new(),
            },
            // The link itself wakes the next pass.
            retry: false,
        })
    }

    fn tell(&self, step: &str) {
        self.sender.send_modify(|pass| step.clone_into(&mut pass.step));
    }
}

fn end_of(shortfalls: Vec<Shortfall>, satellite: &bridge::Satellite) -> End {
    let mut problems = Vec::new();
    let any = !shortfalls.is_empty();
    for shortfall in shortfalls {
        if let Shortfall::Problem(problem) = shortfall {
            problems.push(problem);
        }
    }
    match (any, problems.is_empty()) {
        (false, _) => End::Converged(Facts::of(satellite)),
        (true, true) => End::Pending,
        (true, false) => End::Failed(Failed {
            failure: JobFailure {
                message: problems.join("; "),
                code: tonic::Code::FailedPrecondition,
                log_tail: Vec::new(),
            },
            retry: false,
        }),
    }
}
