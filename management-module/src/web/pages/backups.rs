//! Backup configurations: which there are, how their runs went, and running one now.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use jiff::Timestamp;
use maud::{Markup, PreEscaped, html};
use satellite_proto::bundle::Digest;

use super::pair::to_the_end;
use crate::app::AppError;
use crate::app::configurations::{Configurations, Shown};
use crate::app::runs::{Runs, Which};
use crate::plan::outcome::{CopyState, RunState};
use crate::plan::schedule::Every;
use crate::store::{ConfigurationRow, CopyRow, RunHead, RunRow, Standing};
use crate::web::access::Need;
use crate::web::ask::{Answer, Ask, escaped, go};
use crate::web::failure::{Failure, status_of};
use crate::web::live::live;
use crate::web::look::{self, Tone};
use crate::web::pager::Part;
use crate::web::pages::jobs;
use crate::web::text::{Text, backup, common, fleet, plan};

/// Where the list is.
const PLACE: &str = "/backups";

/// How often a look is taken.
const EVERY: Duration = Duration::from_secs(3);

/// How long a button stands for the same run at most.
const SAME_KEY: Duration = Duration::from_mins(10);

/// Runs on the page of a configuration.
const SHOWN: u32 = 100;

/// Bars of the chart.
const BARS: usize = 40;

/// A row of the list: how it stands, and what is kept of it.
type Listed = (Standing, ConfigurationRow);

fn place(name: &str) -> String {
    format!("/backups/of/{}", escaped(name))
}

/// How a run is, in a word.
pub(in crate::web) fn state(value: RunState) -> (Tone, Text) {
    match value {
        RunState::Queued => (Tone::Quiet, plan::QUEUED),
        RunState::Deferred => (Tone::Warn, plan::DEFERRED),
        RunState::Running => (Tone::Quiet, common::UNDER_WAY),
        RunState::Succeeded => (Tone::Good, common::SUCCEEDED),
        RunState::Partial => (Tone::Warn, common::PARTLY),
        RunState::Failed => (Tone::Bad, common::FAILED),
        RunState::Cancelled => (Tone::Quiet, plan::CANCELLED),
        RunState::Missed => (Tone::Bad, plan::MISSED),
    }
}

fn copy_state(value: CopyState) -> (Tone, Text) {
    match value {
        CopyState::Pending => (Tone::Quiet, plan::QUEUED),
        CopyState::Copying => (Tone::Quiet, common::UNDER_WAY),
        CopyState::Done => (Tone::Good, common::OK),
        CopyState::Failed => (Tone::Bad, common::FAILED),
        CopyState::Skipped => (Tone::Quiet, plan::SKIPPED),
    }
}

/// How the configurations stand of centrals that are the reader's business.
pub(in crate::web) async fn own(ask: &Ask) -> Result<Vec<Standing>, Failure> {
    let user = ask.user()?;
    let mut all = Configurations::new(ask.app().clone()).standings().await?;
    all.retain(|standing| user.may_see_tenant(&standing.tenant));
    Ok(all)
}

async fn find(ask: &Ask) -> Result<Shown, Failure> {
    let found = Configurations::new(ask.app().clone())
        .get(ask.param("name"))
        .await?;
    let shown = found.ok_or(Failure::NoPage)?;
    let central = ask.app().store.central(&shown.row.configuration.central).await?;
    let user = ask.user()?;
    let is_own = central.is_some_and(|central| user.may_see_tenant(&central.tenant));
    if is_own { Ok(shown) } else { Err(Failure::NoPage) }
}

async fn asked(ask: &Ask) -> Result<Part<Listed>, Failure> {
    let own = own(ask).await?;
    let destinations = ask.app().store.destinations_of_configurations().await?;
    let mut part = Part::asked(ask, own, |standing| {
        let last = standing.last_run.as_ref().map(|run| ask.say(state(run.state).1));
        let names = [
            standing.name.as_str(),
            &standing.central,
            last.unwrap_or_default(),
        ];
        let own = destinations.get(standing.name.as_str()).map(|own| own.join(" "));
        format!("{} {}", names.join(" "), own.unwrap_or_default())
    });
    let rows = Configurations::new(ask.app().clone())
        .in_full(part.take())
        .await?;
    Ok(part.with(rows))
}

pub(in crate::web) async fn list(ask: Ask) -> Answer {
    let part = asked(&ask).await?;
    let content = html! {
        div.head {
            h1 { (ask.say(common::BACKUPS)) }
            @if ask.may(Need::ChangeBackups) { div.actions {
                a.button.main href="/backups/new" { "+ " (ask.say(plan::NEW)) }
                a.button href="/destinations" { (ask.say(plan::DESTINATIONS)) }
            } }
        }
        @if !part.is_empty() { (part.field(&ask, PLACE)) }
        div data-live=(part.place("/backups/events")) { (listed(&ask, &part)) }
    };
    Ok(look::page(&ask, ask.say(common::BACKUPS), &content))
}

pub(in crate::web) async fn list_events(ask: Ask) -> Answer {
    live(ask, Need::SeeBackups, EVERY, |ask: Arc<Ask>| async move {
        Ok(listed(&ask, &asked(&ask).await?).into())
    })
}

fn listed(ask: &Ask, part: &Part<Listed>) -> Markup {
    html! {
        @if part.is_empty() { p { (ask.say(plan::NONE_YET)) } } @else {
            @if !part.rows.is_empty() { div.sheet { table.stack {
                thead { tr {
                    th scope="col" { (ask.say(common::NAME)) }
                    th scope="col" { (ask.say(plan::LAST_RUN)) }
                    th scope="col" { (ask.say(plan::NEXT_RUN)) }
                    th scope="col" { (ask.say(backup::CENTRAL)) }
                    th scope="col" { (ask.say(plan::DESTINATIONS)) }
                    th scope="col" { span.unseen { (ask.say(common::ACTION)) } }
                } }
                tbody { @for (standing, kept) in &part.rows { (row(ask, standing, kept)) } }
            } } }
            (part.steps(ask, PLACE))
        }
    }
}

/// How often, in words.
pub(in crate::web) fn interval(ask: &Ask, every: &Every) -> String {
    match every {
        Every::Manual => ask.say(plan::MANUAL).to_owned(),
        Every::Hours(hours) => ask.fill(plan::EVERY_N_HOURS, &[&hours.to_string()]),
        Every::Daily => ask.say(plan::DAILY).to_owned(),
        Every::Weekly(days) => {
            let chosen = days
                .iter()
                .zip(plan::WEEKDAYS)
                .filter(|(is_chosen, _)| **is_chosen);
            let names: Vec<&str> = chosen.map(|(_, name)| ask.say(name)).collect();
            ask.fill(plan::EVERY_WEEK, &[&names.join(", ")])
        }
        Every::Monthly(day) => ask.fill(plan::EVERY_MONTH, &[&day.to_string()]),
        Every::MonthEnd => ask.say(plan::EVERY_MONTH_END).to_owned(),
    }
}

/// When a configuration runs by itself next.
pub(in crate::web) fn next(row: &ConfigurationRow) -> Option<Timestamp> {
    let plan = &row.configuration;
    plan.enabled
        .then(|| plan.schedule.next_after(row.settled().max(Timestamp::now())))
        .flatten()
}

fn row(ask: &Ask, standing: &Standing, kept: &ConfigurationRow) -> Markup {
    let plan = &kept.configuration;
    let name = plan.name.as_str();
    html! {
        tr {
            th scope="row" { a href=(place(name)) { (name) } }
            td data-label=(ask.say(plan::LAST_RUN)) { (last(ask, standing.last_run.as_ref())) }
            td data-label=(ask.say(plan::NEXT_RUN)) {
                @match next(kept) { Some(due) => { (look::moment(ask, Some(due))) }, None => { (ask.say(plan::MANUAL)) } }
            }
            td data-label=(ask.say(backup::CENTRAL)) { (plan.central) }
            td data-label=(ask.say(plan::DESTINATIONS)) {
                @if plan.destinations.is_empty() { (ask.say(plan::ON_SATELLITE)) } @else { (plan.destinations.join(", ")) }
            }
            td.empty { @if ask.may(Need::RunBackups) { (run_button(ask, name, standing.last_run.as_ref())) } }
        }
    }
}

fn run_button(ask: &Ask, name: &str, last: Option<&RunHead>) -> Markup {
    html! {
        form method="post" action={ (place(name)) "/run" } {
            (look::token(ask))
            input type="hidden" name="key" value=(run_key(ask, name, last));
            button { "+ " (ask.say(backup::BACK_UP_NOW)) span.unseen { " " (name) } }
        }
    }
}

/// Tells a run that is asked for from one that is asked for twice. It follows from what is seen, so that a button that is
/// looked at stays the same: who sees the last run may begin one more. So may, after a while, who was answered by a failure
/// that left no run.
fn run_key(ask: &Ask, name: &str, last: Option<&RunHead>) -> String {
    let last = last.map_or("", |run| run.id.as_str());
    let session = ask
        .session
        .as_ref()
        .map_or("", |session| session.form_token.as_str());
    let while_of = Timestamp::now().as_second() / SAME_KEY.as_secs().cast_signed();
    let seen = format!("{session}\n{name}\n{last}\n{while_of}");
    let mut key = Digest::of(seen.as_bytes()).to_string();
    key.truncate(32);
    key
}

/// How a run went, in a word, and when.
pub(in crate::web) fn last(ask: &Ask, run: Option<&RunHead>) -> Markup {
    html! {
        @if let Some(run) = run {
            @let (tone, text) = state(run.state);
            span { (look::badge(tone, ask.say(text))) " " (look::moment(ask, run.ended_at.or(run.started_at).or(Some(run.planned_at)))) }
        } @else { span.soft { (ask.say(common::NEVER)) } }
    }
}

pub(in crate::web) async fn show(ask: Ask) -> Answer {
    let shown = find(&ask).await?;
    page(&ask, StatusCode::OK, &shown, &html! {}, false).await
}

async fn page(ask: &Ask, status: StatusCode, shown: &Shown, said: &Markup, wrong_word: bool) -> Answer {
    let plan = &shown.row.configuration;
    let name = plan.name.as_str();
    let last = shown.last_run.as_ref().map(RunHead::from);
    let content = html! {
        div.head {
            h1 { (name) }
            div.actions {
                @if ask.may(Need::RunBackups) { (run_button(ask, name, last.as_ref())) }
                @if ask.may(Need::ChangeBackups) { a.button href={ "/backups/new?of=" (escaped(name)) } { (ask.say(plan::CHANGE)) } }
            }
        }
        (said)
        div data-live={ (place(name)) "/events" } { (standing(ask, shown).await?) }
        @if ask.may(Need::ChangeBackups) {
            details open[wrong_word] {
                summary { (ask.say(plan::REMOVE)) }
                form.card method="post" action={ (place(name)) "/remove" } {
                    (look::token(ask))
                    p { (ask.say(plan::REMOVE_WHAT)) }
                    (look::typed_word(ask, "remove", name, wrong_word))
                    button.danger { (ask.say(plan::REMOVE)) }
                }
            }
        }
    };
    Ok(look::page_with(ask, status, name, &content))
}

pub(in crate::web) async fn events(ask: Ask) -> Answer {
    live(ask, Need::SeeBackups, EVERY, |ask: Arc<Ask>| async move {
        Ok(standing(&ask, &find(&ask).await?).await?.into())
    })
}

/// What a configuration is and how its runs went.
async fn standing(ask: &Ask, shown: &Shown) -> Result<Markup, Failure> {
    let plan = &shown.row.configuration;
    let runs = Runs::new(ask.app().clone())
        .list(plan.name.as_str(), SHOWN)
        .await?;
    Ok(html! {
        div.columns {
            section.card { dl {
                dt { (ask.say(backup::CENTRAL)) } dd { a href={ "/centrals/" (escaped(&plan.central)) } { (plan.central) } }
                @if plan.older_than_days > 0 {
                    dt { (ask.say(plan::ARCHIVING)) } dd { (ask.fill(plan::OLDER_THAN, &[&ask.language.number(plan.older_than_days.into())])) }
                }
                dt { (ask.say(plan::INTERVAL)) } dd { (interval(ask, &plan.schedule.every)) }
                dt { (ask.say(plan::NEXT_RUN)) } dd { (look::moment(ask, next(&shown.row))) }
                dt { (ask.say(plan::LAST_RUN)) } dd { (last(ask, shown.last_run.as_ref().map(RunHead::from).as_ref())) }
                dt { (ask.say(plan::REPORT_TO)) } dd { (plan.report_to.join(", ")) }
                dt { (ask.say(backup::DATA_SETS)) }
                dd { @if plan.data_sets.is_empty() { (ask.say(plan::ALL_SETS)) } @else { (plan.data_sets.join(", ")) } }
                dt { (ask.say(plan::DESTINATIONS)) }
                dd { @if plan.destinations.is_empty() { (ask.say(plan::ON_SATELLITE)) } @else { (plan.destinations.join(", ")) } }
            } }
            section.card { h2 { (ask.say(plan::SIZES)) } (chart(ask, &runs, |run| run.bytes, |bytes| ask.language.size(bytes)))
                h2 { (ask.say(plan::DURATIONS)) } (chart(ask, &runs, seconds, |seconds| ask.language.duration(seconds))) }
        }
        h2 { (ask.say(plan::RUNS)) }
        @if runs.is_empty() { p { (ask.say(plan::NO_RUNS)) } } @else {
            div.sheet { table.stack {
                thead { tr {
                    th scope="col" { (ask.say(common::STATE)) }
                    th scope="col" { (ask.say(backup::DATE)) }
                    th.number scope="col" { (ask.say(common::SIZE)) }
                    th scope="col" { (ask.say(plan::DESTINATIONS)) }
                    th scope="col" { (ask.say(fleet::WHY)) }
                } }
                tbody { @for run in &runs { (run_row(ask, run)) } }
            } }
        }
    })
}

fn run_row(ask: &Ask, run: &RunRow) -> Markup {
    let (tone, text) = state(run.state);
    let why = [run.error.as_str(), run.deferred_because.as_str()];
    html! {
        tr {
            td data-label=(ask.say(common::STATE)) { (look::badge(tone, ask.say(text))) }
            td data-label=(ask.say(backup::DATE)) { (look::moment(ask, run.started_at.or(Some(run.planned_at)))) }
            td.number data-label=(ask.say(common::SIZE)) {
                @if run.archive_id.is_empty() { "–" }
                @else { a href={ "/archives/" (escaped(&run.archive_id)) } { (ask.language.size(run.bytes)) } }
            }
            td data-label=(ask.say(plan::DESTINATIONS)) { span { @for copy in &run.copies { (one_copy(ask, copy)) } } }
            td data-label=(ask.say(fleet::WHY)) { @for text in why { @if !text.is_empty() { div { (look::said(ask, text)) } } } }
        }
    }
}

fn one_copy(ask: &Ask, copy: &CopyRow) -> Markup {
    let (tone, text) = copy_state(copy.state);
    html! { div { (copy.destination) " " (look::badge(tone, ask.say(text)))
    @if !copy.error.is_empty() { div.small { (look::said(ask, &copy.error)) } } } }
}

fn seconds(run: &RunRow) -> u64 {
    let took = run
        .started_at
        .zip(run.ended_at)
        .map(|(began, ended)| ended.duration_since(began).as_secs());
    took.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0)
}

/// The last runs as bars, the oldest first; the table below has the same in words.
fn chart(ask: &Ask, runs: &[RunRow], value: impl Fn(&RunRow) -> u64, say: impl Fn(u64) -> String) -> Markup {
    let ended = runs
        .iter()
        .filter(|run| run.started_at.is_some() && run.ended_at.is_some());
    let bars: Vec<(u64, bool)> = ended
        .take(BARS)
        .map(|run| (value(run), run.state == RunState::Failed))
        .collect();
    let most = bars.iter().map(|(value, _)| *value).max().unwrap_or(0);
    let mut drawn = String::new();
    for (at, (value, is_bad)) in bars.iter().rev().enumerate() {
        let height = (u128::from(*value) * 100 / u128::from(most.max(1))).max(2);
        let class = if *is_bad { " class=\"bad\"" } else { "" };
        drawn.push_str(&format!(
            "<rect{class} x=\"{}\" y=\"{}\" width=\"8\" height=\"{height}\"/>",
            at * 10,
            100 - height
        ));
    }
    html! {
        @if bars.is_empty() { p.soft { (ask.say(plan::NO_RUNS)) } } @else if most == 0 { p.soft { "–" } } @else {
            svg.chart role="img" aria-label=(ask.fill(plan::CHART, &[&bars.len().to_string(), &say(most)]))
                viewBox={ "0 0 " (bars.len().max(10) * 10) " 100" } preserveAspectRatio="none" { (PreEscaped(drawn)) }
            p.small.soft { (ask.fill(plan::MOST, &[&say(most)])) }
        }
    }
}

/// The page again, with why nothing was done.
async fn refused(ask: &Ask, shown: &Shown, error: &AppError) -> Answer {
    page(ask, status_of(error), shown, &look::problem(ask, error), false).await
}

pub(in crate::web) async fn run(ask: Ask) -> Answer {
    let shown = find(&ask).await?;
    let name = shown.row.configuration.name.to_string();
    let key: String = ask.form.text("key").chars().take(64).collect();
    let (runs, actor, which) = (
        Runs::new(ask.app().clone()),
        ask.actor()?,
        Which::Kept(name.clone()),
    );
    match to_the_end(Box::pin(async move { runs.run(actor, which, &key).await })).await {
        Ok(job) => jobs::follow(&ask, &job, &place(&name)),
        Err(error) => refused(&ask, &shown, &error).await,
    }
}

pub(in crate::web) async fn remove(ask: Ask) -> Answer {
    let shown = find(&ask).await?;
    let name = shown.row.configuration.name.to_string();
    if ask.form.text("word") != name {
        return page(&ask, StatusCode::UNPROCESSABLE_ENTITY, &shown, &html! {}, true).await;
    }
    let (configurations, actor) = (Configurations::new(ask.app().clone()), ask.actor()?);
    match to_the_end(Box::pin(
        async move { configurations.remove(&actor, &name).await },
    ))
    .await
    {
        Ok(()) => Ok(go("/backups?done=removed")),
        Err(error) => refused(&ask, &shown, &error).await,
    }
}
