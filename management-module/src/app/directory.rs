//! Accounts that an LDAP directory names: read on a timer, and taken in whole or not at all.
//!
//! **Invariant:** a directory that is down changes nothing: the accounts stay as they were last read, and are warned.

use std::collections::HashMap;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::{App, AppError};
use crate::config::directory::Directory;
use crate::language::Language;
use crate::notify::ldap::{self, Entry, Read};
use crate::plan::account::{Account, Limits, Party};
use crate::plan::configuration::is_address;

/// Reads the directory, until `stop`; not at all if none is configured.
pub async fn run(app: App, stop: CancellationToken) {
    let Some(config) = app.config.directory.clone() else {
        return;
    };
    loop {
        match pass(&app, &config).await {
            Ok(count) => info!(count, "Accounts of the directory read"),
            Err(error) => {
                error!(error = %crate::error_chain(&error), "Directory not read: its accounts stay as they were")
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(config.interval) => {}
        }
    }
}

/// Reads the directory once. Answers how many accounts it has.
///
/// # Errors
/// [`AppError::Unavailable`] it cannot be read: nothing was changed; what the store says.
pub async fn pass(app: &App, config: &Directory) -> Result<usize, AppError> {
    let read = ldap::read(config).await.map_err(|error| AppError::Unavailable {
        message: "the directory cannot be read".to_owned(),
        source: Some(error.into()),
    })?;
    let accounts = accounts(config, &read);
    app.store.replace_directory(&accounts, Timestamp::now()).await?;
    Ok(accounts.len())
}

/// The accounts of what was read. One that cannot be one is left out and logged.
fn accounts(config: &Directory, read: &Read) -> Vec<Account> {
    let by_name = |entries: &[Entry]| -> HashMap<String, Entry> {
        let named = entries
            .iter()
            .map(|entry| (entry.first(&config.name_attribute).to_owned(), entry.clone()));
        named.collect()
    };
    let others = Others {
        people: by_name(&read.people),
        resellers: by_name(&read.resellers),
        services: by_name(&read.services),
    };
    let mut accounts = Vec::new();
    for entry in &read.accounts {
        let account = account(config, entry, &others);
        let faults: Vec<_> = account.faults().iter().map(ToString::to_string).collect();
        if faults.is_empty() {
            accounts.push(account);
        } else {
            warn!(
                dn = entry.dn,
                faults = faults.join("; "),
                "Entry of the directory is no account"
            );
        }
    }
    accounts
}

/// Those to whom accounts belong, by name.
struct Others {
    people: HashMap<String, Entry>,
    resellers: HashMap<String, Entry>,
    services: HashMap<String, Entry>,
}

impl Others {
    /// The addresses of the person to whom something belongs; of the service if it belongs to none, or of the service's
    /// person. A service signs in nowhere: only its addresses count.
    fn mails(&self, config: &Directory, entry: &Entry) -> Vec<String> {
        let of = |entry: &Entry| {
            let person = self.people.get(entry.first(&config.person_attribute));
            person.map(|person| addresses(person, config)).unwrap_or_default()
        };
        if !entry.first(&config.person_attribute).is_empty() {
            return of(entry);
        }
        let Some(service) = self.services.get(entry.first(&config.service_attribute)) else {
            return Vec::new();
        };
        let own = addresses(service, config);
        if own.is_empty() { of(service) } else { own }
    }
}

fn account(config: &Directory, entry: &Entry, others: &Others) -> Account {
    let party = |entry: &Entry| Party {
        warnings: flag(&entry.dn, entry.first(&config.warnings_attribute)),
        mails: addresses(entry, config),
        person_mails: others.mails(config, entry),
        person: entry.first(&config.person_attribute).to_owned(),
    };
    let name = entry.first(&config.name_attribute).to_owned();
    let tenant = match entry.first(&config.tenant_attribute) {
        "" => name.clone(),
        tenant => tenant.to_owned(),
    };
    let reseller = match entry.first(&config.reseller_attribute) {
        "" => None,
        name => others.resellers.get(name).map(party),
    };
    Account {
        tenant,
        language: Language::accepted(entry.first(&config.language_attribute)).unwrap_or_default(),
        own: party(entry),
        reseller,
        limits: limits(config, entry),
        name,
    }
}

/// When an account is warned, as far as the directory says it in numbers that can be.
fn limits(config: &Directory, entry: &Entry) -> Limits {
    let usual = Limits::default();
    let number = |attribute: &str, usual: u32| entry.first(attribute).parse().unwrap_or(usual);
    let percent = number(&config.quota_percent_attribute, usual.quota_percent);
    Limits {
        quota_bytes: entry.first(&config.quota_attribute).parse().unwrap_or_default(),
        quota_percent: if (1..=100).contains(&percent) {
            percent
        } else {
            usual.quota_percent
        },
        missed: number(&config.missed_attribute, usual.missed),
        failed: number(&config.failed_attribute, usual.failed),
        unused_days: number(&config.unused_days_attribute, usual.unused_days),
    }
}

/// The addresses of an entry. What is none is left out: it must not keep others from being warned.
fn addresses(entry: &Entry, config: &Directory) -> Vec<String> {
    let (good, bad): (Vec<_>, Vec<_>) = entry
        .all(&config.mail_attribute)
        .iter()
        .cloned()
        .partition(|address| is_address(address));
    if !bad.is_empty() {
        warn!(dn = entry.dn, ?bad, "Entry has addresses that are none");
    }
    good
}

/// TRUE or FALSE, as directories write it; only who says TRUE is warned.
fn flag(dn: &str, text: &str) -> bool {
    if !["TRUE", "FALSE"].contains(&text) {
        debug!(
            dn,
            value = text,
            "Entry does not say whether it wants warnings: it gets none"
        );
    }
    text == "TRUE"
}
