//! The first page: one look tells whether all is well.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use maud::{Markup, html};

use crate::app::configurations::Configurations;
use crate::app::satellites::{self, FleetMember};
use crate::app::users::Role;
use crate::fleet::Reachability;
use crate::language::Text;
use crate::plan::outcome::RunState;
use crate::store::{ConfigurationRow, Standing};
use crate::web::access::Need;
use crate::web::ask::{Answer, Ask, escaped};
use crate::web::failure::Failure;
use crate::web::live::live;
use crate::web::look::{self, Tone};
use crate::web::pages::satellites::{health, is_well};
use crate::web::pages::{backups, warnings};
use crate::web::text::{common, fleet, machine, plan, warn};

/// How often a look is taken.
const EVERY: Duration = Duration::from_secs(3);

/// What needs a look is listed up to this number.
const SHOWN: usize = 20;

pub(in crate::web) async fn show(ask: Ask) -> Answer {
    let now = content(&ask).await?;
    let content = html! {
        div.head {
            h1 { (ask.say(common::OVERVIEW)) }
            div.actions {
                @if ask.may(Need::ChangeFleet) { a.button href="/satellites/pair" { (ask.say(machine::PAIR)) } }
            }
        }
        div data-live="/events" { (now) }
    };
    Ok(look::page(&ask, ask.say(common::OVERVIEW), &content))
}

pub(in crate::web) async fn events(ask: Ask) -> Answer {
    live(ask, Need::SignedIn, EVERY, |ask: Arc<Ask>| async move {
        Ok(content(&ask).await?.into())
    })
}

async fn content(ask: &Ask) -> Result<Markup, Failure> {
    let user = ask.user()?;
    let members = if user.role == Role::Customer {
        Vec::new()
    } else {
        satellites::list(ask.app()).await?
    };
    let centrals = ask.app().store.centrals_of_tenants().await?;
    let centrals: u64 = centrals
        .iter()
        .filter(|(tenant, _)| user.may_see_tenant(tenant))
        .map(|(_, count)| count)
        .sum();
    let reachable = members
        .iter()
        .filter(|member| member.link.reachability == Reachability::Reachable)
        .count();
    let unwell: Vec<&FleetMember> = members.iter().filter(|member| !is_well(member)).collect();
    let certificate = certificate(ask);
    let plans = backups::own(ask).await?;
    let failing = plans.iter().filter(|standing| is_failing(standing)).count();
    let first = first(ask, &plans).await?;
    let space = space(ask).await?;
    let standing = warnings::standing(ask).await?;
    let to_see = unwell.len() + usize::from(certificate.is_some()) + failing + standing.len();
    let number = |count: usize| ask.language.number(count as u64);
    Ok(html! {
        @if members.is_empty() && plans.is_empty() && to_see == 0 {
            div.note role="status" { p { b { (ask.say(fleet::NOTHING_YET)) } } }
        } @else if to_see == 0 {
            div.note.good role="status" { p { b { (ask.say(fleet::ALL_WELL)) } } }
        } @else {
            div.note.warn role="status" { p { b { (ask.fill(fleet::NEED_A_LOOK, &[&number(to_see)])) } } }
        }
        div.tiles {
            @if ask.may(Need::SeeFleet) {
                a.tile href="/satellites" { b { (number(reachable)) " / " (number(members.len())) } (ask.say(fleet::ANSWER)) }
                a.tile href="/satellites" { b { (number(running(&members))) } (ask.say(fleet::WORKLOADS_RUN)) }
            }
            a.tile href="/warnings" { b { (number(standing.len())) } (ask.say(warn::WARNINGS)) }
            a.tile href="/centrals" { b { (ask.language.number(centrals)) } (ask.say(common::CENTRALS)) }
        }
        @if ask.may(Need::SeeFleet) { (to_look_at(ask, &unwell, certificate)) }
        @if !standing.is_empty() {
            (warnings::table(ask, standing.get(..SHOWN).unwrap_or(&standing)))
            @if standing.len() > SHOWN { p { a href="/warnings" { (ask.say(warn::ALL_WARNINGS)) } } }
        }
        @if !plans.is_empty() {
            (runs(ask, &first))
            @if plans.len() > SHOWN { p { a href="/backups" { (ask.say(plan::ALL_BACKUPS)) } } }
            p.soft { (ask.fill(plan::SPACE, &[&ask.language.size(space)])) }
        }
        @if members.is_empty() && ask.may(Need::ChangeFleet) {
            div.card {
                h2 { (ask.say(fleet::FIRST_STEP)) }
                p { (ask.say(fleet::FIRST_STEP_HOW)) }
                a.button.main href="/satellites/pair" { (ask.say(machine::PAIR)) }
            }
        }
    })
}

/// What the archives take that are the reader's business, on satellites and at destinations.
async fn space(ask: &Ask) -> Result<u64, Failure> {
    let (user, store) = (ask.user()?, &ask.app().store);
    if user.role != Role::Customer {
        return Ok(store.space_of_all().await?);
    }
    let mut sum = 0_u64;
    for tenant in &user.tenants {
        sum = sum.saturating_add(store.space(tenant).await?.used_bytes);
    }
    Ok(sum)
}

/// The newest result is that it did not do all that it should.
fn is_failing(standing: &Standing) -> bool {
    matches!(
        standing.last_result,
        Some(RunState::Failed | RunState::Missed | RunState::Partial)
    )
}

/// Those that are shown, with what is kept of them: who failed is first.
async fn first(ask: &Ask, plans: &[Standing]) -> Result<Vec<(Standing, ConfigurationRow)>, Failure> {
    let (failing, fine): (Vec<&Standing>, Vec<&Standing>) =
        plans.iter().partition(|standing| is_failing(standing));
    let first = failing.into_iter().chain(fine).take(SHOWN).cloned().collect();
    Ok(Configurations::new(ask.app().clone()).in_full(first).await?)
}

/// The last and the next run of each backup.
fn runs(ask: &Ask, plans: &[(Standing, ConfigurationRow)]) -> Markup {
    html! {
        div.sheet { table.stack {
            thead { tr {
                th scope="col" { (ask.say(common::BACKUPS)) }
                th scope="col" { (ask.say(plan::LAST_RUN)) }
                th scope="col" { (ask.say(plan::NEXT_RUN)) }
            } }
            tbody { @for (standing, kept) in plans {
                @let name = standing.name.as_str();
                tr {
                    th scope="row" { a href={ "/backups/of/" (escaped(name)) } { (name) } }
                    td data-label=(ask.say(plan::LAST_RUN)) { (backups::last(ask, standing.last_run.as_ref())) }
                    td data-label=(ask.say(plan::NEXT_RUN)) {
                        @match backups::next(kept) { Some(due) => { (look::moment(ask, Some(due))) }, None => { (ask.say(plan::MANUAL)) } }
                    }
                }
            } }
        } }
    }
}

fn running(members: &[FleetMember]) -> usize {
    use satellite_proto::wire::bridge::v1::WorkloadState::Healthy;
    let all = members.iter().flat_map(|member| &member.workloads);
    all.filter(|workload| {
        workload
            .observed
            .as_ref()
            .is_some_and(|there| there.state() == Healthy)
    })
    .count()
}

fn to_look_at(ask: &Ask, unwell: &[&FleetMember], certificate: Option<Certificate>) -> Markup {
    html! {
        @if !unwell.is_empty() || certificate.is_some() {
            div.sheet { table.stack {
                thead { tr {
                    th scope="col" { (ask.say(common::NAME)) }
                    th scope="col" { (ask.say(common::STATE)) }
                    th scope="col" { (ask.say(fleet::WHY)) }
                    th scope="col" { (ask.say(fleet::LAST_CONTACT)) }
                } }
                tbody {
                    @for member in unwell.iter().take(SHOWN) { tr {
                        th scope="row" { a href={ "/satellites/" (escaped(member.row.name.as_str())) } { (member.row.name.as_str()) } }
                        td data-label=(ask.say(common::STATE)) { (health(ask, member)) }
                        td data-label=(ask.say(fleet::WHY)) { (look::said(ask, &member.problem)) }
                        td data-label=(ask.say(fleet::LAST_CONTACT)) { (look::moment(ask, member.link.seen_at)) }
                    } }
                    @if let Some(certificate) = certificate { tr {
                        th scope="row" { (ask.say(fleet::CERTIFICATE)) }
                        td data-label=(ask.say(common::STATE)) { (look::badge(Tone::Warn, ask.say(certificate.state))) }
                        @if certificate.why.is_empty() { td.empty {} }
                        @else { td data-label=(ask.say(fleet::WHY)) { (look::said(ask, &certificate.why)) } }
                        td data-label=(ask.say(common::UNTIL)) { (look::moment(ask, certificate.ends)) }
                    } }
                }
            } }
            @if unwell.len() > SHOWN { p { a href="/satellites" { (ask.say(fleet::SHOW_ALL)) } } }
        }
    }
}

/// What is wrong with the page's certificate.
struct Certificate {
    state: Text,
    why: String,
    ends: Option<Timestamp>,
}

/// What somebody has to look at of the page's certificate: it is not renewed, or nobody renews it and it ends soon.
fn certificate(ask: &Ask) -> Option<Certificate> {
    let page = &ask.app().page;
    let (ends, renewal) = (page.offer().expires_at, page.renewal());
    let soon = Timestamp::now() + jiff::SignedDuration::from_hours(24 * 21);
    let is_renewed = renewal.next_at.is_some();
    let found = Certificate {
        state: if is_renewed {
            fleet::NOT_RENEWED
        } else {
            fleet::EXPIRES_SOON
        },
        why: renewal.problem,
        ends,
    };
    let is_wrong = if is_renewed {
        renewal.tries > 0
    } else {
        ends.is_some_and(|ends| ends < soon)
    };
    (is_wrong && ask.may(Need::SeeFleet)).then_some(found)
}
