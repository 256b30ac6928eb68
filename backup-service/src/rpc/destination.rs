//! The service `satellite.backup.v1.DestinationService`.
//!
//! **Invariants:** a destination's description is doubted in `wire` and nowhere else; a call whose caller is gone ends.

mod wire;

pub(super) use self::wire::login;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use satellite_proto::wire::backup::v1 as pb;
use satellite_proto::wire::backup::v1::destination_service_server::DestinationService;
use tokio::sync::mpsc::channel;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{catalog_status, id};
use crate::access;
use crate::archive::names::Label;
use crate::catalog::Catalog;
use crate::config::Config;
use crate::destination::check::{check, unreadable};
use crate::destination::copy::{Content, Flights, Job, copy};
use crate::destination::dropbox::oauth;
use crate::destination::fault::Fault;
use crate::destination::fetch::fetch;
use crate::destination::gauge::Gauge;
use crate::destination::path::{Mark, PlacePath, is_archive};
use crate::destination::probe::probe;
use crate::destination::target::Target;
use crate::destination::visit::{Patience, Visit};

/// Calls that hold a connection to a destination at once; others are refused for the moment.
const MOST_VISITS: usize = 16;

/// For questions whose answer may be missing.
const HASTE: Patience = Patience {
    tries: 2,
    first: Duration::from_millis(200),
    longest: Duration::from_secs(1),
};

/// How often a caller hears how far it is.
const TELL: Duration = Duration::from_secs(1);

/// Most copies that a list answers, so that the answer fits into a message.
const MOST_LISTED: usize = 10_000;

/// The service.
#[derive(Debug, Clone)]
pub struct Destinations {
    catalog: Catalog,
    config: Arc<Config>,
    mark: Mark,
    flights: Flights,
    visits: Arc<Semaphore>,
}

type Stream<T> = ReceiverStream<Result<T, Status>>;

impl Destinations {
    /// Serves copies of what is in `catalog`. `mark` tells this service's temporaries from those of others.
    #[must_use]
    pub fn new(catalog: Catalog, config: Arc<Config>, mark: Mark) -> Self {
        Self {
            catalog,
            config,
            mark,
            flights: Flights::default(),
            visits: Arc::new(Semaphore::new(MOST_VISITS)),
        }
    }

    fn admit<T>(&self, request: Request<T>, method: &str) -> Result<(T, OwnedSemaphorePermit), Status> {
        access::check(&request, method, self.config.local_role)?;
        let permit = Arc::clone(&self.visits).try_acquire_owned().map_err(|_| {
            Status::unavailable("too many destinations are in use at once: try again when one is done with")
        })?;
        Ok((request.into_inner(), permit))
    }

    fn target(&self, described: Option<pb::Destination>) -> Result<Target, Status> {
        wire::target(described, &self.config).map_err(|fault| fault.status())
    }

    fn patience(&self) -> Patience {
        Patience {
            tries: self.config.tries,
            ..Patience::default()
        }
    }
}

/// Does the work and tells how far it is until it is done or the caller is gone.
fn told<T, F>(gauge: Gauge, tell: fn(pb::CopyProgress) -> T, work: F) -> Stream<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Fault>> + Send + 'static,
{
    let (out, stream) = channel(4);
    tokio::spawn(async move {
        tokio::pin!(work);
        let mut ticks = tokio::time::interval(TELL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let done = loop {
            tokio::select! {
                done = &mut work => break done,
                () = out.closed() => return,
                _ = ticks.tick() => {
                    // A caller that does not listen misses some; that is no reason to wait for it.
                    let _ = out.try_send(Ok(tell(wire::progress(gauge.read()))));
                }
            }
        };
        let last = done.map_err(|fault| {
            if let Fault::Own { .. } = fault {
                tracing::error!(error = super::chain(&fault), "Our own disk failed during a copy");
            }
            fault.status()
        });
        let _ = out.send(last).await;
    });
    ReceiverStream::new(stream)
}

/// For whom something is encrypted, checked.
pub(super) fn encryption(given: Option<pb::Encryption>) -> Result<Option<crate::age::For>, Status> {
    wire::encryption(given).map_err(|fault| fault.status())
}

fn place_path(text: &str) -> Result<PlacePath, Status> {
    PlacePath::of_archive(text).ok_or_else(|| {
        Fault::Description("`path` is not the path of a copy: list the copies".to_owned()).status()
    })
}

fn label(text: &str) -> Result<Label, Status> {
    text.parse()
        .map_err(|bad| Fault::Description(format!("`sub_directory` cannot name a directory: {bad}")).status())
}

#[tonic::async_trait]
impl DestinationService for Destinations {
    type CopyArchiveStream = Stream<pb::CopyArchiveResponse>;
    type FetchCopyStream = Stream<pb::FetchCopyResponse>;
    type VerifyCopyStream = Stream<pb::VerifyCopyResponse>;

    async fn test_destination(
        &self,
        request: Request<pb::TestDestinationRequest>,
    ) -> Result<Response<pb::TestDestinationResponse>, Status> {
        let (asked, _permit) = self.admit(request, "TestDestination")?;
        let target = match wire::target(asked.destination, &self.config) {
            Ok(target) => target,
            Err(fault) => return Ok(Response::new(wire::not_described(&fault))),
        };
        let findings = probe(&target, &self.mark).await;
        Ok(Response::new(wire::findings(&findings)))
    }

    async fn get_space(
        &self,
        request: Request<pb::GetSpaceRequest>,
    ) -> Result<Response<pb::GetSpaceResponse>, Status> {
        let (asked, _permit) = self.admit(request, "GetSpace")?;
        let target = self.target(asked.destination)?;
        let asked = async {
            let mut visit = Visit::begin(&target, HASTE, Gauge::default()).await?;
            let space = (visit.place.free().await, visit.place.most().await);
            visit.place.close().await;
            Ok((space.0?, space.1?))
        };
        let (free_bytes, most_bytes) = asked.await.map_err(|fault: Fault| fault.status())?;
        Ok(Response::new(pb::GetSpaceResponse {
            free_bytes,
            most_bytes,
        }))
    }

    async fn copy_archive(
        &self,
        request: Request<pb::CopyArchiveRequest>,
    ) -> Result<Response<Self::CopyArchiveStream>, Status> {
        let (asked, permit) = self.admit(request, "CopyArchive")?;
        let target = self.target(asked.destination)?;
        let reading = self
            .catalog
            .read(id(&asked.archive_id)?)
            .map_err(catalog_status)?;
        let directory = match asked.sub_directory.as_str() {
            "" => label(&reading.record.directory)?,
            given => label(given)?,
        };
        let whom = encryption(asked.encryption)?;
        let sealed = match whom {
            None => None,
            Some(whom) => Some(super::sealed(&self.catalog, &reading, whom).await?),
        };
        let file_name = sealed
            .as_ref()
            .map_or(&reading.record.file_name, |one| &one.file_name);
        let path = PlacePath::top(&target.base)
            .join(directory.as_str())
            .and_then(|directory| directory.join(file_name))
            .ok_or_else(|| Status::internal("the archive's name cannot be that of a copy"))?;
        let flight = self
            .flights
            .claim(&target.identity(), &path)
            .map_err(|fault| fault.status())?;
        let (this, gauge) = (self.clone(), Gauge::default());
        let work = {
            let gauge = gauge.clone();
            async move {
                let _kept = (permit, flight);
                let mut visit = Visit::begin(&target, this.patience(), gauge).await?;
                let (content, size, sha256) = match &sealed {
                    Some(one) => (Content::Sealed(&one.sealed), one.sealed.size(), &one.sha256),
                    None => {
                        let record = &reading.record;
                        (Content::Plain(&reading.path), record.size_bytes, &record.sha256)
                    }
                };
                let job = Job {
                    content,
                    path,
                    size,
                    sha256,
                    mark: &this.mark,
                    flights: &this.flights,
                };
                let copied = copy(&job, &mut visit).await;
                visit.place.close().await;
                let copied = copied?;
                tracing::info!(
                    archive = %reading.record.id,
                    destination = target.identity(),
                    path = %job.path,
                    existed = copied.existed,
                    "Copied an archive"
                );
                Ok(wire::copied(&job, copied))
            }
        };
        let tell = |progress| pb::CopyArchiveResponse {
            kind: Some(pb::copy_archive_response::Kind::Progress(progress)),
        };
        Ok(Response::new(told(gauge, tell, work)))
    }

    async fn list_copies(
        &self,
        request: Request<pb::ListCopiesRequest>,
    ) -> Result<Response<pb::ListCopiesResponse>, Status> {
        let (asked, _permit) = self.admit(request, "ListCopies")?;
        let target = self.target(asked.destination)?;
        let only = match asked.sub_directory.as_str() {
            "" => None,
            given => Some(label(given)?),
        };
        let listed = async {
            let mut visit = Visit::begin(&target, self.patience(), Gauge::default()).await?;
            let listed = list(&mut visit, &target, only.as_ref()).await;
            visit.place.close().await;
            listed
        };
        let copies = listed.await.map_err(|fault: Fault| fault.status())?;
        Ok(Response::new(pb::ListCopiesResponse { copies }))
    }

    async fn fetch_copy(
        &self,
        request: Request<pb::FetchCopyRequest>,
    ) -> Result<Response<Self::FetchCopyStream>, Status> {
        let (asked, permit) = self.admit(request, "FetchCopy")?;
        let target = self.target(asked.destination)?;
        let path = place_path(&asked.path)?;
        let keys = wire::keys(asked.identities, asked.passphrase).map_err(|fault| fault.status())?;
        let (this, gauge) = (self.clone(), Gauge::default());
        let work = {
            let gauge = gauge.clone();
            async move {
                let _permit = permit;
                let mut visit = Visit::begin(&target, this.patience(), gauge).await?;
                let fetched = fetch(&mut visit, &path, keys, &this.catalog).await;
                visit.place.close().await;
                let record = fetched?;
                tracing::info!(archive = %record.id, destination = target.identity(), %path, "Fetched a copy");
                let archive = super::wire::archive(&record, &this.config.directory);
                Ok(pb::FetchCopyResponse {
                    kind: Some(pb::fetch_copy_response::Kind::Archive(archive)),
                })
            }
        };
        let tell = |progress| pb::FetchCopyResponse {
            kind: Some(pb::fetch_copy_response::Kind::Progress(progress)),
        };
        Ok(Response::new(told(gauge, tell, work)))
    }

    async fn verify_copy(
        &self,
        request: Request<pb::VerifyCopyRequest>,
    ) -> Result<Response<Self::VerifyCopyStream>, Status> {
        let (asked, permit) = self.admit(request, "VerifyCopy")?;
        let target = self.target(asked.destination)?;
        let path = place_path(&asked.path)?;
        let expected = (!asked.sha256.is_empty()).then_some(asked.sha256);
        let (patience, gauge) = (self.patience(), Gauge::default());
        let work = {
            let gauge = gauge.clone();
            async move {
                let _permit = permit;
                let mut visit = Visit::begin(&target, patience, gauge).await?;
                let checked = check(&mut visit, &path, expected.as_deref()).await;
                visit.place.close().await;
                let checked = checked?;
                if let Some(problem) = checked.problems.first() {
                    tracing::error!(destination = target.identity(), %path, problem, "A copy is damaged");
                }
                Ok(pb::VerifyCopyResponse {
                    kind: Some(pb::verify_copy_response::Kind::Done(wire::checked(checked))),
                })
            }
        };
        let tell = |progress| pb::VerifyCopyResponse {
            kind: Some(pb::verify_copy_response::Kind::Progress(progress)),
        };
        Ok(Response::new(told(gauge, tell, work)))
    }

    async fn delete_copy(
        &self,
        request: Request<pb::DeleteCopyRequest>,
    ) -> Result<Response<pb::DeleteCopyResponse>, Status> {
        let (asked, _permit) = self.admit(request, "DeleteCopy")?;
        let target = self.target(asked.destination)?;
        let path = place_path(&asked.path)?;
        let removed = async {
            let mut visit = Visit::begin(&target, self.patience(), Gauge::default()).await?;
            if visit.place.only_takes() {
                return Err(unreadable());
            }
            loop {
                match visit.place.remove(&path).await {
                    Ok(()) => break,
                    Err(fault) => visit.recover(fault).await?,
                }
            }
            visit.place.close().await;
            Ok(())
        };
        removed.await.map_err(|fault: Fault| fault.status())?;
        tracing::info!(destination = target.identity(), %path, "Deleted a copy");
        Ok(Response::new(pb::DeleteCopyResponse {}))
    }

    async fn begin_dropbox(
        &self,
        request: Request<pb::BeginDropboxRequest>,
    ) -> Result<Response<pb::BeginDropboxResponse>, Status> {
        let (asked, _permit) = self.admit(request, "BeginDropbox")?;
        let app_key = wire::app_key(asked.app_key).map_err(|fault| fault.status())?;
        let (url, verifier) = oauth::begin(&wire::hosts(&self.config), &app_key);
        let verifier = Some(wire::shown(&verifier));
        Ok(Response::new(pb::BeginDropboxResponse { url, verifier }))
    }

    async fn finish_dropbox(
        &self,
        request: Request<pb::FinishDropboxRequest>,
    ) -> Result<Response<pb::FinishDropboxResponse>, Status> {
        let (asked, _permit) = self.admit(request, "FinishDropbox")?;
        let finished = async {
            let app_key = wire::app_key(asked.app_key)?;
            let verifier = wire::required(asked.verifier, "verifier")?;
            let code = wire::required(asked.code, "code")?;
            let hosts = wire::hosts(&self.config);
            let (refresh_token, account) = oauth::finish(hosts, &app_key, &verifier, &code).await?;
            let dropbox = pb::DropboxDestination {
                app_key,
                app_secret: None,
                refresh_token: Some(wire::shown(&refresh_token)),
            };
            Ok(pb::FinishDropboxResponse {
                dropbox: Some(dropbox),
                account,
            })
        };
        let finished = finished.await.map_err(|fault: Fault| fault.status())?;
        tracing::info!("Connected a Dropbox");
        Ok(Response::new(finished))
    }
}

/// The archives below the base directory, or below one directory of it.
async fn list(visit: &mut Visit, target: &Target, only: Option<&Label>) -> Result<Vec<pb::Copy>, Fault> {
    if visit.place.only_takes() {
        return Err(unreadable());
    }
    let base = PlacePath::top(&target.base);
    let names = match only {
        Some(one) => vec![one.to_string()],
        None => {
            let entries = entries(visit, &base).await?;
            let directories = entries.into_iter().filter(|entry| entry.is_directory);
            directories.map(|entry| entry.name).collect()
        }
    };
    let mut copies = Vec::new();
    for directory in names.iter().filter_map(|name| base.join(name)) {
        for entry in entries(visit, &directory).await? {
            if let Some(path) = directory.join(&entry.name)
                && !entry.is_directory
                && is_archive(&entry.name)
                && copies.len() < MOST_LISTED
            {
                copies.push(wire::listed(&path, &entry));
            }
        }
    }
    copies.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(copies)
}

async fn entries(
    visit: &mut Visit,
    path: &PlacePath,
) -> Result<Vec<crate::destination::place::Entry>, Fault> {
    loop {
        match visit.place.list(path).await {
            Ok(entries) => return Ok(entries),
            Err(fault) => visit.recover(fault).await?,
        }
    }
}
