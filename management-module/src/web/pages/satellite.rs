//! One satellite: how it is, what runs there, and what can be done about it.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};
use satellite_proto::bundle::WorkloadName;
use satellite_proto::wire::bridge::v1 as bridge;

use super::pair::to_the_end;
use super::satellites::{health, workload_state};
use crate::app::AppError;
use crate::app::satellites::{self, FleetMember};
use crate::app::workloads::{self, WorkloadOn};
use crate::fleet::Reachability;
use crate::names::SatelliteName;
use crate::store::Outcome;
use crate::web::access::Need;
use crate::web::ask::{Answer, Ask, escaped, go};
use crate::web::failure::{Failure, status_of};
use crate::web::live::live;
use crate::web::look::{self, Tone, wire_moment};
use crate::web::pages::jobs;
use crate::web::text::{Text, common, fleet, machine};

/// How often a look is taken.
const EVERY: Duration = Duration::from_secs(1);

/// The pages of one satellite.
const TABS: [(Text, &str); 4] = [
    (common::OVERVIEW, ""),
    (machine::LOGS, "/logs"),
    (machine::FIREWALL, "/firewall"),
    (machine::NETWORK, "/network"),
];

/// The head of each page of a satellite.
pub(in crate::web) fn head(ask: &Ask, name: &SatelliteName, here: &str) -> Markup {
    let place = format!("/satellites/{}", escaped(name.as_str()));
    html! {
        h1 { (name.as_str()) }
        nav aria-label=(name.as_str()) { ul.tabs { @for (text, end) in TABS {
            li { a href={ (place) (end) } aria-current=[(end == here).then_some("page")] { (ask.say(text)) } }
        } } }
    }
}

pub(in crate::web) async fn show(ask: Ask) -> Answer {
    shown(&ask, StatusCode::OK, &html! {}, "").await
}

async fn shown(ask: &Ask, status: StatusCode, said: &Markup, wrong: &str) -> Answer {
    let name: SatelliteName = ask.named("name")?;
    let member = satellites::get(ask.app(), &name).await?;
    let place = format!("/satellites/{}", escaped(name.as_str()));
    let content = html! {
        (head(ask, &name, ""))
        (said)
        div data-live={ (place) "/events" } { (content(ask, &member)) }
        @if ask.may(Need::ChangeFleet) { (dangerous(ask, &member, &place, wrong)) }
    };
    Ok(look::page_with(ask, status, name.as_str(), &content))
}

pub(in crate::web) async fn events(ask: Ask) -> Answer {
    live(ask, Need::SeeFleet, EVERY, |ask: Arc<Ask>| async move {
        let member = satellites::get(ask.app(), &ask.named("name")?).await?;
        Ok(content(&ask, &member).into())
    })
}

fn content(ask: &Ask, member: &FleetMember) -> Markup {
    let pass = ask.app().reconciler.last(&member.row.name);
    html! {
        @if !member.problem.is_empty() { div.note.bad { p { (look::said(ask, &member.problem)) } } }
        @if !pass.ended && !pass.step.is_empty() {
            div.note { p { b { (look::said(ask, &pass.step)) } } (look::progress(ask, pass.done, pass.total, pass.unit)) }
        }
        div.columns {
            section.card { h2 { (ask.say(common::STATE)) } (facts(ask, member)) }
            section.card {
                h2 { (ask.say(fleet::WORKLOADS)) }
                @if member.workloads.is_empty() { p { (ask.say(fleet::NO_WORKLOADS)) } }
                @for on in &member.workloads { (workload(ask, member, on)) }
            }
        }
    }
}

fn facts(ask: &Ask, member: &FleetMember) -> Markup {
    let there = member.link.satellite.clone().unwrap_or_default();
    let of = |free: u64, all: u64| {
        let (free, all) = (ask.language.size(free), ask.language.size(all));
        ask.fill(fleet::FREE_OF, &[&free, &all])
    };
    html! {
        dl {
            dt { (ask.say(common::STATE)) } dd { (health(ask, member)) }
            dt { (ask.say(fleet::ADDRESS)) } dd { (member.row.address.as_str()) }
            dt { (ask.say(fleet::LAST_CONTACT)) } dd { (look::moment(ask, member.link.seen_at)) }
            dt { (ask.say(fleet::PAIRED)) } dd { (look::moment(ask, Some(member.row.paired_at))) }
            @if member.link.satellite.is_some() {
                dt { (ask.say(fleet::BRIDGE)) } dd { (there.bridge_version) }
                dt { (ask.say(fleet::SYSTEM)) } dd { (there.os_version) " " (there.architecture) }
                dt { (ask.say(fleet::STARTED)) } dd { (look::moment(ask, wire_moment(there.boot_time.as_ref()))) }
                dt { (ask.say(fleet::DISK)) } dd { (of(there.disk_free_bytes, there.disk_total_bytes)) }
                dt { (ask.say(fleet::MEMORY)) } dd { (of(there.memory_available_bytes, there.memory_total_bytes)) }
                dt { (ask.say(fleet::ADDRESSES)) } dd { (there.addresses.join(", ")) }
                @if !clock_is_right(&there, member.link.seen_at) {
                    dt { (ask.say(fleet::CLOCK)) } dd { (look::badge(Tone::Warn, ask.say(fleet::CLOCK_WRONG))) }
                }
            }
            dt { (ask.say(fleet::FINGERPRINT)) } dd { code.small { (member.row.pin.to_string()) } }
        }
    }
}

/// Within two minutes of the moment at which it said so.
fn clock_is_right(there: &bridge::Satellite, seen_at: Option<Timestamp>) -> bool {
    let (Some(said), Some(heard)) = (wire_moment(there.current_time.as_ref()), seen_at) else {
        return true;
    };
    said.duration_since(heard).abs() < jiff::SignedDuration::from_mins(2)
}

fn workload(ask: &Ask, member: &FleetMember, on: &WorkloadOn) -> Markup {
    let name = on.name();
    let place = format!(
        "/satellites/{}/workloads/{}",
        escaped(member.row.name.as_str()),
        escaped(name)
    );
    let state = on.observed.as_ref().map(|there| workload_state(there.state()));
    let (tone, text) = state.unwrap_or((Tone::Quiet, fleet::NOT_THERE_YET));
    let newer = newer(on);
    let failed = on
        .attempt
        .as_ref()
        .filter(|attempt| attempt.outcome != Outcome::Done);
    html! {
        h3 { (name) " " (look::badge(tone, ask.say(text))) }
        @if let Some(there) = &on.observed {
            dl {
                dt { (ask.say(fleet::VERSION)) } dd { (there.version) }
                dt { (ask.say(fleet::STARTED)) } dd { (look::moment(ask, wire_moment(there.start_time.as_ref()))) }
                // A system that does not count it says nothing.
                @if there.memory_bytes > 0 { dt { (ask.say(fleet::MEMORY)) } dd { (ask.language.size(there.memory_bytes)) } }
                @if there.restarts > 0 { dt { (ask.say(fleet::RESTARTS)) } dd { (there.restarts) } }
                @if !there.problem.is_empty() { dt { (ask.say(fleet::WHY)) } dd { (look::said(ask, &there.problem)) } }
            }
        }
        @if let Some(failed) = failed { div.note.warn { p { (look::said(ask, &failed.problem)) } } }
        @if ask.may(Need::ChangeFleet) {
            div.actions {
                (look::button(ask, &format!("{place}/start"), fleet::START, ""))
                (look::button(ask, &format!("{place}/restart"), fleet::RESTART, ""))
                (look::button(ask, &format!("{place}/stop"), fleet::STOP, ""))
                @if let Some(version) = newer {
                    form method="post" action={ (place) "/update" } {
                        (look::token(ask))
                        button.main { (ask.fill(fleet::UPDATE_TO, &[&version])) }
                    }
                }
            }
        }
    }
}

/// The version that is meant to be there and is not.
fn newer(on: &WorkloadOn) -> Option<String> {
    let (_, bundle) = on.desired.as_ref()?;
    let bundle = bundle.as_ref()?;
    let there = on.observed.as_ref()?;
    (there.manifest_digest != bundle.manifest_digest.to_string()).then(|| bundle.version.to_string())
}

fn dangerous(ask: &Ask, member: &FleetMember, place: &str, wrong: &str) -> Markup {
    let name = member.row.name.as_str();
    html! {
        details open[!wrong.is_empty()] {
            summary { (ask.say(fleet::MORE)) }
            @if member.link.reachability == Reachability::Quarantined {
                div.card {
                    h2 { (ask.say(fleet::TRUST)) } p { (ask.say(fleet::TRUST_WHAT)) }
                    (look::button(ask, &format!("{place}/trust"), fleet::TRUST, "danger"))
                }
            }
            div.columns {
                form.card method="post" action={ (place) "/reboot" } {
                    h2 { (ask.say(fleet::REBOOT)) } p { (ask.say(fleet::REBOOT_WHAT)) }
                    (look::token(ask))
                    (look::typed_word(ask, "reboot", name, wrong == "reboot"))
                    button.danger { (ask.say(fleet::REBOOT)) }
                }
                form.card method="post" action={ (place) "/forget" } {
                    h2 { (ask.say(fleet::FORGET)) } p { (ask.say(fleet::FORGET_WHAT)) }
                    (look::token(ask))
                    (look::typed_word(ask, "forget", name, wrong == "forget"))
                    button.danger { (ask.say(fleet::FORGET)) }
                }
            }
        }
    }
}

async fn told(ask: &Ask, error: &AppError) -> Answer {
    shown(ask, status_of(error), &look::problem(ask, error), "").await
}

pub(in crate::web) async fn start(ask: Ask) -> Answer {
    set_running(ask, true).await
}

pub(in crate::web) async fn stop(ask: Ask) -> Answer {
    set_running(ask, false).await
}

fn workload_of(ask: &Ask) -> Result<(SatelliteName, WorkloadName, String), Failure> {
    let name: SatelliteName = ask.named("name")?;
    let workload: WorkloadName = ask.named("workload")?;
    let subject = format!("{name}/{workload}");
    Ok((name, workload, subject))
}

async fn followed(ask: &Ask, job: Result<String, AppError>) -> Answer {
    match job {
        Ok(job) => jobs::follow(ask, &job, &format!("/satellites/{}", escaped(ask.param("name")))),
        Err(error) => told(ask, &error).await,
    }
}

async fn set_running(ask: Ask, running: bool) -> Answer {
    let (name, workload, subject) = workload_of(&ask)?;
    let (app, actor) = (ask.app().clone(), ask.actor()?);
    let job = to_the_end(async move {
        let action = if running {
            "Web/StartWorkload"
        } else {
            "Web/StopWorkload"
        };
        let job = workloads::set_running(&app, &name, &workload, running).await;
        app.audit.recorded(&actor, action, &subject, job).await
    });
    followed(&ask, job.await).await
}

pub(in crate::web) async fn restart(ask: Ask) -> Answer {
    let (name, workload, _) = workload_of(&ask)?;
    let (app, actor) = (ask.app().clone(), ask.actor()?);
    let job = to_the_end(async move { workloads::restart(&app, &name, &workload, actor).await });
    followed(&ask, job.await).await
}

pub(in crate::web) async fn update(ask: Ask) -> Answer {
    let (name, workload, subject) = workload_of(&ask)?;
    let (app, actor) = (ask.app().clone(), ask.actor()?);
    let job = to_the_end(async move {
        let job = workloads::push(&app, &workload, None, vec![name]).await;
        app.audit.recorded(&actor, "Web/PushUpdate", &subject, job).await
    });
    followed(&ask, job.await).await
}

/// Whether the name was typed; else the page that says so.
async fn typed(ask: &Ask, which: &str) -> Result<Result<SatelliteName, Response>, Failure> {
    let name: SatelliteName = ask.named("name")?;
    if ask.form.text("word") == name.as_str() {
        return Ok(Ok(name));
    }
    let page = shown(ask, StatusCode::UNPROCESSABLE_ENTITY, &html! {}, which).await?;
    Ok(Err(page))
}

pub(in crate::web) async fn reboot(ask: Ask) -> Answer {
    let name = match typed(&ask, "reboot").await? {
        Ok(name) => name,
        Err(page) => return Ok(page),
    };
    let (app, actor, satellite) = (ask.app().clone(), ask.actor()?, name.clone());
    let done = to_the_end(async move {
        let done = satellites::reboot(&app, &satellite, false).await;
        app.audit
            .recorded(&actor, "Web/RebootSatellite", satellite.as_str(), done)
            .await
    });
    match done.await {
        Ok(()) => Ok(go(&format!(
            "/satellites/{}?done=rebooting",
            escaped(name.as_str())
        ))),
        Err(error) => told(&ask, &error).await,
    }
}

pub(in crate::web) async fn trust(ask: Ask) -> Answer {
    let name: SatelliteName = ask.named("name")?;
    let (app, actor, satellite) = (ask.app().clone(), ask.actor()?, name.clone());
    let done = to_the_end(async move {
        let done = satellites::trust(&app, &satellite).await;
        app.audit
            .recorded(&actor, "Web/TrustSatellite", satellite.as_str(), done)
            .await
    });
    match done.await {
        Ok(_) => Ok(go(&format!(
            "/satellites/{}?done=trusted",
            escaped(name.as_str())
        ))),
        Err(error) => told(&ask, &error).await,
    }
}

pub(in crate::web) async fn forget(ask: Ask) -> Answer {
    let name = match typed(&ask, "forget").await? {
        Ok(name) => name,
        Err(page) => return Ok(page),
    };
    let (app, actor) = (ask.app().clone(), ask.actor()?);
    let done = to_the_end(async move {
        let done = satellites::forget(&app, &name).await;
        app.audit
            .recorded(&actor, "Web/ForgetSatellite", name.as_str(), done)
            .await
    });
    match done.await {
        Ok(true) => Ok(go("/satellites?done=forgotten")),
        Ok(false) => Ok(go("/satellites?done=forgotten-here")),
        Err(error) => told(&ask, &error).await,
    }
}
