//! An account: whose backups they are, who answers for them, and when that person is warned.
//!
//! **Invariant:** pure. Whether somebody is warned, and who, follows from the account alone.

use serde::{Deserialize, Serialize};

use super::configuration::is_address;
use crate::language::Language;

/// Someone who may be warned: an account itself, or its reseller.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Party {
    /// Whether warnings are wanted.
    #[serde(default)]
    pub warnings: bool,
    /// Its own addresses.
    #[serde(default)]
    pub mails: Vec<String>,
    /// The person to whom it belongs; empty: nobody is known.
    #[serde(default)]
    pub person: String,
    /// That person's addresses.
    #[serde(default)]
    pub person_mails: Vec<String>,
}

/// When an account is warned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Limits {
    /// Space that the account has, in bytes; 0: no limit, and no warning.
    pub quota_bytes: u64,
    /// Above so many per cent of it there is a warning.
    pub quota_percent: u32,
    /// After so many planned times in a row without a run; 0: never.
    pub missed: u32,
    /// After so many runs in a row with errors; 0: never.
    pub failed: u32,
    /// After so many days without any backup; 0: never.
    pub unused_days: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            quota_bytes: 0,
            quota_percent: 90,
            missed: 1,
            failed: 1,
            unused_days: 14,
        }
    }
}

/// An account. Its backups are those of the centrals of its tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// The tenant whose centrals it answers for.
    pub tenant: String,
    /// In which language it is told.
    #[serde(default)]
    pub language: Language,
    /// Itself.
    #[serde(default)]
    pub own: Party,
    /// Its reseller; none: it has none.
    #[serde(default)]
    pub reseller: Option<Party>,
    /// When it is warned.
    #[serde(default)]
    pub limits: Limits,
}

/// What is wrong with an account in itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The name.
    #[error(
        "{0:?} cannot be the name of an account: use 1 to 63 letters, digits and - _ . @, with a letter or digit in front"
    )]
    Name(String),
    /// The tenant.
    #[error("an account needs a tenant: that of the centrals it answers for")]
    Tenant,
    /// An address.
    #[error("{0:?} is no e-mail address")]
    Mail(String),
    /// A share of the quota.
    #[error("the warning about space needs 1 to 100 per cent, not {0}")]
    Percent(u32),
}

impl Account {
    /// Everything that is wrong with it in itself.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if !is_name(&self.name) {
            faults.push(Fault::Name(self.name.clone()));
        }
        if self.tenant.trim().is_empty() {
            faults.push(Fault::Tenant);
        }
        let parties = [Some(&self.own), self.reseller.as_ref()];
        let mails = parties
            .into_iter()
            .flatten()
            .flat_map(|party| party.mails.iter().chain(&party.person_mails));
        faults.extend(mails.filter(|mail| !is_address(mail)).cloned().map(Fault::Mail));
        if !(1..=100).contains(&self.limits.quota_percent) {
            faults.push(Fault::Percent(self.limits.quota_percent));
        }
        faults
    }

    /// Who is warned, and whether somebody should be of whom no address is known: then the operator hears of it.
    ///
    /// Of the account and of its reseller each by the same rule: nobody unless warnings are wanted; else its own addresses if it
    /// has any, else those of the person to whom it belongs. An address is there once, however it is written.
    #[must_use]
    pub fn warned(&self, operator: Option<&str>) -> Vec<String> {
        let mut warned: Vec<String> = Vec::new();
        let mut add = |address: &str| {
            if warned
                .iter()
                .all(|known| known.to_lowercase() != address.to_lowercase())
            {
                warned.push(address.to_owned());
            }
        };
        for party in [Some(&self.own), self.reseller.as_ref()].into_iter().flatten() {
            if !party.warnings {
                continue;
            }
            let found = if party.mails.is_empty() {
                &party.person_mails
            } else {
                &party.mails
            };
            found.iter().for_each(|address| add(address));
            if found.is_empty() {
                operator.into_iter().for_each(&mut add);
            }
        }
        warned
    }
}

fn is_name(text: &str) -> bool {
    let clean = text.chars().all(|c| c.is_alphanumeric() || "-_.@".contains(c));
    (1..=63).contains(&text.chars().count()) && clean && text.starts_with(char::is_alphanumeric)
}

#[cfg(test)]
pub(in crate::plan) mod tests {
    use super::*;

    /// A party that wants warnings or not, with an address of its own or none, and a person with one or without.
    pub(in crate::plan) fn party((warnings, has_own, has_person): (bool, bool, bool), who: &str) -> Party {
        let some = |has: bool, name: &str| {
            if has {
                vec![format!("{name}@{who}")]
            } else {
                Vec::new()
            }
        };
        Party {
            warnings,
            mails: some(has_own, "own"),
            person: "p".into(),
            person_mails: some(has_person, "person"),
        }
    }

    fn account(own: Party, reseller: Option<Party>) -> Account {
        Account {
            name: "4000001".into(),
            tenant: "customer".into(),
            language: Language::En,
            own,
            reseller,
            limits: Limits::default(),
        }
    }

    /// What the rule of one party gives, written as a table: what [`party`] takes, and who is told then.
    pub(in crate::plan) const TABLE: [(bool, bool, bool, &str); 8] = [
        (true, false, false, "operator"),
        (true, false, true, "person"),
        (true, true, false, "own"),
        (true, true, true, "own"),
        (false, false, false, ""),
        (false, false, true, ""),
        (false, true, false, ""),
        (false, true, true, ""),
    ];

    #[test]
    fn each_combination_of_flag_addresses_person_and_reseller_warns_exactly_these() {
        let told = |who: &str, domain: &str| match who {
            "" => None,
            "operator" => Some("operator@x".to_owned()),
            who => Some(format!("{who}@{domain}")),
        };
        let mut count = 0;
        for (warnings, has_own, has_person, who) in TABLE {
            let own = party((warnings, has_own, has_person), "account");
            let first = told(who, "account");
            let alone = account(own.clone(), None).warned(Some("operator@x"));
            assert_eq!(alone, first.iter().cloned().collect::<Vec<_>>());
            for (warnings, has_own, has_person, who) in TABLE {
                let reseller = party((warnings, has_own, has_person), "reseller");
                let mut wanted: Vec<_> = first.iter().cloned().collect();
                wanted.extend(told(who, "reseller").filter(|one| first.as_ref() != Some(one)));
                let both = account(own.clone(), Some(reseller));
                assert_eq!(both.warned(Some("operator@x")), wanted, "{both:?}");
                wanted.retain(|one| one != "operator@x");
                assert_eq!(both.warned(None), wanted, "{both:?}");
                count += 1;
            }
        }
        assert_eq!(count, 64);
    }

    #[test]
    fn an_address_is_told_once_however_it_is_written() {
        let mut own = party((true, true, false), "x");
        own.mails = vec!["Anna@x".into(), "anna@X".into(), "bert@x".into()];
        let reseller = Party {
            warnings: true,
            mails: vec!["BERT@x".into(), "carl@x".into()],
            ..Party::default()
        };
        assert_eq!(
            account(own, Some(reseller)).warned(None),
            ["Anna@x", "bert@x", "carl@x"]
        );
    }

    #[test]
    fn everything_wrong_is_named() {
        let mut bad = account(party((true, true, false), "x"), None);
        assert_eq!(bad.faults(), []);
        bad.name = "a b".into();
        bad.tenant = " ".into();
        bad.own.mails = vec!["nobody".into()];
        bad.limits.quota_percent = 101;
        let wanted = [
            Fault::Name("a b".into()),
            Fault::Tenant,
            Fault::Mail("nobody".into()),
            Fault::Percent(101),
        ];
        assert_eq!(bad.faults(), wanted);
    }
}
