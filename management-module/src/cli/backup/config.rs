//! `backup config …`

mod wish;
mod wizard;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use satellite_proto::wire::management::v1 as pb;
use serde::Serialize;

use self::wish::Wish;
use super::super::texts::Text;
use super::super::{CliError, Global, client, prompt, render, texts};
use super::history;

/// The commands.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Config {
    /// Makes a configuration: asks the four steps if nothing is said and there is somebody to ask.
    Create(Create),
    /// Lists the configurations, each with its last run and when it is due next.
    List,
    /// Shows a configuration and its next due times.
    Show(Named),
    /// Changes what is said of a configuration; the rest stays.
    Edit(Edit),
    /// Forgets a configuration; its archives and its history stay.
    Remove(Remove),
}

/// What to do with a configuration that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Then {
    /// Keep it and run it now.
    SaveAndRun,
    /// Run it now, keep nothing of it.
    Run,
    /// Keep it.
    Save,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Create {
    /// Name, meaningful and unique; it becomes the name of a directory at each destination.
    name: Option<String>,
    /// TOML file with the configuration (docs/schedule.md); what is said beside it counts more.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    wish: Box<Wish>,
    /// What to do with it.
    #[arg(long, value_enum)]
    then: Option<Then>,
    /// Change the configuration of the same name.
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Named {
    /// Name of the configuration.
    name: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Edit {
    /// Name of the configuration.
    name: String,
    #[command(flatten)]
    wish: Box<Wish>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Remove {
    /// Name of the configuration.
    name: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// What is shown of a configuration.
#[derive(Debug, Serialize)]
struct View {
    name: String,
    kind: &'static str,
    central: String,
    every: String,
    start: String,
    time_zone: String,
    catch_up: &'static str,
    report_to: String,
    language: String,
    data_sets: Vec<String>,
    destinations: Vec<String>,
    retention: String,
    directory: String,
    older_than_days: u32,
    enabled: bool,
    encrypted_to: Vec<String>,
    encrypted_with_passphrase: bool,
    next_due_time: String,
    last_run: Option<history::RunView>,
}

fn retention_told(retention: &pb::Retention) -> String {
    let counts = [
        ("last", retention.last),
        ("daily", retention.daily),
        ("weekly", retention.weekly),
        ("monthly", retention.monthly),
        ("yearly", retention.yearly),
    ];
    let mut parts: Vec<_> = counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if retention.max_bytes > 0 {
        parts.push(format!("max {}", render::size(retention.max_bytes)));
    }
    parts.join(", ")
}

impl From<pb::StoredConfiguration> for View {
    fn from(stored: pb::StoredConfiguration) -> Self {
        let next_due_time = render::time(stored.next_due_time.as_ref());
        let one = stored.configuration.unwrap_or_default();
        let kind = match one.kind() {
            pb::ConfigurationKind::Archiving => "archiving",
            _ => "backup",
        };
        let schedule = one.schedule.unwrap_or_default();
        let catch_up = match schedule.catch_up() {
            pb::CatchUp::Skip => "skip",
            _ => "once",
        };
        Self {
            name: one.name,
            kind,
            central: one.central,
            every: schedule.every,
            start: schedule.start,
            time_zone: schedule.time_zone,
            catch_up,
            report_to: one.report_to,
            language: one.language,
            data_sets: one.data_sets,
            destinations: one.destinations,
            retention: retention_told(&one.retention.unwrap_or_default()),
            directory: one.directory,
            older_than_days: one.older_than_days,
            enabled: !one.disabled,
            encrypted_to: one.encryption.map(|one| one.recipients).unwrap_or_default(),
            encrypted_with_passphrase: one.keeps_passphrase,
            next_due_time,
            last_run: stored.last_run.map(history::RunView::from),
        }
    }
}

impl View {
    const HEADING: [Text; 6] = [
        texts::NAME,
        texts::CENTRAL,
        texts::INTERVAL,
        texts::DESTINATIONS,
        texts::NEXT_DUE,
        texts::LAST_RUN,
    ];

    fn row(&self) -> Vec<String> {
        let last = self
            .last_run
            .as_ref()
            .map(history::RunView::short)
            .unwrap_or_default();
        let next = if self.enabled {
            self.next_due_time.clone()
        } else {
            texts::OFF.say().to_owned()
        };
        vec![
            self.name.clone(),
            self.central.clone(),
            self.every.clone(),
            self.destinations.join(", "),
            next,
            last,
        ]
    }

    fn properties(&self) -> Vec<(Text, String)> {
        let sets = if self.data_sets.is_empty() {
            texts::ANY.say().to_owned()
        } else {
            self.data_sets.join(", ")
        };
        let mut properties = vec![
            (texts::NAME, self.name.clone()),
            (texts::KIND, self.kind.to_owned()),
            (texts::CENTRAL, self.central.clone()),
            (texts::REPORT_TO, self.report_to.clone()),
            (texts::LANGUAGE, self.language.clone()),
            (texts::INTERVAL, self.every.clone()),
            (texts::START, format!("{} {}", self.start, self.time_zone)),
            (texts::CATCH_UP, self.catch_up.to_owned()),
            (texts::DATA_SETS, sets),
            (texts::DESTINATIONS, self.destinations.join(", ")),
            (texts::DIRECTORY, self.directory.clone()),
            (texts::RETENTION, self.retention.clone()),
            (texts::ENABLED, texts::yes_no(self.enabled).to_owned()),
            (texts::NEXT_DUE, self.next_due_time.clone()),
        ];
        if self.encrypted_with_passphrase {
            properties.push((texts::ENCRYPTED, texts::WITH_PASSPHRASE.say().to_owned()));
        }
        if !self.encrypted_to.is_empty() {
            properties.push((texts::ENCRYPTED, self.encrypted_to.join(", ")));
        }
        if self.older_than_days > 0 {
            properties.push((texts::OLDER_THAN, self.older_than_days.to_string()));
        }
        if let Some(last) = &self.last_run {
            properties.push((texts::LAST_RUN, last.short()));
        }
        properties
    }
}

impl Config {
    pub(in crate::cli) async fn run(self, global: &Global) -> Result<(), CliError> {
        match self {
            Self::Create(command) => Box::pin(command.run(global)).await,
            Self::List => list(global).await,
            Self::Show(command) => command.run(global).await,
            Self::Edit(command) => command.run(global).await,
            Self::Remove(command) => command.run(global).await,
        }
    }
}

/// All configurations.
pub(super) async fn all(client: &mut client::Client) -> Result<Vec<pb::StoredConfiguration>, CliError> {
    let answer = client
        .configuration
        .list_configurations(pb::ListConfigurationsRequest {})
        .await?;
    Ok(answer.into_inner().configurations)
}

fn named(all: Vec<pb::StoredConfiguration>, name: &str) -> Option<pb::StoredConfiguration> {
    all.into_iter()
        .find(|one| one.configuration.as_ref().is_some_and(|one| one.name == name))
}

async fn list(global: &Global) -> Result<(), CliError> {
    let mut client = client::connect(global).await?;
    let views: Vec<_> = all(&mut client).await?.into_iter().map(View::from).collect();
    render::list(global.output, &views, &View::HEADING, View::row)
}

impl Create {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let mut configuration = match &self.file {
            Some(path) => wish::read(path)?,
            None => pb::Configuration::default(),
        };
        if let Some(name) = self.name {
            configuration.name = name;
        }
        self.wish.apply(&mut configuration)?;
        let is_whole = !configuration.name.is_empty() && !configuration.central.is_empty();
        let then = if is_whole {
            self.then.unwrap_or(Then::Save)
        } else if prompt::is_possible() {
            Box::pin(wizard::ask(&mut client, &mut configuration, self.then)).await?
        } else {
            return Err(CliError::Usage(texts::CONFIG_NEEDS.say().to_owned()));
        };
        let name = configuration.name.clone();
        if then != Then::Run {
            let request = pb::PutConfigurationRequest {
                configuration: Some(configuration.clone()),
                replace: self.replace,
            };
            let answer = client
                .configuration
                .put_configuration(request)
                .await?
                .into_inner();
            if then == Then::Save {
                let view = View::from(answer.configuration.unwrap_or_default());
                return render::one(global.output, &view, View::properties);
            }
        }
        let once = (then == Then::Run).then_some(configuration);
        super::run_configuration(global, &mut client, (name, once), None).await
    }
}

impl Named {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        match named(all(&mut client).await?, &self.name) {
            Some(one) => render::one(global.output, &View::from(one), View::properties),
            None => Err(CliError::said(format!("there is no configuration {}", self.name))),
        }
    }
}

impl Edit {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let Some(mut configuration) =
            named(all(&mut client).await?, &self.name).and_then(|one| one.configuration)
        else {
            return Err(CliError::said(format!("there is no configuration {}", self.name)));
        };
        self.wish.apply(&mut configuration)?;
        let request = pb::PutConfigurationRequest {
            configuration: Some(configuration),
            replace: true,
        };
        let answer = client
            .configuration
            .put_configuration(request)
            .await?
            .into_inner();
        let view = View::from(answer.configuration.unwrap_or_default());
        render::one(global.output, &view, View::properties)
    }
}

impl Remove {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let question = texts::REMOVE_CONFIG.say().replace("{}", &self.name);
        prompt::confirm_loss(&question, self.yes)?;
        let request = pb::DeleteConfigurationRequest { name: self.name };
        client.configuration.delete_configuration(request).await?;
        render::done(global.output, texts::DONE.say())
    }
}
