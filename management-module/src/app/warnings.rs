//! Looks at all accounts and warns whom they name: when something happened, and on a timer.
//!
//! **Invariant:** how a warning stands and the mails that tell it are one transaction; what is told depends on what is
//! stored alone, so that a pass that is repeated tells nothing twice.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::notify::mails_to;
use super::{App, AppError};
use crate::names::SatelliteName;
use crate::plan::account::Account;
use crate::plan::mail::warning::{self, Now};
use crate::plan::warnings::{self as plan, Client, Configuration, Facts, Kind, Raised, Run, Step};
use crate::store::{AccountRow, Central, ConfigurationRow, MailRow, RunFilter, RunRow, WarningRow};

/// Runs of a configuration that are looked at.
const LOOKED_AT: u32 = 100;

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
        let findings = plan::findings(&row.account.limits, &facts, now);
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
    let operator = app.config.mail.as_ref().and_then(|mail| mail.operator.as_deref());
    let warned = match app.config.mail {
        Some(_) => account.warned(operator),
        None => Vec::new(),
    };
    let repeat_after =
        SignedDuration::try_from(app.config.warnings.repeat_after).unwrap_or(SignedDuration::MAX);
    let step = plan::step(before, finding, !warned.is_empty(), now, repeat_after);
    let told = |raised: &Raised, what| mails(app, account, (kind, raised, what), &warned, now);
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

/// The mails about a warning. Their Message-ID names which of its tellings it is.
fn mails(
    app: &App,
    account: &Account,
    (kind, raised, what): (Kind, &Raised, Now),
    warned: &[String],
    now: Timestamp,
) -> Vec<MailRow> {
    let Some(config) = &app.config.mail else {
        return Vec::new();
    };
    let letter = warning::write(account, kind, raised, what, (&TimeZone::system(), &config.link));
    let number = match what {
        Now::Stands => raised.told.to_string(),
        Now::Over => "over".to_owned(),
    };
    let name: String = account
        .name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let kind = format!("{kind:?}").to_lowercase();
    let since = raised.since.as_millisecond();
    mails_to(
        config,
        &format!("warning.{name}.{kind}.{since}.{number}"),
        warned,
        &letter,
        now,
    )
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
        let filter = RunFilter {
            configuration: configuration.name.to_string(),
            limit: LOOKED_AT,
            ..RunFilter::default()
        };
        let runs = app.store.runs(&filter).await?;
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
