//! Installing a version, step by step, or going back.
//!
//! **Invariant:** each step is recorded when it is done, each can be done again, and `current` points to the old version
//! or the new one at every moment. What was good before is touched only after the new one was confirmed.

mod contact;
mod floor;
mod rollback;

use satellite_host::fail_point;
use satellite_host::files::{self, FileError};
use satellite_host::systemd::Activity;
use satellite_proto::bundle::{Digest, Manifest, WorkloadName};
use satellite_proto::wire::bridge::v1::Operation;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tracing::{error, info, warn};

use super::assemble::{self, check_space, fault_of};
use super::claim::{Claim, Outcome, Work};
use super::places::{Home, Places, unit_name};
use super::record::{Fault, Installation, Step, chain};
use super::state;
use super::{WorkloadError, Workloads};
use crate::journal;
use crate::update::{self, ChunkStore};

/// Every point at which a test may kill the daemon during an installation, a rollback or a removal.
pub const FAIL_POINTS: &[&str] = &[
    "install.accepted.recorded",
    "install.staged.done",
    "install.staged.recorded",
    "install.manifest-written",
    "install.verified.done",
    "install.verified.recorded",
    "install.stopped.done",
    "install.stopped.recorded",
    "install.state-copied",
    "install.state-saved.done",
    "install.state-saved.recorded",
    "install.flipped.done",
    "install.flipped.recorded",
    "install.unit-written",
    "install.started.done",
    "install.started.recorded",
    "install.healthy.done",
    "install.healthy.recorded",
    "install.contact-awaited",
    "install.confirmed.done",
    "install.confirmed.recorded",
    "install.floor-raised",
    "install.cleaned",
    "rollback.recorded",
    "rollback.stopped",
    "rollback.linked",
    "rollback.state-restored",
    "rollback.started",
    "rollback.cleaned",
    "remove.recorded",
    "remove.stopped",
    "remove.unlinked",
    "remove.done",
];

/// Steps of an installation that a person is shown.
const STEPS: u64 = 8;

/// A verified bundle all of whose chunks are here.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    pub(crate) digest: Digest,
    pub(crate) manifest: Manifest,
    /// The manifest, as it was signed.
    pub(crate) bytes: Vec<u8>,
    pub(crate) store: ChunkStore,
    /// Sequence of the permit by which it goes back to an older release, if it does.
    pub(crate) permit: Option<u64>,
    /// Seconds within which the server must reach the satellite after the change; 0: it need not.
    pub(crate) contact_seconds: u32,
}

impl Workloads {
    /// Installs a bundle, and starts it if it is meant to run or `enable` is set, which also makes it so.
    ///
    /// # Errors
    ///
    /// [`WorkloadError::Busy`], [`WorkloadError::Operation`].
    pub(crate) fn install(
        &self,
        staged: Staged,
        key: &str,
        enable: bool,
    ) -> Result<Operation, WorkloadError> {
        let name = staged.manifest.workload.clone();
        let work = Work {
            kind: "install",
            name: &name,
            key,
            target: Some(staged.digest),
        };
        self.begin(work, move |claim| install(claim, staged, enable))
    }
}

async fn install(claim: Claim, staged: Staged, enable: bool) {
    let home = claim.inner.places.home(&claim.name);
    let (claim, settled) = Installer::settle(claim).await;
    if let Err(fault) = settled {
        let outcome = Outcome::Failed {
            fault,
            rolled_back: false,
        };
        return claim.finish(&outcome, || {});
    }
    let before = home.pointed(&home.current());
    if before == Some(staged.digest) {
        let outcome = match install_again(&claim, &staged, enable).await {
            Ok(()) => Outcome::Done,
            Err(fault) => Outcome::Failed {
                fault,
                rolled_back: false,
            },
        };
        return claim.finish(&outcome, || {});
    }
    let begun = async {
        let ran = claim.inner.units.status(&unit_name(&claim.name)).await;
        let ran = ran.map_err(|err| Fault::of("nothing was changed", &err))?;
        let enabled = home.desired().unwrap_or_default().enabled;
        files::create_dir(&home.versions(), 0o711).map_err(|err| Fault::of("nothing was changed", &err))?;
        Ok(Installation {
            operation: claim.operation_id(),
            target: staged.digest,
            before,
            ran: matches!(ran.activity, Activity::Active | Activity::Activating),
            run: enable || enabled,
            enable,
            had_state: claim.inner.places.state(&claim.name).exists(),
            permit: staged.permit,
            contact_seconds: staged.contact_seconds,
            step: Step::Accepted,
            fault: None,
            disturbed: false,
            restore_state: false,
        })
    };
    match begun.await {
        Ok(record) => {
            Installer {
                claim,
                home,
                record,
                resumed: false,
            }
            .run(Some(&staged))
            .await
        }
        Err(fault) => claim.finish(
            &Outcome::Failed {
                fault,
                rolled_back: true,
            },
            || {},
        ),
    }
}

/// The version is here already: it is repaired if it is damaged, and started if it is meant to run.
async fn install_again(claim: &Claim, staged: &Staged, enable: bool) -> Result<(), Fault> {
    let home = claim.inner.places.home(&claim.name);
    let (version, part) = (home.version(staged.digest), home.part(staged.digest));
    if let Err(damage) = assemble::verify(&staged.manifest, &version) {
        warn!(damage = %chain(&damage), "Installed version is damaged and put together again");
        stage(claim, staged, &home)?;
        let reason = "a damaged version is repaired";
        claim.inner.halt(&claim.name, reason).await?;
        let doing = "the damaged version cannot be replaced";
        files::remove_tree(&version).map_err(|err| Fault::of(doing, &err))?;
        files::rename(&part, &version).map_err(|err| Fault::of(doing, &err))?;
    }
    if home.manifest(staged.digest).is_none() {
        files::write_atomic(&home.manifest_file(staged.digest), &staged.bytes, 0o644)
            .map_err(|err| Fault::of("the damaged manifest cannot be replaced", &err))?;
    }
    if enable {
        claim.want(true)?;
    }
    if home.desired().unwrap_or_default().enabled {
        claim.inner.launch(&claim.name, &claim.stop()).await?;
    }
    forget_upload(&claim.inner.places, &claim.inner.chunks, staged.digest);
    Ok(())
}

/// Writes the files of a version beside the others.
fn stage(claim: &Claim, staged: &Staged, home: &Home) -> Result<(), Fault> {
    let total = staged.manifest.payload_bytes();
    check_space(home.root(), total)?;
    let stop = claim.stop();
    let written = assemble::assemble(
        &staged.manifest,
        &staged.store,
        &home.part(staged.digest),
        |done| {
            claim.progress(done, total, "bytes", "writing files");
            !stop.is_cancelled()
        },
    );
    written.map_err(|err| fault_of(&err))
}

/// The upload has done its work; its chunks stay as long as the version is installed.
pub(crate) fn forget_upload(places: &Places, chunks: &ChunkStore, digest: Digest) {
    let gone = files::remove_tree(&places.update(digest)).and_then(|_| update::sweep(places, chunks));
    if let Err(err) = gone {
        warn!(error = %chain(&err), "What an upload left is removed later");
    }
}

/// An installation with its record.
#[derive(Debug)]
pub(super) struct Installer {
    pub(super) claim: Claim,
    pub(super) home: Home,
    pub(super) record: Installation,
    /// Whether the daemon, and perhaps the machine, was started anew since the record was written.
    pub(super) resumed: bool,
}

impl Installer {
    /// Goes on from the recorded step to the end, or back. `staged` is needed for the steps before the flip.
    pub(super) async fn run(mut self, staged: Option<&Staged>) {
        if self.record.step == Step::RollingBack {
            return self.roll_back(Fault::new(Code::Aborted, "interrupted")).await;
        }
        let result = match staged {
            Some(staged) => self.prepare(staged).await,
            None if self.record.step < Step::Flipped => {
                let text = "interrupted by a restart of the satellite before the new version was in place: push it again";
                Err(Fault::new(Code::Aborted, text))
            }
            None => Ok(()),
        };
        let result = match result {
            Ok(()) => self.prove().await,
            Err(fault) => Err(fault),
        };
        match result {
            Ok(()) => self.conclude().await,
            Err(fault) => self.roll_back(fault).await,
        }
    }

    /// From nothing to a new version that `current` points to.
    async fn prepare(&mut self, staged: &Staged) -> Result<(), Fault> {
        let (target, before) = (self.record.target, self.record.before);
        self.note(Step::Accepted)?;
        stage(&self.claim, staged, &self.home)?;
        self.note(Step::Staged)?;

        self.verify(staged)?;
        self.note(Step::Verified)?;
        self.go_on()?;

        if before.is_some() {
            let name = &self.claim.name;
            self.claim.inner.halt(name, "it is updated").await?;
        }
        self.note(Step::Stopped)?;

        if before.is_some() {
            let state = self.claim.inner.places.state(&self.claim.name);
            let saved = state::save(&self.home, &state, &self.snapshot_paths());
            saved.map_err(|err| Fault::of("the state of the workload cannot be saved", &err))?;
        }
        self.note(Step::StateSaved)?;
        self.go_on()?;

        let flipped = files::link_atomic(&Home::link_target(target), &self.home.current());
        flipped.map_err(|err| Fault::of("the new version cannot be put in place", &err))?;
        self.note(Step::Flipped)
    }

    fn verify(&self, staged: &Staged) -> Result<(), Fault> {
        let (target, part) = (self.record.target, self.home.part(self.record.target));
        let doing = "the version cannot be checked";
        self.claim.progress(2, STEPS, "steps", "checking files");
        assemble::verify(&staged.manifest, &part).map_err(|err| Fault::of(doing, &err))?;
        files::write_atomic(&self.home.manifest_file(target), &staged.bytes, 0o644)
            .map_err(|err| Fault::of(doing, &err))?;
        fail_point("install.manifest-written");
        // An older copy can only be one that is not in use: `current` points elsewhere.
        files::remove_tree(&self.home.version(target)).map_err(|err| Fault::of(doing, &err))?;
        files::rename(&part, &self.home.version(target)).map_err(|err| Fault::of(doing, &err))
    }

    /// From a version that is in place to one that is healthy.
    async fn prove(&mut self) -> Result<(), Fault> {
        if !self.record.run || self.record.step >= Step::Confirmed {
            return Ok(());
        }
        let inner = self.claim.inner.clone();
        let manifest = self.manifest()?;
        let version = self.home.version(self.record.target);
        assemble::verify(&manifest, &version).map_err(|err| Fault::of("the version is damaged", &err))?;
        inner.write_unit(self.record.target, &manifest).await?;
        fail_point("install.unit-written");
        let since = inner.power_on(&manifest).await?;
        self.note(Step::Started)?;
        inner.pass_gate(&manifest, since, &self.claim.stop()).await?;
        self.note(Step::Healthy)?;
        self.be_reached().await?;
        if self.record.enable {
            self.claim.want(true)?;
        }
        Ok(())
    }

    /// The new version stays. What goes wrong from here on is put right at the next start.
    async fn conclude(mut self) {
        if let Err(fault) = self.confirm() {
            // Whether it stays is decided at the next start, from the record before.
            error!(fault = fault.message, "End of an installation cannot be recorded");
            return self.claim.finish(
                &Outcome::Failed {
                    fault,
                    rolled_back: false,
                },
                || {},
            );
        }
        fail_point("install.floor-raised");
        if let Err(err) = self.tidy_after_success() {
            warn!(error = %chain(&err), "What an installation left is removed later");
        }
        forget_upload(
            &self.claim.inner.places,
            &self.claim.inner.chunks,
            self.record.target,
        );
        fail_point("install.cleaned");
        if self.resumed && self.record.run {
            let started = self
                .claim
                .inner
                .launch(&self.claim.name, &CancellationToken::new())
                .await;
            if let Err(fault) = started {
                error!(
                    fault = fault.message,
                    "Workload was installed and does not start again"
                );
            }
        }
        info!(workload = self.claim.name.as_str(), digest = %self.record.target, "Version installed");
        self.end(&Outcome::Done);
    }

    fn tidy_after_success(&self) -> Result<(), FileError> {
        match self.record.before {
            Some(before) => files::link_atomic(&Home::link_target(before), &self.home.previous())?,
            None => drop(files::remove(&self.home.previous())?),
        }
        let kept = [Some(self.record.target), self.record.before];
        tidy_versions(&self.home, &kept)?;
        state::forget(&self.home)
    }

    /// Reports the end, then forgets the record.
    fn end(self, outcome: &Outcome) {
        let installed = self.home.pointed(&self.home.current()).is_some();
        let (home, claim) = (self.home, self.claim);
        claim.finish(outcome, || {
            let gone = if installed {
                journal::remove(&home.journal()).map_err(|err| chain(&err))
            } else {
                files::remove_tree(home.root())
                    .map(drop)
                    .map_err(|err| chain(&err))
            };
            if let Err(error) = gone {
                error!(
                    error,
                    "Record of an ended installation stays until the next start"
                );
            }
        });
    }

    /// Records that `step` is done.
    fn note(&mut self, step: Step) -> Result<(), Fault> {
        fail_point(&format!("install.{}.done", step.word()));
        self.record.step = step;
        journal::write(&self.home.journal(), &self.record)
            .map_err(|err| Fault::of("the installation cannot be recorded", &err))?;
        fail_point(&format!("install.{}.recorded", step.word()));
        let shown = match step {
            Step::Accepted => (1, "writing files"),
            Step::Staged => (2, "checking files"),
            Step::Verified => (3, "stopping the old version"),
            Step::Stopped => (4, "saving the state"),
            Step::StateSaved => (5, "putting the new version in place"),
            Step::Flipped => (6, "starting"),
            Step::Started => (7, "waiting until it is healthy"),
            Step::Healthy | Step::Confirmed | Step::RollingBack => (STEPS, "finishing"),
        };
        self.claim.progress(shown.0, STEPS, "steps", shown.1);
        Ok(())
    }

    fn go_on(&self) -> Result<(), Fault> {
        if self.claim.stop().is_cancelled() {
            Err(Fault::cancelled())
        } else {
            Ok(())
        }
    }

    fn manifest(&self) -> Result<Manifest, Fault> {
        let lost = || Fault::new(Code::DataLoss, "the manifest of the new version is damaged");
        self.home.manifest(self.record.target).ok_or_else(lost)
    }

    /// What either version asks to be kept.
    fn snapshot_paths(&self) -> Vec<String> {
        let versions = [Some(self.record.target), self.record.before];
        let manifests = versions
            .into_iter()
            .flatten()
            .filter_map(|digest| self.home.manifest(digest));
        let mut paths: Vec<String> = manifests.flat_map(|manifest| manifest.state.snapshot).collect();
        paths.sort();
        paths.dedup();
        // A path below another one is copied with it.
        let all = paths.clone();
        paths.retain(|path| {
            !all.iter().any(|above| {
                path.strip_prefix(above.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
            })
        });
        paths
    }
}

/// Removes every version but `kept`.
pub(crate) fn tidy_versions(home: &Home, kept: &[Option<Digest>]) -> Result<(), FileError> {
    let versions = home.versions();
    let entries = match std::fs::read_dir(&versions) {
        Ok(entries) => entries,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(FileError {
                action: "read",
                path: versions,
                source,
            });
        }
    };
    for entry in entries {
        let entry = entry.map_err(|source| FileError {
            action: "read",
            path: versions.clone(),
            source,
        })?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let digest = name.strip_suffix(".json").unwrap_or(&name).parse::<Digest>().ok();
        let keep = digest.is_some_and(|digest| kept.contains(&Some(digest)));
        if !keep {
            files::remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// What is to be done with what the record of an interrupted installation says.
pub(super) fn work_of<'a>(name: &'a WorkloadName, record: &Installation) -> Work<'a> {
    Work {
        kind: "install",
        name,
        key: "",
        target: Some(record.target),
    }
}
