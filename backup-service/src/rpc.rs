//! The service `satellite.backup.v1.ArchiveService`: each method checks the role, turns the message into checked
//! values, makes one call, and turns the answer back.
//!
//! **Invariants:** nothing holds an archive in memory; what blocks runs on threads of its own; an error says what
//! happened and never what a disk's path is unless that helps.

mod base;
pub mod central;
mod create;
pub mod destination;
mod read;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use satellite_proto::identity::Role;
use satellite_proto::wire::backup::v1::archive_service_server::ArchiveService;
use satellite_proto::wire::backup::v1::{
    CreateArchiveRequest, CreateArchiveResponse, DeleteArchiveRequest, DeleteArchiveResponse,
    DownloadArchiveRequest, DownloadArchiveResponse, FindMembersRequest, FindMembersResponse,
    GetArchiveRequest, GetArchiveResponse, GetStorageRequest, GetStorageResponse, ListArchivesRequest,
    ListArchivesResponse, ReadArchiveRequest, ReadArchiveResponse, SealArchiveRequest, SealArchiveResponse,
    VerifyArchiveRequest, VerifyArchiveResponse,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::access;
use crate::age::For;
use crate::archive::read::Archive;
use crate::archive::threads;
use crate::archive::verify::verify;
use crate::catalog::{Catalog, CatalogError, Reading, Record, SealedArchive};
use crate::config::Config;

/// Bytes of a text that is looked for.
const MOST_TEXT: usize = 1000;

/// Most archives that a list answers, so that the answer fits into a message.
const MOST_LISTED: usize = 8000;

/// Archives that are written at once, so that memory stays bounded; others wait.
const MOST_CREATES: usize = 2;

/// Archives that are read member by member at once; others are refused for the moment.
const MOST_READS: usize = 4;

/// The service.
#[derive(Debug, Clone)]
pub struct Archives {
    catalog: Catalog,
    config: Arc<Config>,
    creates: Arc<Semaphore>,
    reads: Arc<Semaphore>,
}

impl Archives {
    /// Serves what is in `catalog`.
    #[must_use]
    pub fn new(catalog: Catalog, config: Arc<Config>) -> Self {
        let (creates, reads) = (
            Arc::new(Semaphore::new(MOST_CREATES)),
            Arc::new(Semaphore::new(MOST_READS)),
        );
        Self {
            catalog,
            config,
            creates,
            reads,
        }
    }

    /// Waits until one more archive may be written.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, Status> {
        let waiting = tokio::time::timeout(self.config.stall, Arc::clone(&self.creates).acquire_owned());
        let Ok(Ok(permit)) = waiting.await else {
            return Err(Status::unavailable(
                "other archives are being written: try again when one has ended",
            ));
        };
        Ok(permit)
    }

    /// Writes an archive of what comes; nothing may come for as long as `stall`.
    async fn write_archive(
        &self,
        turn: OwnedSemaphorePermit,
        stream: create::Messages,
        stall: Duration,
    ) -> Result<Record, Status> {
        let (catalog, runtime) = (self.catalog.clone(), tokio::runtime::Handle::current());
        blocking(move || {
            let _turn = turn;
            create::create(
                &catalog,
                create::Source {
                    stream,
                    runtime,
                    stall,
                },
            )
        })
        .await
    }

    fn admit<T>(&self, request: Request<T>, method: &str) -> Result<T, Status> {
        let local: Option<Role> = self.config.local_role;
        access::check(&request, method, local)?;
        Ok(request.into_inner())
    }
}

fn permit(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Status> {
    Arc::clone(of).try_acquire_owned().map_err(|_| {
        Status::unavailable("too many archives are being read at once: try again when one has ended")
    })
}

fn id(text: &str) -> Result<Uuid, Status> {
    text.parse()
        .map_err(|_| Status::invalid_argument("`id` is not the id of an archive: list the archives"))
}

/// Runs what blocks; a panic in it ends the call, not the service.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| {
        Err(Status::internal(
            "the work stopped: see the log of the backup-service",
        ))
    })
}

/// What an archive becomes when it is encrypted.
async fn sealed(catalog: &Catalog, reading: &Reading, whom: For) -> Result<SealedArchive, Status> {
    let (catalog, id) = (catalog.clone(), reading.record.id);
    blocking(move || {
        let reading = catalog.read(id).map_err(catalog_status)?;
        catalog.sealed(&reading, &whom).map_err(|error| {
            tracing::error!(archive = %id, error = chain(&error), "Cannot encrypt an archive");
            Status::internal("the archive cannot be encrypted: see the log of the backup-service")
        })
    })
    .await
}

/// An error with all its causes, for the log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn catalog_status(error: CatalogError) -> Status {
    match &error {
        CatalogError::NotFound(_) | CatalogError::NoFile(_) => Status::not_found(error.to_string()),
        CatalogError::Busy(_) | CatalogError::InProgress => Status::aborted(error.to_string()),
        CatalogError::Exists(_) => Status::already_exists(error.to_string()),
        CatalogError::Io { source, .. } if wire::is_full(source) => {
            Status::resource_exhausted("the disk is full: delete archives or make it larger")
        }
        CatalogError::Io { .. } => {
            tracing::error!(error = chain(&error), "The catalogue failed");
            Status::internal("the disk failed: see the log of the backup-service")
        }
    }
}

#[tonic::async_trait]
impl ArchiveService for Archives {
    type DownloadArchiveStream = ReceiverStream<Result<DownloadArchiveResponse, Status>>;
    type ReadArchiveStream = ReceiverStream<Result<ReadArchiveResponse, Status>>;

    async fn create_archive(
        &self,
        request: Request<Streaming<CreateArchiveRequest>>,
    ) -> Result<Response<CreateArchiveResponse>, Status> {
        let stream = self.admit(request, "CreateArchive")?;
        let turn = self.turn().await?;
        let stall = self.config.stall;
        let record = self.write_archive(turn, Box::pin(stream), stall).await?;
        Ok(Response::new(CreateArchiveResponse {
            archive: Some(wire::archive(&record, &self.config.directory)),
        }))
    }

    async fn list_archives(
        &self,
        request: Request<ListArchivesRequest>,
    ) -> Result<Response<ListArchivesResponse>, Status> {
        let asked = self.admit(request, "ListArchives")?;
        let (records, unreadable) = self.catalog.list();
        let wanted = records
            .iter()
            .filter(|r| asked.central.is_empty() || r.central.as_str() == asked.central);
        let archives = wanted
            .take(MOST_LISTED)
            .map(|r| wire::archive(r, &self.config.directory))
            .collect();
        Ok(Response::new(ListArchivesResponse { archives, unreadable }))
    }

    async fn get_archive(
        &self,
        request: Request<GetArchiveRequest>,
    ) -> Result<Response<GetArchiveResponse>, Status> {
        let asked = self.admit(request, "GetArchive")?;
        let record = self.catalog.get(id(&asked.id)?).map_err(catalog_status)?;
        Ok(Response::new(GetArchiveResponse {
            archive: Some(wire::archive(&record, &self.config.directory)),
        }))
    }

    async fn download_archive(
        &self,
        request: Request<DownloadArchiveRequest>,
    ) -> Result<Response<Self::DownloadArchiveStream>, Status> {
        let asked = self.admit(request, "DownloadArchive")?;
        let reading = self.catalog.read(id(&asked.id)?).map_err(catalog_status)?;
        let sealed = match destination::encryption(asked.encryption)? {
            None => None,
            Some(whom) => Some(sealed(&self.catalog, &reading, whom).await?),
        };
        read::download(reading, sealed, asked.offset).map(Response::new)
    }

    async fn seal_archive(
        &self,
        request: Request<SealArchiveRequest>,
    ) -> Result<Response<SealArchiveResponse>, Status> {
        let asked = self.admit(request, "SealArchive")?;
        let reading = self.catalog.read(id(&asked.id)?).map_err(catalog_status)?;
        let whom = destination::encryption(asked.encryption)?;
        let whom = whom.ok_or_else(|| Status::invalid_argument("`encryption` is missing"))?;
        let sealed = sealed(&self.catalog, &reading, whom).await?;
        Ok(Response::new(SealArchiveResponse {
            size_bytes: sealed.sealed.size(),
            file_name: sealed.file_name,
            sha256: sealed.sha256,
        }))
    }

    async fn find_members(
        &self,
        request: Request<FindMembersRequest>,
    ) -> Result<Response<FindMembersResponse>, Status> {
        let asked = self.admit(request, "FindMembers")?;
        if asked.text.len() > MOST_TEXT {
            return Err(Status::invalid_argument(format!(
                "`text` may have {MOST_TEXT} bytes"
            )));
        }
        let reading = self.catalog.read(id(&asked.id)?).map_err(catalog_status)?;
        let permit = permit(&self.reads)?;
        let found = blocking(move || {
            let _permit = permit;
            read::find(&reading, &asked)
        });
        found.await.map(Response::new)
    }

    async fn read_archive(
        &self,
        request: Request<ReadArchiveRequest>,
    ) -> Result<Response<Self::ReadArchiveStream>, Status> {
        let asked = self.admit(request, "ReadArchive")?;
        let reading = self.catalog.read(id(&asked.id)?).map_err(catalog_status)?;
        let selection = wire::selection(asked)?;
        let permit = permit(&self.reads)?;
        Ok(Response::new(read::read(reading, selection, permit)))
    }

    async fn verify_archive(
        &self,
        request: Request<VerifyArchiveRequest>,
    ) -> Result<Response<VerifyArchiveResponse>, Status> {
        let asked = self.admit(request, "VerifyArchive")?;
        let reading = self.catalog.read(id(&asked.id)?).map_err(catalog_status)?;
        let (catalog, directory) = (self.catalog.clone(), self.config.directory.clone());
        let permit = permit(&self.reads)?;
        let answer = blocking(move || {
            let _permit = permit;
            let opened = Archive::open(&reading.path);
            let report = opened.and_then(|archive| verify(&archive, Some(&reading.record.sha256), threads()));
            let (problems, members) = match report {
                Ok(report) => (report.problems, report.members),
                Err(error) => (vec![chain(&error)], 0),
            };
            let record = if problems.is_empty() {
                catalog.verified(reading.record.id).map_err(catalog_status)?
            } else {
                tracing::error!(archive = %reading.record.id, problem = problems[0], "An archive is damaged");
                reading.record.clone()
            };
            let archive = Some(wire::archive(&record, &directory));
            Ok(VerifyArchiveResponse {
                intact: problems.is_empty(),
                problems,
                members,
                archive,
            })
        });
        answer.await.map(Response::new)
    }

    async fn delete_archive(
        &self,
        request: Request<DeleteArchiveRequest>,
    ) -> Result<Response<DeleteArchiveResponse>, Status> {
        let asked = self.admit(request, "DeleteArchive")?;
        wire::key(&asked.idempotency_key)?;
        let catalog = self.catalog.clone();
        if !asked.unreadable.is_empty() {
            if !asked.id.is_empty() {
                return Err(Status::invalid_argument(
                    "name an archive or an unreadable file, not both",
                ));
            }
            let file = asked.unreadable.clone();
            let gone = move || catalog.delete_unreadable(&asked.unreadable, &asked.idempotency_key);
            blocking(move || gone().map_err(catalog_status)).await?;
            tracing::info!(file, "Deleted an unreadable file");
            return Ok(Response::new(DeleteArchiveResponse {}));
        }
        let id = id(&asked.id)?;
        blocking(move || catalog.delete(id, &asked.idempotency_key).map_err(catalog_status)).await?;
        tracing::info!(archive = %id, "Deleted an archive");
        Ok(Response::new(DeleteArchiveResponse {}))
    }

    async fn get_storage(
        &self,
        request: Request<GetStorageRequest>,
    ) -> Result<Response<GetStorageResponse>, Status> {
        self.admit(request, "GetStorage")?;
        let failed = |error: std::io::Error| {
            tracing::error!(%error, "Cannot ask for the free space");
            Status::internal("the disk does not say how much space there is")
        };
        let free_bytes = self.catalog.room().free().map_err(failed)?;
        let (total_bytes, archive_bytes) = self.catalog.used().map_err(failed)?;
        Ok(Response::new(GetStorageResponse {
            free_bytes,
            total_bytes,
            archive_bytes,
            copies_content: true,
            encrypts_copies: true,
        }))
    }
}
