//! Taking an installation back.
//!
//! **Invariant:** it can be interrupted and done again at any point, and ends with the version that was good before.

use satellite_host::fail_point;
use satellite_host::files::{self, FileError};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Installer, STEPS, tidy_versions};
use crate::journal;
use crate::workload::claim::{Claim, Outcome};
use crate::workload::places::Home;
use crate::workload::record::{Fault, Installation, Step, chain};
use crate::workload::state;

impl Installer {
    /// Back to what was before, whatever has been done.
    pub(super) async fn roll_back(mut self, fault: Fault) {
        if self.record.step != Step::RollingBack {
            self.record.disturbed = self.record.step >= Step::Verified;
            self.record.restore_state = self.record.step >= Step::Flipped;
            self.record.step = Step::RollingBack;
            self.record.fault = Some(fault.clone());
            if let Err(err) = journal::write(&self.home.journal(), &self.record) {
                warn!(error = %chain(&err), "Rollback cannot be recorded, going on with it");
            }
        }
        fail_point("rollback.recorded");
        let mut fault = self.record.fault.clone().unwrap_or(fault);
        info!(
            workload = self.claim.name.as_str(),
            cause = fault.message,
            "Taking an installation back"
        );
        self.claim.progress(0, STEPS, "steps", "going back");
        if let Err(problem) = self.undo().await {
            return self.stay_half_way(fault, &problem);
        }
        let back = self.revive().await;
        fail_point("rollback.started");
        let tidied = self.tidy_after_rollback();
        fail_point("rollback.cleaned");
        if let Err(problem) = &back {
            fault.message = format!(
                "{}; the version before could not be brought back: {}",
                fault.message, problem.message
            );
        }
        if let Err(err) = tidied {
            warn!(error = %chain(&err), "What a rollback left is removed later");
        }
        let rolled_back = back.is_ok();
        self.end(&Outcome::Failed { fault, rolled_back });
    }

    /// What is needed to go back stays, with the record that says so: it is tried again by [`Installer::settle`] and at
    /// the next start.
    fn stay_half_way(self, mut fault: Fault, problem: &Fault) {
        error!(
            problem = problem.message,
            "An installation could not be taken back"
        );
        fault.message = format!(
            "{}; the version before could not be brought back: {}; this is tried again at the next installation \
             or start of the satellite",
            fault.message, problem.message
        );
        let outcome = Outcome::Failed {
            fault,
            rolled_back: false,
        };
        self.claim.finish(&outcome, || {});
    }

    /// Ends what an earlier piece of work on the workload left half done, before something new is begun.
    pub(in crate::workload) async fn settle(claim: Claim) -> (Claim, Result<(), Fault>) {
        let home = claim.inner.places.home(&claim.name);
        let doing = "what was begun before cannot be ended";
        // A removal that failed after it had taken the version away: installing is the answer to it.
        if let Err(err) = journal::remove(&home.removal()) {
            return (claim, Err(Fault::of(doing, &err)));
        }
        let record = match journal::read::<Installation>(&home.journal()) {
            Ok(Some(record)) if record.step == Step::RollingBack => record,
            _ => return (claim, Ok(())),
        };
        info!(
            workload = claim.name.as_str(),
            "Going on with a rollback that failed"
        );
        let old = Self {
            claim,
            home,
            record,
            resumed: true,
        };
        let undone = match old.undo().await {
            Ok(()) => old
                .tidy_after_rollback()
                .map_err(|err| Fault::of(doing, &err))
                .and_then(|()| journal::remove(&old.home.journal()).map_err(|err| Fault::of(doing, &err))),
            Err(fault) => Err(fault),
        };
        (old.claim, undone)
    }

    /// Brings files, links and state back.
    async fn undo(&self) -> Result<(), Fault> {
        let (inner, name) = (&self.claim.inner, &self.claim.name);
        let doing = "going back failed";
        let file = |err: FileError| Fault::of(doing, &err);
        if self.record.disturbed {
            inner.halt(name, "a version is taken back").await?;
        }
        fail_point("rollback.stopped");
        let state = inner.places.state(name);
        let Some(before) = self.record.before else {
            files::remove(&self.home.current()).map_err(file)?;
            fail_point("rollback.linked");
            if files::remove(&inner.places.unit_file(name)).map_err(file)? {
                inner.units.reload().await.map_err(|err| Fault::of(doing, &err))?;
            }
            if !self.record.had_state {
                files::remove_tree(&state).map_err(file)?;
            }
            fail_point("rollback.state-restored");
            return Ok(());
        };
        if self.home.pointed(&self.home.current()) != Some(before) {
            files::link_atomic(&Home::link_target(before), &self.home.current()).map_err(file)?;
        }
        fail_point("rollback.linked");
        if self.record.restore_state {
            state::restore(&self.home, &state, &self.snapshot_paths()).map_err(file)?;
        }
        fail_point("rollback.state-restored");
        Ok(())
    }

    /// Starts the version before, if it ran.
    async fn revive(&self) -> Result<(), Fault> {
        let stands = !self.record.disturbed && !self.resumed;
        if self.record.before.is_none() || !self.record.ran || stands {
            return Ok(());
        }
        // Whoever asked to stop the installation did not ask to stop the workload.
        self.claim
            .inner
            .launch(&self.claim.name, &CancellationToken::new())
            .await
    }

    fn tidy_after_rollback(&self) -> Result<(), FileError> {
        state::forget(&self.home)?;
        let previous = self
            .home
            .pointed(&self.home.previous())
            .filter(|digest| *digest != self.record.target);
        if previous.is_none() {
            files::remove(&self.home.previous())?;
        }
        tidy_versions(&self.home, &[self.record.before, previous])
    }
}
