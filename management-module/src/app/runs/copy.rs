//! One copy of an archive: by the satellite to where it reaches, or to a directory of the server.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use satellite_proto::wire::backup::v1 as pb;
use satellite_proto::wire::backup::v1::copy_archive_response::Kind as Message;
use tokio::sync::mpsc;
use tonic::{Code, Status};

use super::Runs;
use crate::app::backup::satellite_name;
use crate::app::destinations::{Place, keep_at_server};
use crate::app::remote::{RETRY, call};
use crate::app::{AppError, passphrases};
use crate::names::SatelliteName;
use crate::store::RunRow;

/// The backup-service says how far it is every few seconds; after so long nothing is expected any more.
const SILENCE: Duration = Duration::from_mins(5);
/// Calls that are lost with their connection are made again so often: the copy goes on where it was.
const TRIES: u32 = 5;
/// Pieces that wait to be written.
const AHEAD: usize = 16;

/// How far a copy is.
#[derive(Debug)]
pub(super) struct Moved {
    /// Which.
    pub(super) number: usize,
    /// Bytes.
    pub(super) done: u64,
    /// They are read back.
    pub(super) is_reading_back: bool,
}

impl Runs {
    /// Copies the archive of a run to one of its destinations.
    pub(super) async fn copy(
        &self,
        run: &RunRow,
        destination: &str,
        archive: &pb::Archive,
        news: (usize, mpsc::Sender<Moved>),
    ) -> Result<pb::CopyDone, AppError> {
        let (_, place) = self.destinations.opened(destination).await?;
        let encryption = passphrases::encryption(&self.app, &run.plan.encryption)?;
        match place {
            Place::Server(path) => {
                let directory = path.join(&run.plan.directory).join(run.plan.name.as_str());
                let way = Way::Here {
                    directory,
                    archive,
                    encryption,
                };
                self.persistently(&satellite_name(&run.satellite)?, way, news)
                    .await
            }
            Place::Satellite(mut whole) => {
                whole.base_directory.clone_from(&run.plan.directory);
                let request = pb::CopyArchiveRequest {
                    archive_id: archive.id.clone(),
                    destination: Some(*whole),
                    sub_directory: run.plan.name.to_string(),
                    encryption,
                };
                let satellite = satellite_name(&run.satellite)?;
                if request.encryption.is_some() {
                    self.can_encrypt(&satellite).await?;
                }
                self.persistently(&satellite, Way::There(Box::new(request)), news)
                    .await
            }
        }
    }

    /// A backup-service that does not know encryption would pass over the wish and copy in the clear.
    async fn can_encrypt(&self, satellite: &SatelliteName) -> Result<(), AppError> {
        let mut client = self.backups.client(satellite)?;
        let asked = client.get_storage(pb::GetStorageRequest {});
        let storage = call(satellite, self.app.config.call_deadline, asked).await?;
        if storage.encrypts_copies {
            return Ok(());
        }
        Err(AppError::Precondition(format!(
            "the backup-service of {satellite} is too old to encrypt copies, and nothing was copied in the clear: update it"
        )))
    }

    /// Tries again when the satellite was lost.
    async fn persistently(
        &self,
        satellite: &SatelliteName,
        way: Way<'_>,
        news: (usize, mpsc::Sender<Moved>),
    ) -> Result<pb::CopyDone, AppError> {
        let mut attempt = 0;
        let mut patience = None;
        loop {
            let tried = match &way {
                Way::There(request) => self.copy_once(satellite, (**request).clone(), &news).await,
                Way::Here {
                    directory,
                    archive,
                    encryption,
                } => {
                    self.fetch_once((directory, archive, encryption.clone()), &news)
                        .await
                }
            };
            let is_lost = match &tried {
                // The connection to the satellite was cut: the same call goes on there.
                Err(AppError::Unavailable { .. } | AppError::Fleet(_)) => true,
                // Aborted: the call that was lost has not noticed yet that nobody listens. Unknown: the service of this very
                // machine died, with no bridge that would have a word for it. Unavailable without a fault of the destination in
                // it: the bridge says that its workload is not up yet.
                Err(AppError::Remote { status, .. }) => match status.code() {
                    Code::Aborted | Code::Unknown => true,
                    Code::Unavailable => status.details().is_empty(),
                    _ => false,
                },
                _ => false,
            };
            if !is_lost || attempt == TRIES {
                return tried;
            }
            tokio::time::sleep(RETRY.delay(attempt, rand::random())).await;
            attempt += 1;
            // Its power may have been cut: it has to start before it can go on. One patience for all tries.
            let until = patience.get_or_insert_with(|| Instant::now() + self.app.config.satellite_patience);
            self.answers(satellite, until.saturating_duration_since(Instant::now()))
                .await;
        }
    }

    async fn copy_once(
        &self,
        satellite: &SatelliteName,
        mut request: pb::CopyArchiveRequest,
        (number, news): &(usize, mpsc::Sender<Moved>),
    ) -> Result<pb::CopyDone, AppError> {
        let whole = request.destination.take().unwrap_or_default();
        let reached = self.destinations.reach(satellite, whole).await?;
        request.destination = reached.destination();
        let remote = |status| AppError::remote(satellite.as_str(), status);
        let silent = |_| {
            remote(Status::deadline_exceeded(
                "nothing was heard of the copy for too long",
            ))
        };
        let mut client = self.destinations.client(satellite)?;
        let opened = tokio::time::timeout(SILENCE, client.copy_archive(request)).await;
        let mut messages = opened.map_err(silent)?.map_err(remote)?.into_inner();
        loop {
            let message = tokio::time::timeout(SILENCE, messages.message()).await;
            let message = message.map_err(silent)?.map_err(remote)?;
            match message.map(|message| message.kind) {
                Some(Some(Message::Done(done))) => return Ok(done),
                Some(Some(Message::Progress(progress))) => {
                    let is_reading_back = progress.step() == pb::CopyStep::Verify;
                    let (number, done) = (*number, progress.done);
                    // Who does not read them quickly enough misses some.
                    drop(news.try_send(Moved {
                        number,
                        done,
                        is_reading_back,
                    }));
                }
                Some(None) => {}
                None => {
                    return Err(AppError::Unavailable {
                        message: format!("satellite {satellite} ended the call before the copy was done"),
                        source: None,
                    });
                }
            }
        }
    }

    /// Brings the archive's file to a directory of this machine. What was cut begins anew: both ends are quick.
    async fn fetch_once(
        &self,
        (directory, archive, encryption): (&Path, &pb::Archive, Option<pb::Encryption>),
        (number, news): &(usize, mpsc::Sender<Moved>),
    ) -> Result<pb::CopyDone, AppError> {
        let (stored, mut pieces) = match encryption {
            None => self.backups.download(&archive.id, 0).await?,
            Some(encryption) => self.backups.download_sealed(&archive.id, encryption).await?,
        };
        let (sender, receiver) = mpsc::channel(AHEAD);
        let writing = keep_at_server(directory.to_owned(), stored.archive, receiver);
        let patience = self.backups.patience(0);
        let reading = async move {
            let mut done = 0;
            loop {
                let (piece, lost) = match tokio::time::timeout(patience, pieces.next()).await {
                    Ok(Some(Ok(piece))) => (Ok(piece.data), None),
                    Ok(Some(Err(status))) => (Err(status.message().to_owned()), Some(status)),
                    Ok(None) => return None,
                    Err(_) => (Err("nothing came for too long".to_owned()), None),
                };
                let is_over = piece.is_err();
                done += piece.as_ref().map_or(0, |data| data.len() as u64);
                drop(news.try_send(Moved {
                    number: *number,
                    done,
                    is_reading_back: false,
                }));
                if sender.send(piece).await.is_err() || is_over {
                    return lost;
                }
            }
        };
        let (kept, lost) = tokio::join!(writing, reading);
        match lost {
            // It says whether it is worth another try.
            Some(status) => Err(AppError::remote(stored.satellite.as_str(), status)),
            None => kept,
        }
    }
}

/// Which way an archive is copied.
enum Way<'a> {
    /// By the satellite, to where it reaches.
    There(Box<pb::CopyArchiveRequest>),
    /// Through this machine, to one of its directories.
    Here {
        directory: PathBuf,
        archive: &'a pb::Archive,
        encryption: Option<pb::Encryption>,
    },
}
