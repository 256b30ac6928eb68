//! Looks at all accounts and warns whom they name: when something happened, and on a timer.
//!
//! **Invariant:** how a warning stands and the mails that tell it are one transaction; what is told depends on what is
//! stored alone, so that a pass that is repeated tells nothing twice.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::notify::{hooks, mails_to, short};
use super::page::escaped;
use super::{App, AppError, accounts};
use crate::names::SatelliteName;
use crate::plan::account::Account;
use crate::plan::hook;
use crate::plan::mail::warning::{self, Now};
use crate::plan::outcome::RunState;
use crate::plan::warnings::{self as plan, Client, Configuration, Facts, Kind, Raised, Run, Step};
use crate::store::{AccountRow, Central, ConfigurationRow, MailRow, RunFilter, RunRow, WarningRow};

/// Runs of a configuration that are looked at: the first time, and if those do not tell how long it has been so.
const LOOKED_AT: [u32; 2] = [10, 100];

/// What the bridge is called among programs.
const BRIDGE: &str = "satellite-bridge";

/// Looks once at all accounts.
///
/// # Errors
/// What the store says; accounts that were looked at before stay warned.
pub async fn pass(app: &App, now: Timestamp) -> Result<(), AppError> {
    let accounts = app.store.accounts().await?;
    if accounts.is_empty() {
        return Ok(());
    }
    let standing = app.store.warnings().await?;
    let (centrals, configurations) = (app.store.centrals().await?, app.store.configurations().await?);
    for row in &accounts {
        let facts = facts(app, row, &centrals, &configurations).await?;
        let findings = plan::findings(&row.limits(), &facts, now);
        for kind in Kind::ALL {
            let before = standing
                .iter()
                .find(|one| one.account == row.account.name && one.kind == kind);
            let before = before.map(|one| &one.raised);
            settle(app, &row.account, kind, (before, findings.get(&kind)), now).await?;
        }
    }
    Ok(())
}

async fn settle(
    app: &App,
    account: &Account,
    kind: Kind,
    (before, finding): (Option<&Raised>, Option<&plan::Finding>),
    now: Timestamp,
) -> Result<(), AppError> {
    let warned = match app.config.mail {
        Some(_) => accounts::warned(app, account),
        None => Vec::new(),
    };
    let repeat_after =
        SignedDuration::try_from(app.config.warnings.repeat_after).unwrap_or(SignedDuration::MAX);
    let is_wanted = !warned.is_empty() || app.config.webhook.is_some();
    let step = plan::step(before, finding, is_wanted, now, repeat_after);
    let told = |raised: &Raised, what| messages(app, account, (kind, raised, what), &warned, now);
    let (after, mails) = match &step {
        Step::Nothing => return Ok(()),
        Step::Keep(raised) => (Some(raised), Vec::new()),
        Step::Tell(raised) => (Some(raised), told(raised, Now::Stands)),
        Step::Resolve(raised) => (None, told(raised, Now::Over)),
        Step::Forget => (None, Vec::new()),
    };
    let key = (account.name.as_str(), kind);
    let count = before.map(|raised| raised.told);
    let noted = app.store.note_warning(key, count, after, &mails).await?;
    if noted {
        let mails = mails.len();
        tracing::info!(
            account = account.name,
            ?kind,
            stands = after.is_some(),
            mails,
            "Warning noted"
        );
    }
    Ok(())
}

/// The mails about a warning, and the message to the webhook. Their ids name which of its tellings it is.
fn messages(
    app: &App,
    account: &Account,
    (kind, raised, what): (Kind, &Raised, Now),
    warned: &[String],
    now: Timestamp,
) -> Vec<MailRow> {
    let number = match what {
        Now::Stands => raised.told.to_string(),
        Now::Over => "over".to_owned(),
    };
    let (name, word) = (short(&account.name), kind.code());
    let since = raised.since.as_millisecond();
    let id = format!("warning.{name}.{word}.{since}.{number}");
    let mut messages = Vec::new();
    if let Some(config) = &app.config.mail {
        let path = format!("/warnings/of/{}", escaped(&account.name));
        let link = app.page.link(&config.link, &app.config.server_name, &path);
        let letter = warning::write(account, kind, raised, what, (&TimeZone::system(), &link));
        messages = mails_to(config, &id, warned, &letter, now);
    }
    if let Some(config) = &app.config.webhook {
        let id = format!("{id}.webhook");
        let body = hook::of_warning(&id, &app.config.server_name, account, (kind, raised, what));
        let subject = format!(
            "warning {}: {word} {}",
            account.name,
            body["state"].as_str().unwrap_or_default()
        );
        messages.push(hooks::message(config, id, subject, &body, now));
    }
    messages
}

/// What is known of an account.
async fn facts(
    app: &App,
    row: &AccountRow,
    centrals: &[Central],
    configurations: &[ConfigurationRow],
) -> Result<Facts, AppError> {
    let tenant = &row.account.tenant;
    let own: Vec<_> = centrals
        .iter()
        .filter(|central| central.tenant == *tenant)
        .collect();
    let space = app.store.space(tenant).await?;
    let mut of_account = Vec::new();
    for one in configurations {
        let configuration = &one.configuration;
        if !own.iter().any(|central| central.name == configuration.central) {
            continue;
        }
        let mut runs = Vec::new();
        for limit in LOOKED_AT {
            let filter = RunFilter {
                configuration: configuration.name.to_string(),
                limit,
                ..RunFilter::default()
            };
            runs = app.store.runs(&filter).await?;
            // What is before such a run is over.
            let ends = |run: &RunRow| run.state == RunState::Succeeded && run.missed == 0;
            if runs.iter().any(ends) {
                break;
            }
        }
        of_account.push(Configuration {
            name: configuration.name.to_string(),
            is_enabled: configuration.enabled,
            runs: runs.iter().map(run).collect(),
        });
    }
    Ok(Facts {
        since: row.created_at,
        used_bytes: space.used_bytes,
        configurations: of_account,
        has_archive: space.has_archive,
        clients: own
            .iter()
            .flat_map(|central| clients(app, &central.satellite))
            .collect(),
    })
}

fn run(row: &RunRow) -> Run {
    Run {
        state: row.state,
        planned_at: row.planned_at,
        missed: row.missed,
        is_started: row.started_at.is_some(),
    }
}

/// The programs of a satellite for which a least version is set, as it last described itself.
fn clients(app: &App, satellite: &str) -> Vec<Client> {
    let name: Result<SatelliteName, _> = satellite.parse();
    let Some(seen) = name
        .ok()
        .and_then(|name| app.fleet.observed(&name).ok()?.satellite)
    else {
        return Vec::new();
    };
    let least = &app.config.warnings;
    let client = |program: &str, version: &str, least: &str| Client {
        satellite: satellite.to_owned(),
        program: program.to_owned(),
        version: version.to_owned(),
        least: least.to_owned(),
    };
    let bridge = client(BRIDGE, &seen.bridge_version, &least.least_bridge);
    let workloads = seen.workloads.iter().filter_map(|workload| {
        let least = least.least_workloads.get(&workload.name)?;
        Some(client(&workload.name, &workload.version, least))
    });
    std::iter::once(bridge).chain(workloads).collect()
}

/// The warnings that stand.
///
/// # Errors
/// What the store says.
pub async fn list(app: &App) -> Result<Vec<WarningRow>, AppError> {
    Ok(app.store.warnings().await?)
}
