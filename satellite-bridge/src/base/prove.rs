//! The new one proves itself, or is given up: what a bridge does about a change that it finds when it starts.
//!
//! **Invariant:** a change is confirmed only after a member of the installation has called this very process, over a
//! connection that it made to it.

use std::time::Duration;

use satellite_host::fail_point;
use satellite_host::files::{self, FileError};
use tonic::Code;
use tracing::{error, info, warn};

use super::install::run;
use super::record::{Change, Part, Step};
use super::{BRIDGE_UNIT, Base, Inner, change_under_way, launch, record_file};
use crate::operations::OperationHandle;
use crate::workload::Home;
use crate::workload::record::{Fault, chain};

/// Lines of log that go into an error.
const TAIL: u32 = 50;

impl Base {
    /// Takes up a change that was under way. The work goes on in the background; its operation is adopted before this
    /// returns.
    pub fn recover(&self) {
        let inner = self.inner.clone();
        let change = match change_under_way(&inner.places) {
            Ok(Some(change)) => change,
            Ok(None) => return inner.tidy(),
            Err(err) => {
                error!(error = %chain(&err), "Damaged record set aside");
                let file = record_file(&inner.places);
                if let Err(err) = files::rename(&file, &file.with_extension("damaged")) {
                    warn!(error = %chain(&err), "Damaged record stays");
                }
                return;
            }
        };
        let handle = inner.operations.adopt(&change.operation);
        *inner.busy() = Some(change.target);
        info!(part = change.part.name(), version = change.version, step = ?change.step, "Change of the base goes on");
        run(async move { inner.settle(change, handle).await });
    }
}

impl Inner {
    async fn settle(&self, change: Change, handle: Option<OperationHandle>) {
        let handle = handle.as_ref();
        let is_new = change.part == self.ground.part && self.runs(change.target, &change.slot);
        match (change.step, is_new) {
            (Step::Confirmed, _) => self.conclude(&change, handle),
            (Step::Accepted | Step::Trial, true) => self.prove(change, handle).await,
            (Step::Back, true) => self.leave(change, handle).await,
            (Step::Accepted, false) => {
                let text = "interrupted by a restart of the satellite before the new version was in place: push it again";
                self.abandon(handle, Fault::new(Code::Aborted, text)).await;
            }
            (Step::Trial, false) if self.waits_for_restart(&change) => {
                if let Err(fault) = self.start_anew().await {
                    self.abandon(handle, fault).await;
                }
            }
            (Step::Trial | Step::Back, false) => {
                let fault = change.fault.clone().unwrap_or_else(|| self.not_started(&change));
                let fault = self.with_tail(fault, &change).await;
                warn!(
                    version = change.version,
                    cause = fault.message,
                    "Version was given up for the one before"
                );
                self.abandon(handle, fault).await;
            }
        }
    }

    /// The machine was never restarted since the new slot is in place.
    fn waits_for_restart(&self, change: &Change) -> bool {
        change.part == Part::System && change.boot_id == self.ground.boot_id
    }

    fn not_started(&self, change: &Change) -> Fault {
        let text = match change.part {
            Part::System => format!(
                "system {} did not come up, or the machine was switched off before the server had reached it: its loader \
                 went back to {}",
                change.version, self.ground.version
            ),
            Part::Bridge => format!(
                "bridge {} was put in place and something else was started: the unit {BRIDGE_UNIT} must run \
                 `satellite-bridge launch daemon`",
                change.version
            ),
        };
        Fault::new(Code::FailedPrecondition, text)
    }

    async fn with_tail(&self, fault: Fault, change: &Change) -> Fault {
        let Some(since) = change.since.filter(|_| fault.log_tail.is_empty()) else {
            return fault;
        };
        Fault {
            log_tail: self.units.log_tail(BRIDGE_UNIT, TAIL, since).await,
            ..fault
        }
    }

    /// This process is the new one. It runs and knows who it is; now its server must reach it.
    async fn prove(&self, mut change: Change, handle: Option<&OperationHandle>) {
        if change.step == Step::Accepted {
            change.step = Step::Trial;
            if let Err(fault) = self.note(&change) {
                change.give_up(fault);
                return self.leave(change, handle).await;
            }
        }
        let seconds = change.limit_seconds;
        if let Some(handle) = handle {
            handle.progress(5, 5, "steps", "waiting for the server");
            handle.await_contact(true);
        }
        fail_point("base.proving");
        let limit = Duration::from_secs(seconds.into());
        let reached = self.workloads.contact().after(self.started, limit).await;
        if let Some(handle) = handle {
            handle.await_contact(false);
        }
        // Whoever watches from outside may have given it up in the meantime.
        let is_open = change_under_way(&self.places).is_ok_and(|found| {
            found.is_some_and(|found| found.operation == change.operation && found.step == Step::Trial)
        });
        if reached && is_open {
            change.step = Step::Confirmed;
            match self.note(&change) {
                Ok(()) => {
                    fail_point("base.confirm-recorded");
                    return self.conclude(&change, handle);
                }
                Err(fault) => change.give_up(fault),
            }
        } else {
            let text = format!(
                "the server did not reach {} {} within {seconds} s after its start: see that it is not the version that \
                 keeps it away",
                change.part.name(),
                change.version
            );
            // Whether that is the version's fault is for the server to say: only it knows whether it was there itself.
            change.give_up(Fault::new(Code::Unavailable, text));
        }
        self.leave(change, handle).await;
    }

    /// The new one stays. What goes wrong from here on is put right at the next start.
    fn conclude(&self, change: &Change, handle: Option<&OperationHandle>) {
        if let Err(fault) = self.settle_in(change) {
            error!(
                problem = fault.message,
                "End of a change is recorded at the next start"
            );
            if let Some(handle) = handle {
                handle.fail(Code::from_i32(fault.code), fault.message, fault.log_tail, false);
            }
            return;
        }
        self.forget_upload(change.target);
        info!(
            part = change.part.name(),
            version = change.version,
            "New version stays"
        );
        let mut busy = self.busy();
        if let Some(handle) = handle {
            handle.succeed();
        }
        self.forget_record();
        fail_point("base.record-removed");
        *busy = None;
        let (units, timer) = (self.units.clone(), launch::timer_of(change));
        tokio::spawn(async move {
            // It would find nothing to do.
            let _ = units.stop_timer(&timer).await;
        });
    }

    fn settle_in(&self, change: &Change) -> Result<(), Fault> {
        let home = self.home();
        let doing = "the new version cannot be made the usual one";
        let file = |err: FileError| Fault::of(doing, &err);
        let lost = || Fault::new(Code::DataLoss, "the manifest of the new version is damaged");
        let manifest = home.manifest(change.target).ok_or_else(lost)?;
        self.confirm_release(&manifest, change.permit)?;
        fail_point("base.floor-raised");
        let before = home
            .pointed(&home.current())
            .filter(|before| *before != change.target);
        match before.filter(|_| change.part == Part::Bridge) {
            Some(before) => files::link_atomic(&Home::link_target(before), &home.previous()).map_err(file)?,
            // What was before is the shipped program, or a slot that its own loader knows.
            None if home.pointed(&home.current()) != Some(change.target) => {
                files::remove(&home.previous()).map_err(file)?;
            }
            None => {}
        }
        files::link_atomic(&Home::link_target(change.target), &home.current()).map_err(file)?;
        fail_point("base.linked");
        self.tidy();
        Ok(())
    }

    /// This process is the new one and goes: the one before is started again, and tells why.
    async fn leave(&self, change: Change, handle: Option<&OperationHandle>) {
        if let Err(fault) = self.note(&change) {
            // What starts it counts: it goes back without a record too, only later.
            error!(problem = fault.message, "Going back cannot be recorded");
        }
        fail_point("base.back-recorded");
        let cause = change.fault.as_ref().map(|fault| fault.message.as_str());
        warn!(
            version = change.version,
            cause, "Going back to the version before"
        );
        if let Some(handle) = handle {
            handle.progress(0, 5, "steps", "going back");
        }
        if change.part == Part::System
            && let Err(fault) = self.run_slot_unit().await
        {
            error!(
                problem = fault.message,
                "Loader may start this slot again, as often as it counts"
            );
        }
        if let Err(fault) = self.start_anew().await {
            error!(problem = fault.message, "Restart failed");
        }
    }
}
