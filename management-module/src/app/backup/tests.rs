//! Backups and restores over real TLS, with a backup-service that keeps archives in memory.

mod restores;

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

use super::{Backups, CentralWish, Reach, RestoreWish};
use crate::app::{Actor, App, AppError, Audit, Jobs, leases};
use crate::config::Config;
use crate::fleet::{Fleet, Known};
use crate::store::tests::fresh;
use crate::store::{JobState, LeaseKind, SatelliteRow};
use crate::{files, installation};

/// Keeps the batches of the one archive that it is sent whole.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    batches: Vec<pb::Batch>,
    trailer: pb::ArchiveTrailer,
    key: String,
    created: u32,
    mishap: Mishap,
}

/// What goes wrong when an archive has come whole.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Mishap {
    #[default]
    None,
    /// It is kept, and the answer does not arrive.
    AnswerLost,
    /// After that, it is still being read back when somebody asks.
    StillReading,
    /// It is not kept.
    Cut,
}

/// What the file of every archive holds, and its digest.
pub(in crate::app) const CONTENT: &[u8] = b"hello world";
const SHA256: &str = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";

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
        size_bytes: CONTENT.len() as u64,
        sha256: SHA256.into(),
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
        let (mut batches, mut key) = (Vec::new(), String::new());
        let made = Ok(Response::new(pb::CreateArchiveResponse {
            archive: Some(archive()),
        }));
        while let Some(message) = messages.message().await? {
            let mut kept = self.0.lock().unwrap();
            match message.kind {
                Some(Kind::Header(header)) => {
                    key = header.idempotency_key;
                    if kept.mishap == Mishap::StillReading {
                        kept.mishap = Mishap::None;
                        return Err(Status::aborted("it is being written"));
                    }
                    if kept.key == key {
                        return made;
                    }
                }
                Some(Kind::Batch(batch)) => batches.push(batch),
                Some(Kind::Trailer(trailer)) => {
                    if kept.mishap == Mishap::Cut {
                        return Err(Status::unavailable("the line was cut"));
                    }
                    (kept.batches, kept.trailer, kept.key) = (batches, trailer, key);
                    kept.created += 1;
                    if kept.mishap == Mishap::AnswerLost {
                        kept.mishap = Mishap::StillReading;
                        return Err(Status::unavailable("the line was cut"));
                    }
                    return made;
                }
                None => {}
            }
        }
        Err(Status::invalid_argument("there was no trailer"))
    }

    async fn list_archives(&self, _: Request<pb::ListArchivesRequest>) -> Answer<pb::ListArchivesResponse> {
        let kept = !self.0.lock().unwrap().batches.is_empty();
        let archives = if kept { vec![archive()] } else { Vec::new() };
        Ok(Response::new(pb::ListArchivesResponse {
            archives,
            unreadable: Vec::new(),
        }))
    }

    async fn find_members(&self, _: Request<pb::FindMembersRequest>) -> Answer<pb::FindMembersResponse> {
        Err(Status::unimplemented(""))
    }

    async fn read_archive(&self, _: Request<pb::ReadArchiveRequest>) -> Answer<Self::ReadArchiveStream> {
        let batches = self.0.lock().unwrap().batches.clone();
        let sent = batches
            .into_iter()
            .map(|batch| Ok(pb::ReadArchiveResponse { batch: Some(batch) }));
        Ok(Response::new(Box::pin(futures_util::stream::iter(sent))))
    }

    async fn seal_archive(&self, _: Request<pb::SealArchiveRequest>) -> Answer<pb::SealArchiveResponse> {
        Err(Status::unimplemented(""))
    }

    async fn get_archive(&self, _: Request<pb::GetArchiveRequest>) -> Answer<pb::GetArchiveResponse> {
        Err(Status::unimplemented(""))
    }

    async fn download_archive(
        &self,
        _: Request<pb::DownloadArchiveRequest>,
    ) -> Answer<Self::DownloadArchiveStream> {
        let pieces = CONTENT.chunks(5).map(|piece| {
            Ok(pb::DownloadArchiveResponse {
                data: piece.to_vec().into(),
            })
        });
        let pieces: Vec<_> = pieces.collect();
        Ok(Response::new(Box::pin(futures_util::stream::iter(pieces))))
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
        Ok(Response::new(pb::DeleteArchiveResponse {}))
    }

    async fn get_storage(&self, _: Request<pb::GetStorageRequest>) -> Answer<pb::GetStorageResponse> {
        Err(Status::unimplemented(""))
    }
}

/// A module with one satellite, `s1`.
pub(in crate::app) async fn world() -> (tempfile::TempDir, Backups) {
    world_with(Memory::default()).await
}

async fn world_with(memory: Memory) -> (tempfile::TempDir, Backups) {
    let (dir, store) = fresh().await;
    let satellite = Identity::generate("s1").unwrap();
    let tls = ServerTls::new(&satellite, &Trust::Anyone).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    let connections = incoming(listener, tls, Connections::default());
    let service = ArchiveServiceServer::new(memory);
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
                trail: crate::fleet::Trail::default(),
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
        trail: String::new(),
    };
    store.add_satellite(&row).await.unwrap();
    let app = App {
        reconciler: crate::app::Reconciler::new(1),
        config: Arc::new(Config {
            state_dir: dir.path().to_owned(),
            satellite_patience: std::time::Duration::ZERO,
            ..Config::default()
        }),
        disks: satellite_host::disks::Disks::new(
            dir.path().join("disks"),
            satellite_host::disks::Way::Direct,
        ),
        jobs: Jobs::open(store.clone()).await.unwrap(),
        audit: Audit::new(store.clone()),
        rollouts: crate::app::rollout::Bell::default(),
        desk: crate::app::join::Desk::default(),
        runs: crate::app::runs::Desk::default(),
        page: crate::app::page::Page::default(),
        store,
        fleet,
        installation: Arc::new(installation),
        started_at: now,
    };
    (dir, Backups::new(app))
}

pub(in crate::app) async fn add(backups: &Backups, more: &str) -> Result<(), AppError> {
    let profile = format!("name = \"pbx\"\naddress = \"here\"\n[[data-set]]\nname = \"core\"\n{more}");
    let wish = CentralWish {
        profile,
        satellite: "s1".to_owned(),
        replace: true,
        reach: Reach::AsBefore,
    };
    backups.put_central(&Actor::user(0), wish).await.map(drop)
}

pub(in crate::app) async fn end_of(backups: &Backups, job: &str) -> JobEvent {
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
        paths: Vec::new(),
        central: String::new(),
        test: false,
        safety_backup: true,
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
async fn an_archive_whose_answer_was_lost_is_found_again_and_not_made_twice() {
    let memory = Memory::default();
    memory.0.lock().unwrap().mishap = Mishap::AnswerLost;
    let (_dir, backups) = world_with(memory.clone()).await;
    add(&backups, "paths = [\"/etc/hostname\"]\n").await.unwrap();
    let ended = run(&backups, "").await;
    assert_eq!((ended.error.as_str(), ended.archive), ("", Some(archive())));
    assert_eq!(memory.0.lock().unwrap().created, 1);

    memory.0.lock().unwrap().mishap = Mishap::Cut;
    let ended = run(&backups, "").await;
    assert!(ended.error.contains("the line was cut"), "{ended:?}");
    assert_eq!(memory.0.lock().unwrap().created, 1);
}

#[tokio::test]
async fn a_backup_that_left_things_out_ends_as_partly_done() {
    let memory = Memory::default();
    let (dir, backups) = world_with(memory.clone()).await;
    let there = dir.path().join("there");
    files::write_atomic(&there, b"x", 0o600).unwrap();
    let paths = [there, dir.path().join("not\nthere")];
    add(&backups, &format!("paths = {paths:?}\n")).await.unwrap();
    let ended = run(&backups, "").await;
    assert!(ended.partly && ended.error.is_empty(), "{ended:?}");
    assert!(ended.notice.contains("1 thing could not be read"), "{ended:?}");
    let trailer = memory.0.lock().unwrap().trailer.clone();
    assert_eq!(trailer.left_out, 1);
    assert!(trailer.left_out_first[0].contains("not?there"), "{trailer:?}");
    let job = backups.app.store.job(&ended.job_id).await.unwrap().unwrap();
    assert_eq!(job.state, JobState::Partly);
    let newest = &backups.app.audit.newest(1).await.unwrap()[0];
    assert!(newest.result.starts_with("partly"), "{newest:?}");
}

#[tokio::test]
async fn a_central_is_removed_unless_it_is_being_worked_on() {
    let (_dir, backups) = world().await;
    add(&backups, "paths = [\"/etc/hostname\"]\n").await.unwrap();
    let actor = Actor::user(0);
    let lease = leases::demand(&backups.app.store, "pbx", LeaseKind::Backup, "test")
        .await
        .unwrap();
    let busy = backups.remove_central(&actor, "pbx").await.unwrap_err();
    assert_eq!(busy.code(), Code::FailedPrecondition);
    lease.end().await;
    backups.remove_central(&actor, "pbx").await.unwrap();
    assert!(backups.centrals().await.unwrap().is_empty());
    let gone = backups.remove_central(&actor, "pbx").await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
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
    let lease = leases::demand(&backups.app.store, "pbx", LeaseKind::Backup, "test")
        .await
        .unwrap();
    let ended = run(&backups, "").await;
    assert_eq!(ended.error_code, i32::from(Code::FailedPrecondition), "{ended:?}");
    lease.end().await;
    assert_eq!(run(&backups, "").await.error, "");
}
