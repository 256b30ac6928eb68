//! What is told of a run, from its rows.

use jiff::Timestamp;

use super::{hooks, mails_to};
use crate::app::page::escaped;
use crate::app::{App, AppError};
use crate::plan::hook;
use crate::plan::mail::report::{self, Copy, Report};
use crate::plan::outcome::RunState;
use crate::store::{MailRow, RunFilter, RunRow};

/// Runs that are looked at for how long it has been so.
const LOOKED_AT: u32 = 500;

/// What is told about a run that has ended: mails, and a message to the webhook.
pub(super) async fn of_run(app: &App, id: &str, now: Timestamp) -> Result<Vec<MailRow>, AppError> {
    let Some(run) = app.store.run(id).await? else {
        return Ok(Vec::new());
    };
    let mail =
        app.config.mail.as_ref().filter(|config| {
            !run.plan.report_to.is_empty() && report::is_told(run.state, config.report_success)
        });
    let webhook = app.config.webhook.as_ref();
    if mail.is_none() && webhook.is_none() {
        return Ok(Vec::new());
    }
    let filter = RunFilter {
        configuration: run.plan.name.to_string(),
        limit: LOOKED_AT,
        ..RunFilter::default()
    };
    let history = app.store.runs(&filter).await?;
    // What was run without being kept has no page of its own.
    let name = run.plan.name.as_str();
    let is_kept = app.store.configuration(name).await?.is_some();
    let path = if is_kept {
        format!("/backups/of/{}", escaped(name))
    } else {
        "/backups".to_owned()
    };
    let link = mail.map_or("", |config| config.link.as_str());
    let link = app.page.link(link, &app.config.server_name, &path);
    let (told, what) = (told(&run, &history, (is_kept, &link)), format!("run.{id}"));
    let mut messages = Vec::new();
    if let Some(config) = mail {
        messages = mails_to(config, &what, &run.plan.report_to, &report::write(&told), now);
    }
    if let Some(config) = webhook {
        let body = hook::of_run(id, &app.config.server_name, &told);
        let subject = format!(
            "run {}: {}",
            told.configuration,
            body["state"].as_str().unwrap_or_default()
        );
        messages.push(hooks::message(
            config,
            format!("{what}.webhook"),
            subject,
            &body,
            now,
        ));
    }
    Ok(messages)
}

fn told(run: &RunRow, history: &[RunRow], (is_kept, link): (bool, &str)) -> Report {
    // Newest first; ids of runs grow.
    let before = || history.iter().filter(|one| one.id < run.id);
    let is_bad = |one: &&RunRow| report::is_told(one.state, false);
    let is_good = |one: &&RunRow| one.state == RunState::Succeeded;
    let streak: Vec<_> = before().take_while(|one| !is_good(one)).filter(is_bad).collect();
    let first = streak.last().map_or(run.planned_at, |one| one.planned_at);
    Report {
        language: run.plan.language,
        zone: run.plan.schedule.time_zone.zone().clone(),
        configuration: run.plan.name.to_string(),
        central: run.plan.central.clone(),
        state: run.state,
        planned_at: run.planned_at,
        ended_at: run.ended_at.unwrap_or(run.planned_at),
        reason: run.error.clone(),
        archive: run.archive_name.clone(),
        bytes: run.bytes,
        left_out: run.left_out,
        copies: run
            .copies
            .iter()
            .map(|copy| Copy {
                destination: copy.destination.clone(),
                state: copy.state,
                bytes: copy.size_bytes,
                error: copy.error.clone(),
            })
            .collect(),
        streak: (streak.len() + 1, first),
        last_good: before().find(is_good).and_then(|one| one.ended_at),
        is_kept,
        link: link.to_owned(),
    }
}
