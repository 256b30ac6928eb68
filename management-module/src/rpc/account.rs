//! Accounts and the warnings that stand against them.

use satellite_proto::wire::management::v1 as wire;
use tonic::{Request, Response, Status};

use super::notify::language_of;
use super::{actor, asked, to_the_end, wire_time};
use crate::app::{App, accounts, warnings};
use crate::plan::account::{Account, Limits, Party};
use crate::plan::warnings::{Finding, Kind};
use crate::store::{AccountRow, AccountSource, WarningRow};

/// The service.
#[derive(Debug, Clone)]
pub struct AccountApi(pub App);

#[tonic::async_trait]
impl wire::account_service_server::AccountService for AccountApi {
    async fn put_account(
        &self,
        request: Request<wire::PutAccountRequest>,
    ) -> Result<Response<wire::PutAccountResponse>, Status> {
        let actor = actor(&request)?;
        let wire::PutAccountRequest { account, replace } = request.into_inner();
        let account = account.unwrap_or_default();
        let name = account.name.clone();
        let what = (&actor, "AccountService/PutAccount", name.as_str());
        let account = asked(&self.0, what, account_of(account)).await?;
        let (app, who) = (self.0.clone(), actor.clone());
        let row = to_the_end(async move { accounts::put(&app, &who, account, replace).await }).await?;
        Ok(Response::new(wire::PutAccountResponse {
            account: Some(self.told(row)),
        }))
    }

    async fn set_limits(
        &self,
        request: Request<wire::SetLimitsRequest>,
    ) -> Result<Response<wire::SetLimitsResponse>, Status> {
        let actor = actor(&request)?;
        let wire::SetLimitsRequest { name, limits } = request.into_inner();
        let limits = limits_of(limits.unwrap_or_default());
        let app = self.0.clone();
        let row = to_the_end(async move { accounts::set_limits(&app, &actor, &name, limits).await }).await?;
        Ok(Response::new(wire::SetLimitsResponse {
            account: Some(self.told(row)),
        }))
    }

    async fn list_accounts(
        &self,
        _request: Request<wire::ListAccountsRequest>,
    ) -> Result<Response<wire::ListAccountsResponse>, Status> {
        let rows = accounts::list(&self.0).await?;
        let accounts = rows.into_iter().map(|row| self.told(row)).collect();
        Ok(Response::new(wire::ListAccountsResponse { accounts }))
    }

    async fn remove_account(
        &self,
        request: Request<wire::RemoveAccountRequest>,
    ) -> Result<Response<wire::RemoveAccountResponse>, Status> {
        let actor = actor(&request)?;
        let (app, name) = (self.0.clone(), request.into_inner().name);
        to_the_end(async move { accounts::remove(&app, &actor, &name).await }).await?;
        Ok(Response::new(wire::RemoveAccountResponse {}))
    }

    async fn list_warnings(
        &self,
        _request: Request<wire::ListWarningsRequest>,
    ) -> Result<Response<wire::ListWarningsResponse>, Status> {
        let warnings = warnings::list(&self.0).await?.into_iter().map(warning);
        Ok(Response::new(wire::ListWarningsResponse {
            warnings: warnings.collect(),
        }))
    }
}

impl AccountApi {
    fn told(&self, row: AccountRow) -> wire::Account {
        let warned = accounts::warned(&self.0, &row.account);
        let limits = row.limits();
        let account = row.account;
        wire::Account {
            name: account.name,
            tenant: account.tenant,
            language: account.language.code().to_owned(),
            own: Some(party(account.own)),
            reseller: account.reseller.map(party),
            limits: Some(limits_told(&limits)),
            is_from_directory: row.source == AccountSource::Directory,
            warned,
            create_time: Some(wire_time(row.created_at)),
            update_time: Some(wire_time(row.updated_at)),
        }
    }
}

fn account_of(account: wire::Account) -> Result<Account, Status> {
    let language = language_of(&account.language)?;
    let limits = account.limits.map_or_else(Limits::default, limits_of);
    Ok(Account {
        name: account.name,
        tenant: account.tenant,
        language,
        own: party_of(account.own.unwrap_or_default()),
        reseller: account.reseller.map(party_of),
        limits,
    })
}

fn limits_of(limits: wire::WarningLimits) -> Limits {
    Limits {
        quota_bytes: limits.quota_bytes,
        quota_percent: limits.quota_percent,
        missed: limits.missed,
        failed: limits.failed,
        unused_days: limits.unused_days,
    }
}

fn limits_told(limits: &Limits) -> wire::WarningLimits {
    wire::WarningLimits {
        quota_bytes: limits.quota_bytes,
        quota_percent: limits.quota_percent,
        missed: limits.missed,
        failed: limits.failed,
        unused_days: limits.unused_days,
    }
}

fn party_of(party: wire::Party) -> Party {
    Party {
        warnings: party.is_warned,
        mails: party.mails,
        person: party.person,
        person_mails: party.person_mails,
    }
}

fn party(party: Party) -> wire::Party {
    wire::Party {
        is_warned: party.warnings,
        mails: party.mails,
        person: party.person,
        person_mails: party.person_mails,
    }
}

fn warning(row: WarningRow) -> wire::Warning {
    let kind = match row.kind {
        Kind::Quota => wire::WarningKind::Quota,
        Kind::Schedule => wire::WarningKind::Schedule,
        Kind::Unsuccessful => wire::WarningKind::Unsuccessful,
        Kind::Upgrade => wire::WarningKind::Upgrade,
        Kind::NoBackup => wire::WarningKind::NoBackup,
    };
    wire::Warning {
        account: row.account,
        kind: kind.into(),
        since: Some(wire_time(row.raised.since)),
        told_time: row.raised.told_at.map(wire_time),
        told: row.raised.told,
        detail: detail(&row.raised.finding),
    }
}

/// What is wrong, in a line.
fn detail(finding: &Finding) -> String {
    let counted = |counts: &std::collections::BTreeMap<String, u32>| -> String {
        let each: Vec<_> = counts
            .iter()
            .map(|(name, count)| format!("{name}: {count}"))
            .collect();
        each.join(", ")
    };
    match finding {
        Finding::Quota(used, quota) => format!("{used} of {quota} bytes"),
        Finding::Schedule(counts) | Finding::Unsuccessful(counts) => counted(counts),
        Finding::Upgrade(clients) => {
            let told = clients.iter().map(|one| {
                format!(
                    "{} {} {} < {}",
                    one.satellite, one.program, one.version, one.least
                )
            });
            told.collect::<Vec<_>>().join(", ")
        }
        Finding::NoBackup(since) => format!("known since {since}"),
    }
}
