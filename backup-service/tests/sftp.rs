//! Copies at an SFTP server: OpenSSH's own.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod client;
mod destinations;
mod servers;
mod support;
mod trees;

use client::{Service, create, files, sample};
use destinations::*;
use satellite_proto::wire::backup::v1 as pb;
use servers::sshd::{USER, sshd};
use servers::*;
use tonic::Code;
use trees::come_back;

fn sftp(server: &Server) -> pb::SftpDestination {
    let host = std::fs::read_to_string(server.dir.path().join("host.pub")).unwrap();
    pb::SftpDestination {
        server: "127.0.0.1".to_owned(),
        port: server.port.into(),
        user: USER.to_owned(),
        password: secret(PASSWORD),
        path: ".".to_owned(),
        host_key: host.trim().to_owned(),
        ..pb::SftpDestination::default()
    }
}

fn at(sftp: pb::SftpDestination) -> pb::Destination {
    of(pb::destination::Kind::Sftp(sftp))
}

#[tokio::test(flavor = "multi_thread")]
async fn with_password_or_key_at_the_login_or_an_absolute_path_a_copy_goes_there_and_back() {
    if !can() {
        return;
    }
    let server = sshd();
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    round_trip(&mut archives, &mut client, at(sftp(&server))).await;

    let key = std::fs::read_to_string(server.dir.path().join("user")).unwrap();
    let absolute = pb::SftpDestination {
        password: None,
        private_key: secret(&key),
        path: server.dir.path().join("home/sub").to_str().unwrap().to_owned(),
        ..sftp(&server)
    };
    let archive = create(&mut archives, sample("absolute")).await.unwrap();
    copy(&mut client, &archive, at(absolute)).await.unwrap();
    assert_eq!(
        files(&server.dir.path().join("home/sub/starface-backup/Täglich 1")),
        std::slice::from_ref(&archive.file_name)
    );

    let locked = std::fs::read_to_string(server.dir.path().join("locked")).unwrap();
    let locked = |passphrase| pb::SftpDestination {
        password: None,
        private_key: secret(&locked),
        passphrase,
        path: "sub".to_owned(),
        ..sftp(&server)
    };
    assert!(
        copy(&mut client, &archive, at(locked(secret("geheim ß"))))
            .await
            .unwrap()
            .existed
    );
    for passphrase in [None, secret("wrong")] {
        let refused = copy(&mut client, &archive, at(locked(passphrase)))
            .await
            .unwrap_err();
        assert_eq!(
            (refused.code(), kind(&refused)),
            (Code::InvalidArgument, pb::FaultKind::Description)
        );
        assert!(
            !refused.message().contains("geheim") && !refused.message().contains("PRIVATE"),
            "{refused}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_of_any_shape_come_back_as_they_were() {
    if !can() {
        return;
    }
    let server = sshd();
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    come_back(&mut archives, &mut client, &at(sftp(&server))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_learned_by_the_test_and_a_changed_one_is_refused_before_anything_is_said() {
    if !can() {
        return;
    }
    let server = sshd();
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    let mut unknown = sftp(&server);
    unknown.host_key.clear();
    let tested = test(&mut client, at(unknown.clone())).await;
    assert_eq!(
        failed(&tested),
        Some((pb::TestStepName::HostKey, pb::FaultKind::HostKeyUnknown))
    );
    assert!(tested.host_key_fingerprint.starts_with("SHA256:"), "{tested:?}");
    let refused = copy(&mut client, &archive, at(unknown.clone()))
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), kind(&refused)),
        (Code::FailedPrecondition, pb::FaultKind::HostKeyUnknown)
    );

    let learned = pb::SftpDestination {
        host_key: tested.host_key.clone(),
        ..unknown.clone()
    };
    let tested = test(&mut client, at(learned)).await;
    assert_eq!(failed(&tested), None, "{tested:?}");
    assert!(tested.free_bytes.is_some());
    assert_eq!(tested.steps.len(), 7, "{tested:?}");

    let other = std::fs::read_to_string(server.dir.path().join("other.pub")).unwrap();
    let changed = pb::SftpDestination {
        host_key: other.trim().to_owned(),
        user: "nobody-was-named".to_owned(),
        ..unknown
    };
    let tested = test(&mut client, at(changed.clone())).await;
    assert_eq!(
        failed(&tested),
        Some((pb::TestStepName::HostKey, pb::FaultKind::HostKeyChanged))
    );
    let refused = copy(&mut client, &archive, at(changed)).await.unwrap_err();
    assert_eq!(kind(&refused), pb::FaultKind::HostKeyChanged);
    assert!(!server.log().contains("nobody-was-named"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_server_is_said_in_its_own_word() {
    if !can() {
        return;
    }
    let server = sshd();
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    let good = sftp(&server);
    for (wrong, step, fault) in [
        (
            pb::SftpDestination {
                password: secret("wrong"),
                ..good.clone()
            },
            pb::TestStepName::SignIn,
            pb::FaultKind::SignIn,
        ),
        (
            pb::SftpDestination {
                user: "nobody-there".to_owned(),
                ..good.clone()
            },
            pb::TestStepName::SignIn,
            pb::FaultKind::SignIn,
        ),
        (
            pb::SftpDestination {
                path: "missing".to_owned(),
                ..good.clone()
            },
            pb::TestStepName::Directory,
            pb::FaultKind::NoPlace,
        ),
        (
            pb::SftpDestination {
                path: "/".to_owned(),
                ..good.clone()
            },
            pb::TestStepName::Directory,
            pb::FaultKind::Denied,
        ),
        (
            pb::SftpDestination {
                port: free_port().into(),
                ..good.clone()
            },
            pb::TestStepName::Connect,
            pb::FaultKind::Unreachable,
        ),
        (
            pb::SftpDestination {
                password: None,
                ..good.clone()
            },
            pb::TestStepName::Description,
            pb::FaultKind::Description,
        ),
    ] {
        is_told(&mut client, &archive, at(wrong), (step, fault), PASSWORD).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_cut_is_gone_on_with_and_one_that_stays_down_is_given_up() {
    if !can() {
        return;
    }
    let server = sshd();
    let line = Line::to(server.port).await;
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    let mut slow = at(pb::SftpDestination {
        port: line.port.into(),
        ..sftp(&server)
    });
    slow.bytes_per_second = archive.size_bytes / 3;
    over_a_bad_line(&mut client, &archive, slow, (|| line.cut(), || line.go_down())).await;
    let left = files(&server.dir.path().join("home"));
    assert!(left.len() == 1 && left[0].ends_with(".part"), "{left:?}");

    let next = create(&mut archives, sample("run-2")).await.unwrap();
    copy(&mut client, &next, at(sftp(&server))).await.unwrap();
    assert_eq!(files(&server.dir.path().join("home")), [next.file_name]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_with_numbers_and_keeps_nothing() {
    if !can() {
        return;
    }
    let server = sshd();
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    let small = server.dir.path().join("small");
    let small = at(pb::SftpDestination {
        path: small.to_str().unwrap().to_owned(),
        ..sftp(&server)
    });
    let refused = copy(&mut client, &archive, small.clone()).await.unwrap_err();
    assert_eq!(
        (refused.code(), kind(&refused)),
        (Code::ResourceExhausted, pb::FaultKind::Full)
    );
    let fault = fault(&refused);
    assert_eq!(fault.needed_bytes, archive.size_bytes);
    assert!(fault.available_bytes <= 4 << 20, "{fault:?}");
    assert_eq!(copies(&mut client, small, "").await, []);
}
