//! The firewall of a satellite: its rules, an editor that shows what changes, and the change with its way back.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use jiff::Timestamp;
use maud::{Markup, html};
use satellite_proto::wire::bridge::v1::{Action, Change, Direction, GetFirewallResponse, Rule};

use super::satellite::head;
use crate::app::firewall;
use crate::app::firewall::document::{self, Document};
use crate::app::later::{self, Task};
use crate::names::SatelliteName;
use crate::plan::OPERATOR;
use crate::web::access::Need;
use crate::web::ask::{Answer, Ask, escaped};
use crate::web::failure::{Failure, status_of};
use crate::web::live::live;
use crate::web::look::{self, Tone, wire_moment};
use crate::web::pages::jobs;
use crate::web::text::{Text, common, machine};

/// How often an open change is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// A rule to begin with.
const EXAMPLE: &str = "# [[rule]]\n# name = \"ssh\"\n# direction = \"in\"\n# protocol = \"tcp\"\n# ports = [22]\n\
                       # remotes = [\"192.0.2.0/24\"]\n# action = \"accept\"\n";

fn present(there: &GetFirewallResponse) -> Document {
    let ruleset = there.ruleset.clone().unwrap_or_default();
    let own: Vec<Rule> = ruleset
        .rules
        .iter()
        .filter(|rule| rule.owner == OPERATOR)
        .cloned()
        .collect();
    Document::of(&own, ruleset.default_in(), ruleset.default_out())
}

pub(in crate::web) async fn show(ask: Ask) -> Answer {
    let text = None;
    shown(&ask, StatusCode::OK, &html! {}, text, false).await
}

async fn shown(ask: &Ask, status: StatusCode, said: &Markup, text: Option<&str>, wrong_word: bool) -> Answer {
    let name: SatelliteName = ask.named("name")?;
    let there = firewall::show(ask.app(), &name).await?;
    let own = present(&there).to_toml();
    let place = format!("/satellites/{}/firewall", escaped(name.as_str()));
    let content = html! {
        (head(ask, &name, "/firewall"))
        (said)
        div data-live={ (place) "/events" } { (state(ask, &there)) }
        (rules(ask, &there))
        @if ask.may(Need::ChangeFleet) {
            form.card method="post" action={ (place) "/check" } {
                h2 { (ask.say(machine::OWN_RULES)) }
                (look::token(ask))
                p { (ask.say(machine::OWN_RULES_HOW)) }
                div.field {
                    label for="rules" { (ask.say(machine::RULES)) }
                    textarea.code #rules name="rules" spellcheck="false" rows="16" {
                        "\n" (text.unwrap_or(if own.trim().is_empty() { EXAMPLE } else { &own }))
                    }
                }
                button.main { (ask.say(machine::SHOW_CHANGES)) }
            }
            details {
                summary { (ask.say(machine::RESET_RULES)) }
                form.card method="post" action={ (place) "/reset" } {
                    (look::token(ask))
                    p { (ask.say(machine::RESET_RULES_WHAT)) }
                    (look::typed_word(ask, "reset", name.as_str(), wrong_word))
                    button.danger { (ask.say(machine::RESET_RULES)) }
                }
            }
        }
        details {
            summary { (ask.say(machine::RAW)) }
            div.card { pre { "# iptables -S\n" @for line in &there.ipv4 { (line) "\n" }
                "\n# ip6tables -S\n" @for line in &there.ipv6 { (line) "\n" } } }
        }
    };
    Ok(look::page_with(ask, status, ask.say(machine::FIREWALL), &content))
}

pub(in crate::web) async fn events(ask: Ask) -> Answer {
    live(ask, Need::SeeFleet, EVERY, |ask: Arc<Ask>| async move {
        let there = firewall::show(ask.app(), &ask.named("name")?).await;
        let html = match there {
            Ok(there) => state(&ask, &there),
            // While rules change it may not answer: that passes, or the rules go back.
            Err(error) => look::problem(&ask, &error),
        };
        Ok(html.into())
    })
}

fn state(ask: &Ask, there: &GetFirewallResponse) -> Markup {
    html! {
        @if let Some(open) = &there.open_change { (countdown(ask, open)) }
        @if !there.in_sync { (look::warning(ask.say(machine::NOT_IN_SYNC))) }
    }
}

/// Until when an open change waits.
fn countdown(ask: &Ask, open: &Change) -> Markup {
    let ends = wire_moment(open.deadline.as_ref());
    let left = ends.map(|ends| ends.duration_since(Timestamp::now()).as_secs().max(0));
    look::countdown(ask, left.unwrap_or_default().unsigned_abs())
}

/// Which way, in the reader's language; the rules themselves are written in the words of the document.
fn direction(value: Direction) -> Text {
    match value {
        Direction::Unspecified => common::UNKNOWN,
        Direction::In => machine::INCOMING,
        Direction::Out => machine::OUTGOING,
    }
}

/// What is done, in the reader's language.
fn action(ask: &Ask, value: Action) -> Markup {
    let (tone, text) = match value {
        Action::Unspecified => (Tone::Quiet, common::UNKNOWN),
        Action::Accept => (Tone::Good, machine::ACCEPTED),
        Action::Drop => (Tone::Bad, machine::DROPPED),
        Action::Reject => (Tone::Bad, machine::REJECTED),
    };
    look::badge(tone, ask.say(text))
}

fn rules(ask: &Ask, there: &GetFirewallResponse) -> Markup {
    let ruleset = there.ruleset.clone().unwrap_or_default();
    let any = |list: String| {
        if list.is_empty() {
            ask.say(machine::ANY).to_owned()
        } else {
            list
        }
    };
    html! {
        div.sheet { table.stack {
            thead { tr {
                th scope="col" { (ask.say(machine::RULE)) }
                th scope="col" { (ask.say(machine::OWNER)) }
                th scope="col" { (ask.say(machine::DIRECTION)) }
                th scope="col" { (ask.say(machine::PORTS)) }
                th scope="col" { (ask.say(machine::REMOTES)) }
                th scope="col" { (ask.say(common::ACTION)) }
            } }
            tbody {
                @for rule in &ruleset.rules {
                    @let ports: Vec<String> = rule.ports.iter().map(document::port_range).collect();
                    tr {
                        th scope="row" { (rule.name) @if !rule.comment.is_empty() { div.small.soft { (rule.comment) } } }
                        td data-label=(ask.say(machine::OWNER)) { (rule.owner) }
                        td data-label=(ask.say(machine::DIRECTION)) { (ask.say(direction(rule.direction()))) }
                        td data-label=(ask.say(machine::PORTS)) { (document::protocol(rule.protocol())) " " (any(ports.join(", "))) }
                        td data-label=(ask.say(machine::REMOTES)) { (any(rule.remotes.join(", "))) }
                        td data-label=(ask.say(common::ACTION)) { (action(ask, rule.action())) }
                    }
                }
                @for (way, what) in [(machine::INCOMING, ruleset.default_in()), (machine::OUTGOING, ruleset.default_out())] {
                    tr {
                        th scope="row" { (ask.say(machine::EVERYTHING_ELSE)) }
                        td data-label=(ask.say(machine::OWNER)) { "–" }
                        td data-label=(ask.say(machine::DIRECTION)) { (ask.say(way)) }
                        td data-label=(ask.say(machine::PORTS)) { (ask.say(machine::ANY)) }
                        td data-label=(ask.say(machine::REMOTES)) { (ask.say(machine::ANY)) }
                        td data-label=(ask.say(common::ACTION)) { (action(ask, what)) }
                    }
                }
            }
        } }
        p.soft.small { (ask.say(machine::ALWAYS_OPEN)) }
    }
}

/// The document that was typed; or the page that says what is wrong with it.
async fn typed(ask: &Ask) -> Result<Result<Document, axum::response::Response>, Failure> {
    let text = ask.form.raw("rules").replace("\r\n", "\n");
    let faults = match Document::parse(&text) {
        Ok(document) => return Ok(Ok(document)),
        Err(faults) => faults,
    };
    let said = html! {
        div.note.bad role="alert" {
            p { b { (ask.say(common::INVALID)) } }
            ul { @for (line, fault) in &faults { li { (ask.fill(machine::LINE, &[&line.to_string()])) " " (look::said(ask, fault)) } } }
        }
    };
    let page = shown(ask, StatusCode::UNPROCESSABLE_ENTITY, &said, Some(&text), false).await?;
    Ok(Err(page))
}

pub(in crate::web) async fn check(ask: Ask) -> Answer {
    let name: SatelliteName = ask.named("name")?;
    let wanted = match typed(&ask).await? {
        Ok(wanted) => wanted,
        Err(page) => return Ok(page),
    };
    let there = firewall::show(ask.app(), &name).await?;
    let changes = document::difference(&present(&there), &wanted);
    let place = format!("/satellites/{}/firewall", escaped(name.as_str()));
    let content = html! {
        (head(&ask, &name, "/firewall"))
        div.card {
            h2 { (ask.say(machine::CHANGES)) }
            @if changes.is_empty() { p { (ask.say(machine::NO_CHANGES)) } }
            pre.diff { @for change in &changes {
                @if change.starts_with('-') { del { (change) } } @else { ins { (change) } }
            } }
        }
        @if !changes.is_empty() { div.note { p { (ask.say(machine::WAY_BACK)) } } }
        form method="post" action={ (place) "/apply" } {
            (look::token(&ask))
            input type="hidden" name="key" value=(uuid::Uuid::new_v4().to_string());
            textarea name="rules" hidden { "\n" (ask.form.raw("rules")) }
            div.actions {
                @if !changes.is_empty() { button.main { (ask.say(machine::APPLY)) } }
                button formaction={ (place) "/edit" } { (ask.say(machine::EDIT_AGAIN)) }
                a href=(place) { (ask.say(common::CANCEL)) }
            }
        }
    };
    Ok(look::page(&ask, ask.say(machine::FIREWALL), &content))
}

pub(in crate::web) async fn edit(ask: Ask) -> Answer {
    let text = ask.form.raw("rules").replace("\r\n", "\n");
    shown(&ask, StatusCode::OK, &html! {}, Some(&text), false).await
}

pub(in crate::web) async fn apply(ask: Ask) -> Answer {
    let name: SatelliteName = ask.named("name")?;
    let wanted = match typed(&ask).await? {
        Ok(wanted) => wanted,
        Err(page) => return Ok(page),
    };
    let task = task(&ask, &name, "Web/SetFirewall")?;
    let (app, satellite) = (ask.app().clone(), name.clone());
    let work = Box::pin(async move {
        let (default_in, default_out) = (wanted.default_in_wire(), wanted.default_out_wire());
        firewall::set(&app, &satellite, wanted.rules(), default_in, default_out).await
    });
    let begun = later::begin(ask.app(), task, work).await;
    jobs::begun(
        &ask,
        begun,
        &format!("/satellites/{}/firewall", escaped(name.as_str())),
    )
}

pub(in crate::web) async fn reset(ask: Ask) -> Answer {
    let name: SatelliteName = ask.named("name")?;
    if ask.form.text("word") != name.as_str() {
        return shown(&ask, StatusCode::UNPROCESSABLE_ENTITY, &html! {}, None, true).await;
    }
    let task = task(&ask, &name, "Web/ResetFirewall")?;
    let (app, satellite) = (ask.app().clone(), name.clone());
    let work = Box::pin(async move { firewall::reset(&app, &satellite).await });
    let begun = later::begin(ask.app(), task, work).await;
    match begun {
        Ok(job) => jobs::follow(
            &ask,
            &job,
            &format!("/satellites/{}/firewall", escaped(name.as_str())),
        ),
        Err(error) => shown(&ask, status_of(&error), &look::problem(&ask, &error), None, false).await,
    }
}

fn task(ask: &Ask, name: &SatelliteName, action: &'static str) -> Result<Task, Failure> {
    Ok(Task {
        actor: ask.actor()?,
        action,
        subject: name.to_string(),
        kind: "firewall",
        satellite: name.to_string(),
        step: "changing the rules, then reaching the satellite anew to confirm them",
        key: ask.form.text("key").chars().take(64).collect(),
    })
}
