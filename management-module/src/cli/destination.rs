//! `destination …`

mod kinds;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use satellite_proto::wire::backup::v1 as backup;
use satellite_proto::wire::management::v1 as pb;
use serde::Serialize;

use self::kinds::Kind;
pub(super) use self::kinds::secret_of;
use super::backup::ArchiveView;
use super::texts::Text;
use super::{CliError, Global, client, job, prompt, render, texts};
use crate::language::{Language, step_name};

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Destination {
    /// Adds a destination. What is not said is asked, if there is somebody to ask; passwords are never arguments.
    Add(Add),
    /// Lists the destinations, without credentials.
    List,
    /// Shows a destination, without credentials.
    Show(Named),
    /// Writes, reads back and removes a small file there, and says in plain words what is wrong.
    Test(Test),
    /// Lists the archive files at a destination, also those that the server has forgotten.
    Copies(Copies),
    /// Brings a copy back among the archives, checked whole, to be restored or downloaded like any other.
    Fetch(Fetch),
    /// Forgets a destination; what was copied there stays.
    Remove(Remove),
}

#[derive(Debug, Args)]
pub(super) struct Copies {
    /// Name of the destination.
    name: String,
    /// Only of this configuration.
    #[arg(long, value_name = "NAME")]
    configuration: Option<String>,
    #[command(flatten)]
    whence: Whence,
}

#[derive(Debug, Args)]
pub(super) struct Fetch {
    /// Name of the destination.
    name: String,
    /// Path, as `destination copies` shows it.
    path: String,
    /// File with the key that opens an encrypted copy, as `age-keygen` writes it.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// File with the passphrase of an encrypted copy; `-` reads it from stdin. Without it, that of its configuration is tried.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    whence: Whence,
}

/// Where to look.
#[derive(Debug, Args)]
struct Whence {
    /// Directory that was made there; without it starface-backup.
    #[arg(long, value_name = "NAME")]
    directory: Option<String>,
    /// Satellite that looks, if there are several.
    #[arg(long, value_name = "NAME")]
    satellite: Option<String>,
}

#[derive(Debug, Serialize)]
struct CopyView {
    path: String,
    file_name: String,
    size_bytes: u64,
    modify_time: String,
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// Name: 1 to 63 of a-z, 0-9 and hyphen.
    name: String,
    /// Most bytes a second in each direction.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    bytes_per_second: u64,
    /// Change the destination of the same name; credentials that are not given stay as they were.
    #[arg(long)]
    replace: bool,
    /// Satellite that connects a Dropbox, if there are several.
    #[arg(long, value_name = "NAME")]
    satellite: Option<String>,
    #[command(subcommand)]
    kind: Option<Kind>,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// Name of the destination.
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Test {
    /// Name of the destination.
    name: String,
    /// Satellite that tries it, if there are several.
    #[arg(long, value_name = "NAME")]
    satellite: Option<String>,
    /// Trust the SFTP server if its key has this fingerprint, `SHA256:…`.
    #[arg(long, value_name = "FINGERPRINT")]
    accept_host_key: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Name of the destination.
    name: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// What is shown of a destination.
#[derive(Debug, Serialize)]
struct View {
    name: String,
    kind: String,
    place: String,
    bytes_per_second: u64,
    secrets: Vec<String>,
    create_time: String,
    update_time: String,
}

#[derive(Debug, Serialize)]
struct TestView {
    ok: bool,
    steps: Vec<StepView>,
    free_bytes: Option<u64>,
    most_bytes: Option<u64>,
    host_key_fingerprint: String,
    satellite: String,
}

#[derive(Debug, Serialize)]
struct StepView {
    step: Text,
    ok: bool,
    message: String,
}

impl From<pb::StoredDestination> for View {
    fn from(one: pb::StoredDestination) -> Self {
        Self {
            create_time: render::time(one.create_time.as_ref()),
            update_time: render::time(one.update_time.as_ref()),
            name: one.name,
            kind: one.kind,
            place: one.place,
            bytes_per_second: one.destination.map_or(0, |one| one.bytes_per_second),
            secrets: one.secrets,
        }
    }
}

impl View {
    fn properties(&self) -> Vec<(Text, String)> {
        let limit = match self.bytes_per_second {
            0 => String::new(),
            bytes => format!("{}/s", render::size(bytes)),
        };
        vec![
            (texts::NAME, self.name.clone()),
            (texts::KIND, self.kind.clone()),
            (texts::PLACE, self.place.clone()),
            (texts::CREDENTIALS, self.secrets.join(", ")),
            (texts::LIMIT, limit),
            (texts::ADDED, self.create_time.clone()),
            (texts::CHANGED, self.update_time.clone()),
        ]
    }
}

impl Destination {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        match self {
            Self::Add(command) => command.run(global).await,
            Self::List => list(global).await,
            Self::Show(command) => command.run(global).await,
            Self::Test(command) => command.run(global).await,
            Self::Copies(command) => command.run(global).await,
            Self::Fetch(command) => command.run(global).await,
            Self::Remove(command) => command.run(global).await,
        }
    }
}

/// All destinations.
pub(super) async fn all(client: &mut client::Client) -> Result<Vec<pb::StoredDestination>, CliError> {
    let answer = client
        .destination
        .list_destinations(pb::ListDestinationsRequest {})
        .await?;
    Ok(answer.into_inner().destinations)
}

async fn list(global: &Global) -> Result<(), CliError> {
    let mut client = client::connect(global).await?;
    let views: Vec<_> = all(&mut client).await?.into_iter().map(View::from).collect();
    let heading = [
        texts::NAME,
        texts::KIND,
        texts::PLACE,
        texts::CREDENTIALS,
        texts::CHANGED,
    ];
    render::list(global.output, &views, &heading, |view| {
        vec![
            view.name.clone(),
            view.kind.clone(),
            view.place.clone(),
            view.secrets.join(", "),
            view.update_time.clone(),
        ]
    })
}

impl Named {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let found = all(&mut client)
            .await?
            .into_iter()
            .find(|one| one.name == self.name);
        match found {
            Some(one) => render::one(global.output, &View::from(one), View::properties),
            None => Err(CliError::said(format!("there is no destination {}", self.name))),
        }
    }
}

impl Add {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let kind = match self.kind {
            Some(kind) => kind,
            None => kinds::ask()?,
        };
        let stored = match kind {
            Kind::Dropbox(dropbox) => {
                let wish = pb::FinishDropboxRequest {
                    name: self.name,
                    satellite: self.satellite.unwrap_or_default(),
                    bytes_per_second: self.bytes_per_second,
                    replace: self.replace,
                    ..pb::FinishDropboxRequest::default()
                };
                dropbox.connect(&mut client, wish).await?
            }
            kind => {
                let (destination, server_directory) = kind.described(self.replace)?;
                let destination = destination.map(|one| backup::Destination {
                    bytes_per_second: self.bytes_per_second,
                    ..one
                });
                let request = pb::PutDestinationRequest {
                    name: self.name,
                    destination,
                    server_directory,
                    replace: self.replace,
                };
                client
                    .destination
                    .put_destination(request)
                    .await?
                    .into_inner()
                    .destination
            }
        };
        let view = View::from(stored.unwrap_or_default());
        render::one(global.output, &view, View::properties)?;
        render::note(&format!("next: destination test {}", view.name));
        Ok(())
    }
}

impl Test {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let satellite = self.satellite.unwrap_or_default();
        let mut tried = once(
            &mut client,
            &self.name,
            &satellite,
            self.accept_host_key.as_deref(),
        )
        .await?;
        let unknown = tried.result.as_ref().and_then(unknown_key);
        if let Some(fingerprint) = unknown.filter(|_| self.accept_host_key.is_none()) {
            render::note(&texts::HOST_KEY_UNKNOWN.say().replace("{}", &fingerprint));
            if prompt::is_possible() && prompt::confirm(texts::HOST_KEY_TRUST.say(), false)? {
                tried = once(&mut client, &self.name, &satellite, Some(&fingerprint)).await?;
            }
        }
        let view = TestView::from(tried);
        render::one(global.output, &view, TestView::properties)?;
        if view.ok {
            return Ok(());
        }
        let failed = view.steps.iter().find(|step| !step.ok);
        let language = Language::told_in();
        let said = failed.map(|step| format!("{}: {}", language.say(step.step), step.message));
        Err(CliError::said(
            said.unwrap_or_else(|| language.say(texts::NO_REASON).to_owned()),
        ))
    }
}

async fn once(
    client: &mut client::Client,
    name: &str,
    satellite: &str,
    accept_host_key: Option<&str>,
) -> Result<pb::TestDestinationResponse, CliError> {
    let request = pb::TestDestinationRequest {
        name: name.to_owned(),
        satellite: satellite.to_owned(),
        accept_host_key: accept_host_key.unwrap_or_default().to_owned(),
    };
    Ok(client.destination.test_destination(request).await?.into_inner())
}

/// The fingerprint of a key that nobody has confirmed yet.
fn unknown_key(found: &backup::TestDestinationResponse) -> Option<String> {
    let mut faults = found.steps.iter().filter_map(|step| step.fault.as_ref());
    let is_unknown = faults.any(|fault| fault.kind() == backup::FaultKind::HostKeyUnknown);
    (is_unknown && !found.host_key_fingerprint.is_empty()).then(|| found.host_key_fingerprint.clone())
}

impl From<pb::TestDestinationResponse> for TestView {
    fn from(tried: pb::TestDestinationResponse) -> Self {
        let found = tried.result.unwrap_or_default();
        let steps: Vec<_> = found
            .steps
            .iter()
            .map(|step| StepView {
                step: step_name(step.name()),
                ok: step.ok,
                message: step.message.clone(),
            })
            .collect();
        Self {
            ok: !steps.is_empty() && steps.iter().all(|step| step.ok),
            steps,
            free_bytes: found.free_bytes,
            most_bytes: found.most_bytes,
            host_key_fingerprint: found.host_key_fingerprint,
            satellite: tried.satellite,
        }
    }
}

impl TestView {
    fn properties(&self) -> Vec<(Text, String)> {
        let mut properties: Vec<_> = self
            .steps
            .iter()
            .map(|step| {
                let said = if step.ok {
                    texts::STEP_OK.say()
                } else {
                    texts::FAILED.say()
                };
                let said = match step.message.as_str() {
                    "" => said.to_owned(),
                    message => format!("{said}: {message}"),
                };
                (step.step, said)
            })
            .collect();
        let bytes = |bytes: Option<u64>| bytes.map(render::size).unwrap_or_default();
        properties.push((texts::DISK_FREE, bytes(self.free_bytes)));
        if self.most_bytes.is_some() {
            properties.push((texts::LARGEST_FILE, bytes(self.most_bytes)));
        }
        if !self.host_key_fingerprint.is_empty() {
            properties.push((
                step_name(backup::TestStepName::HostKey),
                self.host_key_fingerprint.clone(),
            ));
        }
        properties
    }
}

impl Copies {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let request = pb::ListCopiesRequest {
            name: self.name,
            directory: self.whence.directory.unwrap_or_default(),
            configuration: self.configuration.unwrap_or_default(),
            satellite: self.whence.satellite.unwrap_or_default(),
        };
        let copies = client.destination.list_copies(request).await?.into_inner().copies;
        let views = copies.into_iter().map(|copy| CopyView {
            modify_time: render::time(copy.modify_time.as_ref()),
            path: copy.path,
            file_name: copy.file_name,
            size_bytes: copy.size_bytes,
        });
        let views: Vec<_> = views.collect();
        let heading = [texts::PATH, texts::SIZE, texts::DATE];
        render::list(global.output, &views, &heading, |view| {
            vec![
                view.path.clone(),
                render::size(view.size_bytes),
                view.modify_time.clone(),
            ]
        })
    }
}

impl Fetch {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let identities = self.identity.as_deref().map(super::read_text).transpose()?;
        let passphrase = secret_of(self.passphrase_file.as_deref())?;
        let mut client = client::connect(global).await?;
        let request = pb::FetchCopyRequest {
            identities: identities.map(|value| backup::Secret { value }),
            passphrase,
            name: self.name,
            path: self.path,
            directory: self.whence.directory.unwrap_or_default(),
            satellite: self.whence.satellite.unwrap_or_default(),
            idempotency_key: uuid::Uuid::new_v4().to_string(),
        };
        let events = client.destination.fetch_copy(request).await?.into_inner();
        let archive = job::follow(events).await?.archive.unwrap_or_default();
        let view = ArchiveView::new(archive, String::new());
        render::one(global.output, &view, ArchiveView::properties)
    }
}

impl Remove {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let question = texts::REMOVE_DESTINATION.say().replace("{}", &self.name);
        prompt::confirm_loss(&question, self.yes)?;
        let request = pb::DeleteDestinationRequest { name: self.name };
        client.destination.delete_destination(request).await?;
        render::done(global.output, texts::DONE.say())
    }
}
