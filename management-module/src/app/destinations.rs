//! Destinations: kept with their credentials sealed, tried through a satellite, opened only for a call to it.
//!
//! **Invariant:** a secret comes in and goes to a satellite over its pinned connection, and nowhere else: not into an
//! answer, an error, a log or the audit log.

mod copies;
mod disk;
mod dropbox;
mod secrets;
mod server;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use prost::Message as _;
use satellite_proto::wire::MAX_MESSAGE;
use satellite_proto::wire::backup::v1 as pb;
use satellite_proto::wire::backup::v1::destination::Kind;
use satellite_proto::wire::backup::v1::destination_service_client::DestinationServiceClient;
use tonic::Code;
use tonic::transport::Channel;

use super::remote::call;
use super::{Actor, App, AppError, local};
use crate::names::{DestinationName, SatelliteName};
use crate::store::{DestinationRow, StoreError};
use crate::vault::Vault;

pub use self::copies::{CopyKeys, CopyPlace};
pub use self::dropbox::{DropboxBegun, DropboxWish};
pub(in crate::app) use self::server::{is_kept_at_server, keep_at_server, room_at};

/// Where archives are copied to, with credentials.
#[derive(Clone)]
pub enum Place {
    /// A directory of the server itself.
    Server(PathBuf),
    /// What a satellite reaches.
    Satellite(Box<pb::Destination>),
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Server(path) => f.debug_tuple("Server").field(path).finish(),
            // Not even by accident: it holds passwords.
            Self::Satellite(_) => f.write_str("Satellite(…)"),
        }
    }
}

/// What a test has found.
#[derive(Debug, Clone)]
pub struct Tried {
    /// The steps, and what was learned.
    pub found: pb::TestDestinationResponse,
    /// The satellite that tried; none: the server itself.
    pub satellite: Option<SatelliteName>,
}

/// The use cases around destinations.
#[derive(Debug, Clone)]
pub struct Destinations {
    app: App,
}

impl Destinations {
    /// The use cases over `app`.
    #[must_use]
    pub fn new(app: App) -> Self {
        Self { app }
    }

    /// Keeps a destination; with `replace` it takes the place of the one of its name, and a secret that is not set stays.
    ///
    /// # Errors
    /// [`AppError::Invalid`] what is wrong with it; [`AppError::Exists`].
    pub async fn put(
        &self,
        actor: &Actor,
        name: &str,
        place: Place,
        replace: bool,
    ) -> Result<DestinationRow, AppError> {
        let kept = self.keep(name, place, replace).await;
        let action = "DestinationService/PutDestination";
        self.app.audit.recorded(actor, action, name, kept).await
    }

    async fn keep(&self, name: &str, place: Place, replace: bool) -> Result<DestinationRow, AppError> {
        let name: DestinationName = parsed(name)?;
        let known = self.app.store.destination(name.as_str()).await?;
        let now = Timestamp::now();
        let created_at = known.as_ref().map_or(now, |row| row.created_at);
        let row = match place {
            Place::Server(path) => {
                check_server(&path)?;
                DestinationRow {
                    server_directory: path.display().to_string(),
                    settings: pb::Destination::default(),
                    secrets: Vec::new(),
                    sealed: Vec::new(),
                    name,
                    created_at,
                    updated_at: now,
                }
            }
            Place::Satellite(mut whole) => {
                check(&whole)?;
                if let Some(known) = known.filter(|row| replace && row.server_directory.is_empty()) {
                    secrets::inherit(&mut whole, &self.unsealed(&known)?);
                }
                let mut settings = (*whole).clone();
                let kept = secrets::strip(&mut settings);
                let sealed = if kept.is_empty() {
                    Vec::new()
                } else {
                    self.vault()?
                        .seal(&purpose(&name), &whole.encode_to_vec())
                        .map_err(|error| AppError::machine("keep the credentials", error))?
                };
                DestinationRow {
                    server_directory: String::new(),
                    settings,
                    secrets: kept.into_iter().map(str::to_owned).collect(),
                    sealed,
                    name,
                    created_at,
                    updated_at: now,
                }
            }
        };
        match self.app.store.put_destination(&row, replace).await {
            Err(StoreError::Exists(_)) => Err(AppError::Exists(format!(
                "destination {} is known already: add --replace to change it",
                row.name
            ))),
            other => Ok(other.map(|()| row)?),
        }
    }

    /// All destinations by name, without credentials.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(&self) -> Result<Vec<DestinationRow>, AppError> {
        Ok(self.app.store.destinations().await?)
    }

    /// Forgets a destination. Copies stay where they are.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; [`AppError::Precondition`] if a configuration uses it.
    pub async fn remove(&self, actor: &Actor, name: &str) -> Result<(), AppError> {
        let removed = async {
            let users = self.app.store.users_of_destination(name).await?;
            if !users.is_empty() {
                return Err(AppError::Precondition(format!(
                    "destination {name} is used by {}: change these configurations first",
                    users.join(", ")
                )));
            }
            match self.app.store.remove_destination(name).await? {
                true => Ok(()),
                false => Err(AppError::no("destination", name)),
            }
        };
        let removed = removed.await;
        let action = "DestinationService/DeleteDestination";
        self.app.audit.recorded(actor, action, name, removed).await
    }

    /// Tries a destination: writes, reads back and removes a small file. With `accept_host_key` (a fingerprint) an SFTP
    /// server's key is kept if it is that one.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; [`AppError::Invalid`] the satellite has to be named, or the key is another one; what the
    /// satellite says. What is wrong with the destination is in the answer.
    pub async fn test(
        &self,
        actor: &Actor,
        name: &str,
        satellite: &str,
        accept_host_key: &str,
    ) -> Result<Tried, AppError> {
        let tried = self.tried(name, satellite, accept_host_key).await;
        let action = "DestinationService/TestDestination";
        self.app.audit.recorded(actor, action, name, tried).await
    }

    async fn tried(&self, name: &str, satellite: &str, accept_host_key: &str) -> Result<Tried, AppError> {
        let (row, place) = self.opened(name).await?;
        let mut whole = match place {
            Place::Server(path) => {
                let found = server::try_it(path).await?;
                return Ok(Tried {
                    found,
                    satellite: None,
                });
            }
            Place::Satellite(whole) => whole,
        };
        let satellite = self.satellite(satellite).await?;
        let found = self.ask(&satellite, &whole).await?;
        if accept_host_key.is_empty() {
            return Ok(Tried {
                found,
                satellite: Some(satellite),
            });
        }
        if found.host_key_fingerprint != accept_host_key {
            return Err(AppError::Invalid(format!(
                "the server of destination {name} shows the key {:?}, not {accept_host_key:?}: nothing was accepted",
                found.host_key_fingerprint
            )));
        }
        if let Some(Kind::Sftp(sftp)) = &mut whole.kind {
            sftp.host_key.clone_from(&found.host_key);
        }
        self.keep(row.name.as_str(), Place::Satellite(whole.clone()), true)
            .await?;
        let found = self.ask(&satellite, &whole).await?;
        Ok(Tried {
            found,
            satellite: Some(satellite),
        })
    }

    async fn ask(
        &self,
        satellite: &SatelliteName,
        whole: &pb::Destination,
    ) -> Result<pb::TestDestinationResponse, AppError> {
        let reached = match self.reach(satellite, whole.clone()).await {
            Ok(reached) => reached,
            // Not plugged in, or not to be mounted: that is what the test has found.
            Err(error) if error.code() == Code::FailedPrecondition && disk::is_one(whole) => {
                return Ok(disk::not_reached(&error));
            }
            Err(error) => return Err(error),
        };
        let request = pb::TestDestinationRequest {
            destination: reached.destination(),
        };
        // Several steps, each with a deadline of its own there.
        let deadline = self.app.config.call_deadline * 6;
        let mut client = self.client(satellite)?;
        call(satellite, deadline, client.test_destination(request)).await
    }

    /// A destination with its credentials, for a call to a satellite.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; [`AppError::Machine`] the credentials cannot be opened.
    pub(in crate::app) async fn opened(&self, name: &str) -> Result<(DestinationRow, Place), AppError> {
        let row = self.app.store.destination(name).await?;
        let row = row.ok_or_else(|| AppError::no("destination", name))?;
        let place = if row.server_directory.is_empty() {
            Place::Satellite(Box::new(self.unsealed(&row)?))
        } else {
            Place::Server(PathBuf::from(&row.server_directory))
        };
        Ok((row, place))
    }

    fn unsealed(&self, row: &DestinationRow) -> Result<pb::Destination, AppError> {
        if row.sealed.is_empty() {
            return Ok(row.settings.clone());
        }
        let doing = || format!("open the credentials of destination {}", row.name);
        let opened = self.vault()?.unseal(&purpose(&row.name), &row.sealed);
        let bytes = opened.map_err(|error| AppError::machine(doing(), error))?;
        pb::Destination::decode(bytes.as_slice()).map_err(|error| AppError::machine(doing(), error))
    }

    fn vault(&self) -> Result<Vault, AppError> {
        Vault::open(&self.app.config.state_dir).map_err(|error| AppError::machine("open the vault", error))
    }

    /// The satellite that was named, or the only one.
    async fn satellite(&self, name: &str) -> Result<SatelliteName, AppError> {
        if !name.is_empty() {
            return parsed(name);
        }
        let mut all = local::places(&self.app).await?;
        match (all.pop(), all.len()) {
            (Some(only), 0) => Ok(only),
            (None, _) => Err(AppError::Precondition(
                "there is no satellite that could reach a destination: pair one first".to_owned(),
            )),
            (Some(_), _) => Err(AppError::Invalid(
                "there are several satellites: say which one is to reach the destination".to_owned(),
            )),
        }
    }

    pub(in crate::app) fn client(
        &self,
        satellite: &SatelliteName,
    ) -> Result<DestinationServiceClient<Channel>, AppError> {
        let channel = local::channel(&self.app, satellite)?;
        Ok(DestinationServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE))
    }
}

fn purpose(name: &DestinationName) -> String {
    format!("destination {name}")
}

fn parsed<T: std::str::FromStr<Err = E>, E: std::fmt::Display>(text: &str) -> Result<T, AppError> {
    text.parse()
        .map_err(|error: E| AppError::Invalid(error.to_string()))
}

fn check_server(path: &Path) -> Result<(), AppError> {
    let plain = path.components().all(|part| {
        matches!(
            part,
            std::path::Component::RootDir | std::path::Component::Normal(_)
        )
    });
    if path.is_absolute() && plain && path.parent().is_some() {
        return Ok(());
    }
    Err(AppError::Invalid(format!(
        "`{}` is no absolute path of a directory without `..`",
        path.display()
    )))
}

/// What every destination needs; the rest is found by its test.
fn check(whole: &pb::Destination) -> Result<(), AppError> {
    let needs = |pairs: &[(&str, &str)]| {
        let missing: Vec<_> = pairs
            .iter()
            .filter(|(_, value)| value.trim().is_empty())
            .map(|(name, _)| *name)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(AppError::Invalid(format!(
            "the destination lacks {}",
            missing.join(", ")
        )))
    };
    match &whole.kind {
        None => Err(AppError::Invalid(
            "what kind of destination it is was not said".to_owned(),
        )),
        Some(Kind::Directory(_)) => Ok(()),
        Some(Kind::Smb(one)) => needs(&[
            ("server", &one.server),
            ("share", &one.share),
            ("user", &one.user),
        ]),
        Some(Kind::Sftp(one)) => needs(&[("server", &one.server), ("user", &one.user)]),
        Some(Kind::Dropbox(one)) => needs(&[("app key", &one.app_key)]),
        Some(Kind::Usb(one)) if one.label.is_empty() && one.uuid.is_empty() => Err(AppError::Invalid(
            "a USB disk is named by the label or the UUID of its file system".to_owned(),
        )),
        Some(Kind::Usb(_)) => Ok(()),
        Some(Kind::Mail(one)) if one.to.is_empty() => Err(AppError::Invalid(
            "the destination lacks an address to send to".to_owned(),
        )),
        Some(Kind::Mail(one)) => needs(&[("server", &one.server), ("from", &one.from)]),
        Some(Kind::S3(one)) => needs(&[
            ("endpoint", &one.endpoint),
            ("bucket", &one.bucket),
            ("access key", &one.access_key),
        ]),
        Some(Kind::Webdav(one)) => needs(&[("url", &one.url)]),
    }
}

/// What kind of destination a row is, for lists.
#[must_use]
pub fn kind_of(row: &DestinationRow) -> &'static str {
    match &row.settings.kind {
        _ if !row.server_directory.is_empty() => "server",
        None => "",
        Some(Kind::Directory(_)) => "directory",
        Some(Kind::Smb(_)) => "smb",
        Some(Kind::Sftp(_)) => "sftp",
        Some(Kind::Dropbox(_)) => "dropbox",
        Some(Kind::Usb(_)) => "usb",
        Some(Kind::Mail(_)) => "mail",
        Some(Kind::S3(_)) => "s3",
        Some(Kind::Webdav(_)) => "webdav",
    }
}

/// Where a destination is, for a person.
#[must_use]
pub fn place_of(row: &DestinationRow) -> String {
    match &row.settings.kind {
        _ if !row.server_directory.is_empty() => row.server_directory.clone(),
        None => String::new(),
        Some(Kind::Directory(one)) => one.path.clone(),
        Some(Kind::Smb(one)) => format!("smb://{}/{}", one.server, one.share),
        Some(Kind::Sftp(one)) => format!(
            "sftp://{}@{}/{}",
            one.user,
            one.server,
            one.path.trim_start_matches('/')
        ),
        Some(Kind::Dropbox(one)) => format!("dropbox ({})", one.app_key),
        Some(Kind::Usb(one)) if one.uuid.is_empty() => one.label.clone(),
        Some(Kind::Usb(one)) => one.uuid.clone(),
        Some(Kind::Mail(one)) => one.to.join(", "),
        Some(Kind::S3(one)) => format!(
            "{}/{}/{}",
            one.endpoint.trim_end_matches('/'),
            one.bucket,
            one.prefix
        ),
        Some(Kind::Webdav(one)) => one.url.clone(),
    }
}

#[cfg(test)]
mod tests;
