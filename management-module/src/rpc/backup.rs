//! Centrals and their backups.

use std::path::PathBuf;
use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use satellite_proto::wire::management::v1 as wire;
use tonic::{Request, Response, Status};

use super::{actor, asked, to_the_end, wire_time};
use crate::app::App;
use crate::app::backup::{Backups, CentralWish, Reach, RestoreWish, size_told};
use crate::store::Central;

/// The service.
#[derive(Debug, Clone)]
pub struct BackupApi {
    app: App,
    backups: Backups,
}

type Events = Pin<Box<dyn Stream<Item = Result<wire::JobEvent, Status>> + Send>>;
type Pieces = Pin<Box<dyn Stream<Item = Result<wire::DownloadArchiveResponse, Status>> + Send>>;

impl BackupApi {
    /// The service over `app` and its backups.
    #[must_use]
    pub fn new(app: App, backups: Backups) -> Self {
        Self { app, backups }
    }

    async fn events(&self, job: &str) -> Result<Response<Events>, Status> {
        let events = self.app.jobs.subscribe(job).await?;
        Ok(Response::new(Box::pin(events.map(Ok))))
    }
}

fn told(central: Central) -> wire::Central {
    wire::Central {
        add_time: Some(wire_time(central.added_at)),
        name: central.name,
        address: central.address,
        tenant: central.tenant,
        profile: central.profile,
        satellite: central.satellite,
        is_master: central.is_master,
        ssh: central.ssh.map(|login| login.settings),
    }
}

#[tonic::async_trait]
impl wire::backup_service_server::BackupService for BackupApi {
    type RunBackupStream = Events;
    type RestoreArchiveStream = Events;
    type DownloadArchiveStream = Pieces;

    async fn add_central(
        &self,
        request: Request<wire::AddCentralRequest>,
    ) -> Result<Response<wire::AddCentralResponse>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let central = request.central;
        let central = central.ok_or_else(|| Status::invalid_argument("`central` is missing"));
        let central = asked(&self.app, (&actor, "BackupService/AddCentral", ""), central).await?;
        let backups = self.backups.clone();
        let reach = match central.ssh {
            Some(ssh) => Reach::Ssh(Box::new(ssh)),
            None if request.local => Reach::Local,
            None => Reach::AsBefore,
        };
        let wish = CentralWish {
            profile: central.profile,
            satellite: central.satellite,
            replace: request.replace,
            reach,
        };
        let added = to_the_end(async move { backups.put_central(&actor, wish).await }).await?;
        Ok(Response::new(wire::AddCentralResponse {
            central: Some(told(added)),
        }))
    }

    async fn list_centrals(
        &self,
        _request: Request<wire::ListCentralsRequest>,
    ) -> Result<Response<wire::ListCentralsResponse>, Status> {
        let centrals = self.backups.centrals().await?.into_iter().map(told).collect();
        Ok(Response::new(wire::ListCentralsResponse { centrals }))
    }

    async fn remove_central(
        &self,
        request: Request<wire::RemoveCentralRequest>,
    ) -> Result<Response<wire::RemoveCentralResponse>, Status> {
        let actor = actor(&request)?;
        let (backups, name) = (self.backups.clone(), request.into_inner().name);
        to_the_end(async move { backups.remove_central(&actor, &name).await }).await?;
        Ok(Response::new(wire::RemoveCentralResponse {}))
    }

    async fn set_master(
        &self,
        request: Request<wire::SetMasterRequest>,
    ) -> Result<Response<wire::SetMasterResponse>, Status> {
        let actor = actor(&request)?;
        let (backups, name) = (self.backups.clone(), request.into_inner().name);
        to_the_end(async move { backups.set_master(&actor, &name).await }).await?;
        Ok(Response::new(wire::SetMasterResponse {}))
    }

    async fn check_central(
        &self,
        request: Request<wire::CheckCentralRequest>,
    ) -> Result<Response<wire::CheckCentralResponse>, Status> {
        let actor = actor(&request)?;
        let (backups, asked) = (self.backups.clone(), request.into_inner());
        let checked = to_the_end(async move {
            backups
                .check_central(&actor, &asked.name, &asked.accept_host_key)
                .await
        });
        let found = checked.await?;
        Ok(Response::new(wire::CheckCentralResponse {
            problem: found.problem,
            lacks: found.lacks,
            host_key_fingerprint: found.host_key_fingerprint,
            host_key_confirmed: found.is_confirmed,
        }))
    }

    async fn measure_central(
        &self,
        request: Request<wire::MeasureCentralRequest>,
    ) -> Result<Response<wire::MeasureCentralResponse>, Status> {
        let sizes = self.backups.measure(&request.into_inner().name).await?;
        let data_sets = sizes.iter().map(size_told);
        Ok(Response::new(wire::MeasureCentralResponse {
            data_sets: data_sets.collect(),
        }))
    }

    async fn run_backup(
        &self,
        request: Request<wire::RunBackupRequest>,
    ) -> Result<Response<Self::RunBackupStream>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let job = self
            .backups
            .run(
                actor,
                &request.central,
                &request.data_sets,
                &request.idempotency_key,
            )
            .await?;
        self.events(&job).await
    }

    async fn list_archives(
        &self,
        request: Request<wire::ListArchivesRequest>,
    ) -> Result<Response<wire::ListArchivesResponse>, Status> {
        let listed = self.backups.list(&request.into_inner().central).await?;
        let archives = listed.archives.into_iter().map(|stored| wire::StoredArchive {
            satellite: stored.satellite.to_string(),
            archive: Some(stored.archive),
        });
        Ok(Response::new(wire::ListArchivesResponse {
            archives: archives.collect(),
            problems: listed.problems,
        }))
    }

    async fn download_archive(
        &self,
        request: Request<wire::DownloadArchiveRequest>,
    ) -> Result<Response<Self::DownloadArchiveStream>, Status> {
        let request = request.into_inner();
        let (stored, pieces) = self.backups.download(&request.archive, request.offset).await?;
        let first = wire::DownloadArchiveResponse {
            archive: Some(stored.archive),
            ..Default::default()
        };
        let rest = pieces.map(|piece| {
            piece.map(|piece| wire::DownloadArchiveResponse {
                archive: None,
                data: piece.data,
            })
        });
        Ok(Response::new(Box::pin(
            futures_util::stream::iter([Ok(first)]).chain(rest),
        )))
    }

    async fn restore_archive(
        &self,
        request: Request<wire::RestoreArchiveRequest>,
    ) -> Result<Response<Self::RestoreArchiveStream>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let wish = RestoreWish {
            archive: request.archive,
            directory: (!request.directory.is_empty()).then(|| PathBuf::from(request.directory)),
            data_sets: request.data_sets,
            overwrite: request.overwrite,
            paths: request.paths,
            central: request.central,
            test: request.test,
            safety_backup: !request.no_safety_backup,
            idempotency_key: request.idempotency_key,
        };
        let job = self.backups.restore(actor, wish).await?;
        self.events(&job).await
    }

    async fn verify_archive(
        &self,
        request: Request<wire::VerifyArchiveRequest>,
    ) -> Result<Response<wire::VerifyArchiveResponse>, Status> {
        let actor = actor(&request)?;
        let (backups, archive) = (self.backups.clone(), request.into_inner().archive);
        let result = to_the_end(async move { backups.verify(&actor, &archive).await }).await?;
        Ok(Response::new(wire::VerifyArchiveResponse {
            result: Some(result),
        }))
    }

    async fn delete_archive(
        &self,
        request: Request<wire::DeleteArchiveRequest>,
    ) -> Result<Response<wire::DeleteArchiveResponse>, Status> {
        let actor = actor(&request)?;
        let wire::DeleteArchiveRequest { archive, satellite } = request.into_inner();
        let backups = self.backups.clone();
        to_the_end(async move {
            if satellite.is_empty() {
                backups.delete(&actor, &archive).await
            } else {
                backups.delete_unreadable(&actor, &satellite, &archive).await
            }
        })
        .await?;
        Ok(Response::new(wire::DeleteArchiveResponse {}))
    }
}
