//! Letting a version that failed be tried again.
//!
//! **Invariant:** only a person does this: a version that failed by its own fault waits until somebody asks.

use satellite_proto::bundle::WorkloadName;

use super::{App, AppError, workloads};
use crate::names::SatelliteName;
use crate::store::Outcome;

/// Forgets that the wanted version of `workload` failed on satellites (none: wherever it did), and follows the next try as
/// a job. Answers its id.
///
/// # Errors
/// A satellite is not known, or nothing failed there.
pub async fn retry(
    app: &App,
    workload: &WorkloadName,
    satellites: Vec<SatelliteName>,
) -> Result<String, AppError> {
    let mut asked = satellites;
    let named = !asked.is_empty();
    if !named {
        let known = app.store.all_desired_workloads().await?;
        let of_it = known.into_iter().filter(|wanted| wanted.workload == *workload);
        asked = of_it.map(|wanted| wanted.satellite).collect();
    }
    asked.sort();
    asked.dedup();
    let mut failed = Vec::new();
    for satellite in asked {
        if app.store.satellite(&satellite).await?.is_none() {
            return Err(AppError::no("satellite", satellite.to_string()));
        }
        let attempts = app.store.attempts(&satellite).await?;
        let last = attempts.into_iter().find(|attempt| attempt.workload == *workload);
        if last.is_some_and(|attempt| attempt.outcome != Outcome::Done) {
            failed.push(satellite);
        } else if named {
            return Err(AppError::Precondition(format!(
                "no version of {workload} failed on satellite {satellite}; see `management-module update status`"
            )));
        }
    }
    if failed.is_empty() {
        return Err(AppError::Precondition(format!(
            "no version of {workload} failed anywhere; see `management-module update status`"
        )));
    }
    for satellite in &failed {
        app.store.forgive_attempts(satellite, workload).await?;
    }
    workloads::follow(app, "retry", failed).await
}
