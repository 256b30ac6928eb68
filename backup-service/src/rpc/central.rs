//! The service `satellite.backup.v1.CentralService`.
//!
//! **Invariants:** where to sign in comes with the call and is gone with it; a call whose caller is gone ends.

mod pull;
mod removal;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use satellite_proto::wire::backup::v1 as pb;
use satellite_proto::wire::backup::v1::central_service_server::CentralService;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Archives, blocking, catalog_status, chain, permit};
use crate::archive::read::Archive;
use crate::archive::select::{self, Check, SelectError, Selection, select};
use crate::catalog::Reading;
use crate::central::restore::{Piece, Wish, restore};
use crate::central::{Central, CentralError, STALL};
use crate::destination::fault::Fault;
use crate::ssh::Login;

/// Calls that hold a connection to a central at once; others are refused for the moment.
const MOST_VISITS: usize = 8;
/// Messages that are read ahead, each of at most 256 KiB.
const AHEAD: usize = 8;
/// Notices that wait to be told.
const NOTICES: usize = 256;
/// How often a caller hears how far it is.
const TELL: Duration = Duration::from_millis(500);

/// The service.
#[derive(Debug, Clone)]
pub struct Centrals {
    archives: Archives,
    visits: Arc<Semaphore>,
}

impl Centrals {
    /// Serves archives of centrals that it reads itself.
    #[must_use]
    pub fn new(archives: Archives) -> Self {
        Self {
            archives,
            visits: Arc::new(Semaphore::new(MOST_VISITS)),
        }
    }

    fn admit<T>(&self, request: Request<T>, method: &str) -> Result<(T, OwnedSemaphorePermit), Status> {
        let asked = self.archives.admit(request, method)?;
        let permit = Arc::clone(&self.visits).try_acquire_owned().map_err(|_| {
            Status::unavailable("too many centrals are in use at once: try again when one is done with")
        })?;
        Ok((asked, permit))
    }
}

async fn connected(login: Login) -> Result<Central, Status> {
    Central::connect(login).await.map_err(|fault| described(&fault))
}

/// A fault with the words for a central.
fn described(fault: &Fault) -> Status {
    match fault {
        Fault::Description(what) => {
            Status::invalid_argument(format!("the central is described wrongly: {what}"))
        }
        fault => fault.status(),
    }
}

fn status(error: &CentralError) -> Status {
    match error {
        CentralError::Fault(fault) => described(fault),
        CentralError::Archive(_) => Status::data_loss(error.to_string()),
        CentralError::Cancelled => Status::cancelled(error.to_string()),
        CentralError::Own { source, .. } if super::wire::is_full(source) => Status::resource_exhausted(
            "the disk of the backup-service is full: delete archives or make it larger",
        ),
        CentralError::Own { .. } => {
            tracing::error!(
                error = chain(error),
                "Our own disk failed during work on a central"
            );
            Status::internal(error.to_string())
        }
        _ => Status::failed_precondition(chain(error)),
    }
}

#[tonic::async_trait]
impl CentralService for Centrals {
    type PullArchiveStream = ReceiverStream<Result<pb::PullArchiveResponse, Status>>;
    type PushArchiveStream = ReceiverStream<Result<pb::PushArchiveResponse, Status>>;
    type RemoveArchivedStream = ReceiverStream<Result<pb::RemoveArchivedResponse, Status>>;

    async fn test_central(
        &self,
        request: Request<pb::TestCentralRequest>,
    ) -> Result<Response<pb::TestCentralResponse>, Status> {
        let (asked, _permit) = self.admit(request, "TestCentral")?;
        let sets = wire::data_sets(asked.data_sets)?;
        let login = wire::login(asked.central)?;
        let confirmed = login.host_key.clone();
        let central = match Central::connect(login).await {
            Ok(central) => central,
            Err(fault) => return Ok(Response::new(wire::not_reached(&fault, confirmed.as_ref()))),
        };
        let lacks = tokio::time::timeout(STALL, central.lacks(&sets)).await;
        let found = match lacks {
            Ok(Ok(lacks)) => wire::lacks(lacks, confirmed.as_ref()),
            Ok(Err(error)) => return Err(status(&error)),
            Err(_) => return Err(Status::deadline_exceeded("the central took too long to look")),
        };
        central.leave().await;
        Ok(Response::new(found))
    }

    async fn measure_central(
        &self,
        request: Request<pb::MeasureCentralRequest>,
    ) -> Result<Response<pb::MeasureCentralResponse>, Status> {
        let (asked, _permit) = self.admit(request, "MeasureCentral")?;
        let limit = wire::limit(asked.changed_before)?;
        let sets = wire::old(wire::data_sets(asked.data_sets)?, limit);
        let central = connected(wire::login(asked.central)?).await?;
        let measured = central.measure(&sets).await.map_err(|error| status(&error))?;
        central.leave().await;
        let size = |measured: crate::central::Measured| pb::CentralSize {
            files: measured.files,
            bytes: measured.bytes,
        };
        Ok(Response::new(pb::MeasureCentralResponse {
            sizes: measured.into_iter().map(size).collect(),
        }))
    }

    async fn pull_archive(
        &self,
        request: Request<pb::PullArchiveRequest>,
    ) -> Result<Response<Self::PullArchiveStream>, Status> {
        let (asked, permit) = self.admit(request, "PullArchive")?;
        let plan = wire::pull(asked)?;
        let (out, stream) = channel(16);
        let archives = self.archives.clone();
        tokio::spawn(async move {
            let _permit = permit;
            tokio::select! {
                last = pull::pull(archives, plan, out.clone()) => {
                    // Who does not listen any more is not told.
                    let _gone = out.send(last).await;
                }
                () = out.closed() => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn push_archive(
        &self,
        request: Request<pb::PushArchiveRequest>,
    ) -> Result<Response<Self::PushArchiveStream>, Status> {
        let (asked, visit) = self.admit(request, "PushArchive")?;
        let plan = wire::push(asked)?;
        let catalog = &self.archives.catalog;
        let reading = catalog.read(plan.archive).map_err(catalog_status)?;
        let reads = permit(&self.archives.reads)?;
        let wish = Wish {
            sets: plan.sets,
            overwrite: plan.overwrite,
            room: catalog.room(),
        };
        let (out, stream) = channel(16);
        tokio::spawn(async move {
            let _permits = (visit, reads);
            let work = push(plan.login, reading, plan.selection, wish, &out);
            tokio::select! {
                last = work => {
                    let _gone = out.send(last).await;
                }
                () = out.closed() => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn remove_archived(
        &self,
        request: Request<pb::RemoveArchivedRequest>,
    ) -> Result<Response<Self::RemoveArchivedStream>, Status> {
        let (asked, visit) = self.admit(request, "RemoveArchived")?;
        let plan = wire::removal(asked)?;
        let reading = self.archives.catalog.read(plan.archive).map_err(catalog_status)?;
        let reads = permit(&self.archives.reads)?;
        let (out, stream) = channel(16);
        tokio::spawn(async move {
            let _permits = (visit, reads);
            tokio::select! {
                last = removal::removed(plan, reading, &out) => {
                    let _gone = out.send(last).await;
                }
                () = out.closed() => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Brings members back.
async fn push(
    login: Login,
    reading: Reading,
    selection: Selection,
    wish: Wish,
    out: &Sender<Result<pb::PushArchiveResponse, Status>>,
) -> Result<pb::PushArchiveResponse, Status> {
    let central = connected(login).await?;
    let (feed, pieces) = channel(AHEAD * 2);
    let from = tokio::spawn(blocking(move || {
        send_pieces(&reading, &selection, &feed);
        Ok(())
    }));
    let mut told = Instant::now();
    let restored = restore(&central, wish, pieces, |bytes| {
        if told.elapsed() >= TELL {
            told = Instant::now();
            let tell = pb::PushArchiveResponse {
                done_bytes: bytes,
                report: None,
            };
            let _full = out.try_send(Ok(tell));
        }
    });
    let report = restored.await.map_err(|error| status(&error))?;
    // It has sent everything: the end came.
    drop(from);
    central.leave().await;
    Ok(pb::PushArchiveResponse {
        done_bytes: report.bytes,
        report: Some(pb::PushReport {
            members: report.members,
            bytes: report.bytes,
            refused: report.refused,
            notices: wire::fitting(report.notices),
        }),
    })
}

/// Reads the chosen members on a thread that may block, until nobody takes them.
fn send_pieces(reading: &Reading, selection: &Selection, feed: &Sender<Piece>) {
    let archive = Archive::open(&reading.path).map_err(SelectError::from);
    let done = archive.and_then(|archive| {
        select(&archive, selection, Check::Here, |piece| {
            let piece = match piece {
                select::Piece::Begin(member) => Piece::Begin(member),
                select::Piece::Content(data) => Piece::Content(bytes::Bytes::copy_from_slice(data)),
                select::Piece::End(_) => Piece::End,
            };
            feed.blocking_send(piece).is_ok()
        })
    });
    let last = match done {
        Ok(()) => Piece::Whole,
        Err(SelectError::Stopped) => return,
        Err(error) => Piece::Broken(chain(&error)),
    };
    let _gone = feed.blocking_send(last);
}
