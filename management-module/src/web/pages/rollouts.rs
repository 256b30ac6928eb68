//! Rollouts: the list, and one of them while it goes on.

mod form;

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use jiff::civil::Time;
use maud::{Markup, html};

pub(in crate::web) use self::form::{begin, show as form};
use super::pair::to_the_end;
use crate::app::AppError;
use crate::app::rollout::{self, Shown, Steer};
use crate::plan::rollout::{Standing, Terms, Window};
use crate::store::{RolloutState, TargetRow};
use crate::web::access::Need;
use crate::web::ask::{Answer, Ask, escaped, go};
use crate::web::failure::{Failure, status_of};
use crate::web::live::{Seen, live};
use crate::web::look::{self, Tone};
use crate::web::text::{Text, common, rollout as text};

/// How often a look is taken.
const EVERY: Duration = Duration::from_secs(1);

/// Satellites that are shown of a rollout: those that need a look come first.
const SHOWN: usize = 200;

fn place(id: &str) -> String {
    format!("/rollouts/{}", escaped(id))
}

fn is_open(state: RolloutState) -> bool {
    match state {
        RolloutState::Running | RolloutState::Paused | RolloutState::Halted => true,
        RolloutState::Done | RolloutState::Aborted => false,
    }
}

/// How a rollout stands, in a word.
fn state(shown: &Shown) -> (Tone, Text) {
    match shown.rollout.state {
        RolloutState::Running => (Tone::Quiet, common::UNDER_WAY),
        RolloutState::Paused => (Tone::Warn, text::PAUSED),
        RolloutState::Halted => (Tone::Bad, text::HALTED),
        RolloutState::Aborted => (Tone::Quiet, text::ABORTED),
        RolloutState::Done if count(&shown.targets, Standing::Failed) > 0 => (Tone::Warn, common::PARTLY),
        RolloutState::Done => (Tone::Good, common::OK),
    }
}

fn standing(value: Standing) -> (Tone, Text) {
    match value {
        Standing::Waiting => (Tone::Quiet, text::WAITING),
        Standing::Updating => (Tone::Quiet, text::UPDATING),
        Standing::Done => (Tone::Good, common::OK),
        Standing::Failed => (Tone::Bad, common::FAILED),
    }
}

fn count<'a>(targets: impl IntoIterator<Item = &'a TargetRow>, standing: Standing) -> u64 {
    let such = targets.into_iter().filter(|target| target.standing == standing);
    such.count() as u64
}

fn name(shown: &Shown) -> String {
    format!("{} {}", shown.rollout.workload, shown.rollout.version)
}

pub(in crate::web) async fn list(ask: Ask) -> Answer {
    let all = rollout::list(ask.app()).await?;
    let (open, ended): (Vec<_>, Vec<_>) = all.iter().partition(|shown| is_open(shown.rollout.state));
    let content = html! {
        div.head {
            h1 { (ask.say(text::ROLLOUTS)) }
            div.actions {
                @if ask.may(Need::ChangeFleet) { a.button.main href="/rollouts/new" { (ask.say(text::NEW)) } }
                a.button href="/bundles" { (ask.say(common::BUNDLES)) }
            }
        }
        p { (ask.say(text::WHAT)) }
        h2 { (ask.say(text::OPEN)) }
        div data-live="/rollouts/events" { (open_ones(&ask, &open)) }
        @if !ended.is_empty() { h2 { (ask.say(text::ENDED)) } (table(&ask, &ended)) }
    };
    Ok(look::page(&ask, ask.say(text::ROLLOUTS), &content))
}

pub(in crate::web) async fn list_events(ask: Ask) -> Answer {
    live(ask, Need::SeeFleet, EVERY, |ask: Arc<Ask>| async move {
        // Only those that can change: of the others there may be many.
        let open = rollout::open(ask.app()).await?;
        Ok(open_ones(&ask, &open.iter().collect::<Vec<_>>()).into())
    })
}

fn open_ones(ask: &Ask, open: &[&Shown]) -> Markup {
    html! { @if open.is_empty() { p { (ask.say(text::NONE_OPEN)) } } @else { (table(ask, open)) } }
}

fn table(ask: &Ask, rollouts: &[&Shown]) -> Markup {
    html! {
        div.sheet { table.stack {
            thead { tr {
                th scope="col" { (ask.say(common::NAME)) }
                th scope="col" { (ask.say(common::STATE)) }
                th.number scope="col" { (ask.say(common::SATELLITES)) }
                th.number scope="col" { (ask.say(text::FAILED_COUNT)) }
                th scope="col" { (ask.say(text::BEGAN)) }
            } }
            tbody { @for shown in rollouts {
                @let (tone, word) = state(shown);
                tr {
                    th scope="row" { a href=(place(&shown.rollout.id)) { (name(shown)) } }
                    td data-label=(ask.say(common::STATE)) {
                        span { (look::badge(tone, ask.say(word)))
                            @if !shown.rollout.problem.is_empty() { div.small.soft { (look::said(ask, &shown.rollout.problem)) } } }
                    }
                    td.number data-label=(ask.say(common::SATELLITES)) {
                        (ask.language.number(count(&shown.targets, Standing::Done))) " / "
                        (ask.language.number(shown.targets.len() as u64))
                    }
                    td.number data-label=(ask.say(text::FAILED_COUNT)) {
                        (ask.language.number(count(&shown.targets, Standing::Failed)))
                    }
                    td data-label=(ask.say(text::BEGAN)) { (look::moment(ask, Some(shown.rollout.created_at))) }
                }
            } }
        } }
    }
}

async fn found(ask: &Ask) -> Result<Shown, Failure> {
    Ok(rollout::show(ask.app(), ask.param("id")).await?)
}

pub(in crate::web) async fn show(ask: Ask) -> Answer {
    let shown = found(&ask).await?;
    page(&ask, StatusCode::OK, &shown, &html! {})
}

fn page(ask: &Ask, status: StatusCode, shown: &Shown, said: &Markup) -> Answer {
    let title = name(shown);
    let rollout = &shown.rollout;
    let events = is_open(rollout.state).then(|| format!("{}/events", place(&rollout.id)));
    let content = html! {
        h1 { (title) }
        (said)
        div data-live=[events] { (content(ask, shown)) }
        section.card { h2 { (ask.say(text::TERMS)) } (terms(ask, &rollout.terms)) }
        p { a href="/rollouts" { (ask.say(text::ALL_OF_THEM)) } }
    };
    Ok(look::page_with(ask, status, &title, &content))
}

pub(in crate::web) async fn events(ask: Ask) -> Answer {
    found(&ask).await?;
    live(ask, Need::SeeFleet, EVERY, |ask: Arc<Ask>| async move {
        let shown = found(&ask).await?;
        let is_moving = is_open(shown.rollout.state) || count(&shown.targets, Standing::Updating) > 0;
        let over = (!is_moving).then(String::new);
        let html = content(&ask, &shown);
        Ok(Seen { html, over })
    })
}

fn content(ask: &Ask, shown: &Shown) -> Markup {
    let rollout = &shown.rollout;
    let (tone, word) = state(shown);
    let ended = count(&shown.targets, Standing::Done) + count(&shown.targets, Standing::Failed);
    html! {
        section.card aria-live="polite" {
            p {
                (look::badge(tone, ask.say(word))) " "
                (ask.say(text::BEGAN)) " " (look::moment(ask, Some(rollout.created_at)))
            }
            @if !rollout.problem.is_empty() { div.note.bad { p { (look::said(ask, &rollout.problem)) } } }
            (look::progress(ask, ended, shown.targets.len() as u64, ""))
            @if ask.may(Need::ChangeFleet) { (buttons(ask, rollout.state, &place(&rollout.id))) }
        }
        div.columns {
            section { h2 { (ask.say(text::WAVES)) } (waves(ask, &shown.targets)) }
            section { h2 { (ask.say(common::SATELLITES)) } (satellites(ask, &shown.targets)) }
        }
    }
}

fn buttons(ask: &Ask, state: RolloutState, place: &str) -> Markup {
    html! {
        @if is_open(state) {
            div.actions {
                @if state == RolloutState::Running {
                    (look::button(ask, &format!("{place}/pause"), text::PAUSE, ""))
                } @else {
                    (look::button(ask, &format!("{place}/resume"), text::RESUME, "main"))
                }
                (look::button(ask, &format!("{place}/abort"), text::ABORT, "danger"))
            }
            p.hint { (ask.say(match state {
                RolloutState::Halted => text::HALTED_WHAT,
                RolloutState::Paused => text::PAUSED_WHAT,
                _ => text::STEER_WHAT,
            })) }
        }
    }
}

/// How far each wave is.
fn waves(ask: &Ask, targets: &[TargetRow]) -> Markup {
    let last = targets.iter().map(|target| target.wave).max().unwrap_or(0);
    let kinds = [
        Standing::Waiting,
        Standing::Updating,
        Standing::Done,
        Standing::Failed,
    ];
    html! {
        div.sheet { table.stack {
            thead { tr {
                th scope="col" { (ask.say(text::WAVE)) }
                @for kind in kinds { th.number scope="col" { (ask.say(standing(kind).1)) } }
            } }
            tbody { @for wave in 0..=last {
                @let those: Vec<&TargetRow> = targets.iter().filter(|target| target.wave == wave).collect();
                @if !those.is_empty() { tr {
                    th scope="row" { (wave_name(ask, wave)) }
                    @for kind in kinds {
                        td.number data-label=(ask.say(standing(kind).1)) {
                            (ask.language.number(count(those.iter().copied(), kind)))
                        }
                    }
                } }
            } }
        } }
    }
}

fn wave_name(ask: &Ask, wave: u32) -> String {
    if wave == 0 {
        ask.say(text::CANARY).to_owned()
    } else {
        ask.language.number(wave.into())
    }
}

fn satellites(ask: &Ask, targets: &[TargetRow]) -> Markup {
    // Those that failed or are under way need a look; the others come as their turn is.
    let urgency = |target: &&TargetRow| match target.standing {
        Standing::Failed => 0,
        Standing::Updating => 1,
        Standing::Waiting | Standing::Done => 2,
    };
    let mut sorted: Vec<&TargetRow> = targets.iter().collect();
    sorted.sort_by_key(urgency);
    html! {
        div.sheet { table.stack {
            thead { tr {
                th scope="col" { (ask.say(common::NAME)) }
                th scope="col" { (ask.say(text::WAVE)) }
                th scope="col" { (ask.say(text::SITE)) }
                th scope="col" { (ask.say(common::STATE)) }
                th scope="col" { (ask.say(common::TIME)) }
            } }
            tbody { @for target in sorted.iter().take(SHOWN) {
                @let (tone, word) = standing(target.standing);
                @let satellite = target.satellite.as_str();
                tr {
                    th scope="row" { a href={ "/satellites/" (escaped(satellite)) } { (satellite) } }
                    td data-label=(ask.say(text::WAVE)) { (wave_name(ask, target.wave)) }
                    td data-label=(ask.say(text::SITE)) { (target.site) }
                    td data-label=(ask.say(common::STATE)) {
                        span { (look::badge(tone, ask.say(word)))
                            @if !target.problem.is_empty() { div.small.soft { (look::said(ask, &target.problem)) } } }
                    }
                    td data-label=(ask.say(common::TIME)) {
                        @if let Some(time) = target.ended_at.or(target.started_at) { (look::moment(ask, Some(time))) }
                    }
                }
            } }
        } }
        @if sorted.len() > SHOWN {
            p.soft { (ask.fill(text::MORE, &[&ask.language.number((sorted.len() - SHOWN) as u64)])) }
        }
    }
}

fn terms(ask: &Ask, terms: &Terms) -> Markup {
    let number = |number: u32| ask.language.number(number.into());
    let waves: Vec<String> = terms
        .waves
        .iter()
        .map(|per_cent| format!("{per_cent}\u{a0}%"))
        .collect();
    html! {
        dl {
            dt { (ask.say(text::CANARIES)) } dd { (number(terms.canary)) }
            dt { (ask.say(text::WAVES)) } dd { (waves.join(", ")) }
            dt { (ask.say(text::AT_ONCE)) } dd { (number(terms.at_once)) }
            dt { (ask.say(text::PER_SITE)) }
            dd { @if terms.per_site == 0 { (ask.say(text::NO_LIMIT)) } @else { (number(terms.per_site)) } }
            dt { (ask.say(text::SOAK)) } dd { (number(terms.soak_seconds / 60)) }
            dt { (ask.say(text::STOP_AT)) } dd { (number(terms.stop_at)) "\u{a0}%" }
            dt { (ask.say(text::WINDOW)) }
            dd { @if let Some(window) = &terms.window { (hours(window)) } @else { (ask.say(text::ALWAYS)) } }
        }
    }
}

fn hours(window: &Window) -> String {
    let time = |time: Time| time.strftime("%H:%M").to_string();
    format!("{}–{} {}", time(window.from), time(window.to), window.zone)
}

pub(in crate::web) async fn pause(ask: Ask) -> Answer {
    steer(ask, Steer::Pause, "Web/PauseRollout").await
}

pub(in crate::web) async fn resume(ask: Ask) -> Answer {
    steer(ask, Steer::Resume, "Web/ResumeRollout").await
}

pub(in crate::web) async fn abort(ask: Ask) -> Answer {
    steer(ask, Steer::Abort, "Web/AbortRollout").await
}

async fn steer(ask: Ask, steer: Steer, action: &'static str) -> Answer {
    let shown = found(&ask).await?;
    let (app, actor, id) = (ask.app().clone(), ask.actor()?, shown.rollout.id.clone());
    let steered = to_the_end(async move {
        let steered = rollout::steer(&app, &id, steer).await;
        app.audit.recorded(&actor, action, &id, steered).await
    });
    match steered.await {
        Ok(shown) => Ok(go(&place(&shown.rollout.id))),
        Err(error) => told(&ask, &error).await,
    }
}

/// The rollout as it is by now, with what was not possible.
async fn told(ask: &Ask, error: &AppError) -> Answer {
    let shown = found(ask).await?;
    page(ask, status_of(error), &shown, &look::problem(ask, error))
}
