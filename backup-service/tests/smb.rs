//! Copies at a Windows share: Samba's server.

mod client;
mod destinations;
mod servers;
mod support;
mod trees;

use client::{Service, create, files, sample};
use destinations::*;
use satellite_proto::wire::backup::v1 as pb;
use servers::smbd::{USER, smbd};
use servers::*;
use tonic::Code;
use trees::come_back;

fn smb(port: u16) -> pb::SmbDestination {
    pb::SmbDestination {
        server: "127.0.0.1".to_owned(),
        port: port.into(),
        share: "backup".to_owned(),
        user: USER.to_owned(),
        domain: "PBX".to_owned(),
        password: secret(PASSWORD),
        ..pb::SmbDestination::default()
    }
}

fn at(smb: pb::SmbDestination) -> pb::Destination {
    of(pb::destination::Kind::Smb(smb))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_to_a_share_that_wants_signatures_and_back() {
    if !can() {
        return;
    }
    let server = smbd("");
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    round_trip(&mut archives, &mut client, at(smb(server.port))).await;

    let archive = create(&mut archives, sample("below")).await.unwrap();
    let below = pb::SmbDestination {
        share: "backup/pbx/one".to_owned(),
        domain: String::new(),
        ..smb(server.port)
    };
    copy(&mut client, &archive, at(below)).await.unwrap();
    let there = server.dir.path().join("backup/pbx/one/starface-backup/Täglich 1");
    assert_eq!(files(&there), [archive.file_name]);
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_of_any_shape_come_back_as_they_were() {
    if !can() {
        return;
    }
    let server = smbd("");
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    come_back(&mut archives, &mut client, &at(smb(server.port))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_encrypted_if_the_share_or_the_description_wants_it() {
    if !can() {
        return;
    }
    let server = smbd("");
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    let archive = create(&mut archives, sample("sealed")).await.unwrap();
    let sealed = pb::SmbDestination {
        share: "sealed".to_owned(),
        ..smb(server.port)
    };
    copy(&mut client, &archive, at(sealed)).await.unwrap();
    let wanted = pb::SmbDestination {
        security: pb::SmbSecurity::Encrypted.into(),
        ..smb(server.port)
    };
    assert!(
        copy(&mut client, &archive, at(wanted.clone()))
            .await
            .unwrap()
            .existed
    );

    let old = smbd("server max protocol = SMB2_10");
    let refused = pb::SmbDestination {
        port: old.port.into(),
        ..wanted
    };
    let tested = test(&mut client, at(refused)).await;
    assert_eq!(
        failed(&tested),
        Some((pb::TestStepName::SignIn, pb::FaultKind::Security)),
        "{tested:?}"
    );
    copy(&mut client, &archive, at(smb(old.port))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_share_is_said_in_its_own_word() {
    if !can() {
        return;
    }
    let server = smbd("");
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    let good = smb(server.port);
    let share = |share: &str| pb::SmbDestination {
        share: share.to_owned(),
        ..good.clone()
    };
    for (wrong, step, fault) in [
        (
            pb::SmbDestination {
                password: secret("wrong"),
                ..good.clone()
            },
            pb::TestStepName::SignIn,
            pb::FaultKind::SignIn,
        ),
        (
            pb::SmbDestination {
                user: "nobody there".to_owned(),
                ..good.clone()
            },
            pb::TestStepName::SignIn,
            pb::FaultKind::SignIn,
        ),
        (
            share("missing"),
            pb::TestStepName::Directory,
            pb::FaultKind::NoPlace,
        ),
        (
            share("backup/missing"),
            pb::TestStepName::Directory,
            pb::FaultKind::NoPlace,
        ),
        (
            share("closed"),
            pb::TestStepName::Directory,
            pb::FaultKind::Denied,
        ),
        (
            pb::SmbDestination {
                port: free_port().into(),
                ..good.clone()
            },
            pb::TestStepName::Connect,
            pb::FaultKind::Unreachable,
        ),
        (
            share("backup/a|b"),
            pb::TestStepName::Description,
            pb::FaultKind::Description,
        ),
    ] {
        is_told(&mut client, &archive, at(wrong), (step, fault), PASSWORD).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_goes_while_it_is_written_to_is_gone_on_with_or_given_up() {
    if !can() {
        return;
    }
    let server = smbd("");
    let line = Line::to(server.port).await;
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    let mut slow = at(smb(line.port));
    slow.bytes_per_second = archive.size_bytes / 3;
    over_a_bad_line(&mut client, &archive, slow, (|| line.cut(), || line.go_down())).await;
    let left = files(&server.dir.path().join("backup"));
    assert!(left.len() == 1 && left[0].ends_with(".part"), "{left:?}");
    let next = create(&mut archives, sample("run-2")).await.unwrap();
    copy(&mut client, &next, at(smb(server.port))).await.unwrap();
    assert_eq!(files(&server.dir.path().join("backup")), [next.file_name]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_share_is_told_with_numbers() {
    if !can() {
        return;
    }
    let server = smbd("");
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    let small = at(pb::SmbDestination {
        share: "small".to_owned(),
        ..smb(server.port)
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
