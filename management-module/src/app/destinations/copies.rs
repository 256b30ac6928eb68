//! Copies at a destination: listed, and brought back among the archives to be restored like any other.
//!
//! What is there is asked of the destination itself: it can be found again also when the server has forgotten it.

use std::path::Path;
use std::time::Duration;

use satellite_proto::wire::backup::v1 as pb;
use satellite_proto::wire::backup::v1::destination::Kind;
use satellite_proto::wire::backup::v1::fetch_copy_response::Kind as Message;
use satellite_proto::wire::management::v1::JobEvent;
use tonic::Status;

use super::{Destinations, Place};
use crate::app::backup::failure;
use crate::app::local::HERE;
use crate::app::remote::call;
use crate::app::{Actor, AppError, Begun, Job, passphrases};
use crate::names::SatelliteName;

/// What the audit log calls it.
const ACTION: &str = "DestinationService/FetchCopy";
/// The backup-service says how far it is every few seconds; after so long nothing is expected any more.
const SILENCE: Duration = Duration::from_mins(5);
/// Files of a directory of the server that are listed.
const MOST: usize = 10_000;

/// Where to look at a destination.
#[derive(Debug, Clone, Default)]
pub struct CopyPlace {
    /// Name of the destination.
    pub destination: String,
    /// Directory that was made there; empty: `starface-backup`.
    pub directory: String,
    /// The satellite that looks; empty: the only one.
    pub satellite: String,
}

/// What opens a copy that is encrypted.
#[derive(Default)]
pub struct CopyKeys {
    /// What `age-keygen` has written.
    pub identities: Option<pb::Secret>,
    /// A passphrase; none: that of the copy's configuration is tried.
    pub passphrase: Option<pb::Secret>,
}

impl std::fmt::Debug for CopyKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CopyKeys(…)")
    }
}

impl Destinations {
    /// The archive files at a destination, of one configuration or (empty) of all.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; what the satellite says.
    pub async fn copies(&self, place: &CopyPlace, configuration: &str) -> Result<Vec<pb::Copy>, AppError> {
        let (_, opened) = self.opened(&place.destination).await?;
        let base = base_of(place);
        let mut whole = match opened {
            Place::Server(root) => {
                let below = root.join(base).join(configuration);
                let listed = tokio::task::spawn_blocking(move || files_of(&root, &below)).await;
                return listed.map_err(|error| AppError::machine("list a directory", error));
            }
            Place::Satellite(whole) => whole,
        };
        base.clone_into(&mut whole.base_directory);
        let satellite = self.satellite(&place.satellite).await?;
        let reached = self.reach(&satellite, *whole).await?;
        let request = pb::ListCopiesRequest {
            destination: reached.destination(),
            sub_directory: configuration.to_owned(),
        };
        let mut client = self.client(&satellite)?;
        let deadline = self.app.config.call_deadline * 6;
        Ok(call(&satellite, deadline, client.list_copies(request))
            .await?
            .copies)
    }

    /// Begins to bring a copy back and answers the job. A repeated key answers the first job.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; [`AppError::Precondition`] it lies where the satellite does not reach it.
    pub async fn fetch(
        &self,
        actor: Actor,
        place: CopyPlace,
        (path, keys): (&str, CopyKeys),
        idempotency_key: &str,
    ) -> Result<String, AppError> {
        let subject = format!("{}: {path}", place.destination);
        let begun = self.fetch_begun(&place, (path, keys), idempotency_key).await;
        let begun = self.app.audit.begun(&actor, ACTION, &subject, begun).await?;
        let (satellite, request, job) = match begun {
            (_, _, Begun::Existing(id)) => return Ok(id),
            (satellite, request, Begun::New(job)) => (satellite, request, job),
        };
        let (id, destinations) = (job.id().to_owned(), self.clone());
        tokio::spawn(async move {
            destinations
                .fetched((actor, subject), satellite, request, job)
                .await
        });
        Ok(id)
    }

    async fn fetch_begun(
        &self,
        place: &CopyPlace,
        (path, keys): (&str, CopyKeys),
        key: &str,
    ) -> Result<(SatelliteName, pb::FetchCopyRequest, Begun), AppError> {
        let satellite = self.satellite(&place.satellite).await?;
        let mut request = self.request_of(place, path, &satellite).await?;
        request.identities = keys.identities;
        request.passphrase = match keys.passphrase {
            None => self.known_passphrase(path).await?,
            given => given,
        };
        let begun = self.app.jobs.begin("fetch", satellite.as_str(), key).await?;
        Ok((satellite, request, begun))
    }

    /// The passphrase of the configuration whose directory a copy lies in.
    async fn known_passphrase(&self, path: &str) -> Result<Option<pb::Secret>, AppError> {
        let name = Path::new(path).parent().and_then(Path::file_name);
        let Some(name) = name.and_then(std::ffi::OsStr::to_str) else {
            return Ok(None);
        };
        match self.app.store.configuration(name).await? {
            Some(row) => passphrases::passphrase(&self.app, &row.configuration.encryption),
            None => Ok(None),
        }
    }

    async fn request_of(
        &self,
        place: &CopyPlace,
        path: &str,
        satellite: &SatelliteName,
    ) -> Result<pb::FetchCopyRequest, AppError> {
        let base = base_of(place);
        let (whole, path) = match self.opened(&place.destination).await?.1 {
            Place::Satellite(whole) => (*whole, path.to_owned()),
            Place::Server(root)
                if satellite.as_str() == HERE && self.app.config.local_backup_service.is_some() =>
            {
                let relative = Path::new(path).strip_prefix(&root).unwrap_or(Path::new(path));
                let directory = pb::DirectoryDestination {
                    path: root.display().to_string(),
                };
                let whole = pb::Destination {
                    kind: Some(Kind::Directory(directory)),
                    ..pb::Destination::default()
                };
                (whole, relative.display().to_string())
            }
            Place::Server(root) => {
                return Err(AppError::Precondition(format!(
                    "{} is a directory of the server, which satellite {satellite} does not reach: open the file there with \
                     `tar --zstd`, or copy it to a destination that the satellite reaches",
                    root.display()
                )));
            }
        };
        Ok(pb::FetchCopyRequest {
            destination: Some(pb::Destination {
                base_directory: base.to_owned(),
                ..whole
            }),
            path,
            ..pb::FetchCopyRequest::default()
        })
    }

    async fn fetched(
        &self,
        (actor, subject): (Actor, String),
        satellite: SatelliteName,
        request: pb::FetchCopyRequest,
        mut job: Job,
    ) {
        let archive = self.bring(&satellite, request, &mut job).await;
        let archive = self.app.audit.recorded(&actor, ACTION, &subject, archive).await;
        match archive {
            Ok(archive) => {
                job.succeed(JobEvent {
                    archive: Some(archive),
                    ..JobEvent::default()
                })
                .await;
            }
            Err(error) => job.fail(failure(&error)).await,
        }
    }

    async fn bring(
        &self,
        satellite: &SatelliteName,
        mut request: pb::FetchCopyRequest,
        job: &mut Job,
    ) -> Result<pb::Archive, AppError> {
        let reached = self
            .reach(satellite, request.destination.take().unwrap_or_default())
            .await?;
        request.destination = reached.destination();
        let remote = |status| AppError::remote(satellite.as_str(), status);
        let silent = |_| {
            remote(Status::deadline_exceeded(
                "nothing was heard of the copy for too long",
            ))
        };
        let mut client = self.client(satellite)?;
        let opened = tokio::time::timeout(SILENCE, client.fetch_copy(request)).await;
        let mut messages = opened.map_err(silent)?.map_err(remote)?.into_inner();
        loop {
            let message = tokio::time::timeout(SILENCE, messages.message()).await;
            match message
                .map_err(silent)?
                .map_err(remote)?
                .map(|message| message.kind)
            {
                Some(Some(Message::Archive(archive))) => return Ok(archive),
                Some(Some(Message::Progress(progress))) => {
                    let step = match progress.step() {
                        pb::CopyStep::Verify => "checking the archive",
                        _ => "bringing the copy back",
                    };
                    job.progress(step, progress.done, progress.total, "bytes").await;
                }
                Some(None) => {}
                None => {
                    return Err(remote(Status::unavailable(
                        "the call ended before the copy was there",
                    )));
                }
            }
        }
    }
}

fn base_of(place: &CopyPlace) -> &str {
    match place.directory.as_str() {
        "" => crate::plan::configuration::DIRECTORY,
        directory => directory,
    }
}

/// The archive files of a directory, by path.
fn files_of(root: &Path, below: &Path) -> Vec<pb::Copy> {
    let entries = walkdir::WalkDir::new(below)
        .sort_by_file_name()
        .into_iter()
        .flatten();
    let is_archive = |entry: &walkdir::DirEntry| {
        let name = entry.file_name().to_string_lossy();
        entry.file_type().is_file() && (name.ends_with(".sar") || name.ends_with(".sar.age"))
    };
    let copy = |entry: walkdir::DirEntry| {
        let metadata = entry.metadata().ok()?;
        let changed = metadata
            .modified()
            .ok()
            .and_then(|time| jiff::Timestamp::try_from(time).ok());
        Some(pb::Copy {
            path: entry.path().strip_prefix(root).ok()?.display().to_string(),
            file_name: entry.file_name().to_string_lossy().into_owned(),
            size_bytes: metadata.len(),
            modify_time: changed.map(|time| prost_types::Timestamp {
                seconds: time.as_second(),
                nanos: 0,
            }),
        })
    };
    entries.filter(is_archive).filter_map(copy).take(MOST).collect()
}
