//! The form of an account: to add one, and to change one that was added by hand.

use axum::http::StatusCode;
use maud::{Markup, html};

use super::{Said, find, one, place};
use crate::app::accounts;
use crate::language::Language;
use crate::plan::account::{Account, Limits, Party};
use crate::store::AccountRow;
use crate::web::ask::{Answer, Ask, go};
use crate::web::failure::status_of;
use crate::web::look::{self, Field};
use crate::web::text::{Text, backup, common, plan, warn};

/// Bytes of a gigabyte, as disks are sold.
const GIGABYTE: u64 = 1_000_000_000;

/// An account as it stands in a form.
struct Typed {
    tenant: String,
    language: Language,
    space: String,
    own: Side,
    reseller: Side,
}

/// The account itself or its reseller.
struct Side {
    is_warned: bool,
    mails: String,
    person_mails: String,
}

impl Side {
    fn of(party: Option<&Party>) -> Self {
        let joined = |mails: fn(&Party) -> &[String]| party.map(|party| mails(party).join(", "));
        Self {
            is_warned: party.is_some_and(|party| party.warnings),
            mails: joined(|party| &party.mails).unwrap_or_default(),
            person_mails: joined(|party| &party.person_mails).unwrap_or_default(),
        }
    }

    fn typed(ask: &Ask, whose: &str) -> Self {
        let text = |name: &str| ask.form.text(&format!("{whose}{name}")).to_owned();
        Self {
            is_warned: ask.form.is_set(&format!("{whose}warned")),
            mails: text("mails"),
            person_mails: text("person-mails"),
        }
    }

    fn party(&self, person: String) -> Party {
        let listed = |text: &str| -> Vec<String> {
            let pieces = text.split([',', ';', ' ', '\n']).map(str::trim);
            pieces
                .filter(|piece| !piece.is_empty())
                .map(str::to_owned)
                .collect()
        };
        Party {
            warnings: self.is_warned,
            mails: listed(&self.mails),
            person_mails: listed(&self.person_mails),
            person,
        }
    }

    fn fields(&self, ask: &Ask, whose: &str, (wanted, mails, persons): (Text, Text, Text)) -> Markup {
        let addresses = |name: &str, label: Text, value: &str, hint: Text| {
            let field = Field {
                name: &format!("{whose}{name}"),
                label: ask.say(label),
                value,
                hint: ask.say(hint),
                ..Field::default()
            };
            field.show()
        };
        html! {
            fieldset {
                legend.unseen { (ask.say(wanted)) }
                (look::tick(&format!("{whose}warned"), "yes", &html! { (ask.say(wanted)) }, self.is_warned))
                (addresses("mails", mails, &self.mails, plan::REPORT_TO_HINT))
                (addresses("person-mails", persons, &self.person_mails, warn::PERSON_MAILS_HINT))
            }
        }
    }
}

impl Typed {
    fn of(account: &Account) -> Self {
        Self {
            tenant: account.tenant.clone(),
            language: account.language,
            space: gigabytes(account.limits.quota_bytes),
            own: Side::of(Some(&account.own)),
            reseller: Side::of(account.reseller.as_ref()),
        }
    }

    fn from_form(ask: &Ask) -> Self {
        Self {
            tenant: ask.form.text("tenant").to_owned(),
            language: Language::from_code(ask.form.text("mail-language")).unwrap_or(ask.language),
            space: ask.form.text("space").to_owned(),
            own: Side::typed(ask, ""),
            reseller: Side::typed(ask, "reseller-"),
        }
    }

    /// The account that is meant, with what no form has of the one before; none: its space is none.
    fn account(&self, name: &str, before: Option<&Account>) -> Option<Account> {
        let limits = before.map_or_else(Limits::default, |account| account.limits.clone());
        let reseller_before = before.and_then(|account| account.reseller.as_ref());
        let person = |party: Option<&Party>| party.map(|party| party.person.clone()).unwrap_or_default();
        let reseller = self.reseller.party(person(reseller_before));
        let has_reseller = reseller_before.is_some() || reseller != Party::default();
        Some(Account {
            name: name.to_owned(),
            tenant: if self.tenant.is_empty() {
                name.to_owned()
            } else {
                self.tenant.clone()
            },
            language: self.language,
            own: self.own.party(person(before.map(|account| &account.own))),
            reseller: has_reseller.then_some(reseller),
            limits: Limits {
                quota_bytes: bytes(&self.space)?,
                ..limits
            },
        })
    }

    fn fields(&self, ask: &Ask) -> Markup {
        let languages =
            Language::ALL.map(|language| (language.code().to_owned(), language.name().to_owned()));
        let bad_space = bytes(&self.space).is_none();
        html! {
            div.row {
                (Field { name: "tenant", label: ask.say(backup::TENANT), value: &self.tenant,
                    hint: ask.say(warn::ACCOUNTS_WHAT), ..Field::default() }.show())
                (Field { name: "space", label: ask.say(warn::SPACE), value: &self.space, hint: ask.say(warn::SPACE_HINT),
                    fault: if bad_space { ask.say(warn::NO_SIZE) } else { "" }, ..Field::default() }.show())
            }
            (look::select("mail-language", ask.say(warn::MAIL_LANGUAGE), self.language.code(), &languages))
            (self.own.fields(ask, "", (warn::WANTED, warn::MAILS, warn::PERSON_MAILS)))
            (self.reseller.fields(ask, "reseller-",
                (warn::RESELLER_WANTED, warn::RESELLER_MAILS, warn::RESELLER_PERSON_MAILS)))
        }
    }
}

/// A size in gigabytes, as people type it: `500`, `1.5` or `1,5`; nothing is no limit.
fn bytes(text: &str) -> Option<u64> {
    if text.is_empty() {
        return Some(0);
    }
    let (whole, part) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > 9 || !is_number(whole) || !is_number(part) {
        return None;
    }
    let part: u64 = format!("{part:0<9}").parse().ok()?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(GIGABYTE)?
        .checked_add(part)
}

/// The same the other way round.
fn gigabytes(bytes: u64) -> String {
    let (whole, part) = (bytes / GIGABYTE, bytes % GIGABYTE);
    match (whole, part) {
        (0, 0) => String::new(),
        (whole, 0) => whole.to_string(),
        (whole, part) => format!("{whole}.{part:09}").trim_end_matches('0').to_owned(),
    }
}

/// The form that changes an account that is there.
pub(super) fn change_form(ask: &Ask, row: &AccountRow) -> Markup {
    html! {
        form.card method="post" action=(place(row)) {
            (look::token(ask))
            (Typed::of(&row.account).fields(ask))
            button.main { (ask.say(common::SAVE)) }
        }
    }
}

fn add_form_shown(ask: &Ask, status: StatusCode, typed: &Typed, said: &Markup) -> Answer {
    let content = html! {
        h1 { (ask.say(warn::NEW_ACCOUNT)) }
        (said)
        form.card method="post" action="/warnings/new" {
            (look::token(ask))
            (Field { name: "name", label: ask.say(common::NAME), value: ask.form.text("name"), required: true,
                ..Field::default() }.show())
            (typed.fields(ask))
            div.actions { button.main { (ask.say(common::SAVE)) } a href="/warnings" { (ask.say(common::CANCEL)) } }
        }
    };
    Ok(look::page_with(ask, status, ask.say(warn::NEW_ACCOUNT), &content))
}

pub(in crate::web) async fn add_form(ask: Ask) -> Answer {
    let mut typed = Typed::from_form(&ask);
    typed.own.is_warned = true;
    add_form_shown(&ask, StatusCode::OK, &typed, &html! {})
}

pub(in crate::web) async fn add(ask: Ask) -> Answer {
    let typed = Typed::from_form(&ask);
    let Some(account) = typed.account(ask.form.text("name"), None) else {
        return add_form_shown(&ask, StatusCode::UNPROCESSABLE_ENTITY, &typed, &html! {});
    };
    match accounts::put(ask.app(), &ask.actor()?, account, false).await {
        Ok(row) => Ok(go(&format!("{}?done=saved", place(&row)))),
        Err(error) => add_form_shown(&ask, status_of(&error), &typed, &look::problem(&ask, &error)),
    }
}

pub(in crate::web) async fn change(ask: Ask) -> Answer {
    let row = find(&ask).await?;
    let Some(account) = Typed::from_form(&ask).account(&row.account.name, Some(&row.account)) else {
        let said = Said {
            problem: Some(look::warning(ask.say(warn::NO_SIZE))),
            ..Said::default()
        };
        return one(&ask, StatusCode::UNPROCESSABLE_ENTITY, &row, said).await;
    };
    match accounts::put(ask.app(), &ask.actor()?, account, true).await {
        Ok(row) => Ok(go(&format!("{}?done=saved", place(&row)))),
        Err(error) => super::failed(&ask, &row, &error).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_as_it_is_shown() {
        for (text, wanted) in [
            ("", Some(0)),
            ("500", Some(500_000_000_000)),
            ("1.5", Some(1_500_000_000)),
            ("0,000000001", Some(1)),
            ("1.0000000001", None),
            ("-1", None),
            (".5", None),
            ("99999999999999", None),
        ] {
            assert_eq!(bytes(text), wanted, "{text}");
        }
        for size in [0, 1, 1_500_000_000, 500_000_000_000] {
            assert_eq!(bytes(&gigabytes(size)), Some(size));
        }
    }
}
