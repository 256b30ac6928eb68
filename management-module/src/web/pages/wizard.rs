//! The wizard: a backup configuration in four steps, back and forth without loss, and three ways to end.

mod draft;

use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

pub(in crate::web) use self::draft::Draft;
use self::draft::Faults;
use super::pair::to_the_end;
use crate::app::AppError;
use crate::app::configurations::Configurations;
use crate::app::destinations::{Destinations, place_of};
use crate::app::runs::{Runs, Which};
use crate::plan::configuration::Configuration;
use crate::web::ask::{Answer, Ask, escaped, go};
use crate::web::failure::{Failure, status_of};
use crate::web::look::{self, Field};
use crate::web::pages::backups::interval;
use crate::web::pages::destinations::kind_said;
use crate::web::pages::jobs;
use crate::web::text::{Text, backup, common, plan};

/// The steps by their names.
const STEPS: [Text; 4] = [
    plan::STEP_WHEN,
    plan::STEP_WHAT,
    plan::STEP_WHERE,
    plan::STEP_OVERVIEW,
];

fn step_of(ask: &Ask) -> Result<usize, Failure> {
    let step = ask.param("step").parse().ok();
    step.filter(|step| (1..=STEPS.len()).contains(step))
        .ok_or(Failure::NoPage)
}

fn found(ask: &Ask) -> Result<Draft, Failure> {
    let draft = ask.web.0.drafts.get(&ask.user()?.name, ask.param("draft"));
    draft.ok_or(Failure::NoPage)
}

fn place(ask: &Ask, step: usize) -> String {
    format!("/backups/draft/{}/{step}", escaped(ask.param("draft")))
}

/// A new draft, or one of a configuration that is to be changed.
pub(in crate::web) async fn begin(ask: Ask) -> Answer {
    let name = ask.query.text("of");
    let draft = if name.is_empty() {
        let centrals = ask.web.backups().centrals().await?;
        let Some(first) = centrals.first() else {
            return Ok(go("/centrals/new"));
        };
        let chosen = ask.query.text("central");
        let known = centrals.iter().find(|central| central.name == chosen);
        Draft::new(&known.unwrap_or(first).name, ask.language.code())
    } else {
        let row = ask.app().store.configuration(name).await?;
        Draft::of(&row.ok_or(Failure::NoPage)?.configuration)
    };
    let id = ask.web.0.drafts.add(&ask.user()?.name, draft);
    Ok(go(&format!("/backups/draft/{id}/1")))
}

pub(in crate::web) async fn show(ask: Ask) -> Answer {
    let draft = found(&ask)?;
    shown(
        &ask,
        (StatusCode::OK, step_of(&ask)?),
        &draft,
        &Faults::default(),
        &html! {},
    )
    .await
}

async fn shown(
    ask: &Ask,
    (status, step): (StatusCode, usize),
    draft: &Draft,
    faults: &Faults,
    said: &Markup,
) -> Answer {
    let fields = match step {
        1 => when(ask, draft, faults).await?,
        2 => what(ask, draft, faults).await?,
        3 => where_to(ask, draft, faults).await?,
        _ => overview(ask, draft),
    };
    let title = ask.say(if draft.replaces.is_empty() {
        plan::NEW
    } else {
        plan::CHANGE
    });
    let content = html! {
        h1 { (title) }
        ol.steps aria-label=(ask.say(plan::STEPS)) { @for (name, number) in STEPS.iter().zip(1..) {
            li aria-current=[(number == step).then_some("step")] { (ask.say(*name)) }
        } }
        (said)
        form.card method="post" action=(place(ask, step)) {
            (look::token(ask))
            h2 { (ask.say(*STEPS.get(step - 1).unwrap_or(&plan::STEP_OVERVIEW))) }
            (fields)
            div.actions {
                @if step < STEPS.len() { button.main name="go" value="next" { (ask.say(plan::NEXT)) } }
                @else {
                    button.main name="go" value="save-and-run" { (ask.say(plan::SAVE_AND_RUN)) }
                    button name="go" value="run" { (ask.say(plan::RUN_ONLY)) }
                    button name="go" value="save" { (ask.say(plan::SAVE_ONLY)) }
                }
                @if step > 1 { button name="go" value="back" formnovalidate { (ask.say(common::BACK)) } }
                a href="/backups" { (ask.say(common::CANCEL)) }
            }
        }
    };
    Ok(look::page_with(ask, status, title, &content))
}

async fn when(ask: &Ask, draft: &Draft, faults: &Faults) -> Result<Markup, Failure> {
    let centrals = ask.web.backups().centrals().await?;
    let centrals: Vec<_> = centrals
        .into_iter()
        .map(|central| (central.name.clone(), central.name))
        .collect();
    let intervals = [
        ("manual", plan::MANUAL),
        ("hours", plan::HOURS),
        ("daily", plan::DAILY),
        ("weekly", plan::WEEKLY),
        ("monthly", plan::MONTHLY),
    ];
    let intervals = intervals.map(|(value, text)| (value.to_owned(), ask.say(text).to_owned()));
    let languages: Vec<_> = crate::language::Language::ALL
        .iter()
        .map(|language| (language.code().to_owned(), language.name().to_owned()))
        .collect();
    let field = |name: &'static str, label: Text, kind: &str, value: &str, hint: &str| {
        let field = Field {
            name,
            label: ask.say(label),
            kind,
            value,
            hint,
            fault: faults.of(ask.language, name),
            ..Field::default()
        };
        field.show()
    };
    Ok(html! {
        @if draft.replaces.is_empty() {
            (field("name", common::NAME, "text", &draft.name, ask.say(plan::NAME_HINT)))
        } @else { p { (ask.say(common::NAME)) ": " b { (draft.name) } } }
        @if centrals.len() > 1 { (look::select("central", ask.say(backup::CENTRAL), &draft.central, &centrals)) }
        div.row {
            (field("report-to", plan::REPORT_TO, "text", &draft.report_to, ask.say(plan::REPORT_TO_HINT)))
            (look::select("language", ask.say(common::LANGUAGE), &draft.language, &languages))
        }
        div.field {
            label for="interval" { (ask.say(plan::INTERVAL)) }
            select #interval name="interval" data-shows="" aria-invalid=[(!faults.of(ask.language, "interval").is_empty()).then_some("true")] {
                @for (value, text) in &intervals { option value=(value) selected[*value == draft.interval] { (text) } }
            }
            @if !faults.of(ask.language, "interval").is_empty() { p.fault { (faults.of(ask.language, "interval")) } }
        }
        div data-shown-for="hours" { (field("hours", plan::EVERY_HOURS, "number", &draft.hours, "")) }
        fieldset data-shown-for="weekly" {
            legend { (ask.say(plan::DAYS)) }
            @for (day, name) in draft::DAYS.iter().zip(plan::WEEKDAYS) {
                (look::tick("day", day, &html! { (ask.say(name)) }, draft.days.iter().any(|chosen| chosen == day)))
            }
        }
        div data-shown-for="monthly" { (field("month-day", plan::DAY_OF_MONTH, "text", &draft.month_day, ask.say(plan::DAY_OF_MONTH_HINT))) }
        div.row {
            (field("date", plan::START_DATE, "date", &draft.date, ""))
            (field("time", plan::START_TIME, "time", &draft.time, ""))
            (field("zone", plan::ZONE, "text", &draft.zone, ask.say(plan::ZONE_HINT)))
        }
    })
}

async fn what(ask: &Ask, draft: &Draft, faults: &Faults) -> Result<Markup, Failure> {
    let central = ask.app().store.central(&draft.central).await?;
    let looked = ask.web.sizes(&central.ok_or(Failure::NoPage)?).await?;
    let is_chosen = |name: &str| {
        draft
            .sets
            .as_ref()
            .is_none_or(|sets| sets.iter().any(|set| set == name))
    };
    Ok(html! {
        p { (ask.say(plan::SETS_WHAT)) }
        @if let Some(error) = &looked.problem { (look::problem(ask, error)) }
        @if !faults.of(ask.language, "set").is_empty() { p.fault role="alert" { (faults.of(ask.language, "set")) } }
        input type="hidden" name="sets" value="chosen";
        fieldset {
            legend.unseen { (ask.say(backup::DATA_SETS)) }
            @for (set, bytes) in &looked.sets {
                (look::tick("set", &set.name, &html! {
                    b { (set.name) } " " (set.description) @if let Some(bytes) = bytes { " " span.soft { (ask.language.size(*bytes)) } }
                    @if set.can_be_large { div.small.soft { (ask.say(plan::CAN_BE_LARGE)) } }
                }, is_chosen(&set.name)))
            }
        }
        @if let Some(total) = looked.total() { p.soft { (ask.fill(plan::TOTAL, &[&ask.language.size(total)])) } }
    })
}

async fn where_to(ask: &Ask, draft: &Draft, faults: &Faults) -> Result<Markup, Failure> {
    let rows = Destinations::new(ask.app().clone()).list().await?;
    let back = escaped(&place(ask, 3));
    Ok(html! {
        p { (ask.say(plan::DESTINATION_WHAT)) }
        @if !faults.of(ask.language, "destination").is_empty() {
            p.fault role="alert" { (faults.of(ask.language, "destination")) }
        }
        input type="hidden" name="destinations" value="chosen";
        fieldset {
            legend.unseen { (ask.say(plan::DESTINATIONS)) }
            p { b { (ask.say(plan::ON_SATELLITE)) } " " span.soft { (ask.say(plan::ON_SATELLITE_WHAT)) } }
            @for row in &rows {
                @let name = row.name.as_str();
                (look::tick("destination", name, &html! {
                    b { (name) } " " span.soft { (kind_said(ask, row)) " " (place_of(row)) }
                }, draft.destinations.iter().any(|chosen| chosen == name)))
            }
        }
        (Field { name: "directory", label: ask.say(plan::DIRECTORY), value: &draft.directory, hint: ask.say(plan::DIRECTORY_HINT),
            fault: faults.of(ask.language, "directory"), ..Field::default() }.show())
        (Field { name: "keep-last", label: ask.say(plan::KEEP_LAST), kind: "number", value: &draft.keep_last,
            hint: ask.say(plan::KEEP_LAST_HINT), fault: faults.of(ask.language, "keep-last"), ..Field::default() }.show())
        p { a.button href={ "/destinations/new?back=" (back) } { (ask.say(plan::NEW_DESTINATION)) } }
    })
}

fn overview(ask: &Ask, draft: &Draft) -> Markup {
    let sets = draft.sets.as_ref().map(|sets| sets.join(", "));
    let or_dash = |text: &str| {
        if text.is_empty() {
            "–".to_owned()
        } else {
            text.to_owned()
        }
    };
    // Each step before was right, or this one would not be seen.
    let schedule = draft.configuration().ok().map(|plan| plan.schedule);
    let due = schedule
        .as_ref()
        .and_then(|schedule| schedule.next_after(jiff::Timestamp::now()));
    let every = schedule.as_ref().map(|schedule| interval(ask, &schedule.every));
    // By the clock of the central, not of the reader.
    let start = schedule.as_ref().and_then(|schedule| {
        let zone = schedule.time_zone.zone();
        let start = schedule.start.to_zoned(zone.clone()).ok()?;
        Some(ask.language.moment_in(start.timestamp(), zone))
    });
    html! {
        dl {
            dt { (ask.say(common::NAME)) } dd { (draft.name) }
            dt { (ask.say(backup::CENTRAL)) } dd { (draft.central) }
            dt { (ask.say(plan::REPORT_TO)) } dd { (or_dash(&draft.report_to)) }
            dt { (ask.say(plan::INTERVAL)) } dd { (every.unwrap_or_else(|| draft.every())) }
            dt { (ask.say(plan::START_DATE)) } dd { (start.unwrap_or_default()) " (" (draft.zone) ")" }
            dt { (ask.say(plan::NEXT_RUN)) } dd { (look::moment(ask, due)) }
            dt { (ask.say(backup::DATA_SETS)) } dd { (sets.unwrap_or_else(|| ask.say(plan::ALL_SETS).to_owned())) }
            dt { (ask.say(plan::DESTINATIONS)) } dd { (or_dash(&draft.destinations.join(", "))) }
            dt { (ask.say(plan::DIRECTORY)) } dd { (draft.directory) "/" (draft.name) }
            dt { (ask.say(plan::KEEP_LAST)) } dd { (or_dash(&draft.keep_last)) }
        }
        p { (ask.say(plan::WHAT_NEXT)) }
    }
}

/// Takes what was typed, and goes on, back, or to the end.
pub(in crate::web) async fn go_on(ask: Ask) -> Answer {
    let (step, mut draft) = (step_of(&ask)?, found(&ask)?);
    draft.take(step, &ask.form);
    ask.web
        .0
        .drafts
        .put(&ask.user()?.name, ask.param("draft"), draft.clone());
    match ask.form.text("go") {
        "back" => Ok(go(&place(&ask, step.saturating_sub(1).max(1)))),
        "next" => {
            let mut faults = draft.faults(step);
            if step == 1 && draft.replaces.is_empty() && is_taken(&ask, &draft.name).await? {
                faults.add("name", plan::NAME_TAKEN);
            }
            if faults.is_empty() {
                return Ok(go(&place(&ask, (step + 1).min(STEPS.len()))));
            }
            shown(
                &ask,
                (StatusCode::UNPROCESSABLE_ENTITY, step),
                &draft,
                &faults,
                &html! {},
            )
            .await
        }
        end => finish(&ask, &draft, end).await,
    }
}

async fn is_taken(ask: &Ask, name: &str) -> Result<bool, Failure> {
    let Ok(name) = name.parse::<crate::plan::configuration::ConfigurationName>() else {
        return Ok(false);
    };
    let rows = ask.app().store.configurations().await?;
    Ok(rows
        .iter()
        .any(|row| row.configuration.name.folded() == name.folded()))
}

async fn finish(ask: &Ask, draft: &Draft, end: &str) -> Answer {
    for step in 1..STEPS.len() {
        let faults = draft.faults(step);
        if !faults.is_empty() {
            return shown(
                ask,
                (StatusCode::UNPROCESSABLE_ENTITY, step),
                draft,
                &faults,
                &html! {},
            )
            .await;
        }
    }
    let plan = match draft.configuration() {
        Ok(plan) => plan,
        Err(error) => return told(ask, draft, &error).await,
    };
    let done = match end {
        "save" => save(ask, plan, draft).await.map(|()| None),
        "save-and-run" => match save(ask, plan.clone(), draft).await {
            Ok(()) => run(ask, Which::Kept(plan.name.to_string())).await.map(Some),
            Err(error) => Err(error),
        },
        "run" => run(ask, Which::Once(Box::new(plan))).await.map(Some),
        _ => return Err(Failure::NoPage),
    };
    match done {
        Ok(job) => {
            ask.web.0.drafts.remove(&ask.user()?.name, ask.param("draft"));
            match job {
                Some(job) => jobs::follow(ask, &job, "/backups"),
                None => Ok(go("/backups?done=saved")),
            }
        }
        Err(error) => told(ask, draft, &error).await,
    }
}

async fn told(ask: &Ask, draft: &Draft, error: &AppError) -> Result<Response, Failure> {
    let said = look::problem(ask, error);
    shown(
        ask,
        (status_of(error), STEPS.len()),
        draft,
        &Faults::default(),
        &said,
    )
    .await
}

async fn save(ask: &Ask, plan: Configuration, draft: &Draft) -> Result<(), AppError> {
    let actor = ask
        .actor()
        .map_err(|_| AppError::Refused("sign in first".to_owned()))?;
    let (configurations, replace) = (Configurations::new(ask.app().clone()), !draft.replaces.is_empty());
    to_the_end(Box::pin(async move {
        configurations.put(&actor, plan, replace).await.map(drop)
    }))
    .await
}

async fn run(ask: &Ask, which: Which) -> Result<String, AppError> {
    let actor = ask
        .actor()
        .map_err(|_| AppError::Refused("sign in first".to_owned()))?;
    let runs = Runs::new(ask.app().clone());
    // The draft is done once: its id is the key, however often the button is pressed.
    let key = format!("web-{}", ask.param("draft"));
    to_the_end(Box::pin(async move { runs.run(actor, which, &key).await })).await
}
