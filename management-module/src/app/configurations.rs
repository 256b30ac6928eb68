//! Backup configurations: what is backed up, when, and where to.
//!
//! **Invariant:** a configuration that is kept can be run: its central, data sets and destinations are there.

use std::collections::HashMap;

use jiff::Timestamp;

use super::backup::Backups;
use super::{Actor, App, AppError};
use crate::plan::configuration::{Configuration, ConfigurationName};
use crate::plan::schedule::Schedule;
use crate::store::{ConfigurationRow, RunRow, Standing, StoreError};

/// Due times that are answered at most.
const PREVIEW: usize = 50;

/// A configuration and its last run.
#[derive(Debug, Clone)]
pub struct Shown {
    /// It.
    pub row: ConfigurationRow,
    /// Its newest run, if it was ever run.
    pub last_run: Option<RunRow>,
    /// The newest that came to a result: one that waits, runs or was cancelled does not make up for one that failed.
    pub last_result: Option<RunRow>,
}

/// The use cases around configurations.
#[derive(Debug, Clone)]
pub struct Configurations {
    app: App,
}

impl Configurations {
    /// The use cases over `app`.
    #[must_use]
    pub fn new(app: App) -> Self {
        Self { app }
    }

    /// Keeps a configuration; with `replace` it takes the place of the one of its name.
    ///
    /// # Errors
    /// [`AppError::Invalid`] what is wrong with it; [`AppError::NotFound`] its central or a destination; [`AppError::Exists`].
    pub async fn put(
        &self,
        actor: &Actor,
        configuration: Configuration,
        replace: bool,
    ) -> Result<ConfigurationRow, AppError> {
        let name = configuration.name.to_string();
        let kept = self.keep(configuration, replace).await;
        let action = "ConfigurationService/PutConfiguration";
        let kept = self.app.audit.recorded(actor, action, &name, kept).await;
        self.app.runs.wake();
        kept
    }

    async fn keep(
        &self,
        mut configuration: Configuration,
        replace: bool,
    ) -> Result<ConfigurationRow, AppError> {
        let known = self.app.store.configuration(configuration.name.as_str()).await?;
        if configuration.encryption.keeps_passphrase
            && let Some(known) = known.as_ref().filter(|_| replace)
        {
            let kept = known.configuration.encryption.sealed_passphrase.clone();
            configuration.encryption.sealed_passphrase = kept;
        }
        self.check(&configuration).await?;
        configuration.encryption.keeps_passphrase = false;
        let now = Timestamp::now();
        let as_before = known.as_ref().is_some_and(|known| {
            known.configuration.schedule == configuration.schedule
                && known.configuration.enabled == configuration.enabled
        });
        // Times before a change of the schedule were never promised by the new one.
        let last_due = match &known {
            Some(known) if as_before => known.last_due,
            Some(_) => Some(now),
            None => None,
        };
        let settled = last_due.unwrap_or(now);
        let next = configuration
            .schedule
            .next_after(settled)
            .filter(|_| configuration.enabled);
        let row = ConfigurationRow {
            last_due,
            next_due: next,
            created_at: known.map_or(now, |known| known.created_at),
            updated_at: now,
            configuration,
        };
        match self.app.store.put_configuration(&row, replace).await {
            Err(StoreError::Exists(_)) => Err(AppError::Exists(format!(
                "there is a configuration {} already, or one whose name differs in upper and lower case only: \
                 add --replace to change it, or take another name",
                row.configuration.name
            ))),
            other => Ok(other.map(|()| row)?),
        }
    }

    /// Whether a configuration could be run.
    ///
    /// # Errors
    /// [`AppError::Invalid`] with all faults; [`AppError::NotFound`] its central or a destination.
    pub async fn check(&self, configuration: &Configuration) -> Result<(), AppError> {
        let faults = configuration.faults();
        if !faults.is_empty() {
            let texts: Vec<_> = faults.iter().map(ToString::to_string).collect();
            return Err(AppError::Invalid(texts.join("; ")));
        }
        let backups = Backups::new(self.app.clone());
        let (_, profile) = backups.central(&configuration.central).await?;
        profile.select(&configuration.data_sets).map_err(|unknown| {
            AppError::Invalid(format!(
                "central {} has no data set {unknown}",
                configuration.central
            ))
        })?;
        for name in &configuration.destinations {
            let known = self.app.store.destination(name).await?;
            known.ok_or_else(|| AppError::no("destination", name))?;
        }
        Ok(())
    }

    /// All configurations by name, each with its last run.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(&self) -> Result<Vec<Shown>, AppError> {
        let by_name = |runs: Vec<RunRow>| -> HashMap<ConfigurationName, RunRow> {
            runs.into_iter().map(|run| (run.plan.name.clone(), run)).collect()
        };
        let mut runs = by_name(self.app.store.last_runs().await?);
        let open = runs.values().filter(|run| !run.state.is_result());
        let open: Vec<&str> = open.map(|run| run.plan.name.as_str()).collect();
        let mut results = by_name(self.app.store.last_results(&open).await?);
        let rows = self.app.store.configurations().await?;
        let shown = |row: ConfigurationRow| {
            let name = &row.configuration.name;
            let last_run = runs.remove(name);
            let is_result = last_run.as_ref().is_some_and(|run| run.state.is_result());
            let last_result = if is_result {
                last_run.clone()
            } else {
                results.remove(name)
            };
            Shown {
                row,
                last_run,
                last_result,
            }
        };
        Ok(rows.into_iter().map(shown).collect())
    }

    /// How all configurations stand, by name: for lists, which need little of each.
    ///
    /// # Errors
    /// What the store says.
    pub async fn standings(&self) -> Result<Vec<Standing>, AppError> {
        Ok(self.app.store.standings().await?)
    }

    /// The same configurations with all that is kept of them, but those that were removed meanwhile.
    ///
    /// # Errors
    /// What the store says.
    pub async fn in_full(&self, some: Vec<Standing>) -> Result<Vec<(Standing, ConfigurationRow)>, AppError> {
        let names: Vec<&str> = some.iter().map(|standing| standing.name.as_str()).collect();
        let rows = self.app.store.configurations_named(&names).await?;
        let mut rows: HashMap<ConfigurationName, ConfigurationRow> = rows
            .into_iter()
            .map(|row| (row.configuration.name.clone(), row))
            .collect();
        let full = |standing: Standing| rows.remove(&standing.name).map(|row| (standing, row));
        Ok(some.into_iter().filter_map(full).collect())
    }

    /// One configuration with its last run, if it is known.
    ///
    /// # Errors
    /// What the store says.
    pub async fn get(&self, name: &str) -> Result<Option<Shown>, AppError> {
        let store = &self.app.store;
        let Some(row) = store.configuration(name).await? else {
            return Ok(None);
        };
        let last_run = store.last_run(name).await?;
        let last_result = match &last_run {
            Some(run) if !run.state.is_result() => store.last_results(&[name]).await?.pop(),
            other => other.clone(),
        };
        Ok(Some(Shown {
            row,
            last_run,
            last_result,
        }))
    }

    /// Forgets a configuration. Its archives and its history stay.
    ///
    /// # Errors
    /// [`AppError::NotFound`].
    pub async fn remove(&self, actor: &Actor, name: &str) -> Result<(), AppError> {
        let removed = match self.app.store.remove_configuration(name).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(AppError::no("configuration", name)),
            Err(error) => Err(error.into()),
        };
        let action = "ConfigurationService/DeleteConfiguration";
        self.app.audit.recorded(actor, action, name, removed).await
    }
}

/// The next due times of a schedule, at most `count`.
#[must_use]
pub fn preview(schedule: &Schedule, count: usize) -> Vec<Timestamp> {
    let first = schedule.next_after(Timestamp::now());
    std::iter::successors(first, |due| schedule.next_after(*due))
        .take(count.min(PREVIEW))
        .collect()
}
