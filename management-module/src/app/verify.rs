//! Looks after archives on a schedule: what was found right too long ago is read whole again, on satellites and at
//! destinations, a little at a time.
//!
//! **Invariant:** a copy that is damaged is never shown as there; nothing is removed here.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use satellite_proto::wire::backup::v1 as pb;
use satellite_proto::wire::backup::v1::verify_copy_response::Kind as Message;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{error, info, warn};

use super::backup::{Backups, satellite_name};
use super::destinations::{Destinations, Place, is_kept_at_server};
use super::{Actor, App, AppError};
use crate::plan::outcome::CopyState;
use crate::store::{CopyRow, RunRow};

/// How often it is looked for something to read again; then one archive and one copy are read at most.
const PACE: Duration = Duration::from_mins(10);
/// How long nothing need be heard of a copy that is read.
const SILENCE: Duration = Duration::from_mins(5);
/// Who asks for it.
const ACTOR: &str = "schedule";

/// Reads again what is to be read again, until `stop`.
pub async fn run(app: App, stop: CancellationToken) {
    let Ok(age) = SignedDuration::try_from(app.config.verify_interval) else {
        return;
    };
    if age.is_zero() {
        return;
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PACE) => {}
        }
        let before = Timestamp::now().checked_sub(age).unwrap_or(Timestamp::MIN);
        if let Err(error) = pass(&app, before).await {
            warn!(error = %crate::error_chain(&error), "Archives not looked after");
        }
    }
}

/// Reads one archive and one copy again, of those that were last found right before.
///
/// # Errors
/// What the store says. What is wrong with an archive is in the audit log, what is wrong with a copy in its row too.
pub async fn pass(app: &App, before: Timestamp) -> Result<(), AppError> {
    archive(app, before).await?;
    copy(app, before).await
}

async fn archive(app: &App, before: Timestamp) -> Result<(), AppError> {
    let backups = Backups::new(app.clone());
    let moment = |archive: &pb::Archive| {
        let time = archive.verify_time.or(archive.create_time).unwrap_or_default();
        Timestamp::from_second(time.seconds).unwrap_or(Timestamp::MIN)
    };
    let archives = backups.list("").await?.archives.into_iter();
    let old = archives.filter(|stored| moment(&stored.archive) < before);
    let Some(oldest) = old.min_by_key(|stored| moment(&stored.archive)) else {
        return Ok(());
    };
    let name = &oldest.archive.file_name;
    match backups.verify(&Actor::named(ACTOR), &oldest.archive.id).await {
        Ok(found) if found.intact => info!(archive = name, "Archive read again: it is whole"),
        Ok(found) => {
            let problems = found.problems.join("; ");
            error!(archive = name, problems, "Archive damaged: do not rely on it");
            let result = Err(format!("damaged: {problems}"));
            let action = "BackupService/VerifyArchive";
            app.audit.record(&Actor::named(ACTOR), action, name, result).await;
        }
        Err(error) => warn!(archive = name, error = %crate::error_chain(&error), "Archive not read again"),
    }
    Ok(())
}

async fn copy(app: &App, before: Timestamp) -> Result<(), AppError> {
    let Some((run, copy)) = app.store.copy_to_verify(before).await? else {
        return Ok(());
    };
    let (archive, destination) = (&run.archive_name, &copy.destination);
    let seen = CopyRow {
        verified_at: Some(Timestamp::now()),
        ..copy.clone()
    };
    let (noted, result) = match verified(app, &run, &copy).await {
        Ok(problems) if problems.is_empty() => (seen, Ok(())),
        Ok(problems) => {
            error!(archive, destination, problems, "Copy damaged: do not rely on it");
            let damaged = CopyRow {
                state: CopyState::Failed,
                error: format!("damaged: {problems}"),
                ..seen
            };
            (damaged, Err(format!("damaged: {problems}")))
        }
        Err(error) => {
            // Not reachable today: it is asked again when its turn comes anew.
            warn!(archive, destination, error = %crate::error_chain(&error), "Copy not read again");
            return Ok(());
        }
    };
    app.store.note_copy(&run.id, &noted).await?;
    let (action, subject) = (
        "DestinationService/VerifyCopy",
        format!("{destination}: {archive}"),
    );
    app.audit
        .record(&Actor::named(ACTOR), action, &subject, result)
        .await;
    Ok(())
}

/// What is wrong with a copy; empty if nothing is.
async fn verified(app: &App, run: &RunRow, copy: &CopyRow) -> Result<String, AppError> {
    let destinations = Destinations::new(app.clone());
    let (_, place) = destinations.opened(&copy.destination).await?;
    let mut whole = match place {
        Place::Server(_) => return is_kept_at_server(copy).await,
        Place::Satellite(whole) => whole,
    };
    whole.base_directory.clone_from(&run.plan.directory);
    let satellite = satellite_name(&run.satellite)?;
    let remote = |status| AppError::remote(satellite.as_str(), status);
    let silent = |_| {
        remote(Status::deadline_exceeded(
            "nothing was heard of the copy for too long",
        ))
    };
    let reached = destinations.reach(&satellite, *whole).await?;
    let request = pb::VerifyCopyRequest {
        destination: reached.destination(),
        path: copy.path.clone(),
        sha256: copy.sha256.clone(),
    };
    let mut client = destinations.client(&satellite)?;
    let opened = tokio::time::timeout(SILENCE, client.verify_copy(request)).await;
    let mut messages = match opened.map_err(silent)? {
        Ok(answer) => answer.into_inner(),
        Err(status) if status.code() == tonic::Code::NotFound => {
            return Ok("it is not there any more".to_owned());
        }
        Err(status) => return Err(remote(status)),
    };
    loop {
        let message = tokio::time::timeout(SILENCE, messages.message()).await;
        let message = message.map_err(silent)?.map_err(remote)?;
        match message.map(|message| message.kind) {
            Some(Some(Message::Done(done))) if done.intact => return Ok(String::new()),
            Some(Some(Message::Done(done))) => return Ok(done.problems.join("; ")),
            Some(_) => {}
            None => {
                return Err(remote(Status::unavailable(
                    "the call ended before the copy was read",
                )));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::app::runs::Which;
    use crate::app::runs::tests::{configuration, keep, plans, rest};

    #[tokio::test]
    async fn a_copy_that_was_damaged_is_found_and_never_shown_as_there() {
        let (_dir, runs) = plans().await;
        keep(&runs, configuration("Nightly", "destinations = ['good']")).await;
        runs.run(Actor::user(0), Which::Kept("Nightly".into()), "")
            .await
            .unwrap();
        let first = rest(&runs).await;
        let (app, later) = (runs.app(), Timestamp::now() + SignedDuration::from_secs(5));
        let long_ago = Timestamp::now() - SignedDuration::from_hours(1);
        copy(app, long_ago).await.unwrap();
        assert_eq!(
            rest(&runs).await.copies,
            first.copies,
            "it was read back just now"
        );
        copy(app, later).await.unwrap();
        let seen = rest(&runs).await;
        assert!(seen.copies[0].is_there() && seen.copies[0].verified_at > first.copies[0].verified_at);

        let path = &seen.copies[0].path;
        let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all(b"J").unwrap();
        copy(app, later).await.unwrap();
        let damaged = rest(&runs).await;
        assert!(!damaged.copies[0].is_there());
        assert!(
            damaged.copies[0].error.starts_with("damaged: "),
            "{}",
            damaged.copies[0].error
        );
        let audit = &app.audit.newest(1).await.unwrap()[0];
        assert!(
            audit.subject.starts_with("good: ") && audit.result.starts_with("damaged"),
            "{audit:?}"
        );
        // It is not looked at again and again.
        assert!(app.store.copy_to_verify(later).await.unwrap().is_none());
    }
}
