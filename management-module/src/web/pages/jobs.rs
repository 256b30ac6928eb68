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
use crate::web::text::{Text, common};

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

async fn now(ask: &Ask) -> Result<JobEvent, Failure> {
    let id = ask.param("id");
    is_own(&ask.web, ask, id)?;
    let mut events = Box::pin(ask.app().jobs.subscribe(id).await?);
    events.next().await.ok_or(Failure::NoPage)
}

pub(in crate::web) async fn show(ask: Ask) -> Answer {
    let event = now(&ask).await?;
    let row = ask
        .app()
        .store
        .job(ask.param("id"))
        .await?
        .ok_or(Failure::NoPage)?;
    let title = ask.say(kind_name(&row.kind));
    let back = crate::web::ask::own_place(ask.query.raw("back"));
    let events = (!event.ended).then(|| format!("/jobs/{}/events", escaped(ask.param("id"))));
    let content = html! {
        h1 { (title) @if !row.satellite.is_empty() { " – " (row.satellite) } }
        section.card data-live=[events] aria-live="polite" { (state(&ask, &event)) }
        p { (ask.say(common::GOES_ON)) }
        p { a href=(back) { (ask.say(common::BACK)) } }
    };
    Ok(look::page(&ask, title, &content))
}

pub(in crate::web) async fn events(ask: Ask) -> Answer {
    now(&ask).await?;
    live(ask, Need::SignedIn, EVERY, |ask: Arc<Ask>| async move {
        let event = now(&ask).await?;
        let over = event.ended.then(String::new);
        let html = state(&ask, &event);
        Ok(Seen { html, over })
    })
}

/// How far a job is.
fn state(ask: &Ask, event: &JobEvent) -> Markup {
    html! {
        p {
            @if !event.ended { (look::badge(Tone::Quiet, ask.say(common::UNDER_WAY))) }
            @else if !event.error.is_empty() { (look::badge(Tone::Bad, ask.say(common::FAILED))) }
            @else if event.partly { (look::badge(Tone::Warn, ask.say(common::PARTLY))) }
            @else { (look::badge(Tone::Good, ask.say(common::SUCCEEDED))) }
            @if !event.step.is_empty() { " " (look::said(ask, &event.step)) }
        }
        @if !event.ended { (look::progress(ask, event.done, event.total, &event.unit)) }
        @if !event.notice.is_empty() { p { (look::said(ask, &event.notice)) } }
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
