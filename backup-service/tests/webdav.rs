//! Copies at a WebDAV server: Apache's.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod client;
mod destinations;
mod servers;
mod support;
mod trees;

use client::{Service, create, files, sample};
use destinations::*;
use satellite_proto::wire::backup::v1 as pb;
use servers::apache::{USER, apache};
use servers::*;
use tonic::Code;
use trees::come_back;

fn webdav(server: &Server, port: u16, path: &str) -> pb::WebDavDestination {
    pb::WebDavDestination {
        url: format!("https://127.0.0.1:{port}/{path}"),
        user: USER.to_owned(),
        password: secret(PASSWORD),
        authority: std::fs::read_to_string(server.dir.path().join("cert.pem")).unwrap(),
    }
}

fn at(webdav: pb::WebDavDestination) -> pb::Destination {
    of(pb::destination::Kind::Webdav(webdav))
}

fn stored(server: &Server) -> Vec<String> {
    files(&server.dir.path().join("store"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_to_a_directory_of_any_name_and_back() {
    if !can() {
        return;
    }
    let server = apache();
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    for path in ["", "Sicherung 1/größer/"] {
        let destination = at(webdav(&server, server.port, path));
        let tested = test(&mut client, destination.clone()).await;
        assert_eq!(failed(&tested), None, "{tested:?}");
        assert_eq!(tested.steps.len(), 7, "{tested:?}");
        round_trip(&mut archives, &mut client, destination).await;
        assert_eq!(stored(&server), Vec::<String>::new());
    }
    let log = std::fs::read_to_string(server.dir.path().join("access")).unwrap();
    assert!(log.contains("MOVE ") && log.contains(".part 201"), "{log}");
    assert!(!server.log().contains(":error]"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_of_any_shape_come_back_as_they_were() {
    if !can() {
        return;
    }
    let server = apache();
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    come_back(&mut archives, &mut client, &at(webdav(&server, server.port, ""))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_server_is_said_in_its_own_word() {
    if !can() {
        return;
    }
    let server = apache();
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    let good = |path| webdav(&server, server.port, path);
    for (wrong, step, fault) in [
        (
            pb::WebDavDestination {
                password: secret("wrong"),
                ..good("")
            },
            pb::TestStepName::SignIn,
            pb::FaultKind::SignIn,
        ),
        (
            pb::WebDavDestination {
                user: String::new(),
                password: None,
                ..good("")
            },
            pb::TestStepName::SignIn,
            pb::FaultKind::SignIn,
        ),
        (good("digest"), pb::TestStepName::SignIn, pb::FaultKind::Security),
        (
            good("missing"),
            pb::TestStepName::Directory,
            pb::FaultKind::NoPlace,
        ),
        (good("plain"), pb::TestStepName::Directory, pb::FaultKind::NoPlace),
        (
            good("moved"),
            pb::TestStepName::Directory,
            pb::FaultKind::Description,
        ),
        (good("closed"), pb::TestStepName::Directory, pb::FaultKind::Denied),
        (
            webdav(&server, free_port(), ""),
            pb::TestStepName::Connect,
            pb::FaultKind::Unreachable,
        ),
        (
            pb::WebDavDestination {
                authority: String::new(),
                ..good("")
            },
            pb::TestStepName::HostKey,
            pb::FaultKind::Certificate,
        ),
        (
            pb::WebDavDestination {
                url: "http://cloud.example.org/dav".to_owned(),
                ..good("")
            },
            pb::TestStepName::Description,
            pb::FaultKind::Description,
        ),
        (
            pb::WebDavDestination {
                url: format!("https://{USER}:{PASSWORD}@127.0.0.1/"),
                ..good("")
            },
            pb::TestStepName::Description,
            pb::FaultKind::Description,
        ),
    ] {
        is_told(&mut client, &archive, at(wrong), (step, fault), PASSWORD).await;
    }
    assert_eq!(stored(&server), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_cut_makes_the_copy_begin_anew_and_one_that_stays_down_is_given_up() {
    if !can() {
        return;
    }
    let server = apache();
    let line = Line::to(server.port).await;
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    let mut slow = at(webdav(&server, line.port, ""));
    slow.bytes_per_second = archive.size_bytes / 2;
    over_a_bad_line(&mut client, &archive, slow, (|| line.cut(), || line.go_down())).await;

    let next = create(&mut archives, sample("run-2")).await.unwrap();
    copy(&mut client, &next, at(webdav(&server, server.port, "")))
        .await
        .unwrap();
    assert_eq!(stored(&server), [next.file_name]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_and_a_limit_of_a_request_are_told_and_nothing_is_kept() {
    if !can() {
        return;
    }
    let server = apache();
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    let small = at(webdav(&server, server.port, "small"));
    let refused = copy(&mut client, &archive, small.clone()).await.unwrap_err();
    assert_eq!(
        (refused.code(), kind(&refused)),
        (Code::ResourceExhausted, pb::FaultKind::Full),
        "{refused}"
    );
    assert_eq!(copies(&mut client, small, "").await, []);

    let limited = copy(&mut client, &archive, at(webdav(&server, server.port, "limited")))
        .await
        .unwrap_err();
    assert_eq!(limited.code(), Code::FailedPrecondition, "{limited}");
    assert!(limited.message().contains("413"), "{limited}");
    assert_eq!(stored(&server), Vec::<String>::new());
}
