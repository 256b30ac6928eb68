//! Lists, finds, passes on, verifies and removes archives on all satellites.

use std::time::Duration;

use futures_util::StreamExt as _;
use satellite_proto::wire::backup::v1 as pb;
use tonic::{Code, Streaming};

use super::{Backups, satellite_name};
use crate::app::{Actor, AppError, local};
use crate::names::SatelliteName;

/// Satellites that are asked at once.
const AT_ONCE: usize = 32;

/// An archive and where it lies.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Where.
    pub satellite: SatelliteName,
    /// The archive.
    pub archive: pb::Archive,
}

/// What was found on all satellites.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    /// Newest first.
    pub archives: Vec<Stored>,
    /// Satellites that did not answer, and files that cannot be read.
    pub problems: Vec<String>,
}

impl Backups {
    /// The archives on all satellites, of one central or (empty) of all.
    ///
    /// # Errors
    /// What the store says. A satellite that does not answer is a problem in the list.
    pub async fn list(&self, central: &str) -> Result<Listed, AppError> {
        let names = local::places(&self.app).await?;
        let asked = futures_util::stream::iter(names).map(|name| self.list_one(name, central));
        let answers: Vec<_> = asked.buffered(AT_ONCE).collect().await;
        let mut listed = Listed::default();
        for (name, answer) in answers {
            match answer {
                Ok(answer) => {
                    let stored = |archive| Stored {
                        satellite: name.clone(),
                        archive,
                    };
                    listed.archives.extend(answer.archives.into_iter().map(stored));
                    listed.problems.extend(
                        answer
                            .unreadable
                            .into_iter()
                            .map(|file| format!("{name}: {file}")),
                    );
                }
                // Nothing is installed there that could have archives.
                Err(AppError::Remote { status, .. }) if status.code() == Code::Unimplemented => {}
                Err(err) => listed
                    .problems
                    .push(format!("{name}: {}", crate::error_chain(&err))),
            }
        }
        let moment = |stored: &Stored| stored.archive.create_time.map(|time| (time.seconds, time.nanos));
        listed
            .archives
            .sort_by_key(|stored| std::cmp::Reverse(moment(stored)));
        Ok(listed)
    }

    pub(super) async fn list_one(
        &self,
        name: SatelliteName,
        central: &str,
    ) -> (SatelliteName, Result<pb::ListArchivesResponse, AppError>) {
        let ask = async {
            let mut client = self.client(&name)?;
            let request = pb::ListArchivesRequest {
                central: central.to_owned(),
            };
            let answer = client.list_archives(request).await;
            Ok(answer
                .map_err(|status| AppError::remote(name.as_str(), status))?
                .into_inner())
        };
        let answer = within(self.app.config.call_deadline, &name, ask).await;
        (name, answer)
    }

    /// The archive of that id or file name.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; [`AppError::Unavailable`] if it is not found and not all satellites answer;
    /// [`AppError::Precondition`] if the file name is there twice.
    pub async fn find(&self, archive: &str) -> Result<Stored, AppError> {
        let listed = self.list("").await?;
        let named = |stored: &&Stored| stored.archive.id == archive || stored.archive.file_name == archive;
        let mut found = listed.archives.iter().filter(named);
        match (found.next(), found.next()) {
            (Some(stored), None) => Ok(stored.clone()),
            (Some(_), Some(_)) => Err(AppError::Precondition(format!(
                "several satellites have an archive {archive}: name it by its id"
            ))),
            (None, _) if listed.problems.is_empty() => Err(AppError::no("archive", archive)),
            (None, _) => Err(AppError::Unavailable {
                message: format!(
                    "no satellite that answers has an archive {archive}; not all answer: {}",
                    listed.problems.join("; ")
                ),
                source: None,
            }),
        }
    }

    /// The archive and its file from `offset` on.
    ///
    /// # Errors
    /// As [`Self::find`], and what the satellite says.
    pub async fn download(
        &self,
        archive: &str,
        offset: u64,
    ) -> Result<(Stored, Streaming<pb::DownloadArchiveResponse>), AppError> {
        let stored = self.find(archive).await?;
        let request = pb::DownloadArchiveRequest {
            id: stored.archive.id.clone(),
            offset,
            encryption: None,
        };
        self.downloaded(stored, request).await
    }

    /// The same of what the file becomes when it is encrypted: name, size and digest are those of that.
    pub(in crate::app) async fn download_sealed(
        &self,
        archive: &str,
        encryption: pb::Encryption,
    ) -> Result<(Stored, Streaming<pb::DownloadArchiveResponse>), AppError> {
        let mut stored = self.find(archive).await?;
        let request = pb::SealArchiveRequest {
            id: stored.archive.id.clone(),
            encryption: Some(encryption.clone()),
        };
        // It is read whole for that.
        let deadline = self.patience(stored.archive.size_bytes);
        let sealed = within(deadline, &stored.satellite, async {
            let answer = self.client(&stored.satellite)?.seal_archive(request).await;
            Ok(answer
                .map_err(|status| AppError::remote(stored.satellite.as_str(), status))?
                .into_inner())
        });
        let sealed = sealed.await?;
        stored.archive.file_name = sealed.file_name;
        stored.archive.size_bytes = sealed.size_bytes;
        stored.archive.sha256 = sealed.sha256;
        let request = pb::DownloadArchiveRequest {
            id: stored.archive.id.clone(),
            offset: 0,
            encryption: Some(encryption),
        };
        self.downloaded(stored, request).await
    }

    async fn downloaded(
        &self,
        stored: Stored,
        request: pb::DownloadArchiveRequest,
    ) -> Result<(Stored, Streaming<pb::DownloadArchiveResponse>), AppError> {
        let pieces = within(self.app.config.call_deadline, &stored.satellite, async {
            let answer = self.client(&stored.satellite)?.download_archive(request).await;
            Ok(answer
                .map_err(|status| AppError::remote(stored.satellite.as_str(), status))?
                .into_inner())
        });
        let pieces = pieces.await?;
        Ok((stored, pieces))
    }

    /// The members of an archive whose names hold every word of `text`, at most `most` of them, and how many there are.
    ///
    /// # Errors
    /// What the satellite says; [`AppError::Remote`] with `UNIMPLEMENTED` if its backup-service is older than that.
    pub async fn find_members(
        &self,
        stored: &Stored,
        text: &str,
        most: u32,
    ) -> Result<pb::FindMembersResponse, AppError> {
        let request = pb::FindMembersRequest {
            id: stored.archive.id.clone(),
            text: text.to_owned(),
            most,
        };
        within(self.app.config.call_deadline, &stored.satellite, async {
            let answer = self.client(&stored.satellite)?.find_members(request).await;
            Ok(answer
                .map_err(|status| AppError::remote(stored.satellite.as_str(), status))?
                .into_inner())
        })
        .await
    }

    /// Has every digest of an archive checked where it lies.
    ///
    /// # Errors
    /// As [`Self::find`], and what the satellite says.
    pub async fn verify(&self, actor: &Actor, archive: &str) -> Result<pb::VerifyArchiveResponse, AppError> {
        let action = "BackupService/VerifyArchive";
        let found = self.find(archive).await;
        let stored = self.app.audit.begun(actor, action, archive, found).await?;
        let request = pb::VerifyArchiveRequest {
            id: stored.archive.id.clone(),
        };
        let deadline = self.patience(stored.archive.size_bytes);
        let verified = within(deadline, &stored.satellite, async {
            let answer = self.client(&stored.satellite)?.verify_archive(request).await;
            Ok(answer
                .map_err(|status| AppError::remote(stored.satellite.as_str(), status))?
                .into_inner())
        });
        let verified = verified.await;
        self.app
            .audit
            .recorded(actor, action, &stored.archive.file_name, verified)
            .await
    }

    /// Removes an archive.
    ///
    /// # Errors
    /// As [`Self::find`], and what the satellite says.
    pub async fn delete(&self, actor: &Actor, archive: &str) -> Result<(), AppError> {
        let action = "BackupService/DeleteArchive";
        let found = self.find(archive).await;
        let stored = self.app.audit.begun(actor, action, archive, found).await?;
        let request = pb::DeleteArchiveRequest {
            id: stored.archive.id.clone(),
            idempotency_key: uuid::Uuid::new_v4().to_string(),
            ..pb::DeleteArchiveRequest::default()
        };
        let deleted = within(self.app.config.call_deadline, &stored.satellite, async {
            let answer = self.client(&stored.satellite)?.delete_archive(request).await;
            answer.map_err(|status| AppError::remote(stored.satellite.as_str(), status))?;
            Ok(())
        });
        let deleted = deleted.await;
        self.app
            .audit
            .recorded(actor, action, &stored.archive.file_name, deleted)
            .await
    }
}

impl Backups {
    /// Removes a file on a satellite that its backup-service calls unreadable.
    ///
    /// # Errors
    /// [`AppError::Invalid`] the name is none; what the satellite says.
    pub async fn delete_unreadable(
        &self,
        actor: &Actor,
        satellite: &str,
        file: &str,
    ) -> Result<(), AppError> {
        let subject = format!("{satellite}: {file}");
        let deleted = async {
            let name = satellite_name(satellite)?;
            let request = pb::DeleteArchiveRequest {
                unreadable: file.to_owned(),
                idempotency_key: uuid::Uuid::new_v4().to_string(),
                ..pb::DeleteArchiveRequest::default()
            };
            within(self.app.config.call_deadline, &name, async {
                let answer = self.client(&name)?.delete_archive(request).await;
                answer.map_err(|status| AppError::remote(name.as_str(), status))?;
                Ok(())
            })
            .await
        };
        let deleted = deleted.await;
        let action = "BackupService/DeleteArchive";
        self.app.audit.recorded(actor, action, &subject, deleted).await
    }
}

async fn within<T>(
    deadline: Duration,
    satellite: &SatelliteName,
    call: impl Future<Output = Result<T, AppError>>,
) -> Result<T, AppError> {
    tokio::time::timeout(deadline, call).await.unwrap_or_else(|_| {
        Err(AppError::Unavailable {
            message: format!("satellite {satellite} did not answer within {deadline:?}"),
            source: None,
        })
    })
}
