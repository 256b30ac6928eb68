//! All satellites.

use std::sync::Arc;
use std::time::Duration;

use maud::{Markup, html};
use satellite_proto::wire::bridge::v1::WorkloadState;

use crate::app::satellites::{self, FleetMember};
use crate::app::workloads::WorkloadOn;
use crate::fleet::Reachability;
use crate::web::access::Need;
use crate::web::ask::{Answer, Ask, escaped};
use crate::web::failure::Failure;
use crate::web::live::live;
use crate::web::look::{self, Tone};
use crate::web::pager::Part;
use crate::web::text::{Text, common, fleet, machine};

/// Where the list is.
const PLACE: &str = "/satellites";

/// How often a look is taken.
const EVERY: Duration = Duration::from_secs(2);

/// How the server stands with a satellite, in a word.
pub(in crate::web) fn reachability(value: Reachability) -> (Tone, Text) {
    match value {
        Reachability::Connecting => (Tone::Quiet, fleet::CONNECTING),
        Reachability::Reachable => (Tone::Good, fleet::REACHABLE),
        Reachability::Unreachable => (Tone::Bad, fleet::UNREACHABLE),
        Reachability::Refused => (Tone::Bad, fleet::REFUSED),
        Reachability::Disconnected => (Tone::Warn, fleet::DISCONNECTED),
        Reachability::Quarantined => (Tone::Bad, fleet::QUARANTINED),
    }
}

/// Nothing has to be done about it.
pub(in crate::web) fn is_well(member: &FleetMember) -> bool {
    member.link.reachability == Reachability::Reachable && member.converged && member.problem.is_empty()
}

/// How a satellite is, in a word.
pub(in crate::web) fn health(ask: &Ask, member: &FleetMember) -> Markup {
    let (tone, text) = match member.link.reachability {
        Reachability::Reachable if !member.problem.is_empty() => (Tone::Warn, fleet::HAS_PROBLEM),
        Reachability::Reachable if !member.converged => (Tone::Quiet, fleet::BEING_CHANGED),
        other => reachability(other),
    };
    look::badge(tone, ask.say(text))
}

/// How a workload is, in a word.
pub(in crate::web) fn workload_state(state: WorkloadState) -> (Tone, Text) {
    match state {
        WorkloadState::Unspecified => (Tone::Quiet, common::UNKNOWN),
        WorkloadState::Stopped => (Tone::Quiet, fleet::STOPPED),
        WorkloadState::Starting => (Tone::Quiet, fleet::STARTING),
        WorkloadState::Healthy => (Tone::Good, fleet::RUNS),
        WorkloadState::Unhealthy => (Tone::Warn, fleet::UNHEALTHY),
        WorkloadState::Failed => (Tone::Bad, common::FAILED),
        WorkloadState::Installing => (Tone::Quiet, fleet::INSTALLING),
    }
}

/// A workload as it is there: state and version.
pub(in crate::web) fn workload(ask: &Ask, workload: &WorkloadOn) -> Markup {
    let state = workload
        .observed
        .as_ref()
        .map(|there| workload_state(there.state()));
    let (tone, text) = state.unwrap_or((Tone::Quiet, fleet::NOT_THERE_YET));
    let version = workload
        .observed
        .as_ref()
        .map(|there| there.version.as_str())
        .unwrap_or_default();
    html! { (workload.name()) " " (version) " " (look::badge(tone, ask.say(text))) }
}

pub(in crate::web) async fn list(ask: Ask) -> Answer {
    let part = asked(&ask).await?;
    let content = html! {
        div.head {
            h1 { (ask.say(common::SATELLITES)) }
            @if ask.may(Need::ChangeFleet) { div.actions {
                a.button.main href="/satellites/pair" { (ask.say(machine::PAIR)) }
                a.button href="/satellites/tokens" { (ask.say(machine::TOKENS)) }
            } }
        }
        (part.field(&ask, PLACE))
        div data-live=(part.place("/satellites/events")) { (content(&ask, &part)) }
    };
    Ok(look::page(&ask, ask.say(common::SATELLITES), &content))
}

pub(in crate::web) async fn events(ask: Ask) -> Answer {
    live(ask, Need::SeeFleet, EVERY, |ask: Arc<Ask>| async move {
        let part = asked(&ask).await?;
        Ok(content(&ask, &part).into())
    })
}

async fn asked(ask: &Ask) -> Result<Part<FleetMember>, Failure> {
    let members = satellites::list(ask.app()).await?;
    Ok(Part::asked(ask, members, |member| {
        let workloads = member.workloads.iter().map(|on| on.name().to_string());
        let (_, state) = reachability(member.link.reachability);
        let (name, address) = (member.row.name.as_str(), member.row.address.as_str());
        let workloads: Vec<String> = workloads.collect();
        let problem = ask.language.tell(&member.problem).to_string();
        let told = [name, address, ask.say(state), &problem, &member.problem];
        format!("{} {}", told.join(" "), workloads.join(" "))
    }))
}

fn content(ask: &Ask, part: &Part<FleetMember>) -> Markup {
    html! {
        @if part.is_empty() { p { (ask.say(fleet::NO_SATELLITES)) } }
        @else {
            @if !part.rows.is_empty() { div.sheet { table.stack #satellites {
                thead { tr {
                    th scope="col" { (ask.say(common::NAME)) }
                    th scope="col" { (ask.say(common::STATE)) }
                    th scope="col" { (ask.say(fleet::WORKLOADS)) }
                    th scope="col" { (ask.say(fleet::BRIDGE)) }
                    th scope="col" { (ask.say(fleet::ADDRESS)) }
                    th scope="col" { (ask.say(fleet::LAST_CONTACT)) }
                } }
                tbody { @for member in &part.rows { (row(ask, member)) } }
            } } }
            (part.steps(ask, PLACE))
        }
    }
}

fn row(ask: &Ask, member: &FleetMember) -> Markup {
    let name = member.row.name.as_str();
    let bridge = member
        .link
        .satellite
        .as_ref()
        .map(|there| there.bridge_version.as_str());
    html! {
        tr {
            th scope="row" { a href={ "/satellites/" (escaped(name)) } { (name) } }
            td data-label=(ask.say(common::STATE)) {
                span { (health(ask, member)) @if !member.problem.is_empty() { div.small.soft { (look::said(ask, &member.problem)) } } }
            }
            td data-label=(ask.say(fleet::WORKLOADS)) {
                span { @for on in &member.workloads { div { (workload(ask, on)) } } }
            }
            td data-label=(ask.say(fleet::BRIDGE)) { (bridge.unwrap_or_default()) }
            td data-label=(ask.say(fleet::ADDRESS)) { (member.row.address.as_str()) }
            td data-label=(ask.say(fleet::LAST_CONTACT)) { (look::moment(ask, member.link.seen_at)) }
        }
    }
}
