//! A piece of long work, followed while it goes on.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::response::Response;
use futures_util::StreamExt as _;
use maud::{Markup, html};
use satellite_proto::wire::management::v1::JobEvent;

use crate::app::users::Role;
use crate::web::Web;
use crate::web::access::Need;
use crate::web::ask::{Answer, Ask, escaped, go};
use crate::web::failure::Failure;
use crate::web::live::{Seen, live};
use crate::web::look::{self, Tone};
use crate::web::text::{Text, common, plan};

/// How often a look is taken.
const EVERY: Duration = Duration::from_millis(300);

/// Jobs whose beginner is remembered.
const MOST: usize = 2000;

/// To the page of a job that somebody has begun.
pub(in crate::web) fn follow(ask: &Ask, job: &str, back: &str) -> Answer {
    let user = ask.user()?.name.to_string();
    let mut begun = ask.web.0.begun.lock().unwrap_or_else(PoisonError::into_inner);
    if begun.len() >= MOST {
        begun.clear();
    }
    begun.insert(job.to_owned(), user);
    Ok(go(&format!("/jobs/{}?back={}", escaped(job), escaped(back))))
}

/// A customer sees the jobs that the customer has begun.
fn is_own(web: &Web, ask: &Ask, job: &str) -> Result<(), Failure> {
    let user = ask.user()?;
    let begun = web.0.begun.lock().unwrap_or_else(PoisonError::into_inner);
    let is_own = begun.get(job).is_some_and(|name| name == user.name.as_str());
    if user.role != Role::Customer || is_own {
        Ok(())
    } else {
        Err(Failure::NoPage)
    }
}

/// How far a job is, and what it has told that a person should know.
struct Now {
    event: JobEvent,
    notices: Vec<String>,
    /// It was a run that had nothing to do: what it moves must be old.
    had_nothing: bool,
}

async fn now(ask: &Ask) -> Result<Now, Failure> {
    let id = ask.param("id");
    is_own(&ask.web, ask, id)?;
    let mut events = Box::pin(ask.app().jobs.subscribe(id).await?);
    let event = events.next().await.ok_or(Failure::NoPage)?;
    let mut notices = ask.app().jobs.notices(id);
    if notices.is_empty() && !event.notice.is_empty() {
        notices.push(event.notice.clone());
    }
    let is_empty = event.ended && !event.partly && event.error.is_empty() && event.archive.is_none();
    let had_nothing = is_empty && {
        let row = ask.app().store.job(id).await?;
        row.is_some_and(|row| row.kind == "run")
    };
    Ok(Now {
        event,
        notices,
        had_nothing,
    })
}

pub(in crate::web) async fn show(ask: Ask) -> Answer {
    let now = now(&ask).await?;
    let row = ask
        .app()
        .store
        .job(ask.param("id"))
        .await?
        .ok_or(Failure::NoPage)?;
    let title = ask.say(kind_name(&row.kind));
    let back = crate::web::ask::own_place(ask.query.raw("back"));
    let events = (!now.event.ended).then(|| format!("/jobs/{}/events", escaped(ask.param("id"))));
    let content = html! {
        h1 { (title) @if !row.satellite.is_empty() { " – " (row.satellite) } }
        section.card data-live=[events] aria-live="polite" { (state(&ask, &now)) }
        p { a href=(back) { (ask.say(common::BACK)) } }
    };
    Ok(look::page(&ask, title, &content))
}

pub(in crate::web) async fn events(ask: Ask) -> Answer {
    now(&ask).await?;
    live(ask, Need::SignedIn, EVERY, |ask: Arc<Ask>| async move {
        let now = now(&ask).await?;
        let over = now.event.ended.then(String::new);
        let html = state(&ask, &now);
        Ok(Seen { html, over })
    })
}

/// How far a job is.
fn state(ask: &Ask, now: &Now) -> Markup {
    let event = &now.event;
    html! {
        p {
            @if !event.ended { (look::badge(Tone::Quiet, ask.say(common::UNDER_WAY))) }
            @else if !event.error.is_empty() { (look::badge(Tone::Bad, ask.say(common::FAILED))) }
            @else if event.partly { (look::badge(Tone::Warn, ask.say(common::PARTLY))) }
            @else { (look::badge(Tone::Good, ask.say(common::SUCCEEDED))) }
            @if !event.step.is_empty() { " " (look::said(ask, &event.step)) }
        }
        @if !event.ended {
            (look::progress(ask, event.done, event.total, &event.unit))
            p { (ask.say(common::GOES_ON)) }
        }
        @if now.had_nothing { p { (ask.say(plan::NOTHING_OLD)) } }
        @for notice in &now.notices { p { (look::said(ask, notice)) } }
        @if !event.error.is_empty() { div.note.bad role="alert" { p { (look::said(ask, &event.error)) } } }
        @if !event.log_tail.is_empty() {
            details { summary { (ask.say(common::LAST_LINES)) } pre { @for line in &event.log_tail { (line) "\n" } } }
        }
        @if event.ended { @if let Some(archive) = &event.archive {
            @let place = format!("/archives/{}", escaped(&archive.id));
            div.actions {
                @if ask.may(Need::RunBackups) { a.button.main href={ (place) "/download" } { (ask.say(common::DOWNLOAD)) } }
                a.button href=(place) { (archive.file_name) }
            }
        } }
    }
}

fn kind_name(kind: &str) -> Text {
    match kind {
        "start" => common::JOB_START,
        "stop" => common::JOB_STOP,
        "restart" => common::JOB_RESTART,
        "push" => common::JOB_PUSH,
        "backup" | "run" => common::JOB_BACKUP,
        "restore" => common::JOB_RESTORE,
        "firewall" => common::JOB_FIREWALL,
        "network" => common::JOB_NETWORK,
        "verify" => common::JOB_VERIFY,
        _ => common::JOB_OTHER,
    }
}

/// Where a use case answers a job: there, or what it says on the page that asked.
pub(in crate::web) fn begun(
    ask: &Ask,
    begun: Result<String, crate::app::AppError>,
    back: &str,
) -> Result<Response, Failure> {
    follow(ask, &begun?, back)
}
