//! The form of a new rollout. What is typed stays typed; what is wrong is told beside its field.

use std::str::FromStr;

use axum::http::StatusCode;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use satellite_proto::bundle::WorkloadName;

use super::place;
use crate::app::rollout::{self, Ask as Wish};
use crate::names::SatelliteName;
use crate::plan::rollout::{Terms, Window};
use crate::web::ask::{Answer, Ask, go};
use crate::web::failure::{Failure, status_of};
use crate::web::form::Form;
use crate::web::look::{self, Field};
use crate::web::pages::pair::to_the_end;
use crate::web::text::{Text, common, machine, plan, rollout as text};

/// What the fields hold at first: as at the command line.
const USUAL: [(&str, &str); 8] = [
    ("canary", "1"),
    ("waves", "10, 50, 100"),
    ("at-once", "10"),
    ("per-site", "0"),
    ("soak", "0"),
    ("stop-at", "5"),
    ("from", ""),
    ("to", ""),
];

/// The most minutes that a wave is watched: 30 days.
const LONGEST_SOAK: u32 = 30 * 24 * 60;

/// What is wrong, by the field's name.
#[derive(Debug, Default)]
struct Faults(Vec<(&'static str, Text)>);

impl Faults {
    fn of(&self, name: &str) -> Option<Text> {
        let found = self.0.iter().find(|(field, _)| *field == name);
        found.map(|(_, fault)| *fault)
    }

    /// What was read; if it could not be, that is kept and something else goes on, for the sake of the other fields.
    fn take<T: Default>(&mut self, name: &'static str, read: Option<T>, fault: Text) -> T {
        read.unwrap_or_else(|| {
            self.0.push((name, fault));
            T::default()
        })
    }
}

pub(in crate::web) async fn show(ask: Ask) -> Answer {
    let chosen = format!("{} {}", ask.query.text("workload"), ask.query.text("version"));
    shown(&ask, StatusCode::OK, &chosen, None, Told::default()).await
}

/// What is to be said about what was typed.
#[derive(Default)]
struct Told {
    faults: Faults,
    problem: Option<Markup>,
}

/// `typed` is what was sent before; none: the form is new.
async fn shown(ask: &Ask, status: StatusCode, chosen: &str, typed: Option<&Form>, told: Told) -> Answer {
    let mut versions: Vec<String> = Vec::new();
    for bundle in ask.app().store.bundles().await? {
        let version = format!("{} {}", bundle.workload, bundle.version);
        // One for each architecture: a rollout brings to each satellite its own.
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    let choices: Vec<(String, String)> = versions.into_iter().map(|one| (one.clone(), one)).collect();
    let content = html! {
        h1 { (ask.say(text::NEW)) }
        @if let Some(problem) = told.problem { (problem) }
        p { (ask.say(text::WHAT)) }
        @if choices.is_empty() {
            p { (ask.say(machine::NO_BUNDLES)) " " a href="/bundles" { (ask.say(machine::ADD_BUNDLE)) } }
        } @else {
            form.card method="post" action="/rollouts/new" {
                (look::token(ask))
                (look::select("bundle", ask.say(common::BUNDLES), chosen, &choices))
                (fields(ask, typed, &told.faults))
                div.actions {
                    button.main { (ask.say(text::START)) }
                    a href="/rollouts" { (ask.say(common::CANCEL)) }
                }
            }
        }
    };
    Ok(look::page_with(ask, status, ask.say(text::NEW), &content))
}

fn fields(ask: &Ask, typed: Option<&Form>, faults: &Faults) -> Markup {
    let usual = |name: &str| {
        let found = USUAL.iter().find(|(field, _)| *field == name);
        found.map_or("", |(_, value)| *value)
    };
    let field = |name: &'static str, label: Text, hint: Option<Text>, kind: &'static str| {
        let value = typed.map_or_else(|| usual(name), |form| form.text(name));
        // A fault that says the same as the hint stands in its place.
        let hint = hint.filter(|hint| faults.of(name) != Some(*hint));
        Field {
            name,
            label: ask.say(label),
            kind,
            value,
            hint: hint.map_or("", |hint| ask.say(hint)),
            fault: faults.of(name).map_or("", |fault| ask.say(fault)),
            ..Field::default()
        }
        .show()
    };
    html! {
        fieldset {
            legend { (ask.say(common::SATELLITES)) }
            (field("satellites", text::ONLY, Some(text::ONLY_HINT), "text"))
            (field("first", text::FIRST, Some(text::FIRST_HINT), "text"))
        }
        fieldset {
            legend { (ask.say(text::WAVES)) }
            (field("canary", text::CANARIES, Some(text::CANARIES_HINT), "number"))
            (field("waves", text::WAVES_PER_CENT, Some(text::WAVES_HINT), "text"))
            div.row {
                (field("at-once", text::AT_ONCE, None, "number"))
                (field("per-site", text::PER_SITE, Some(text::PER_SITE_HINT), "number"))
            }
            div.row {
                (field("soak", text::SOAK, None, "number"))
                (field("stop-at", text::STOP_AT, None, "number"))
            }
        }
        fieldset {
            legend { (ask.say(text::WINDOW)) }
            p.hint { (ask.say(text::WINDOW_HINT)) }
            div.row {
                (field("from", text::FROM, None, "time"))
                (field("to", text::TO, None, "time"))
                (field("zone", text::ZONE, Some(plan::ZONE_HINT), "text"))
            }
        }
    }
}

pub(in crate::web) async fn begin(ask: Ask) -> Answer {
    let chosen = ask.form.text("bundle").to_owned();
    let which = chosen
        .split_once(' ')
        .and_then(|(workload, version)| Some((workload.parse().ok()?, version.parse().ok()?)));
    let wish = match read(&ask.form, which.ok_or(Failure::NoPage)?) {
        Ok(wish) => wish,
        Err(faults) => {
            let (status, told) = (
                StatusCode::UNPROCESSABLE_ENTITY,
                Told {
                    faults,
                    problem: None,
                },
            );
            return shown(&ask, status, &chosen, Some(&ask.form), told).await;
        }
    };
    let subject = format!("{} {}", wish.workload, wish.version);
    let (app, actor) = (ask.app().clone(), ask.actor()?);
    let begun = to_the_end(async move {
        let begun = rollout::start(&app, wish).await;
        app.audit
            .recorded(&actor, "Web/StartRollout", &subject, begun)
            .await
    });
    match begun.await {
        Ok(shown) => Ok(go(&place(&shown.rollout.id))),
        Err(error) => {
            let problem = Some(look::problem(&ask, &error));
            let told = Told {
                faults: Faults::default(),
                problem,
            };
            shown(&ask, status_of(&error), &chosen, Some(&ask.form), told).await
        }
    }
}

/// What was typed, or what is wrong with it.
fn read(form: &Form, (workload, version): (WorkloadName, semver::Version)) -> Result<Wish, Faults> {
    let mut faults = Faults::default();
    let satellites = faults.take("satellites", list(form.text("satellites")), text::NO_SATELLITES);
    let first = faults.take("first", list(form.text("first")), text::NO_SATELLITES);
    let waves: Vec<u32> = faults.take("waves", waves(form.text("waves")), text::WAVES_HINT);
    let mut number = |name: &'static str, least: u32, most: u32, fault: Text| {
        let read = form.text(name).parse::<u32>().ok();
        faults.take(name, read.filter(|read| (least..=most).contains(read)), fault)
    };
    let canary = number("canary", 0, u32::MAX, plan::NO_NUMBER);
    let at_once = number("at-once", 1, u32::MAX, text::AT_LEAST_ONE);
    let per_site = number("per-site", 0, u32::MAX, plan::NO_NUMBER);
    let soak = number("soak", 0, LONGEST_SOAK, plan::NO_NUMBER);
    let stop_at = number("stop-at", 0, 100, text::NO_PER_CENT);
    let window = window(form, &mut faults);
    if !faults.0.is_empty() {
        return Err(faults);
    }
    Ok(Wish {
        workload,
        version,
        satellites,
        first,
        terms: Terms {
            canary,
            waves,
            at_once,
            per_site,
            soak_seconds: soak.saturating_mul(60),
            stop_at,
            window,
        },
    })
}

fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ', ';', '%']).filter(|piece| !piece.is_empty())
}

fn list(text: &str) -> Option<Vec<SatelliteName>> {
    pieces(text)
        .map(|piece| SatelliteName::from_str(piece).ok())
        .collect()
}

fn waves(text: &str) -> Option<Vec<u32>> {
    let waves: Option<Vec<u32>> = pieces(text).map(|piece| piece.parse().ok()).collect();
    let terms = |waves: &Vec<u32>| Terms {
        canary: 0,
        waves: waves.clone(),
        at_once: 1,
        per_site: 0,
        soak_seconds: 0,
        stop_at: 0,
        window: None,
    };
    waves.filter(|waves| terms(waves).check().is_ok())
}

/// The part of the day, if one was typed.
fn window(form: &Form, faults: &mut Faults) -> Option<Window> {
    let (from, to) = (form.text("from"), form.text("to"));
    if from.is_empty() && to.is_empty() {
        return None;
    }
    let time = |text: &str| text.parse::<Time>().ok();
    let zone = match form.text("zone") {
        "" => "UTC",
        zone => zone,
    };
    let from = faults.take("from", time(from), plan::NO_TIME);
    let other = time(to).filter(|to| *to != from);
    let to = faults.take("to", other, text::NO_WINDOW);
    if TimeZone::get(zone).is_err() {
        faults.0.push(("zone", plan::NO_ZONE));
    }
    Some(Window {
        from,
        to,
        zone: zone.to_owned(),
    })
}
