//! The list of restores.

use std::sync::Arc;
use std::time::Duration;

use maud::{Markup, html};

use crate::app::backup::TEST;
use crate::app::runs::Runs;
use crate::app::users::Role;
use crate::store::{Central, RestoreOutcome, RestoreRow};
use crate::web::access::Need;
use crate::web::ask::{Answer, Ask, escaped};
use crate::web::failure::Failure;
use crate::web::live::live;
use crate::web::look::{self, Tone};
use crate::web::pager::Part;
use crate::web::text::{Text, backup, common};

/// Rows on the page.
const SHOWN: u32 = 500;

/// How often a look is taken.
const EVERY: Duration = Duration::from_secs(3);

fn outcome(value: RestoreOutcome) -> (Tone, Text) {
    match value {
        RestoreOutcome::Running => (Tone::Quiet, common::UNDER_WAY),
        RestoreOutcome::Succeeded => (Tone::Good, common::SUCCEEDED),
        RestoreOutcome::Partial => (Tone::Warn, common::PARTLY),
        RestoreOutcome::Failed => (Tone::Bad, common::FAILED),
    }
}

/// The newest restores of what is the reader's business: what is others' must not take the place of the own.
async fn newest(ask: &Ask, centrals: &[Central]) -> Result<Vec<RestoreRow>, Failure> {
    let (user, runs) = (ask.user()?, Runs::new(ask.app().clone()));
    if user.role != Role::Customer {
        return Ok(runs.restores("", SHOWN).await?);
    }
    let own = centrals
        .iter()
        .filter(|central| user.may_see_tenant(&central.tenant));
    let names: Vec<&str> = own.map(|central| central.name.as_str()).collect();
    Ok(runs.restores_of(&names, SHOWN).await?)
}

async fn asked(ask: &Ask) -> Result<Part<RestoreRow>, Failure> {
    let user = ask.user()?;
    let centrals = ask.web.backups().centrals().await?;
    let is_own = |row: &RestoreRow| {
        let central = centrals.iter().find(|central| central.name == row.central);
        // Of a central that is gone nobody knows the tenant any more.
        user.may_see_tenant(central.map_or("", |central| central.tenant.as_str()))
    };
    let rows = newest(ask, &centrals).await?;
    Ok(Part::asked(
        ask,
        rows.into_iter().filter(is_own).collect(),
        |row: &RestoreRow| {
            let state = ask.say(outcome(row.outcome).1);
            [
                state,
                &row.central,
                &row.target_central,
                &row.directory,
                &row.archive_name,
                &row.actor,
                &row.error,
            ]
            .join(" ")
        },
    ))
}

pub(in crate::web) async fn list(ask: Ask) -> Answer {
    let part = asked(&ask).await?;
    let content = html! {
        h1 { (ask.say(common::RESTORES)) }
        @if !part.is_empty() { (part.field(&ask, "/restores")) }
        div data-live=(part.place("/restores/events")) { (listed(&ask, &part)) }
    };
    Ok(look::page(&ask, ask.say(common::RESTORES), &content))
}

pub(in crate::web) async fn events(ask: Ask) -> Answer {
    live(ask, Need::SeeBackups, EVERY, |ask: Arc<Ask>| async move {
        Ok(listed(&ask, &asked(&ask).await?).into())
    })
}

fn listed(ask: &Ask, part: &Part<RestoreRow>) -> Markup {
    html! {
        @if part.is_empty() { p { (ask.say(backup::NO_RESTORES)) } } @else {
            @if !part.rows.is_empty() { div.sheet { table.stack {
                thead { tr {
                    th scope="col" { (ask.say(common::RESULT)) }
                    th scope="col" { (ask.say(backup::DATE)) }
                    th scope="col" { (ask.say(backup::ONTO)) }
                    th scope="col" { (ask.say(backup::FILE_NAME)) }
                    th scope="col" { (ask.say(common::WHO)) }
                    th scope="col" { (ask.say(backup::ERROR)) }
                } }
                tbody { @for row in &part.rows {
                    @let (tone, text) = outcome(row.outcome);
                    tr {
                        td data-label=(ask.say(common::RESULT)) { (look::badge(tone, ask.say(text))) }
                        td data-label=(ask.say(backup::DATE)) { (look::moment(ask, Some(row.started_at))) }
                        td data-label=(ask.say(backup::ONTO)) {
                            @if row.directory.is_empty() { span { (row.target_central) " " span.soft { (row.url) } } }
                            @else if row.directory == TEST { span.soft { (ask.say(backup::TRIED)) } }
                            @else { code.small { (row.directory) } }
                        }
                        td data-label=(ask.say(backup::FILE_NAME)) { span {
                            (row.archive_name)
                            @if !row.safety_archive.is_empty() { (saved_before(ask, &row.safety_archive)) }
                        } }
                        td data-label=(ask.say(common::WHO)) { (look::said(ask, &row.actor)) }
                        td data-label=(ask.say(backup::ERROR)) { (look::said(ask, &row.error)) }
                    }
                } }
            } } }
            (part.steps(ask, "/restores"))
        }
    }
}

/// The archive that holds what was overwritten.
fn saved_before(ask: &Ask, archive: &str) -> Markup {
    html! {
        div.small.soft { (ask.say(backup::SAVED_BEFORE)) " " a href={ "/archives?find=" (escaped(archive)) } { (archive) } }
    }
}
