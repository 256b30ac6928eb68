//! The task that owns the packet filter while the daemon runs.
//!
//! **Invariant:** what is on disk decides. Other processes of ours (the rollback timer, a reset on the console) may
//! have changed it between two requests, so it is read at each of them under the lock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use satellite_host::fail_point;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant as Moment, MissedTickBehavior};
use tracing::{error, info, warn};
use uuid::Uuid;

use super::apply::{self, InForce};
use super::render::render;
use super::store::{Confirmed, Store, revision};
use super::{FirewallError, Meant, OpenChange, Ruleset, SetOutcome, Settings, Status, Wanted};
use crate::change::{Armed, Changes, Lock, RollbackTimer, Subject};

/// How often the task looks whether somebody else has changed our chains.
const WATCH: Duration = Duration::from_secs(60);

/// Pause before a rollback that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Where an answer goes.
type Reply<T> = oneshot::Sender<Result<T, FirewallError>>;

/// What the task is asked.
#[derive(Debug)]
pub(super) enum Request {
    Get(Reply<Status>),
    Meant(Reply<Meant>),
    Set(Wanted, Reply<SetOutcome>),
    Confirm(Uuid, Instant, Reply<String>),
    Rollback(Uuid, Reply<String>),
    ResetNow(Reply<String>),
}

/// A change that this process has opened.
#[derive(Debug)]
struct Ours {
    id: Uuid,
    applied: Instant,
    expires: Moment,
}

/// The task's state.
#[derive(Debug)]
pub(super) struct Owner {
    settings: Settings,
    changes: Changes,
    store: Store,
    timer: Arc<dyn RollbackTimer>,
    ours: Option<Ours>,
    /// The ruleset that was put in force last, and what the kernel then said.
    expected: Option<(String, InForce)>,
}

impl Owner {
    pub(super) async fn start(
        settings: Settings,
        timer: Arc<dyn RollbackTimer>,
    ) -> Result<Self, FirewallError> {
        let changes = Changes::new(&settings.state_dir);
        let store = Store::new(&settings.state_dir);
        let mut owner = Self {
            settings,
            changes,
            store,
            timer,
            ours: None,
            expected: None,
        };
        let lock = owner.lock().await?;
        let left_open = super::open_change(&lock)?;
        let confirmed = super::recover(&lock, &owner.settings).await?;
        // Of a change that was confirmed the record may be gone and the timer not.
        let stale = left_open.map(|armed| armed.id).or(confirmed.change);
        if let Some(id) = stale {
            owner.stop_timer(id).await;
        }
        owner.remember(&confirmed.ruleset).await?;
        Ok(owner)
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        let mut watch = tokio::time::interval_at(Moment::now() + WATCH, WATCH);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let expires = self.ours.as_ref().map(|ours| ours.expires);
            tokio::select! {
                request = inbox.recv() => match request {
                    Some(request) => self.answer(request).await,
                    None => return,
                },
                () = until(expires) => self.expire().await,
                _ = watch.tick() => self.heal().await,
            }
        }
    }

    /// A caller that has gone away is not an error: what it asked for is done.
    async fn answer(&mut self, request: Request) {
        match request {
            Request::Get(reply) => drop(reply.send(self.get().await)),
            Request::Meant(reply) => drop(reply.send(self.brief().await)),
            Request::Set(wanted, reply) => drop(reply.send(self.set(wanted).await)),
            Request::Confirm(id, established, reply) => drop(reply.send(self.confirm(id, established).await)),
            Request::Rollback(id, reply) => drop(reply.send(self.rollback(id).await)),
            Request::ResetNow(reply) => drop(reply.send(self.reset_now().await)),
        }
    }

    async fn get(&mut self) -> Result<Status, FirewallError> {
        let lock = self.lock().await?;
        let (ruleset, open_change) = self.meant(&lock)?;
        let seen = apply::observe(&*self.settings.filter).await;
        let revision = revision(&ruleset)?;
        let in_sync = self.is_expected(&revision, &seen);
        Ok(Status {
            ruleset,
            revision,
            ipv4: seen.v4,
            ipv6: seen.v6,
            open_change,
            in_sync,
        })
    }

    async fn brief(&self) -> Result<Meant, FirewallError> {
        let lock = self.lock().await?;
        let (ruleset, open_change) = self.meant(&lock)?;
        Ok(Meant {
            revision: revision(&ruleset)?,
            open_change,
        })
    }

    async fn set(&mut self, wanted: Wanted) -> Result<SetOutcome, FirewallError> {
        let lock = self.lock().await?;
        // One of the network as well: one change is open at a time.
        if let Some(open) = lock.open_change().map_err(FirewallError::Change)? {
            return Err(FirewallError::ChangeOpen(open.id));
        }
        let (previous, _) = self.meant(&lock)?;
        let in_force = revision(&previous)?;
        if wanted.base.is_some_and(|base| base != in_force) {
            return Err(FirewallError::OtherRevision { in_force });
        }
        if wanted.ruleset == previous {
            self.repair(&lock, &previous, &in_force).await?;
            return Ok(SetOutcome {
                change: None,
                revision: in_force,
            });
        }
        let next = wanted.ruleset;
        let chains = render(&next, self.settings.port)?;
        apply::test(&*self.settings.filter, &chains)
            .await
            .map_err(FirewallError::Iptables)?;
        let armed = self.arm(&lock, previous, next.clone(), wanted.confirm).await?;
        if let Err(err) = apply::apply(&*self.settings.filter, &lock, &chains).await {
            self.back_out(&lock, armed.id).await;
            return Err(FirewallError::Iptables(err));
        }
        fail_point("firewall.applied");
        let expires = Moment::now() + wanted.confirm;
        self.ours = Some(Ours {
            id: armed.id,
            applied: Instant::now(),
            expires,
        });
        self.remember(&next).await?;
        info!(change = %armed.id, rules = next.rules().len(), "Firewall rules are in force until confirmed or undone");
        let change = OpenChange {
            id: armed.id,
            deadline: armed.deadline,
        };
        Ok(SetOutcome {
            change: Some(change),
            revision: revision(&next)?,
        })
    }

    async fn confirm(&mut self, id: Uuid, established: Instant) -> Result<String, FirewallError> {
        let lock = self.lock().await?;
        let Some(armed) = self.open(&lock, id)? else {
            return Err(FirewallError::NoSuchChange);
        };
        let after = self
            .ours
            .as_ref()
            .is_some_and(|ours| ours.id == id && established > ours.applied);
        if !after {
            return Err(FirewallError::OldConnection);
        }
        let Subject::Firewall { next, .. } = armed.subject else {
            return Err(FirewallError::NoSuchChange);
        };
        let revision = revision(&next)?;
        self.store.save(&Confirmed {
            ruleset: next,
            change: Some(id),
        })?;
        fail_point("firewall.confirm-recorded");
        lock.disarm().map_err(FirewallError::Change)?;
        fail_point("firewall.confirmed");
        self.ours = None;
        self.stop_timer(id).await;
        info!(change = %id, "Firewall rules are confirmed");
        Ok(revision)
    }

    async fn rollback(&mut self, id: Uuid) -> Result<String, FirewallError> {
        let lock = self.lock().await?;
        if self.open(&lock, id)?.is_none() {
            return Err(FirewallError::NoSuchChange);
        }
        self.undo(&lock, id).await
    }

    async fn reset_now(&mut self) -> Result<String, FirewallError> {
        let lock = self.lock().await?;
        let open = super::open_change(&lock)?;
        super::reset(&lock, &self.settings).await?;
        self.ours = None;
        if let Some(armed) = open {
            self.stop_timer(armed.id).await;
        }
        let shipped = Ruleset::shipped();
        self.remember(&shipped).await?;
        info!("Firewall rules are the shipped ones again");
        revision(&shipped)
    }

    /// The open change's time is up.
    async fn expire(&mut self) {
        let Some(id) = self.ours.as_ref().map(|ours| ours.id) else {
            return;
        };
        let undone = async {
            let lock = self.lock().await?;
            match self.open(&lock, id)? {
                Some(_) => self.undo(&lock, id).await.map(drop),
                None => self.catch_up(&lock).await,
            }
        }
        .await;
        if let Err(err) = undone {
            error!(change = %id, error = %err, "A change could not be undone; trying again");
            if let Some(ours) = &mut self.ours {
                ours.expires = Moment::now() + RETRY;
            }
        }
    }

    /// Puts back what somebody else has changed in our chains.
    async fn heal(&mut self) {
        let healed = async {
            let lock = self.lock().await?;
            let (meant, _) = self.meant(&lock)?;
            let revision = revision(&meant)?;
            self.repair(&lock, &meant, &revision).await
        }
        .await;
        if let Err(err) = healed {
            warn!(error = %err, "The firewall could not be checked");
        }
    }

    async fn repair(&mut self, lock: &Lock, meant: &Ruleset, revision: &str) -> Result<(), FirewallError> {
        let seen = apply::observe(&*self.settings.filter).await;
        if self.is_expected(revision, &seen) {
            return Ok(());
        }
        warn!(
            hooked = seen.hooked,
            "Our firewall chains were changed by somebody else; putting them back"
        );
        super::put_in_force(lock, &self.settings, meant).await?;
        self.remember(meant).await
    }

    /// Records the change and arms its timer; nothing is changed before both hold.
    async fn arm(
        &self,
        lock: &Lock,
        previous: Ruleset,
        next: Ruleset,
        confirm: Duration,
    ) -> Result<Armed, FirewallError> {
        let deadline = Timestamp::now().saturating_add(confirm).unwrap_or(Timestamp::MAX);
        let armed = Armed {
            id: Uuid::new_v4(),
            deadline,
            subject: Subject::Firewall { previous, next },
        };
        lock.arm(&armed).map_err(FirewallError::Change)?;
        fail_point("firewall.armed");
        if let Err(err) = self.timer.arm(armed.id, confirm).await {
            lock.disarm().map_err(FirewallError::Change)?;
            return Err(FirewallError::Timer(err));
        }
        fail_point("firewall.timer-armed");
        Ok(armed)
    }

    async fn undo(&mut self, lock: &Lock, id: Uuid) -> Result<String, FirewallError> {
        let confirmed = super::recover(lock, &self.settings).await?;
        self.ours = None;
        self.stop_timer(id).await;
        self.remember(&confirmed.ruleset).await?;
        revision(&confirmed.ruleset)
    }

    /// After rules that could not be put in force whole.
    async fn back_out(&mut self, lock: &Lock, id: Uuid) {
        if let Err(err) = self.undo(lock, id).await {
            error!(change = %id, error = %err, "The old rules could not be put back; trying again");
            self.ours = Some(Ours {
                id,
                applied: Instant::now(),
                expires: Moment::now() + RETRY,
            });
        }
    }

    /// Another process has ended our change; it has also put the right rules in force.
    async fn catch_up(&mut self, lock: &Lock) -> Result<(), FirewallError> {
        self.ours = None;
        let (meant, _) = self.meant(lock)?;
        self.remember(&meant).await
    }

    /// The rules that are meant to be in force now, and the open change.
    fn meant(&self, lock: &Lock) -> Result<(Ruleset, Option<OpenChange>), FirewallError> {
        match lock.open_change().map_err(FirewallError::Change)? {
            Some(Armed {
                id,
                deadline,
                subject: Subject::Firewall { next, .. },
            }) => Ok((next, Some(OpenChange { id, deadline }))),
            _ => Ok((self.store.load()?.ruleset, None)),
        }
    }

    fn open(&self, lock: &Lock, id: Uuid) -> Result<Option<Armed>, FirewallError> {
        Ok(super::open_change(lock)?.filter(|armed| armed.id == id))
    }

    fn is_expected(&self, revision: &str, seen: &InForce) -> bool {
        self.expected
            .as_ref()
            .is_some_and(|(name, expected)| name == revision && expected == seen)
    }

    /// What the kernel says now is what it is to say as long as `ruleset` is meant.
    async fn remember(&mut self, ruleset: &Ruleset) -> Result<(), FirewallError> {
        self.expected = Some((revision(ruleset)?, apply::observe(&*self.settings.filter).await));
        Ok(())
    }

    async fn stop_timer(&self, id: Uuid) {
        if let Err(err) = self.timer.stop(id).await {
            warn!(change = %id, error = %err, "A rollback timer could not be stopped; it will find nothing to do");
        }
    }

    async fn lock(&self) -> Result<Lock, FirewallError> {
        self.changes.lock().await.map_err(FirewallError::Change)
    }
}

async fn until(moment: Option<Moment>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
