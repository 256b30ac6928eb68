//! Backups and restores over real TLS, with a backup-service that keeps archives in memory.

use std::path::Path;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use jiff::Timestamp;
use satellite_proto::identity::Identity;
use satellite_proto::tls::{Connections, ServerTls, Trust, incoming};
use satellite_proto::wire::backup::v1 as pb;
use satellite_proto::wire::backup::v1::archive_service_server::{ArchiveService, ArchiveServiceServer};
use satellite_proto::wire::backup::v1::create_archive_request::Kind;
use satellite_proto::wire::management::v1::JobEvent;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{Backups, RestoreWish};
use crate::app::{Actor, App, AppError, Audit, Jobs};
use crate::config::Config;
use crate::fleet::{Fleet, Known};
use crate::installation;
use crate::store::SatelliteRow;
use crate::store::tests::fresh;

/// Keeps the batches of the one archive that it is sent whole.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<pb::Batch>>>);

fn archive() -> pb::Archive {
    let set = pb::ArchiveDataSet {
        name: "core".into(),
        ..Default::default()
    };
    let (id, file_name, central) = ("1".into(), "a.sar".into(), "pbx".into());
    pb::Archive {
        id,
        file_name,
        central,
        data_sets: vec![set],
        ..Default::default()
    }
}

type Answer<T> = Result<Response<T>, Status>;
type Sent<T> = std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ArchiveService for Memory {
    type DownloadArchiveStream = Sent<pb::DownloadArchiveResponse>;
    type ReadArchiveStream = Sent<pb::ReadArchiveResponse>;

    async fn create_archive(
        &self,
        request: Request<Streaming<pb::CreateArchiveRequest>>,
    ) -> Answer<pb::CreateArchiveResponse> {
        let mut messages = request.into_inner();
        let mut batches = Vec::new();
        while let Some(message) = messages.message().await? {
            match message.kind {
                Some(Kind::Batch(batch)) => batches.push(batch),
                Some(Kind::Trailer(_)) => {
                    *self.0.lock().unwrap() = batches;
                    return Ok(Response::new(pb::CreateArchiveResponse {
                        archive: Some(archive()),
                    }));
                }
                _ => {}
            }
        }
        Err(Status::invalid_argument("there was no trailer"))
    }

    async fn list_archives(&self, _: Request<pb::ListArchivesRequest>) -> Answer<pb::ListArchivesResponse> {
        let kept = !self.0.lock().unwrap().is_empty();
        let archives = if kept { vec![archive()] } else { Vec::new() };
        Ok(Response::new(pb::ListArchivesResponse {
            archives,
            unreadable: Vec::new(),
        }))
    }

    async fn read_archive(&self, _: Request<pb::ReadArchiveRequest>) -> Answer<Self::ReadArchiveStream> {
        let batches = self.0.lock().unwrap().clone();
        let sent = batches
            .into_iter()
            .map(|batch| Ok(pb::ReadArchiveResponse { batch: Some(batch) }));
        Ok(Response::new(Box::pin(futures_util::stream::iter(sent))))
    }

    async fn get_archive(&self, _: Request<pb::GetArchiveRequest>) -> Answer<pb::GetArchiveResponse> {
        Err(Status::unimplemented(""))
    }

    async fn download_archive(
        &self,
        _: Request<pb::DownloadArchiveRequest>,
    ) -> Answer<Self::DownloadArchiveStream> {
        Err(Status::unimplemented(""))
    }

    async fn verify_archive(
        &self,
        _: Request<pb::VerifyArchiveRequest>,
    ) -> Answer<pb::VerifyArchiveResponse> {
        Err(Status::unimplemented(""))
    }

    async fn delete_archive(
        &self,
        _: Request<pb::DeleteArchiveRequest>,
    ) -> Answer<pb::DeleteArchiveResponse> {
        Err(Status::unimplemented(""))
    }

    async fn get_storage(&self, _: Request<pb::GetStorageRequest>) -> Answer<pb::GetStorageResponse> {
        Err(Status::unimplemented(""))
    }
}

/// A module with one satellite, `s1`.
async fn world() -> (tempfile::TempDir, Backups) {
    let (dir, store) = fresh().await;
    let satellite = Identity::generate("s1").unwrap();
    let tls = ServerTls::new(&satellite, &Trust::Anyone).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    let connections = incoming(listener, tls, Connections::default());
    let service = ArchiveServiceServer::new(Memory::default());
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(connections),
    );

    let installation = installation::load_or_make(&dir.path().join("installation")).unwrap();
    let (fleet, _reported) = Fleet::new(installation::issue_leaf(&installation, "server").unwrap());
    let name = "s1".parse().unwrap();
    fleet
        .add(
            &name,
            &address,
            satellite.pin(),
            Known {
                observed: None,
                seen_at: None,
            },
        )
        .unwrap();
    let now = Timestamp::now();
    let row = SatelliteRow {
        name,
        address,
        pin: satellite.pin(),
        paired_at: now,
        observed: None,
        seen_at: None,
    };
    store.add_satellite(&row).await.unwrap();
    let app = App {
        reconciler: crate::app::Reconciler::new(1),
        config: Arc::new(Config::default()),
        jobs: Jobs::open(store.clone()).await.unwrap(),
        audit: Audit::new(store.clone()),
        desk: crate::app::join::Desk::default(),
        store,
        fleet,
        installation: Arc::new(installation),
        started_at: now,
    };
    (dir, Backups::new(app))
}

async fn add(backups: &Backups, more: &str) -> Result<(), AppError> {
    let profile = format!("name = \"pbx\"\naddress = \"here\"\n[[data-set]]\nname = \"core\"\n{more}");
    backups
        .add_central(&Actor::user(0), &profile, "s1", true)
        .await
        .map(drop)
}

async fn end_of(backups: &Backups, job: &str) -> JobEvent {
    let events: Vec<_> = backups.app.jobs.subscribe(job).await.unwrap().collect().await;
    events.into_iter().next_back().unwrap()
}

async fn run(backups: &Backups, key: &str) -> JobEvent {
    let job = backups.run(Actor::user(0), "pbx", &[], key).await.unwrap();
    end_of(backups, &job).await
}

fn wish(directory: &Path) -> RestoreWish {
    RestoreWish {
        archive: "a.sar".into(),
        directory: Some(directory.to_path_buf()),
        data_sets: Vec::new(),
        overwrite: false,
        idempotency_key: String::new(),
    }
}

#[tokio::test]
async fn a_central_is_backed_up_and_restored_through_a_satellite() {
    let (dir, backups) = world().await;
    let source = dir.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::copy(std::env::current_exe().unwrap(), source.join("large")).unwrap();
    add(
        &backups,
        &format!("paths = [{:?}]\n", source.display().to_string()),
    )
    .await
    .unwrap();
    let ended = run(&backups, "k").await;
    assert_eq!((ended.error.as_str(), ended.archive), ("", Some(archive())));
    assert_eq!(
        run(&backups, "k").await.job_id,
        ended.job_id,
        "the same key is the same run"
    );

    let target = dir.path().join("target");
    let job = backups.restore(Actor::user(0), wish(&target)).await.unwrap();
    assert_eq!(end_of(&backups, &job).await.error, "");
    let back = target
        .join("core")
        .join(source.strip_prefix("/").unwrap())
        .join("large");
    assert!(std::fs::read(back).unwrap() == std::fs::read(source.join("large")).unwrap());

    let job = backups.restore(Actor::user(0), wish(&target)).await.unwrap();
    assert!(end_of(&backups, &job).await.error.contains("not empty"));
    let actions: Vec<_> = backups
        .app
        .audit
        .newest(10)
        .await
        .unwrap()
        .into_iter()
        .map(|row| row.action)
        .collect();
    let restored = "BackupService/RestoreArchive";
    assert_eq!(
        actions,
        [
            restored,
            restored,
            "BackupService/RunBackup",
            "BackupService/AddCentral"
        ]
    );
}

#[tokio::test]
async fn what_fails_before_it_begins_is_in_the_audit_log() {
    let (dir, backups) = world().await;
    let actor = Actor::user(0);
    backups.run(actor.clone(), "nobody", &[], "").await.unwrap_err();
    add(&backups, "paths = [\"/etc/hostname\"]\n").await.unwrap();
    let no_set = backups.run(actor.clone(), "pbx", &["nothing".into()], "").await;
    no_set.unwrap_err();
    let other = RestoreWish {
        archive: "other.sar".into(),
        ..wish(dir.path())
    };
    backups.restore(actor.clone(), other).await.unwrap_err();
    backups.verify(&actor, "other.sar").await.unwrap_err();
    backups.delete(&actor, "other.sar").await.unwrap_err();
    add(&backups, "nonsense").await.unwrap_err();
    let rows = backups.app.audit.newest(10).await.unwrap();
    let told: Vec<_> = rows
        .iter()
        .rev()
        .map(|row| {
            (
                row.action.trim_start_matches("BackupService/"),
                row.subject.as_str(),
                row.result == "ok",
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("RunBackup", "nobody", false),
            ("AddCentral", "pbx", true),
            ("RunBackup", "pbx", false),
            ("RestoreArchive", "other.sar", false),
            ("VerifyArchive", "other.sar", false),
            ("DeleteArchive", "other.sar", false),
            ("AddCentral", "", false),
        ]
    );
}

#[tokio::test]
async fn a_dump_that_fails_leaves_no_archive_and_is_named() {
    let (_dir, backups) = world().await;
    let run_line = "run = [\"sh\", \"-c\", \"echo half; echo broken >&2; exit 1\"]";
    add(
        &backups,
        &format!("[[data-set.command]]\nname = \"x.sql\"\n{run_line}\n"),
    )
    .await
    .unwrap();
    let ended = run(&backups, "").await;
    assert!(
        ended.error.contains("x.sql") && ended.log_tail == ["broken"],
        "{ended:?}"
    );
    assert!(backups.list("").await.unwrap().archives.is_empty());
}

#[tokio::test]
async fn of_a_central_one_backup_runs_at_a_time() {
    let (_dir, backups) = world().await;
    add(&backups, "[[data-set.command]]\nname = \"x\"\nrun = [\"true\"]\n")
        .await
        .unwrap();
    let lease = backups.leases.take("pbx").unwrap();
    let ended = run(&backups, "").await;
    assert_eq!(ended.error_code, i32::from(Code::FailedPrecondition), "{ended:?}");
    drop(lease);
    assert_eq!(run(&backups, "").await.error, "");
}
