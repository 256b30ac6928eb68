//! `account …` and `warning …`

use clap::{Args, Subcommand, ValueEnum};
use satellite_proto::wire::management::v1 as pb;
use serde::Serialize;

use super::texts::Text;
use super::{CliError, Global, client, prompt, render, texts};

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Account {
    /// Adds an account.
    Add(Put),
    /// Lists the accounts and who is warned for each.
    List,
    /// Shows an account.
    Show(Named),
    /// Changes what is said of an account; the rest stays.
    Edit(Put),
    /// Sets when an account is warned, also one of the directory.
    Limits(Limits),
    /// Forgets an account; its backups stay.
    Remove(Remove),
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Warning {
    /// Lists the warnings that stand.
    List,
}

/// Whether warnings are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wish {
    /// They are.
    On,
    /// They are not.
    Off,
}

impl Wish {
    fn is_on(self) -> bool {
        self == Self::On
    }
}

#[derive(Debug, Args)]
pub(super) struct Put {
    /// Name of the account.
    name: String,
    /// Tenant whose centrals it answers for; without it the account's name.
    #[arg(long)]
    tenant: Option<String>,
    /// Language of its warnings: en, de, fr or it.
    #[arg(long, value_name = "LANGUAGE")]
    language: Option<String>,
    /// Whether it wants warnings; one that is added does.
    #[arg(long, value_enum)]
    warnings: Option<Wish>,
    /// Its own address, can be repeated; replaces those that are there, `--mail ''` removes them.
    #[arg(long, value_name = "ADDRESS")]
    mail: Vec<String>,
    /// Address of the person to whom it belongs, can be repeated: told if it has no own one.
    #[arg(long, value_name = "ADDRESS")]
    person_mail: Vec<String>,
    /// Whether its reseller wants warnings; one that is added does.
    #[arg(long, value_enum)]
    reseller_warnings: Option<Wish>,
    /// Address of its reseller, can be repeated.
    #[arg(long, value_name = "ADDRESS")]
    reseller_mail: Vec<String>,
    /// Address of the person to whom the reseller belongs, can be repeated.
    #[arg(long, value_name = "ADDRESS")]
    reseller_person_mail: Vec<String>,
    /// Space that it has; 0: no limit.
    #[arg(long, value_name = "BYTES")]
    quota: Option<u64>,
    #[command(flatten)]
    thresholds: Thresholds,
}

/// When an account is warned; what is not said stays.
#[derive(Debug, Args)]
struct Thresholds {
    /// Warn above so many per cent of its space.
    #[arg(long, value_name = "PERCENT")]
    quota_percent: Option<u32>,
    /// Warn after so many planned times in a row without a run; 0: never.
    #[arg(long, value_name = "COUNT")]
    missed: Option<u32>,
    /// Warn after so many runs in a row with errors; 0: never.
    #[arg(long, value_name = "COUNT")]
    failed: Option<u32>,
    /// Warn after so many days without any backup; 0: never.
    #[arg(long, value_name = "DAYS")]
    unused_days: Option<u32>,
}

impl Thresholds {
    fn apply(&self, limits: &mut pb::WarningLimits) {
        limits.quota_percent = self.quota_percent.unwrap_or(limits.quota_percent);
        limits.missed = self.missed.unwrap_or(limits.missed);
        limits.failed = self.failed.unwrap_or(limits.failed);
        limits.unused_days = self.unused_days.unwrap_or(limits.unused_days);
    }
}

#[derive(Debug, Args)]
pub(super) struct Limits {
    /// Name of the account.
    name: String,
    #[command(flatten)]
    thresholds: Thresholds,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// Name of the account.
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Name of the account.
    name: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Serialize)]
struct View {
    name: String,
    tenant: String,
    language: String,
    warnings: bool,
    mails: Vec<String>,
    person: String,
    person_mails: Vec<String>,
    reseller: Option<PartyView>,
    quota_bytes: u64,
    quota_percent: u32,
    missed: u32,
    failed: u32,
    unused_days: u32,
    from_directory: bool,
    warned: Vec<String>,
    create_time: String,
    update_time: String,
}

#[derive(Debug, Serialize)]
struct PartyView {
    warnings: bool,
    mails: Vec<String>,
    person: String,
    person_mails: Vec<String>,
}

#[derive(Debug, Serialize)]
struct WarningView {
    account: String,
    kind: Text,
    since: String,
    told_time: String,
    told: u32,
    detail: String,
}

impl From<pb::Account> for View {
    fn from(account: pb::Account) -> Self {
        let (own, limits) = (
            account.own.unwrap_or_default(),
            account.limits.unwrap_or_default(),
        );
        Self {
            warnings: own.is_warned,
            mails: own.mails,
            person: own.person,
            person_mails: own.person_mails,
            reseller: account.reseller.map(|party| PartyView {
                warnings: party.is_warned,
                mails: party.mails,
                person: party.person,
                person_mails: party.person_mails,
            }),
            quota_bytes: limits.quota_bytes,
            quota_percent: limits.quota_percent,
            missed: limits.missed,
            failed: limits.failed,
            unused_days: limits.unused_days,
            from_directory: account.is_from_directory,
            warned: account.warned,
            create_time: render::time(account.create_time.as_ref()),
            update_time: render::time(account.update_time.as_ref()),
            name: account.name,
            tenant: account.tenant,
            language: account.language,
        }
    }
}

impl View {
    const HEADING: [Text; 4] = [texts::NAME, texts::TENANT, texts::WARNED, texts::LANGUAGE];

    fn row(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.tenant.clone(),
            self.warned.join(", "),
            self.language.clone(),
        ]
    }

    fn properties(&self) -> Vec<(Text, String)> {
        let quota = match self.quota_bytes {
            0 => String::new(),
            bytes => format!("{} % / {}", self.quota_percent, render::size(bytes)),
        };
        let reseller = self.reseller.as_ref().map(|party| &party.mails);
        vec![
            (texts::NAME, self.name.clone()),
            (texts::TENANT, self.tenant.clone()),
            (texts::LANGUAGE, self.language.clone()),
            (texts::WARNINGS, texts::yes_no(self.warnings).to_owned()),
            (texts::WARNED, self.warned.join(", ")),
            (
                texts::RESELLER,
                reseller.map(|mails| mails.join(", ")).unwrap_or_default(),
            ),
            (texts::WARN_QUOTA, quota),
            (texts::WARN_SCHEDULE, self.missed.to_string()),
            (texts::WARN_UNSUCCESSFUL, self.failed.to_string()),
            (texts::WARN_NO_BACKUP, self.unused_days.to_string()),
            (
                texts::FROM_DIRECTORY,
                texts::yes_no(self.from_directory).to_owned(),
            ),
            (texts::ADDED, self.create_time.clone()),
            (texts::CHANGED, self.update_time.clone()),
        ]
    }
}

impl From<pb::Warning> for WarningView {
    fn from(warning: pb::Warning) -> Self {
        let kind = match warning.kind() {
            pb::WarningKind::Unspecified => texts::UNKNOWN,
            pb::WarningKind::Quota => texts::WARN_QUOTA,
            pb::WarningKind::Schedule => texts::WARN_SCHEDULE,
            pb::WarningKind::Unsuccessful => texts::WARN_UNSUCCESSFUL,
            pb::WarningKind::Upgrade => texts::WARN_UPGRADE,
            pb::WarningKind::NoBackup => texts::WARN_NO_BACKUP,
        };
        Self {
            account: warning.account,
            kind,
            since: render::time(warning.since.as_ref()),
            told_time: render::time(warning.told_time.as_ref()),
            told: warning.told,
            detail: warning.detail,
        }
    }
}

impl Account {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        match self {
            Self::Add(put) => {
                let account = pb::Account {
                    tenant: put.name.clone(),
                    ..pb::Account::default()
                };
                put.run(global, &mut client, (account, false)).await
            }
            Self::Edit(put) => {
                let account = found(&mut client, &put.name).await?;
                put.run(global, &mut client, (account, true)).await
            }
            Self::List => {
                let views: Vec<_> = all(&mut client).await?.into_iter().map(View::from).collect();
                render::list(global.output, &views, &View::HEADING, View::row)
            }
            Self::Show(Named { name }) => {
                let account = found(&mut client, &name).await?;
                render::one(global.output, &View::from(account), View::properties)
            }
            Self::Limits(Limits { name, thresholds }) => {
                let account = found(&mut client, &name).await?;
                let mut limits = account.limits.unwrap_or_default();
                thresholds.apply(&mut limits);
                let request = pb::SetLimitsRequest {
                    name,
                    limits: Some(limits),
                };
                let set = client.account.set_limits(request).await?.into_inner();
                let view = View::from(set.account.unwrap_or_default());
                render::one(global.output, &view, View::properties)
            }
            Self::Remove(Remove { name, yes }) => {
                let question = texts::REMOVE_ACCOUNT.say().replace("{}", &name);
                prompt::confirm_loss(&question, yes)?;
                client
                    .account
                    .remove_account(pb::RemoveAccountRequest { name })
                    .await?;
                render::done(global.output, texts::DONE.say())
            }
        }
    }
}

impl Warning {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        let Self::List = self;
        let mut client = client::connect(global).await?;
        let answer = client.account.list_warnings(pb::ListWarningsRequest {}).await?;
        let views: Vec<_> = answer
            .into_inner()
            .warnings
            .into_iter()
            .map(WarningView::from)
            .collect();
        let heading = [
            texts::ACCOUNT,
            texts::WARNING,
            texts::SINCE,
            texts::TOLD,
            texts::PROBLEM,
        ];
        render::list(global.output, &views, &heading, |view| {
            vec![
                view.account.clone(),
                view.kind.say().to_owned(),
                view.since.clone(),
                view.told_time.clone(),
                view.detail.clone(),
            ]
        })
    }
}

async fn all(client: &mut client::Client) -> Result<Vec<pb::Account>, CliError> {
    let answer = client.account.list_accounts(pb::ListAccountsRequest {}).await?;
    Ok(answer.into_inner().accounts)
}

async fn found(client: &mut client::Client, name: &str) -> Result<pb::Account, CliError> {
    let found = all(client).await?.into_iter().find(|one| one.name == name);
    found.ok_or_else(|| CliError::said(format!("there is no account {name}")))
}

/// What was said takes the place of what is there; an empty address removes them.
fn addresses(slot: &mut Vec<String>, said: Vec<String>) {
    if !said.is_empty() {
        *slot = said.into_iter().filter(|address| !address.is_empty()).collect();
    }
}

/// What an account or a reseller is that is added by hand: one that is warned.
fn warned() -> pb::Party {
    pb::Party {
        is_warned: true,
        ..pb::Party::default()
    }
}

impl Put {
    async fn run(
        self,
        global: &Global,
        client: &mut client::Client,
        (mut account, replace): (pb::Account, bool),
    ) -> Result<(), CliError> {
        let has_reseller = self.reseller_warnings.is_some()
            || !self.reseller_mail.is_empty()
            || !self.reseller_person_mail.is_empty();
        account.name = self.name;
        account.tenant = self.tenant.unwrap_or(account.tenant);
        account.language = self.language.unwrap_or(account.language);
        let own = account.own.get_or_insert_with(warned);
        own.is_warned = self.warnings.map_or(own.is_warned, Wish::is_on);
        addresses(&mut own.mails, self.mail);
        addresses(&mut own.person_mails, self.person_mail);
        if has_reseller {
            let reseller = account.reseller.get_or_insert_with(warned);
            reseller.is_warned = self.reseller_warnings.map_or(reseller.is_warned, Wish::is_on);
            addresses(&mut reseller.mails, self.reseller_mail);
            addresses(&mut reseller.person_mails, self.reseller_person_mail);
        }
        let usual = crate::plan::account::Limits::default();
        let limits = account.limits.get_or_insert(pb::WarningLimits {
            quota_bytes: usual.quota_bytes,
            quota_percent: usual.quota_percent,
            missed: usual.missed,
            failed: usual.failed,
            unused_days: usual.unused_days,
        });
        limits.quota_bytes = self.quota.unwrap_or(limits.quota_bytes);
        self.thresholds.apply(limits);
        let request = pb::PutAccountRequest {
            account: Some(account),
            replace,
        };
        let kept = client.account.put_account(request).await?.into_inner();
        let view = View::from(kept.account.unwrap_or_default());
        render::one(global.output, &view, View::properties)
    }
}
