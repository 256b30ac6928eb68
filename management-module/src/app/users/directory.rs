//! Users who sign in with their password of the LDAP directory: operators by their groups, customers by the accounts that
//! belong to them.
//!
//! **Invariant:** no password of the directory is kept, and none is tried for a user who was added here.

use tracing::info;

use super::{Role, UserName, take_in};
use crate::app::{App, AppError};
use crate::notify::ldap;
use crate::plan::account::Account;
use crate::store::{UserRow, UserSource};

/// The user of that name and password, with the role and the tenants of today; none: there is none, or it may do nothing here.
///
/// # Errors
/// [`AppError::Unavailable`] the directory cannot be asked; what the store says.
pub(super) async fn find(app: &App, name: &str, secret: &str) -> Result<Option<UserRow>, AppError> {
    // What can be no name of a user here is none there.
    let Ok(name) = name.parse::<UserName>() else {
        return Ok(None);
    };
    let config = app.config.directory.as_ref();
    let Some((config, groups)) = config.and_then(|config| Some((config, config.sign_in.as_ref()?))) else {
        return Ok(None);
    };
    let roles = [
        (Role::Administrator, &groups.administrators),
        (Role::Operator, &groups.operators),
        (Role::Viewer, &groups.viewers),
    ];
    let named: Vec<_> = roles
        .into_iter()
        .filter_map(|(role, group)| Some((role, group.as_deref()?)))
        .collect();
    let asked: Vec<&str> = named.iter().map(|(_, group)| *group).collect();
    let found = ldap::sign_in(config, name.as_str(), secret, &asked).await;
    let found = found.map_err(|error| AppError::Unavailable {
        message: "the directory cannot be asked who that is".to_owned(),
        source: Some(error.into()),
    })?;
    let Some(member_of) = found else {
        return Ok(None);
    };
    let accounts = app.store.accounts().await?;
    let tenants = tenants(name.as_str(), accounts.iter().map(|row| &row.account));
    let role = named.iter().zip(member_of).find(|(_, is_member)| *is_member);
    let (role, tenants) = match role {
        Some(((role, _), _)) => (*role, Vec::new()),
        None if !tenants.is_empty() => (Role::Customer, tenants),
        None => {
            info!(user = %name, "A user of the directory has neither a group nor an account here");
            return Ok(None);
        }
    };
    let row = take_in(app, &name, (role, tenants), UserSource::Directory).await?;
    Ok(row.filter(|row| row.source == UserSource::Directory && !row.disabled))
}

/// The tenants of the accounts that belong to a person, or whose reseller does.
pub(super) fn tenants<'a>(person: &str, accounts: impl Iterator<Item = &'a Account>) -> Vec<String> {
    let is_own = |account: &&Account| {
        let mut parties = std::iter::once(&account.own).chain(&account.reseller);
        parties.any(|party| party.person.eq_ignore_ascii_case(person))
    };
    let mut tenants: Vec<String> = accounts
        .filter(is_own)
        .map(|account| account.tenant.clone())
        .collect();
    tenants.sort();
    tenants.dedup();
    tenants
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;
    use crate::plan::account::{Limits, Party};

    #[test]
    fn a_person_has_the_tenants_of_the_own_accounts_and_of_those_that_are_resold() {
        let of = |person: &str| Party {
            person: person.into(),
            ..Party::default()
        };
        let account = |tenant: &str, own: &str, reseller: Option<&str>| Account {
            name: tenant.into(),
            tenant: tenant.into(),
            language: Language::En,
            own: of(own),
            reseller: reseller.map(of),
            limits: Limits::default(),
        };
        let all = [
            account("b", "Anna", None),
            account("a", "bert", Some("anna")),
            account("a", "anna", None),
            account("c", "", Some("")),
        ];
        assert_eq!(tenants("anna", all.iter()), ["a", "b"]);
        assert!(tenants("carl", all.iter()).is_empty());
    }
}
