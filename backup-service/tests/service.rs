//! The service over its real socket: archives are made, listed, read, verified and deleted, and what goes wrong on the
//! way leaves nothing.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests damage files and start the real program"
)]

mod again;
mod client;
mod support;

use client::*;
use std::time::Duration;

use bytes::Bytes;
use satellite_proto::wire::ROLE_HEADER;
use satellite_proto::wire::backup::v1::archive_service_client::ArchiveServiceClient;
use satellite_proto::wire::backup::v1::create_archive_request::Kind;
use satellite_proto::wire::backup::v1::{
    CreateArchiveRequest, DeleteArchiveRequest, DownloadArchiveRequest, FindMembersRequest,
    GetArchiveRequest, GetStorageRequest, ListArchivesRequest, MemberEnd, VerifyArchiveRequest, item,
};
use support::{noise, sha256};
use tonic::{Code, Request};
use twox_hash::XxHash3_64;

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_made_listed_read_verified_and_deleted() {
    let (service, mut client) = Service::start(tempfile::tempdir().unwrap()).await;
    let archive = create(&mut client, sample("run-1")).await.unwrap();
    assert_eq!(archive.path, "starface-backup/Nightly");
    assert_eq!(archive.tenant, "default");
    assert_eq!(
        archive
            .data_sets
            .iter()
            .map(|d| (d.members, d.size_bytes))
            .collect::<Vec<_>>(),
        [(2, 300_005), (1, 9_000_000)]
    );
    assert_eq!(list(&mut client).await, std::slice::from_ref(&archive));

    let whole = download(&mut client, &archive.id, 0).await.unwrap();
    assert_eq!(whole.len() as u64, archive.size_bytes);
    assert_eq!(data_encoding::HEXLOWER.encode(&sha256(&whole)), archive.sha256);
    assert_eq!(
        download(&mut client, &archive.id, 1_000_000).await.unwrap(),
        whole[1_000_000..]
    );
    assert_eq!(
        download(&mut client, &archive.id, archive.size_bytes)
            .await
            .unwrap(),
        b""
    );
    let beyond = download(&mut client, &archive.id, archive.size_bytes + 1)
        .await
        .unwrap_err();
    assert_eq!(beyond.code(), Code::OutOfRange);

    let all = read(&mut client, &archive.id, &[]).await.unwrap();
    assert_eq!(
        all.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(),
        ["core/etc/a", "core/etc/b", "cdr/big"]
    );
    assert_eq!(all[2].1, noise(9_000_000, 2));
    assert_eq!(
        read(&mut client, &archive.id, &["core/etc/b"]).await.unwrap(),
        all[1..2]
    );
    assert_eq!(
        read(&mut client, &archive.id, &["core/x"])
            .await
            .unwrap_err()
            .code(),
        Code::NotFound
    );

    let asked = VerifyArchiveRequest {
        id: archive.id.clone(),
    };
    let verified = client.verify_archive(asked).await.unwrap().into_inner();
    assert!(verified.intact && verified.members == 3);
    let storage = client
        .get_storage(GetStorageRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(storage.archive_bytes, archive.size_bytes);

    let asked = DeleteArchiveRequest {
        id: archive.id.clone(),
        idempotency_key: "d".to_owned(),
        ..DeleteArchiveRequest::default()
    };
    client.delete_archive(asked.clone()).await.unwrap();
    client.delete_archive(asked.clone()).await.unwrap();
    let other = DeleteArchiveRequest {
        idempotency_key: "e".to_owned(),
        ..asked
    };
    assert_eq!(
        client.delete_archive(other).await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(service.files(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_an_archive_are_found_by_a_part_of_their_name() {
    let (_service, mut client) = Service::start(tempfile::tempdir().unwrap()).await;
    let archive = create(&mut client, sample("run-1")).await.unwrap();
    let asked = |text: &str, most| FindMembersRequest {
        id: archive.id.clone(),
        text: text.to_owned(),
        most,
    };
    let found = client.find_members(asked("ETC", 1)).await.unwrap().into_inner();
    assert_eq!((found.members.len(), found.found), (1, 2));
    assert_eq!(
        (&found.members[0].path[..], found.members[0].size_bytes),
        (&b"core/etc/a"[..], 5)
    );
    let long = client.find_members(asked(&"x".repeat(1001), 0)).await;
    assert_eq!(long.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_deleted_also_where_nothing_can_be_noted() {
    let dir = tempfile::tempdir().unwrap();
    // Stands for a full disk: the list of deletions cannot be written.
    std::fs::create_dir_all(dir.path().join("state/catalogue/deleted.part")).unwrap();
    let (service, mut client) = Service::start(dir).await;
    let archive = create(&mut client, sample("run-1")).await.unwrap();
    let asked = DeleteArchiveRequest {
        id: archive.id,
        idempotency_key: "d".to_owned(),
        ..DeleteArchiveRequest::default()
    };
    client.delete_archive(asked).await.unwrap();
    assert_eq!(service.files(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gives_the_first_archive_also_after_a_restart_without_catalogue() {
    let (service, mut client) = Service::start(tempfile::tempdir().unwrap()).await;
    let first = create(&mut client, sample("run-1")).await.unwrap();
    assert_eq!(create(&mut client, sample("run-1")).await.unwrap(), first);
    let second = create(&mut client, sample("run-2")).await.unwrap();
    assert_eq!(service.files().len(), 2);
    std::fs::remove_dir_all(service.dir.path().join("state/catalogue")).unwrap();
    let junk = service
        .dir
        .path()
        .join("state/archives/starface-backup/Nightly/junk.sar");
    std::fs::write(junk, b"no archive").unwrap();

    let (_service, mut client) = service.restart().await;
    for _ in 0..500 {
        if list(&mut client).await.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ids: Vec<_> = list(&mut client)
        .await
        .into_iter()
        .map(|a| (a.id, a.sha256))
        .collect();
    assert_eq!(
        ids,
        [(second.id, second.sha256), (first.id.clone(), first.sha256)]
    );
    assert_eq!(create(&mut client, sample("run-1")).await.unwrap().id, first.id);
    for _ in 0..500 {
        let answer = client
            .list_archives(ListArchivesRequest::default())
            .await
            .unwrap()
            .into_inner();
        if answer
            .unreadable
            .iter()
            .any(|line| line.starts_with("Nightly/junk.sar: "))
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the unreadable file was not named");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_streams_leave_nothing() {
    let (service, mut client) = Service::start(tempfile::tempdir().unwrap()).await;
    let with = |middle: Vec<Kind>, end: Kind| [vec![header("k")], middle, vec![end]].concat();
    let digest = item::Kind::End(MemberEnd {
        sha256: Bytes::from_static(&[0; 32]),
        xxh3: None,
    });
    let checksum = item::Kind::End(MemberEnd {
        sha256: Bytes::copy_from_slice(&sha256(b"x")),
        xxh3: Some(XxHash3_64::oneshot(b"y")),
    });
    let content = |bytes: &'static [u8]| item::Kind::Content(Bytes::from_static(bytes));
    let ended = |end| {
        let kinds = [begin("core", "a", 1), content(b"x"), end];
        kinds.map(batch).to_vec()
    };
    let mut wrong_name = sample("k");
    let Kind::Header(h) = &mut wrong_name[0] else {
        panic!()
    };
    h.configuration = "../../etc".to_owned();
    let mut no_key = sample("k");
    let Kind::Header(h) = &mut no_key[0] else { panic!() };
    h.idempotency_key.clear();
    for kinds in [
        vec![],
        vec![trailer(0, 0)],
        wrong_name,
        no_key,
        sample("k")[..5].to_vec(),
        with(file("core", "a", b"x"), trailer(2, 1)),
        with(file("core", "a", b"x"), trailer(1, 2)),
        with(file("core", "../a", b"x"), trailer(1, 1)),
        with(file("core", "/a", b"x"), trailer(1, 1)),
        with(file("other", "a", b"x"), trailer(1, 1)),
        with(ended(digest.clone()), trailer(1, 1)),
        with(ended(checksum), trailer(1, 1)),
        with(
            vec![
                batch(begin("core", "a", 2)),
                batch(content(b"x")),
                batch(digest.clone()),
            ],
            trailer(1, 1),
        ),
        with(
            vec![batch(begin("core", "a", 1)), batch(content(b"xy"))],
            trailer(1, 2),
        ),
        with(
            vec![batch(begin("core", "a", 1)), batch(begin("core", "b", 1))],
            trailer(2, 2),
        ),
        with(vec![batch(content(b"xy"))], trailer(0, 2)),
        with(vec![batch(digest)], trailer(0, 0)),
        with(vec![header("k")], trailer(0, 0)),
    ] {
        let error = create(&mut client, kinds.clone())
            .await
            .expect_err(&format!("{kinds:?}"));
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert_eq!(service.files(), Vec::<String>::new());
    }
    assert_eq!(list(&mut client).await, []);
    let mut huge = sample("k");
    let Kind::Header(h) = &mut huge[0] else { panic!() };
    h.expected_bytes = u64::MAX / 2;
    assert_eq!(
        create(&mut client, huge).await.unwrap_err().code(),
        Code::ResourceExhausted
    );
    create(&mut client, sample("k")).await.unwrap();
    assert_eq!(service.files().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_listed_shown_and_verified_without_a_service() {
    let (service, mut client) = Service::start(tempfile::tempdir().unwrap()).await;
    let archive = create(&mut client, sample("k")).await.unwrap();
    let path = service.dir.path().join("state/archives");
    let path = path.join(&archive.path).join(&archive.file_name);
    let run = |command: &str| {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_backup-service"));
        let out = program.args(["archive", command]).arg(&path).output().unwrap();
        (out.status.success(), String::from_utf8(out.stdout).unwrap())
    };
    let (listed, lines) = run("list");
    assert!(listed && lines.lines().count() == 4 && lines.ends_with("data/cdr/big\n"));
    let (shown, text) = run("show");
    assert!(shown && text.contains(&archive.id) && text.ends_with("cdr: 1 members, 9000000 bytes\n"));
    let (intact, text) = run("verify");
    assert!(intact && text.contains(&archive.sha256));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(!run("verify").0);
}

#[test]
fn the_recipe_of_the_bundle_fits_the_program() {
    let recipe = satellite_proto::bundle::Recipe::from_toml(include_str!("../bundle.toml")).unwrap();
    assert_eq!(recipe.version.to_string(), env!("CARGO_PKG_VERSION"));
    assert_eq!(
        recipe.health.grpc.as_deref(),
        Some(backup_service::serve::SERVICE)
    );
    assert_eq!(recipe.unit.args, ["serve"]);
}

/// Waits until the service has removed what it began.
async fn nothing_left(service: &Service) {
    for _ in 0..500 {
        if service.files().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?} stays", service.files());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_stream_leaves_nothing() {
    let (service, mut client) = Service::start(tempfile::tempdir().unwrap()).await;
    let first = sample("k").into_iter().take(40);
    let messages: Vec<_> = first
        .map(|kind| CreateArchiveRequest { kind: Some(kind) })
        .collect();
    let endless = tokio_stream::StreamExt::chain(tokio_stream::iter(messages), tokio_stream::pending());
    let cut = tokio::time::timeout(Duration::from_millis(700), client.create_archive(endless)).await;
    assert!(cut.is_err(), "the call waits for more");
    nothing_left(&service).await;
    create(&mut client, sample("k")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_read_is_not_deleted_and_damage_is_told() {
    let (service, mut client) = Service::start(tempfile::tempdir().unwrap()).await;
    let archive = create(&mut client, sample("k")).await.unwrap();
    let asked = DownloadArchiveRequest {
        id: archive.id.clone(),
        offset: 0,
        encryption: None,
    };
    let mut stream = client.download_archive(asked).await.unwrap().into_inner();
    stream.message().await.unwrap();
    let delete = DeleteArchiveRequest {
        id: archive.id.clone(),
        idempotency_key: "d".to_owned(),
        ..DeleteArchiveRequest::default()
    };
    assert_eq!(
        client.delete_archive(delete.clone()).await.unwrap_err().code(),
        Code::Aborted
    );
    drop(stream);

    let path = service
        .dir
        .path()
        .join("state/archives")
        .join(&archive.path)
        .join(&archive.file_name);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let verify = VerifyArchiveRequest {
        id: archive.id.clone(),
    };
    let verified = client.verify_archive(verify).await.unwrap().into_inner();
    assert!(!verified.intact && !verified.problems.is_empty());
    assert_eq!(
        read(&mut client, &archive.id, &[]).await.unwrap_err().code(),
        Code::DataLoss
    );
    assert_eq!(
        read(&mut client, &archive.id, &["core/etc/a"])
            .await
            .unwrap()
            .len(),
        1
    );
    for _ in 0..500 {
        if client.delete_archive(delete.clone()).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the readers did not go away");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_role_nothing_is_done() {
    let (service, mut client) = Service::start(tempfile::tempdir().unwrap()).await;
    let archive = create(&mut client, sample("k")).await.unwrap();
    let channel = channel(&Service::socket(service.dir.path())).await.unwrap();
    let mut bare = ArchiveServiceClient::new(channel.clone());
    let error = bare
        .get_archive(GetArchiveRequest {
            id: archive.id.clone(),
        })
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
    let mut request = Request::new(DeleteArchiveRequest {
        id: archive.id,
        idempotency_key: "d".to_owned(),
        ..DeleteArchiveRequest::default()
    });
    request
        .metadata_mut()
        .insert(ROLE_HEADER, "operator".parse().unwrap());
    assert_eq!(
        bare.delete_archive(request).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let asked = tonic_health::pb::HealthCheckRequest {
        service: backup_service::serve::SERVICE.to_owned(),
    };
    assert_eq!(health.check(asked).await.unwrap().into_inner().status, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_it_starts_again_with_nothing_half_done() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, state) = (Service::socket(dir.path()), dir.path().join("state"));
    let start = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_backup-service"));
        command
            .arg("serve")
            .env("SATELLITE_SOCKET", &socket)
            .env("SATELLITE_STATE", &state)
            .spawn()
            .unwrap()
    };
    let mut child = start();
    let mut client = connect(&socket).await;
    let kept = create(&mut client, sample("kept")).await.unwrap();
    let first = sample("cut").into_iter().take(30);
    let messages: Vec<_> = first
        .map(|kind| CreateArchiveRequest { kind: Some(kind) })
        .collect();
    let endless = tokio_stream::StreamExt::chain(tokio_stream::iter(messages), tokio_stream::pending());
    let mut other = client.clone();
    let cut = tokio::spawn(async move { other.create_archive(endless).await.map(|_| ()) });
    for _ in 0..500 {
        if files(&state).iter().any(|name| name.ends_with(".part")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        files(&state).iter().any(|name| name.ends_with(".part")),
        "half an archive to be there"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    cut.await.unwrap().unwrap_err();

    let mut child = start();
    // The old socket file is still there until the new process has bound its own.
    let mut client = connect(&socket).await;
    assert_eq!(list(&mut client).await, std::slice::from_ref(&kept));
    assert_eq!(files(&state), [kept.file_name]);
    create(&mut client, sample("cut")).await.unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id().cast_signed()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    drop(client);
    assert!(child.wait().unwrap().success());
}
