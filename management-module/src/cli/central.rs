//! `central …`

mod way;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use satellite_proto::wire::management::v1 as pb;
use serde::Serialize;

use super::{CliError, Global, Output, client, prompt, read_text, render, texts};
use crate::central::Missing;
use crate::central::profile::Profile;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Central {
    /// Adds a central by its profile (docs/central-profile.md).
    Add(Add),
    /// Lists the centrals.
    List,
    /// Shows a central and its profile.
    Show(Named),
    /// Makes a central the master; the others are secondary. The first one is it until then.
    SetMaster(Named),
    /// Removes a central; its archives stay.
    Remove(Remove),
    /// Shows what each data set of a central holds at the moment.
    Measure(Measure),
    /// Checks a profile or a central: names every fault, and what is missing of what the profile names.
    ///
    /// A file is checked by itself and against this machine; nobody is asked. A central that is known is looked at where it is: one
    /// over SSH by its satellite, which also shows its key.
    Check(Check),
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// File of the profile.
    profile: PathBuf,
    /// Satellite on which its archives are written.
    #[arg(long, value_name = "NAME")]
    satellite: String,
    /// Replace the central of the same name.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    way: way::Way,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// Name of the central.
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Name of the central.
    name: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct Measure {
    /// Name of the central.
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// File of a profile (with a dot or a slash in its name), or name of a central that is known.
    profile: PathBuf,
    /// Trust the central that is reached over SSH if its key has this fingerprint, `SHA256:…`.
    #[arg(long, value_name = "FINGERPRINT")]
    accept_host_key: Option<String>,
}

#[derive(Debug, Serialize)]
struct View {
    name: String,
    address: String,
    tenant: String,
    satellite: String,
    is_master: bool,
    /// How it is reached over SSH; empty: it is the machine of the server.
    reached: String,
    host_key: String,
    add_time: String,
}

#[derive(Debug, Serialize)]
struct SizeView {
    data_set: String,
    description: String,
    files: u64,
    size_bytes: u64,
    can_be_large: bool,
}

impl From<pb::Central> for View {
    fn from(central: pb::Central) -> Self {
        let (reached, host_key) = match central.ssh {
            Some(ssh) => {
                let port = if ssh.port == 0 { 22 } else { ssh.port };
                (format!("ssh://{}@{}:{port}", ssh.user, ssh.server), ssh.host_key)
            }
            None => (String::new(), String::new()),
        };
        Self {
            reached,
            host_key,
            add_time: render::time(central.add_time.as_ref()),
            name: central.name,
            address: central.address,
            tenant: central.tenant,
            satellite: central.satellite,
            is_master: central.is_master,
        }
    }
}

impl View {
    fn reached(&self) -> String {
        match self.reached.as_str() {
            "" => texts::REACHED_HERE.say().to_owned(),
            reached => reached.to_owned(),
        }
    }

    /// What it is in the installation.
    fn role(&self) -> String {
        let role = if self.is_master {
            texts::MASTER
        } else {
            texts::SECONDARY
        };
        role.say().to_owned()
    }
}

impl Central {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        match self {
            Self::Add(command) => command.run(global).await,
            Self::List => list(global).await,
            Self::Show(command) => command.show(global).await,
            Self::SetMaster(command) => command.set_master(global).await,
            Self::Remove(command) => command.run(global).await,
            Self::Measure(command) => command.run(global).await,
            Self::Check(command) => command.run(global).await,
        }
    }
}

/// Reads a profile; every fault is a line of the error.
fn checked(path: &Path) -> Result<(Profile, String), CliError> {
    let text = read_text(path)?;
    match Profile::parse(&text) {
        Ok(profile) => Ok((profile, text)),
        Err(err) => {
            let faults = err
                .faults
                .iter()
                .map(|fault| format!("{}:{}: {}", path.display(), fault.line, fault.text));
            Err(CliError::Usage(faults.collect::<Vec<_>>().join("\n")))
        }
    }
}

impl Check {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let name = self.profile.to_str().filter(|name| !name.contains(['.', '/']));
        match name {
            Some(name) => way::check(global, name, self.accept_host_key.as_deref()).await,
            None if self.accept_host_key.is_some() => Err(CliError::Usage(
                "--accept-host-key belongs to a central that is known, not to a file".to_owned(),
            )),
            None => self.of_a_file(global),
        }
    }

    fn of_a_file(self, global: &Global) -> Result<(), CliError> {
        let (profile, _) = checked(&self.profile)?;
        let missing = crate::central::missing(&profile);
        for (data_set, what) in &missing {
            let (text, name) = match what {
                Missing::Path(path) => (texts::PATH_MISSING, path.display().to_string()),
                Missing::Program(name) => (texts::PROGRAM_MISSING, name.clone()),
            };
            render::warning(&format!("{data_set}: {}", text.say().replace("{}", &name)));
        }
        let good = texts::PROFILE_GOOD.say().replace("{}", &profile.name);
        match missing.len() {
            0 => render::done(global.output, &good),
            _ => Err(CliError::Partly(texts::PROFILE_LACKS.say().to_owned())),
        }
    }
}

impl Add {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let (profile, text) = checked(&self.profile)?;
        let (ssh, local) = self.way.described(&profile.address, self.replace)?;
        let is_new_key = ssh.as_ref().is_some_and(|ssh| ssh.host_key.is_empty());
        let mut client = client::connect(global).await?;
        let central = pb::Central {
            name: profile.name.clone(),
            address: profile.address,
            tenant: profile.tenant,
            profile: text,
            satellite: self.satellite,
            add_time: None,
            is_master: false,
            ssh,
        };
        let request = pb::AddCentralRequest {
            central: Some(central),
            replace: self.replace,
            local,
        };
        client.backup.add_central(request).await?;
        let name = profile.name;
        let next = if is_new_key { "central check" } else { "backup run" };
        render::done(global.output, &format!("`{name}` is known; next: {next} {name}"))
    }
}

async fn all(global: &Global) -> Result<Vec<pb::Central>, CliError> {
    let mut client = client::connect(global).await?;
    let answer = client.backup.list_centrals(pb::ListCentralsRequest {}).await?;
    Ok(answer.into_inner().centrals)
}

/// What is shown of one.
#[derive(Debug, Serialize)]
struct Whole {
    #[serde(flatten)]
    view: View,
    profile: String,
}

impl Named {
    async fn set_master(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let request = pb::SetMasterRequest { name: self.name };
        client.backup.set_master(request).await?;
        render::done(global.output, texts::DONE.say())
    }

    async fn show(self, global: &Global) -> Result<(), CliError> {
        let found = all(global)
            .await?
            .into_iter()
            .find(|central| central.name == self.name);
        let Some(central) = found else {
            return Err(CliError::said(format!("there is no central {}", self.name)));
        };
        let whole = Whole {
            profile: central.profile.clone(),
            view: View::from(central),
        };
        render::one(global.output, &whole, |Whole { view, .. }| {
            vec![
                (texts::CENTRAL, view.name.clone()),
                (texts::ADDRESS, view.address.clone()),
                (texts::TENANT, view.tenant.clone()),
                (texts::SATELLITE, view.satellite.clone()),
                (texts::ROLE, view.role()),
                (texts::REACHED, view.reached()),
                (texts::ADDED, view.add_time.clone()),
            ]
        })?;
        if global.output == Output::Json {
            return Ok(());
        }
        render::text(&format!(
            "\n{}:\n{}\n",
            texts::PROFILE.say(),
            whole.profile.trim_end()
        ))
    }
}

impl Remove {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let question = format!("Remove the central `{}`? Its archives stay", self.name);
        prompt::confirm_loss(&question, self.yes)?;
        let request = pb::RemoveCentralRequest { name: self.name };
        client.backup.remove_central(request).await?;
        render::done(global.output, texts::DONE.say())
    }
}

async fn list(global: &Global) -> Result<(), CliError> {
    let centrals = all(global).await?;
    let views: Vec<_> = centrals.into_iter().map(View::from).collect();
    let heading = [
        texts::CENTRAL,
        texts::ADDRESS,
        texts::TENANT,
        texts::SATELLITE,
        texts::ROLE,
        texts::ADDED,
    ];
    render::list(global.output, &views, &heading, |view| {
        vec![
            view.name.clone(),
            view.address.clone(),
            view.tenant.clone(),
            view.satellite.clone(),
            view.role(),
            view.add_time.clone(),
        ]
    })
}

impl Measure {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let request = pb::MeasureCentralRequest { name: self.name };
        let sizes = client
            .backup
            .measure_central(request)
            .await?
            .into_inner()
            .data_sets;
        let views: Vec<_> = sizes
            .into_iter()
            .map(|size| SizeView {
                data_set: size.data_set,
                description: size.description,
                files: size.files,
                size_bytes: size.size_bytes,
                can_be_large: size.can_be_large,
            })
            .collect();
        let heading = [
            texts::DATA_SET,
            texts::FILES,
            texts::SIZE,
            texts::CAN_BE_LARGE,
            texts::DESCRIPTION,
        ];
        render::list(global.output, &views, &heading, |view| {
            let large = texts::yes_no(view.can_be_large).to_owned();
            let size = render::size(view.size_bytes);
            vec![
                view.data_set.clone(),
                view.files.to_string(),
                size,
                large,
                view.description.clone(),
            ]
        })
    }
}
