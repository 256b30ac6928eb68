//! Does one step of a plan, tells how far it is, and records how it went.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use satellite_proto::bundle::{Digest, WorkloadName};
use satellite_proto::wire::bridge::v1::operation_service_client::OperationServiceClient;
use satellite_proto::wire::bridge::v1::update_service_client::UpdateServiceClient;
use satellite_proto::wire::bridge::v1::workload_service_client::WorkloadServiceClient;
use satellite_proto::wire::bridge::v1::{self as bridge, Operation};
use tokio::sync::watch;
use tonic::Code;
use tracing::{info, warn};

use super::reconcile::Pass;
use super::remote::{RETRY, call, ended, is_busy, new_key, wait_after, watch_operation};
use super::{Actor, App, AppError, JobFailure, firewall, history, push, trust};
use crate::names::SatelliteName;
use crate::plan::{Desired, Step};
use crate::store::{Attempt, BundleRow, Outcome};

/// How often the start of an operation is tried while the satellite does not answer; the key makes it one start.
const TRIES: u32 = 4;

/// How long a start waits for the end of something else, such as the check of a workload by a bridge that has just started.
const BUSY: Duration = Duration::from_secs(30);

/// Seconds within which this server proves, over a new connection, that it still reaches a satellite after an update.
const CONTACT_SECONDS: u32 = 60;

/// Why a pass failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    /// What happened.
    pub(super) failure: JobFailure,
    /// The cause may go away by itself.
    pub(super) retry: bool,
}

impl From<AppError> for Failed {
    fn from(error: AppError) -> Self {
        JobFailure::from(error).into()
    }
}

impl From<JobFailure> for Failed {
    fn from(failure: JobFailure) -> Self {
        Self {
            retry: !is_versions_fault(failure.code),
            failure,
        }
    }
}

/// Whether trying the same version again cannot help: the satellite answers these for the bundle itself and for a version
/// that does not run. Everything else is the fault of what is around it: chunks or files that were lost there, a service
/// manager that does not answer, a certificate that was revoked, a satellite that takes no changes at the moment.
pub(super) fn is_versions_fault(code: Code) -> bool {
    matches!(
        code,
        Code::FailedPrecondition | Code::InvalidArgument | Code::OutOfRange
    )
}

/// The end of an installation, with what it says of the version. A bridge or system that the server could not reach is held
/// against it: each further try starts the machine anew. It says nothing if the server itself `was_away`.
pub(super) fn judged(
    workload: &WorkloadName,
    end: Result<(), JobFailure>,
    was_away: bool,
) -> Result<(), JobFailure> {
    end.map_err(|failure| match failure.code {
        Code::Unavailable if workload.is_base() && !was_away => JobFailure {
            code: Code::FailedPrecondition,
            ..failure
        },
        _ => failure,
    })
}

/// Does one step.
pub(super) async fn step(
    app: &App,
    satellite: &SatelliteName,
    desired: &Desired,
    step: Step,
    pass: &watch::Sender<Pass>,
) -> Result<(), Failed> {
    let (action, subject) = match &step {
        Step::Stop(workload) => ("Stop", workload.to_string()),
        Step::PushBundle(workload, digest) => ("Push", label(app, workload, digest).await),
        Step::Install(workload, digest) => ("Install", label(app, workload, digest).await),
        Step::SetTrust(_) => ("SetTrust", "release keys".to_owned()),
        Step::SetFirewall(_) => ("SetFirewall", "firewall".to_owned()),
        Step::Start(workload) => ("Start", workload.to_string()),
    };
    tell(pass, &format!("{} {subject}", doing(action)), 0, 0, "");
    let tried = version_of(desired, &step);
    let is_start = matches!(step, Step::Start(_));
    let bringing = tried.clone().filter(|_| !is_start);
    if let Some((workload, digest)) = &bringing {
        history::opened(app, satellite, workload, *digest).await;
    }
    let is_firewall = matches!(step, Step::SetFirewall(_));
    let ends_try = !matches!(step, Step::PushBundle(..));
    let run = Run {
        app,
        satellite,
        pass,
        begun: Mutex::default(),
        saw_end: AtomicBool::default(),
    };
    let result = run.step(desired, step).await;
    let text = result
        .as_ref()
        .copied()
        .map_err(|failure| failure.message.clone());
    let subject = format!("{satellite}/{subject}");
    app.audit
        .record(&Actor::reconciler(), action, &subject, text)
        .await;
    match &result {
        Ok(()) => info!(action, subject, "Step done"),
        Err(failure) => warn!(action, subject, code = ?failure.code, error = failure.message, "Step failed"),
    }
    // First what keeps a version that failed from being tried again: this process may be killed at any moment.
    if let Some((workload, manifest_digest)) = tried
        && (ends_try || result.is_err())
    {
        note(app, satellite, workload, manifest_digest, &result).await;
    }
    if let Some((workload, digest)) = &bringing {
        history::ended(app, satellite, (workload, *digest), ends_try, &result).await;
    }
    if let Some(key) = run.settled() {
        history::settled(app, satellite, &key).await;
    }
    result.map_err(|failure| Failed {
        // A change that a former process left open is undone within two minutes: then the rules can be set.
        retry: !is_versions_fault(failure.code) || (is_firewall && failure.code == Code::FailedPrecondition),
        failure: JobFailure {
            message: format!("{} {subject}: {}", doing(action), failure.message),
            ..failure
        },
    })
}

/// The version that a step tries, if it does.
pub(super) fn version_of(desired: &Desired, step: &Step) -> Option<(WorkloadName, Digest)> {
    match step {
        Step::PushBundle(workload, digest) | Step::Install(workload, digest) => {
            Some((workload.clone(), *digest))
        }
        Step::Start(workload) => {
            let target = desired.workloads.get(workload)?.target?;
            Some((workload.clone(), target))
        }
        Step::Stop(_) | Step::SetTrust(_) | Step::SetFirewall(_) => None,
    }
}

pub(super) async fn note(
    app: &App,
    satellite: &SatelliteName,
    workload: WorkloadName,
    manifest_digest: Digest,
    result: &Result<(), JobFailure>,
) {
    let attempt = Attempt {
        satellite: satellite.clone(),
        workload,
        manifest_digest,
        ended_at: Timestamp::now(),
        outcome: match result {
            Ok(()) => Outcome::Done,
            Err(failure) if is_versions_fault(failure.code) => Outcome::Failed,
            Err(_) => Outcome::Retry,
        },
        problem: result
            .as_ref()
            .err()
            .map(JobFailure::with_last_words)
            .unwrap_or_default(),
        tries: 1,
    };
    if let Err(error) = app.store.note_attempt(&attempt).await {
        warn!(error = %crate::error_chain(&error), "Try not recorded");
    }
}

async fn label(app: &App, workload: &WorkloadName, digest: &Digest) -> String {
    match app.store.bundle(digest).await {
        Ok(Some(bundle)) => format!("{workload} {}", bundle.version),
        _ => workload.to_string(),
    }
}

fn doing(action: &str) -> &'static str {
    match action {
        "Stop" => "Stopping",
        "Push" => "Pushing",
        "Install" => "Installing",
        "SetFirewall" => "Setting the rules of the",
        "SetTrust" => "Bringing the",
        _ => "Starting",
    }
}

fn tell(pass: &watch::Sender<Pass>, step: &str, done: u64, total: u64, unit: &'static str) {
    pass.send_modify(|pass| {
        step.clone_into(&mut pass.step);
        (pass.done, pass.total, pass.unit) = (done, total, unit);
    });
}

struct Run<'a> {
    app: &'a App,
    satellite: &'a SatelliteName,
    pass: &'a watch::Sender<Pass>,
    /// The key of the installation that was begun.
    begun: Mutex<Option<String>>,
    /// The end of an operation was seen: the last thing that a step does on a satellite.
    saw_end: AtomicBool,
}

impl Run<'_> {
    /// The key of the installation whose end was seen.
    fn settled(&self) -> Option<String> {
        let key = self.begun.lock().unwrap_or_else(PoisonError::into_inner).take();
        key.filter(|_| self.saw_end.load(Ordering::SeqCst))
    }

    async fn step(&self, desired: &Desired, step: Step) -> Result<(), JobFailure> {
        let name = match step {
            Step::PushBundle(_, digest) => return self.push(&digest).await,
            Step::SetTrust(_) => return Ok(trust::bring(self.app, self.satellite).await?),
            Step::SetFirewall(ruleset) => {
                firewall::apply(self.app, self.satellite, ruleset).await?;
                return Ok(());
            }
            Step::Install(name, digest) => return self.install(&name, digest).await,
            Step::Start(name) => return self.start(&name, desired).await,
            Step::Stop(name) => name,
        };
        self.switch(&name, false).await
    }

    /// Starts a workload; one whose files were damaged on the satellite is put together again first.
    async fn start(&self, name: &WorkloadName, desired: &Desired) -> Result<(), JobFailure> {
        let wanted = desired.workloads.get(name).filter(|wanted| !wanted.blocked);
        match (
            self.switch(name, true).await,
            wanted.and_then(|wanted| wanted.target),
        ) {
            (Err(failure), Some(target)) if failure.code == Code::DataLoss => {
                warn!(satellite = %self.satellite, workload = %name, error = failure.message, "Version is repaired");
                self.push(&target).await?;
                self.install(name, target).await?;
                self.switch(name, true).await
            }
            (started, _) => started,
        }
    }

    async fn switch(&self, name: &WorkloadName, starts: bool) -> Result<(), JobFailure> {
        let (name, key) = (name.to_string(), new_key());
        let (app, satellite) = (self.app, self.satellite);
        let operation = begin(BUSY, move || {
            let (name, idempotency_key) = (name.clone(), key.clone());
            async move {
                let mut client = WorkloadServiceClient::new(app.fleet.channel(satellite)?);
                let deadline = app.config.call_deadline;
                if starts {
                    let request = bridge::StartWorkloadRequest {
                        name,
                        idempotency_key,
                    };
                    Ok(call(satellite, deadline, client.start_workload(request))
                        .await?
                        .operation)
                } else {
                    let request = bridge::StopWorkloadRequest {
                        name,
                        idempotency_key,
                    };
                    Ok(call(satellite, deadline, client.stop_workload(request))
                        .await?
                        .operation)
                }
            }
        })
        .await?;
        self.watch(operation).await
    }

    async fn push(&self, digest: &Digest) -> Result<(), JobFailure> {
        let bundle = self.bundle(digest).await?;
        let step = format!("Pushing {} {}", bundle.workload, bundle.version);
        let (sent, ended) = push::push(self.app, self.satellite, &bundle, |done, total| {
            tell(self.pass, &step, done, total, "bytes")
        })
        .await;
        if let Some(sent) = sent {
            history::pushed(self.app, self.satellite, &bundle, sent).await;
        }
        Ok(ended?)
    }

    async fn install(&self, workload: &WorkloadName, digest: Digest) -> Result<(), JobFailure> {
        let key = new_key();
        history::begun(self.app, self.satellite, (workload, digest), &key).await;
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
        self.saw_end.store(false, Ordering::SeqCst);
        let (app, satellite) = (self.app, self.satellite);
        let operation = begin(BUSY, move || {
            let request = bridge::InstallUpdateRequest {
                manifest_digest: digest.to_string(),
                idempotency_key: key.clone(),
                enable: false,
                contact_seconds: CONTACT_SECONDS,
            };
            async move {
                let mut client = UpdateServiceClient::new(app.fleet.channel(satellite)?);
                Ok(call(
                    satellite,
                    app.config.call_deadline,
                    client.install_update(request),
                )
                .await?
                .operation)
            }
        })
        .await?;
        let end = self.watch(operation).await;
        if self.saw_end.load(Ordering::SeqCst) {
            return judged(workload, end, false);
        }
        end
    }

    async fn bundle(&self, digest: &Digest) -> Result<BundleRow, AppError> {
        let row = self.app.store.bundle(digest).await?;
        row.ok_or_else(|| AppError::no("bundle with the manifest", digest.to_string()))
    }

    async fn watch(&self, operation: Operation) -> Result<(), JobFailure> {
        let pass = self.pass;
        let title = pass.borrow().step.clone();
        let mut is_awaited = false;
        watch_operation(self.app, self.satellite, operation, |operation| {
            if operation.awaits_contact && !is_awaited {
                tokio::spawn(meet(
                    self.app.clone(),
                    self.satellite.clone(),
                    operation.id.clone(),
                ));
            }
            is_awaited = operation.awaits_contact;
            if ended(operation).is_some() {
                self.saw_end.store(true, Ordering::SeqCst);
            }
            let progress = operation.progress.clone().unwrap_or_default();
            let step = if progress.step.is_empty() {
                title.clone()
            } else {
                format!("{title}: {}", progress.step)
            };
            let unit = if progress.unit == "bytes" {
                "bytes"
            } else {
                "steps"
            };
            tell(pass, &step, progress.done, progress.total, unit);
        })
        .await
    }
}

/// Meets a satellite on which an installation that nobody here watches waits for that.
pub(super) async fn meet_awaiting(app: &App, satellite: &SatelliteName) -> Result<(), AppError> {
    let mut client = OperationServiceClient::new(app.fleet.channel(satellite)?);
    let request = bridge::ListOperationsRequest { limit: 20 };
    let asked = client.list_operations(request);
    let all = call(satellite, app.config.call_deadline, asked).await?.operations;
    match all.into_iter().find(|operation| operation.awaits_contact) {
        Some(operation) => meet_once(app, satellite, &operation.id).await,
        None => Ok(()),
    }
}

/// Calls a satellite over a connection that is made now: it waits for that before it keeps a new version.
async fn meet(app: App, satellite: SatelliteName, operation: String) {
    let until = tokio::time::Instant::now() + Duration::from_secs(CONTACT_SECONDS.into());
    let mut attempt = 0;
    loop {
        let Err(error) = meet_once(&app, &satellite, &operation).await else {
            return;
        };
        let wait = RETRY.delay(attempt, rand::random());
        attempt = attempt.saturating_add(1);
        if tokio::time::Instant::now() + wait >= until {
            warn!(%satellite, error = %crate::error_chain(&error), "Satellite is not reached after its update");
            return;
        }
        tokio::time::sleep(wait).await;
    }
}

async fn meet_once(app: &App, satellite: &SatelliteName, operation: &str) -> Result<(), AppError> {
    let channel = app.fleet.fresh_channel(satellite).await?;
    let mut client = OperationServiceClient::new(channel);
    let request = bridge::GetOperationRequest {
        id: operation.to_owned(),
    };
    let asked = client.get_operation(request);
    call(satellite, app.config.call_deadline, asked).await?;
    Ok(())
}

/// Starts an operation; a call whose answer was lost is made again with its key, and one that comes while something else is
/// done is made again when that may have ended.
async fn begin<F>(patience: Duration, start: impl Fn() -> F) -> Result<Operation, AppError>
where
    F: Future<Output = Result<Option<Operation>, AppError>>,
{
    let patient = tokio::time::Instant::now() + patience;
    let mut attempt = 0;
    loop {
        let error = match start().await {
            Ok(operation) => return Ok(operation.unwrap_or_default()),
            Err(error) => error,
        };
        if error.code() == Code::Unavailable && attempt + 1 < TRIES {
            tokio::time::sleep(wait_after(&error, attempt)).await;
            attempt += 1;
        } else if is_busy(&error) && tokio::time::Instant::now() < patient {
            tokio::time::sleep(wait_after(&error, 0)).await;
        } else {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use satellite_proto::pushback;
    use tonic::Status;

    use super::*;
    use crate::app::remote;

    /// What becomes of a start that is answered like this at first, and how often it was tried.
    async fn started(answer: Status, times: u32, patience: Duration) -> (Result<(), Code>, u32) {
        let tries = Cell::new(0);
        let begun = begin(patience, || {
            tries.set(tries.get() + 1);
            let refused = tries.get() <= times;
            let answer = answer.clone();
            async move {
                if refused {
                    return Err(AppError::remote("s1", answer));
                }
                Ok(Some(Operation::default()))
            }
        });
        (begun.await.map(drop).map_err(|error| error.code()), tries.get())
    }

    #[tokio::test]
    async fn a_start_waits_for_the_end_of_something_else_and_not_for_ever() {
        let busy = pushback::come_after(Status::aborted("something else"), Duration::ZERO);
        assert_eq!(started(busy.clone(), 1, BUSY).await, (Ok(()), 2));
        let now = Duration::ZERO;
        assert_eq!(started(busy, 1, now).await, (Err(Code::Aborted), 1));
    }

    #[tokio::test]
    async fn a_start_whose_answer_was_lost_is_asked_for_again_and_one_that_lacks_chunks_is_not() {
        assert_eq!(started(Status::unavailable("cut"), 1, BUSY).await, (Ok(()), 2));
        let lost = Status::aborted("chunks are missing");
        assert_eq!(started(lost, 1, BUSY).await, (Err(Code::Aborted), 1));
    }

    #[test]
    fn a_system_that_was_not_reached_is_at_fault_unless_the_server_was_away() {
        let is_tried_again = |workload: &str, code, was_away| {
            let failure = JobFailure {
                message: "how it ended".into(),
                code,
                log_tail: Vec::new(),
            };
            let end = judged(&workload.parse().unwrap(), Err(failure), was_away);
            !is_versions_fault(end.unwrap_err().code)
        };
        for base in ["system", "bridge"] {
            assert!(is_tried_again(base, Code::Unavailable, true));
            assert!(!is_tried_again(base, Code::Unavailable, false));
            assert!(
                !is_tried_again(base, Code::FailedPrecondition, true),
                "it crashed"
            );
        }
        assert!(is_tried_again("backup-service", Code::Unavailable, false));
    }

    #[test]
    fn a_key_tells_when_it_was_made() {
        let before = Timestamp::now() - Duration::from_millis(1);
        let made = remote::made_at(&new_key()).unwrap();
        assert!(before <= made && made <= Timestamp::now());
        assert_eq!(remote::made_at("of a release before"), None);
    }
}
