//! Removes what a configuration's retention does not keep: on the satellite and at each destination by itself.
//!
//! **Invariant:** what is removed was decided by [`retention::plan`] from rows of this very configuration; files that no
//! run has made are never touched.

use std::path::Path;

use jiff::Timestamp;
use satellite_proto::wire::backup::v1 as pb;
use tonic::Code;

use super::Runs;
use crate::app::backup::satellite_name;
use crate::app::destinations::Place;
use crate::app::remote::call;
use crate::app::{Actor, AppError};
use crate::plan::configuration::Configuration;
use crate::plan::outcome::RunState;
use crate::plan::retention::{self, Item};
use crate::store::{CopyRow, RunRow};

/// What becomes of an archive at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    /// The destination; empty: the satellite.
    pub destination: String,
    /// The archive's file.
    pub archive_name: String,
    /// The moment of the backup.
    pub time: Timestamp,
    /// Bytes of it.
    pub bytes: u64,
    /// Why it stays; none: it goes.
    pub kept_as: Vec<&'static str>,
    /// Why it goes.
    pub goes_because: &'static str,
    /// Why it could not be removed.
    pub error: String,
}

impl Runs {
    /// Removes what the retention of a configuration that is kept does not keep; with `dry_run` only says what.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; what the store says. What could not be removed is in the answer.
    pub async fn apply_retention(
        &self,
        actor: &Actor,
        configuration: &str,
        dry_run: bool,
    ) -> Result<Vec<Retained>, AppError> {
        let row = self.app.store.configuration(configuration).await?;
        let plan = row
            .ok_or_else(|| AppError::no("configuration", configuration))?
            .configuration;
        let retained = self.retain(&plan, dry_run).await;
        if dry_run {
            return retained;
        }
        let action = "RunService/ApplyRetention";
        self.app
            .audit
            .recorded(actor, action, configuration, retained)
            .await
    }

    /// Does so for a plan.
    pub(super) async fn retain(
        &self,
        plan: &Configuration,
        dry_run: bool,
    ) -> Result<Vec<Retained>, AppError> {
        let runs = self.app.store.runs_with_archives(plan.name.as_str()).await?;
        let mut retained = Vec::new();
        let spool: Vec<_> = runs.iter().filter(|run| run.spool_removed_at.is_none()).collect();
        for (run, mut one) in self.judged(plan, "", &spool, |run| run.bytes) {
            if one.kept_as.is_empty() && !dry_run {
                one.error = told(self.remove_from_spool(run).await);
            }
            retained.push(one);
        }
        let mut places: Vec<&str> = runs
            .iter()
            .flat_map(|run| &run.copies)
            .map(|copy| copy.destination.as_str())
            .collect();
        places.sort_unstable();
        places.dedup();
        for place in places {
            let there: Vec<_> = runs.iter().filter(|run| copy_at(run, place).is_some()).collect();
            let bytes = |run: &RunRow| copy_at(run, place).map_or(0, |copy| copy.size_bytes);
            for (run, mut one) in self.judged(plan, place, &there, bytes) {
                if one.kept_as.is_empty()
                    && !dry_run
                    && let Some(copy) = copy_at(run, place)
                {
                    one.error = told(self.remove_copy(run, copy).await);
                }
                retained.push(one);
            }
        }
        Ok(retained)
    }

    fn judged<'r>(
        &self,
        plan: &Configuration,
        place: &str,
        runs: &[&'r RunRow],
        bytes: impl Fn(&RunRow) -> u64,
    ) -> Vec<(&'r RunRow, Retained)> {
        let item = |run: &&RunRow| Item {
            id: run.id.clone(),
            time: moment(run),
            bytes: bytes(run),
            // A failed copy elsewhere takes nothing from this one.
            whole: run.left_out == 0 && run.state != RunState::Failed,
        };
        let items: Vec<_> = runs.iter().map(item).collect();
        let verdicts = retention::plan(&plan.retention, plan.schedule.time_zone.zone(), &items);
        let one = |verdict: retention::Verdict| {
            let run = runs.iter().find(|run| run.id == verdict.id)?;
            let retained = Retained {
                destination: place.to_owned(),
                archive_name: run.archive_name.clone(),
                time: moment(run),
                bytes: bytes(run),
                kept_as: verdict.kept_as,
                goes_because: verdict.goes_because,
                error: String::new(),
            };
            Some((*run, retained))
        };
        verdicts.into_iter().filter_map(one).collect()
    }

    async fn remove_from_spool(&self, run: &RunRow) -> Result<(), AppError> {
        let satellite = satellite_name(&run.satellite)?;
        let request = pb::DeleteArchiveRequest {
            id: run.archive_id.clone(),
            idempotency_key: format!("retention-{}", run.id),
            ..pb::DeleteArchiveRequest::default()
        };
        let mut client = self.backups.client(&satellite)?;
        let deadline = self.app.config.call_deadline;
        match call(&satellite, deadline, client.delete_archive(request)).await {
            // A person removed it.
            Err(error) if error.code() == Code::NotFound => {}
            other => drop(other?),
        }
        Ok(self
            .app
            .store
            .note_spool_removed(&run.id, Timestamp::now())
            .await?)
    }

    async fn remove_copy(&self, run: &RunRow, copy: &CopyRow) -> Result<(), AppError> {
        let (_, place) = self.destinations.opened(&copy.destination).await?;
        match place {
            Place::Server(root) => remove_here(&root, &copy.path).await?,
            Place::Satellite(mut whole) => {
                whole.base_directory.clone_from(&run.plan.directory);
                let satellite = satellite_name(&run.satellite)?;
                let reached = self.destinations.reach(&satellite, *whole).await?;
                let request = pb::DeleteCopyRequest {
                    destination: reached.destination(),
                    path: copy.path.clone(),
                };
                let mut client = self.destinations.client(&satellite)?;
                let deadline = self.app.config.call_deadline * 6;
                match call(&satellite, deadline, client.delete_copy(request)).await {
                    // A mailbox: what was sent is not ours any more.
                    Err(error) if error.code() == Code::Unimplemented => {}
                    other => drop(other?),
                }
            }
        }
        let gone = CopyRow {
            removed_at: Some(Timestamp::now()),
            ..copy.clone()
        };
        Ok(self.app.store.note_copy(&run.id, &gone).await?)
    }
}

async fn remove_here(root: &Path, path: &str) -> Result<(), AppError> {
    let path = Path::new(path);
    let is_below = path.starts_with(root)
        && !path
            .components()
            .any(|part| part == std::path::Component::ParentDir);
    if !is_below {
        return Err(AppError::Precondition(format!(
            "{} does not lie below {} any more: remove it by hand",
            path.display(),
            root.display()
        )));
    }
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(AppError::machine(format!("remove {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

/// The moment of a run's backup.
fn moment(run: &RunRow) -> Timestamp {
    run.started_at.unwrap_or(run.planned_at)
}

fn copy_at<'r>(run: &'r RunRow, destination: &str) -> Option<&'r CopyRow> {
    run.copies
        .iter()
        .find(|copy| copy.destination == destination && copy.is_there())
}

fn told(result: Result<(), AppError>) -> String {
    result
        .err()
        .map(|error| crate::error_chain(&error))
        .unwrap_or_default()
}
