//! Warnings that stand, and the accounts that are warned: who, and when.

mod form;

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use jiff::tz::TimeZone;
use maud::{Markup, html};

use crate::app::{accounts, warnings};
use crate::plan::account::Limits;
use crate::plan::mail::warning::details;
use crate::plan::warnings::Kind;
use crate::store::{AccountRow, AccountSource, WarningRow};
use crate::web::access::Need;
use crate::web::ask::{Answer, Ask, escaped, go};
use crate::web::failure::{Failure, status_of};
use crate::web::live::live;
use crate::web::look::{self, Field, Tone};
use crate::web::pager::Part;
use crate::web::text::{Text, backup, common, plan, warn};

pub(in crate::web) use self::form::{add, add_form, change};

/// How often a look is taken.
const EVERY: Duration = Duration::from_secs(5);

fn place(row: &AccountRow) -> String {
    format!("/warnings/of/{}", escaped(&row.account.name))
}

/// The accounts that are the reader's business.
async fn own(ask: &Ask) -> Result<Vec<AccountRow>, Failure> {
    let user = ask.user()?;
    let mut all = accounts::list(ask.app()).await?;
    all.retain(|row| user.may_see_tenant(&row.account.tenant));
    Ok(all)
}

async fn find(ask: &Ask) -> Result<AccountRow, Failure> {
    let name = ask.param("name");
    let found = own(ask).await?.into_iter().find(|row| row.account.name == name);
    found.ok_or(Failure::NoPage)
}

/// What stands against the accounts that are the reader's business.
pub(super) async fn standing(ask: &Ask) -> Result<Vec<(AccountRow, WarningRow)>, Failure> {
    let accounts = own(ask).await?;
    let all = warnings::list(ask.app()).await?;
    let of = |warning: WarningRow| {
        let account = accounts.iter().find(|row| row.account.name == warning.account)?;
        Some((account.clone(), warning))
    };
    Ok(all.into_iter().filter_map(of).collect())
}

fn kind_name(kind: Kind) -> Text {
    match kind {
        Kind::Quota => warn::QUOTA,
        Kind::Schedule => warn::SCHEDULE,
        Kind::Unsuccessful => warn::UNSUCCESSFUL,
        Kind::Upgrade => warn::UPGRADE,
        Kind::NoBackup => warn::NO_BACKUP,
    }
}

/// Warnings as a table; the worst that can be said of an account is said first by its name.
pub(super) fn table(ask: &Ask, standing: &[(AccountRow, WarningRow)]) -> Markup {
    html! {
        div.sheet { table.stack {
            thead { tr {
                th scope="col" { (ask.say(warn::ACCOUNT)) }
                th scope="col" { (ask.say(warn::OF_WHAT)) }
                th scope="col" { (ask.say(warn::WHAT)) }
                th scope="col" { (ask.say(warn::SINCE)) }
                th scope="col" { (ask.say(warn::TOLD)) }
            } }
            tbody { @for (account, warning) in standing { tr {
                th scope="row" { a href=(place(account)) { (account.account.name) } }
                td data-label=(ask.say(warn::OF_WHAT)) { (look::badge(Tone::Warn, ask.say(kind_name(warning.kind)))) }
                td data-label=(ask.say(warn::WHAT)) {
                    @for (name, told) in details(ask.language, &warning.raised.finding, &TimeZone::system()) {
                        div { (ask.fill(common::NAMED, &[&name, &told])) }
                    }
                }
                td data-label=(ask.say(warn::SINCE)) { (look::moment(ask, Some(warning.raised.since))) }
                td data-label=(ask.say(warn::TOLD)) { (look::moment(ask, warning.raised.told_at)) }
            } } }
        } }
    }
}

fn warned(ask: &Ask, row: &AccountRow) -> Markup {
    let addresses = accounts::warned(ask.app(), &row.account);
    html! {
        @if addresses.is_empty() { span.soft { (ask.say(warn::NOBODY)) } } @else { (addresses.join(", ")) }
    }
}

async fn asked(ask: &Ask) -> Result<Part<(AccountRow, WarningRow)>, Failure> {
    Ok(Part::asked(ask, standing(ask).await?, |(account, warning)| {
        let kind = ask.say(kind_name(warning.kind));
        [account.account.name.as_str(), &account.account.tenant, kind].join(" ")
    }))
}

pub(in crate::web) async fn events(ask: Ask) -> Answer {
    live(ask, Need::SeeBackups, EVERY, |ask: Arc<Ask>| async move {
        Ok(listed(&ask, &asked(&ask).await?).into())
    })
}

/// What stands now.
fn listed(ask: &Ask, standing: &Part<(AccountRow, WarningRow)>) -> Markup {
    html! {
        @if standing.is_empty() { p { (ask.say(warn::NO_WARNINGS)) } } @else {
            @if !standing.rows.is_empty() { (table(ask, &standing.rows)) }
            (standing.steps(ask, "/warnings"))
        }
    }
}

pub(in crate::web) async fn list(ask: Ask) -> Answer {
    let standing = asked(&ask).await?;
    let accounts = Part::second(&ask, own(&ask).await?, |row| {
        let warned = accounts::warned(ask.app(), &row.account).join(" ");
        [row.account.name.as_str(), &row.account.tenant, &warned].join(" ")
    });
    let content = html! {
        div.head {
            h1 { (ask.say(warn::WARNINGS)) }
            @if ask.may(Need::ChangeBackups) { a.button.main href="/warnings/new" { (ask.say(warn::NEW_ACCOUNT)) } }
        }
        @if ask.app().config.mail.is_none() { (look::warning(ask.say(warn::NO_MAIL))) }
        @if !standing.is_empty() { (standing.field(&ask, "/warnings")) }
        div data-live=(standing.place("/warnings/events")) { (listed(&ask, &standing)) }
        h2 { (ask.say(warn::ACCOUNTS)) }
        @if accounts.is_empty() { p { (ask.say(warn::NO_ACCOUNTS)) } } @else {
            p.soft { (ask.say(warn::ACCOUNTS_WHAT)) }
            (accounts.field(&ask, "/warnings"))
            @if !accounts.rows.is_empty() { div.sheet { table.stack {
                thead { tr {
                    th scope="col" { (ask.say(warn::ACCOUNT)) }
                    th scope="col" { (ask.say(backup::TENANT)) }
                    th scope="col" { (ask.say(warn::WARNED)) }
                } }
                tbody { @for row in &accounts.rows { tr {
                    th scope="row" { a href=(place(row)) { (row.account.name) } }
                    td data-label=(ask.say(backup::TENANT)) { (row.account.tenant) }
                    td data-label=(ask.say(warn::WARNED)) { (warned(&ask, row)) }
                } } }
            } } }
            (accounts.steps(&ask, "/warnings"))
        }
    };
    Ok(look::page(&ask, ask.say(warn::WARNINGS), &content))
}

pub(in crate::web) async fn show(ask: Ask) -> Answer {
    let row = find(&ask).await?;
    one(&ask, StatusCode::OK, &row, Said::default()).await
}

/// What is to be said on the page of an account, besides how it is.
#[derive(Default)]
struct Said {
    problem: Option<Markup>,
    wrong_word: bool,
    limits: Option<Thresholds>,
}

async fn one(ask: &Ask, status: StatusCode, row: &AccountRow, said: Said) -> Answer {
    let name = &row.account.name;
    let mut standing = standing(ask).await?;
    standing.retain(|(account, _)| account.account.name == *name);
    let is_from_directory = row.source == AccountSource::Directory;
    let limits = said.limits.unwrap_or_else(|| Thresholds::of(&row.limits()));
    let content = html! {
        h1 { (name) }
        @if let Some(problem) = &said.problem { (problem) }
        @if standing.is_empty() { p { (ask.say(warn::NO_WARNINGS)) } } @else { (table(ask, &standing)) }
        div.columns {
            section.card {
                dl {
                    dt { (ask.say(backup::TENANT)) } dd { (row.account.tenant) }
                    dt { (ask.say(warn::WARNED)) } dd { (warned(ask, row)) }
                    dt { (ask.say(warn::MAIL_LANGUAGE)) } dd { (row.account.language.name()) }
                    dt { (ask.say(backup::KNOWN_SINCE)) } dd { (look::moment(ask, Some(row.created_at))) }
                }
                @if is_from_directory { p.soft { (ask.say(warn::FROM_DIRECTORY)) } }
            }
            (limits.form(ask, row))
        }
        @if ask.may(Need::ChangeBackups) && !is_from_directory {
            details { summary { (ask.say(warn::CHANGE_ACCOUNT)) } (form::change_form(ask, row)) }
            details open[said.wrong_word] {
                summary { (ask.say(warn::REMOVE_ACCOUNT)) }
                form.card method="post" action={ (place(row)) "/remove" } {
                    (look::token(ask))
                    p { (ask.say(warn::REMOVE_WHAT)) }
                    (look::typed_word(ask, "remove", name, said.wrong_word))
                    button.danger { (ask.say(warn::REMOVE_ACCOUNT)) }
                }
            }
        }
    };
    Ok(look::page_with(ask, status, name, &content))
}

/// When an account is warned, as it stands in a form.
struct Thresholds {
    percent: String,
    missed: String,
    failed: String,
    days: String,
    is_checked: bool,
}

impl Thresholds {
    fn of(limits: &Limits) -> Self {
        Self {
            percent: limits.quota_percent.to_string(),
            missed: limits.missed.to_string(),
            failed: limits.failed.to_string(),
            days: limits.unused_days.to_string(),
            is_checked: false,
        }
    }

    fn typed(ask: &Ask) -> Self {
        let text = |name: &str| ask.form.text(name).to_owned();
        Self {
            percent: text("percent"),
            missed: text("missed"),
            failed: text("failed"),
            days: text("days"),
            is_checked: true,
        }
    }

    /// What was typed, with the space that the account has; none: something is wrong.
    fn read(&self, quota_bytes: u64) -> Option<Limits> {
        let percent = self.percent.parse().ok();
        Some(Limits {
            quota_bytes,
            quota_percent: percent.filter(|percent| (1..=100).contains(percent))?,
            missed: self.missed.parse().ok()?,
            failed: self.failed.parse().ok()?,
            unused_days: self.days.parse().ok()?,
        })
    }

    fn form(&self, ask: &Ask, row: &AccountRow) -> Markup {
        let limits = row.limits();
        let space = match limits.quota_bytes {
            0 => ask.say(warn::UNLIMITED).to_owned(),
            bytes => ask.language.size(bytes),
        };
        let hint = ask.fill(warn::PERCENT_HINT, &[&space]);
        let in_range = self
            .percent
            .parse()
            .is_ok_and(|percent: u32| (1..=100).contains(&percent));
        let fault = |is_fine: bool, text: Text| {
            if self.is_checked && !is_fine {
                ask.say(text)
            } else {
                ""
            }
        };
        let number = |name, label: Text, value: &str| {
            let field = Field {
                name,
                label: ask.say(label),
                kind: "number",
                value,
                hint: ask.say(warn::ZERO_NEVER),
                fault: fault(value.parse::<u32>().is_ok(), plan::NO_NUMBER),
                required: true,
                ..Field::default()
            };
            field.show()
        };
        let percent = Field {
            name: "percent",
            label: ask.say(warn::PERCENT),
            kind: "number",
            value: &self.percent,
            hint: &hint,
            fault: fault(in_range, warn::NO_PERCENT),
            required: true,
            ..Field::default()
        };
        html! {
            @if ask.may(Need::ChangeWarnings) {
                form.card method="post" action={ (place(row)) "/limits" } {
                    h2 { (ask.say(warn::LIMITS)) }
                    (look::token(ask))
                    (percent.show())
                    (number("missed", warn::AFTER_MISSED, &self.missed))
                    (number("failed", warn::AFTER_FAILED, &self.failed))
                    (number("days", warn::AFTER_DAYS, &self.days))
                    @if row.source == AccountSource::Directory { p.hint { (ask.say(warn::LIMITS_OF_DIRECTORY)) } }
                    button.main { (ask.say(common::SAVE)) }
                }
            } @else {
                section.card {
                    h2 { (ask.say(warn::LIMITS)) }
                    dl {
                        dt { (ask.say(warn::PERCENT)) } dd { (self.percent) }
                        dt { (ask.say(warn::AFTER_MISSED)) } dd { (self.missed) }
                        dt { (ask.say(warn::AFTER_FAILED)) } dd { (self.failed) }
                        dt { (ask.say(warn::AFTER_DAYS)) } dd { (self.days) }
                    }
                }
            }
        }
    }
}

pub(in crate::web) async fn limits(ask: Ask) -> Answer {
    let row = find(&ask).await?;
    let typed = Thresholds::typed(&ask);
    let Some(limits) = typed.read(row.limits().quota_bytes) else {
        let said = Said {
            limits: Some(typed),
            ..Said::default()
        };
        return one(&ask, StatusCode::UNPROCESSABLE_ENTITY, &row, said).await;
    };
    let set = accounts::set_limits(ask.app(), &ask.actor()?, &row.account.name, limits).await;
    match set {
        Ok(_) => Ok(go(&format!("{}?done=saved", place(&row)))),
        Err(error) => failed(&ask, &row, &error).await,
    }
}

pub(in crate::web) async fn remove(ask: Ask) -> Answer {
    let row = find(&ask).await?;
    if ask.form.text("word") != row.account.name {
        let said = Said {
            wrong_word: true,
            ..Said::default()
        };
        return one(&ask, StatusCode::UNPROCESSABLE_ENTITY, &row, said).await;
    }
    match accounts::remove(ask.app(), &ask.actor()?, &row.account.name).await {
        Ok(()) => Ok(go("/warnings?done=removed")),
        Err(error) => failed(&ask, &row, &error).await,
    }
}

async fn failed(ask: &Ask, row: &AccountRow, error: &crate::app::AppError) -> Result<Response, Failure> {
    let said = Said {
        problem: Some(look::problem(ask, error)),
        ..Said::default()
    };
    one(ask, status_of(error), row, said).await
}
