//! `backup …`

mod config;
mod download;
mod history;
mod plan;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use satellite_proto::wire::backup::v1::Archive;
use satellite_proto::wire::management::v1 as pb;
use serde::Serialize;
use tonic::Streaming;
use uuid::Uuid;

use self::download::Download;
use super::texts::Text;
use super::{CliError, Global, client, job, prompt, render, texts};
use crate::language::Language;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Backup {
    /// Runs a backup configuration now, or makes a backup of a central without one.
    Run(Run),
    /// Shows what a run would bring, how large its archive would be, and whether it fits; runs nothing.
    Plan(plan::Plan),
    /// Makes and changes backup configurations: what is backed up, when, and where to.
    #[command(subcommand)]
    Config(config::Config),
    /// Lists the runs of backup configurations, newest first.
    Runs(history::Runs),
    /// Ends a run that waits, or one that is under way.
    Cancel(history::Cancel),
    /// Removes the archives that a configuration's retention does not keep.
    Retention(history::Retention),
    /// Lists the restores, newest first.
    Restores(history::Restores),
    /// Lists the archives, newest first.
    List(List),
    /// Shows an archive.
    Show(Named),
    /// Brings an archive file to this machine; goes on where it was cut.
    Download(Download),
    /// Brings the data of an archive back.
    Restore(Restore),
    /// Checks every digest of an archive where it lies.
    Verify(Named),
    /// Removes an archive.
    Delete(Delete),
}

#[derive(Debug, Args)]
pub(super) struct Run {
    /// Name of a backup configuration, or of a central.
    name: String,
    /// Data set of the central, can be repeated; without it all. A configuration has its own.
    #[arg(long, value_name = "NAME")]
    data_set: Vec<String>,
    /// Then download the archive into this file.
    #[arg(long, value_name = "FILE")]
    download: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only of this central.
    #[arg(long, value_name = "NAME")]
    central: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// Id or file name of the archive.
    archive: String,
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// Id or file name of the archive.
    archive: String,
    /// Directory on the server, empty or not there, that receives `DATA SET/PATH`.
    #[arg(
        long,
        value_name = "DIRECTORY",
        required_unless_present_any = ["in_place", "test"],
        conflicts_with = "in_place"
    )]
    to: Option<PathBuf>,
    /// To the paths that the data came from, as the central's profile names them now.
    #[arg(long)]
    in_place: bool,
    /// The central whose profile counts: a secondary one; without it the one that the data came from.
    #[arg(long, value_name = "NAME", requires = "in_place")]
    central: Option<String>,
    /// Into a directory of the server's own that is removed again: proves that the archive can be restored.
    #[arg(long, conflicts_with_all = ["to", "in_place"])]
    test: bool,
    /// Only this member and what is below it, as `DATA SET/PATH`; can be repeated.
    #[arg(long, value_name = "MEMBER")]
    path: Vec<String>,
    /// Do not make a backup of what is overwritten.
    #[arg(long, requires = "overwrite")]
    no_safety_backup: bool,
    /// Also where files are there already, and run the profile's restore commands.
    #[arg(long, requires = "in_place", conflicts_with = "to")]
    overwrite: bool,
    /// Data set, can be repeated; without it all.
    #[arg(long, value_name = "NAME")]
    data_set: Vec<String>,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// Id or file name of the archive; with --unreadable-on `DIRECTORY/FILE`, as `backup list` names it.
    archive: String,
    /// It is a file that `backup list` cannot read, on this satellite.
    #[arg(long, value_name = "SATELLITE")]
    unreadable_on: Option<String>,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// What is shown of an archive.
#[derive(Debug, Serialize)]
pub(super) struct ArchiveView {
    id: String,
    file_name: String,
    size_bytes: u64,
    create_time: String,
    central: String,
    central_address: String,
    tenant: String,
    configuration: String,
    satellite: String,
    path: String,
    sha256: String,
    verify_time: String,
    left_out: u64,
    data_sets: Vec<DataSetView>,
}

#[derive(Debug, Serialize)]
struct DataSetView {
    name: String,
    members: u64,
    size_bytes: u64,
}

#[derive(Debug, Serialize)]
struct VerifyView {
    intact: bool,
    members: u64,
    problems: Vec<String>,
}

impl ArchiveView {
    pub(super) const HEADING: [Text; 6] = [
        texts::FILE,
        texts::SIZE,
        texts::DATE,
        texts::CENTRAL,
        texts::ADDRESS,
        texts::SATELLITE,
    ];

    pub(super) fn new(archive: Archive, satellite: String) -> Self {
        Self {
            create_time: render::time(archive.create_time.as_ref()),
            verify_time: render::time(archive.verify_time.as_ref()),
            id: archive.id,
            file_name: archive.file_name,
            size_bytes: archive.size_bytes,
            central: archive.central,
            central_address: archive.central_address,
            tenant: archive.tenant,
            configuration: archive.configuration,
            satellite,
            path: archive.path,
            sha256: archive.sha256,
            left_out: archive.left_out,
            data_sets: archive
                .data_sets
                .into_iter()
                .map(|set| DataSetView {
                    name: set.name,
                    members: set.members,
                    size_bytes: set.size_bytes,
                })
                .collect(),
        }
    }

    pub(super) fn row(&self) -> Vec<String> {
        let size = render::size(self.size_bytes);
        let (file, date) = (self.file_name.clone(), self.create_time.clone());
        vec![
            file,
            size,
            date,
            self.central.clone(),
            self.central_address.clone(),
            self.satellite.clone(),
        ]
    }

    pub(super) fn properties(&self) -> Vec<(Text, String)> {
        let mut properties = vec![
            (texts::FILE, self.file_name.clone()),
            (texts::ID, self.id.clone()),
            (texts::SIZE, render::size(self.size_bytes)),
            (texts::DATE, self.create_time.clone()),
            (texts::CENTRAL, self.central.clone()),
            (texts::ADDRESS, self.central_address.clone()),
            (texts::TENANT, self.tenant.clone()),
            (texts::SATELLITE, self.satellite.clone()),
            (texts::PATH, self.path.clone()),
            (texts::SHA256, self.sha256.clone()),
            (texts::VERIFIED, self.verify_time.clone()),
        ];
        if self.left_out > 0 {
            properties.push((texts::LEFT_OUT, self.left_out.to_string()));
        }
        for set in &self.data_sets {
            let holds = [
                set.name.as_str(),
                &set.members.to_string(),
                &render::size(set.size_bytes),
            ];
            let text = Language::told_in().fill(texts::DATA_SET_HOLDS, &holds);
            properties.push((texts::DATA_SET, text));
        }
        properties
    }
}

impl Backup {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        match self {
            Self::Run(command) => command.run(global).await,
            Self::Plan(command) => command.run(global).await,
            Self::Config(command) => Box::pin(command.run(global)).await,
            Self::Runs(command) => command.run(global).await,
            Self::Cancel(command) => command.run(global).await,
            Self::Retention(command) => command.run(global).await,
            Self::Restores(command) => command.run(global).await,
            Self::List(command) => command.run(global).await,
            Self::Show(command) => command.show(global).await,
            Self::Download(command) => command.run(global).await,
            Self::Restore(command) => command.run(global).await,
            Self::Verify(command) => command.verify(global).await,
            Self::Delete(command) => command.run(global).await,
        }
    }
}

impl Run {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let known = config::all(&mut client).await?;
        let names = known.iter().filter_map(|one| one.configuration.as_ref());
        let is_configuration = names.map(|one| &one.name).any(|name| *name == self.name);
        if is_configuration && self.data_set.is_empty() {
            return run_configuration(global, &mut client, (self.name, None), self.download).await;
        }
        let request = pb::RunBackupRequest {
            central: self.name,
            data_sets: self.data_set,
            idempotency_key: Uuid::new_v4().to_string(),
        };
        let events = client.backup.run_backup(request).await?.into_inner();
        made(global, &mut client, events, self.download).await
    }
}

/// Runs a configuration that is kept under the name, or the one that is handed over, and shows what came of it.
async fn run_configuration(
    global: &Global,
    client: &mut client::Client,
    (name, once): (String, Option<pb::Configuration>),
    download: Option<PathBuf>,
) -> Result<(), CliError> {
    let request = pb::RunConfigurationRequest {
        name,
        configuration: once,
        idempotency_key: Uuid::new_v4().to_string(),
    };
    let events = client.run.run_configuration(request).await?.into_inner();
    made(global, client, events, download).await
}

/// Follows a backup and shows the archive.
async fn made(
    global: &Global,
    client: &mut client::Client,
    events: Streaming<pb::JobEvent>,
    download: Option<PathBuf>,
) -> Result<(), CliError> {
    let ended = job::follow(events).await?;
    let archive = match ended.archive {
        Some(archive) => archive,
        // Somebody else works on the central: it was said when it begins.
        None if ended.partly => return Err(CliError::Partly(texts::BEGINS_LATER.say().to_owned())),
        None => return render::done(global.output, texts::NOTHING_OLD.say()),
    };
    let left_out = archive.left_out;
    let (id, file_name) = (archive.id.clone(), archive.file_name.clone());
    let satellite = satellite_of(client, &id).await.unwrap_or_default();
    let view = ArchiveView::new(archive, satellite);
    render::one(global.output, &view, ArchiveView::properties)?;
    match download {
        Some(file) => Download::new(id, Some(file)).run(global).await?,
        None => render::note(&format!("next: backup download {file_name}")),
    }
    match (ended.partly, left_out) {
        (false, _) => Ok(()),
        (true, 0) => Err(CliError::Partly(texts::NOT_EVERYWHERE.say().to_owned())),
        (true, many) => {
            let lacks = texts::ARCHIVE_LACKS.say().replace("{}", &many.to_string());
            Err(CliError::Partly(lacks))
        }
    }
}

async fn satellite_of(client: &mut client::Client, id: &str) -> Option<String> {
    let request = pb::ListArchivesRequest {
        central: String::new(),
    };
    let archives = client
        .backup
        .list_archives(request)
        .await
        .ok()?
        .into_inner()
        .archives;
    archives
        .into_iter()
        .find(|stored| stored.archive.as_ref().is_some_and(|archive| archive.id == id))
        .map(|stored| stored.satellite)
}

async fn views(
    client: &mut client::Client,
    central: String,
) -> Result<(Vec<ArchiveView>, Vec<String>), CliError> {
    let answer = client
        .backup
        .list_archives(pb::ListArchivesRequest { central })
        .await?
        .into_inner();
    let view =
        |stored: pb::StoredArchive| ArchiveView::new(stored.archive.unwrap_or_default(), stored.satellite);
    Ok((answer.archives.into_iter().map(view).collect(), answer.problems))
}

impl List {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let (views, problems) = views(&mut client, self.central.unwrap_or_default()).await?;
        render::list(global.output, &views, &ArchiveView::HEADING, ArchiveView::row)?;
        if problems.is_empty() {
            Ok(())
        } else {
            Err(CliError::Partly(problems.join("\n")))
        }
    }
}

impl Named {
    async fn show(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let (views, problems) = views(&mut client, String::new()).await?;
        let found = views
            .iter()
            .find(|view| view.id == self.archive || view.file_name == self.archive);
        match found {
            Some(view) => render::one(global.output, view, ArchiveView::properties),
            None if problems.is_empty() => {
                Err(CliError::said(format!("there is no archive `{}`", self.archive)))
            }
            None => Err(CliError::Unreachable(anyhow::anyhow!(
                "no satellite that answers has an archive `{}`; not all answer: {}",
                self.archive,
                problems.join("; ")
            ))),
        }
    }

    async fn verify(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let request = pb::VerifyArchiveRequest {
            archive: self.archive,
        };
        let result = client
            .backup
            .verify_archive(request)
            .await?
            .into_inner()
            .result
            .unwrap_or_default();
        let view = VerifyView {
            intact: result.intact,
            members: result.members,
            problems: result.problems,
        };
        render::one(global.output, &view, |view| {
            let mut properties = vec![
                (texts::INTACT, texts::yes_no(view.intact).to_owned()),
                (texts::MEMBERS, view.members.to_string()),
            ];
            properties.extend(
                view.problems
                    .iter()
                    .map(|problem| (texts::PROBLEM, problem.clone())),
            );
            properties
        })?;
        if view.intact {
            Ok(())
        } else {
            Err(CliError::said("the archive is damaged: do not rely on it"))
        }
    }
}

impl Restore {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        if self.overwrite {
            let question = "Replace the central's data of today by that of the archive?";
            prompt::confirm_loss(question, self.yes)?;
        }
        let directory = match self.to {
            Some(path) => std::path::absolute(path)
                .map_err(CliError::failed)?
                .display()
                .to_string(),
            None => String::new(),
        };
        let request = pb::RestoreArchiveRequest {
            archive: self.archive,
            directory,
            data_sets: self.data_set,
            overwrite: self.overwrite,
            paths: self.path.into_iter().map(Into::into).collect(),
            central: self.central.unwrap_or_default(),
            test: self.test,
            no_safety_backup: self.no_safety_backup,
            idempotency_key: Uuid::new_v4().to_string(),
        };
        job::follow(client.backup.restore_archive(request).await?.into_inner()).await?;
        render::done(global.output, texts::DONE.say())
    }
}

impl Delete {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        prompt::confirm_loss(&format!("Remove `{}` for good?", self.archive), self.yes)?;
        client
            .backup
            .delete_archive(pb::DeleteArchiveRequest {
                archive: self.archive,
                satellite: self.unreadable_on.unwrap_or_default(),
            })
            .await?;
        render::done(global.output, texts::DONE.say())
    }
}
