//! Copies in a bucket: OpenStack Swift's S3 API.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod client;
mod destinations;
mod servers;
mod support;
mod trees;

use backup_service::destination::path::PlacePath;
use backup_service::destination::place::{Entry, Place as _};
use backup_service::destination::s3::{S3, Settings};
use backup_service::destination::target::Secret;
use client::{Service, create, file, header, sample, trailer};
use destinations::*;
use satellite_proto::wire::backup::v1 as pb;
use servers::swift::{SECRET_KEY, swift};
use servers::*;
use support::noise;
use tonic::Code;
use trees::come_back;

fn s3(port: u16) -> pb::S3Destination {
    pb::S3Destination {
        endpoint: format!("http://127.0.0.1:{port}"),
        region: "eu-test-1".to_owned(),
        bucket: "backup".to_owned(),
        prefix: "/Büro 1/pbx/".to_owned(),
        access_key: "pbx:anna".to_owned(),
        secret_key: secret(SECRET_KEY),
        authority: String::new(),
    }
}

fn at(s3: pb::S3Destination) -> pb::Destination {
    of(pb::destination::Kind::S3(s3))
}

/// An archive of two parts.
async fn large(archives: &mut client::Client, key: &str) -> pb::Archive {
    let mut all = vec![header(key)];
    all.extend(file("cdr", "big", &noise(20_000_000, 3)));
    all.push(trailer(1, 20_000_000));
    create(archives, all).await.unwrap()
}

/// Everything in the directory of the configuration, with marks of uploads.
async fn everything(server: &Server) -> Vec<Entry> {
    let settings = Settings {
        origin: format!("http://127.0.0.1:{}", server.port),
        region: "eu-test-1".to_owned(),
        bucket: "backup".to_owned(),
        prefix: "Büro 1/pbx".to_owned(),
        access_key: "pbx:anna".to_owned(),
        secret_key: Secret::new(SECRET_KEY.to_owned()),
        tls: None,
    };
    let mut place = S3::connect(settings).await.unwrap();
    let base = PlacePath::top(&"starface-backup".parse().unwrap());
    place.list(&base.join("Täglich 1").unwrap()).await.unwrap()
}

/// How often the first part of an object was sent.
fn first_parts(server: &Server) -> usize {
    let log = server.log();
    log.lines()
        .filter(|line| line.contains("partNumber=1&") && line.contains(" 200 "))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_into_a_bucket_and_back_over_an_encrypted_connection() {
    if !can() {
        return;
    }
    let server = swift(0, true);
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    let encrypted = pb::S3Destination {
        endpoint: format!("https://127.0.0.1:{}/", server.port),
        authority: std::fs::read_to_string(server.dir.path().join("cert.pem")).unwrap(),
        ..s3(server.port)
    };
    let tested = test(&mut client, at(encrypted.clone())).await;
    assert_eq!((failed(&tested), tested.steps.len()), (None, 7), "{tested:?}");
    round_trip(&mut archives, &mut client, at(encrypted.clone())).await;
    let log = server.log();
    assert!(!log.contains(SECRET_KEY) && !log.contains("Signature="), "{log}");

    let untrusted = pb::S3Destination {
        authority: String::new(),
        ..encrypted
    };
    let tested = test(&mut client, at(untrusted)).await;
    assert_eq!(
        failed(&tested),
        Some((pb::TestStepName::HostKey, pb::FaultKind::Certificate))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_of_any_shape_come_back_as_they_were() {
    if !can() {
        return;
    }
    let server = swift(0, false);
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    come_back(&mut archives, &mut client, &at(s3(server.port))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_one_request_or_of_many_parts_leaves_nothing_but_itself() {
    if !can() {
        return;
    }
    let server = swift(0, false);
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    let mut small = vec![header("small")];
    small.extend(file("core", "etc/a", b"hello"));
    small.push(trailer(1, 5));
    let small = create(&mut archives, small).await.unwrap();
    let large = large(&mut archives, "large").await;
    let mut names = Vec::new();
    for archive in [&small, &large] {
        let done = copy(&mut client, archive, at(s3(server.port))).await.unwrap();
        assert_eq!(done.sha256, archive.sha256);
        names.push(archive.file_name.clone());
    }
    names.sort();
    let mut listed: Vec<_> = everything(&server)
        .await
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    listed.sort();
    assert_eq!(listed, names);
    assert_eq!(first_parts(&server), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_bucket_is_said_in_its_own_word() {
    if !can() {
        return;
    }
    let server = swift(0, false);
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    let good = || s3(server.port);
    let changed = |change: fn(&mut pb::S3Destination)| {
        let mut one = good();
        change(&mut one);
        one
    };
    for (wrong, step, fault) in [
        (
            changed(|one| one.secret_key = secret("wrong")),
            pb::TestStepName::SignIn,
            pb::FaultKind::SignIn,
        ),
        (
            changed(|one| one.bucket = "missing".to_owned()),
            pb::TestStepName::Directory,
            pb::FaultKind::NoPlace,
        ),
        (
            changed(|one| one.region = "eu-test-2".to_owned()),
            pb::TestStepName::Directory,
            pb::FaultKind::Description,
        ),
        (
            changed(|one| {
                one.access_key = "pbx:gast".to_owned();
                one.secret_key = secret("gast");
            }),
            pb::TestStepName::Directory,
            pb::FaultKind::Denied,
        ),
        (
            s3(free_port()),
            pb::TestStepName::Connect,
            pb::FaultKind::Unreachable,
        ),
        (
            changed(|one| one.endpoint = "http://s3.example.org".to_owned()),
            pb::TestStepName::Description,
            pb::FaultKind::Description,
        ),
        (
            changed(|one| one.secret_key = None),
            pb::TestStepName::Description,
            pb::FaultKind::Description,
        ),
    ] {
        is_told(&mut client, &archive, at(wrong), (step, fault), SECRET_KEY).await;
    }
    let unknown = changed(|one| one.access_key = "pbx:nobody".to_owned());
    let refused = copy(&mut client, &archive, at(unknown)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");

    let full = changed(|one| one.bucket = "small".to_owned());
    let refused = copy(&mut client, &archive, at(full.clone())).await.unwrap_err();
    assert_eq!(
        (refused.code(), kind(&refused)),
        (Code::ResourceExhausted, pb::FaultKind::Full),
        "{refused}"
    );
    assert_eq!(copies(&mut client, at(full), "").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_differ_are_told_with_numbers() {
    if !can() {
        return;
    }
    let server = swift(7200, false);
    let (_service, _archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    let tested = test(&mut client, at(s3(server.port))).await;
    assert_eq!(
        failed(&tested),
        Some((pb::TestStepName::SignIn, pb::FaultKind::Clock)),
        "{tested:?}"
    );
    let message = &tested.steps.last().unwrap().message;
    assert!(
        message.contains("behind") && (message.contains("2h") || message.contains("1h 59m")),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_cut_only_parts_that_have_not_arrived_are_sent() {
    if !can() {
        return;
    }
    let server = swift(0, false);
    let line = Line::to(server.port).await;
    let patient = Service::start_with(tempfile::tempdir().unwrap(), |config| config.tries = 50);
    let (_service, mut archives) = patient.await;
    let mut client = connect(&_service).await;
    let archive = large(&mut archives, "run-1").await;
    let mut slow = at(s3(line.port));
    slow.bytes_per_second = archive.size_bytes / 3;
    let mut stream = begin(&mut client, &archive, slow).await;
    progressed(&mut stream, |one| one.done >= 8 << 20).await;
    line.go_down();
    progressed(&mut stream, |one| one.retries > 0).await;
    line.come_up();
    let (done, _) = end(stream).await.unwrap();
    assert_eq!(done.sha256, archive.sha256);
    assert_eq!(first_parts(&server), 1, "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_call_goes_on_with_the_parts_of_one_that_was_left() {
    if !can() {
        return;
    }
    let server = swift(0, false);
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    let archive = large(&mut archives, "run-1").await;
    let mut slow = at(s3(server.port));
    slow.bytes_per_second = archive.size_bytes / 3;
    let mut stream = begin(&mut client, &archive, slow).await;
    progressed(&mut stream, |one| one.done >= 8 << 20).await;
    drop(stream);
    let done = copy(&mut client, &archive, at(s3(server.port))).await.unwrap();
    assert_eq!(done.sha256, archive.sha256);
    assert_eq!(first_parts(&server), 1, "{}", server.log());
    let left = everything(&server).await;
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_line_that_stays_down_left_is_removed_by_the_next_run() {
    if !can() {
        return;
    }
    let server = swift(0, false);
    let line = Line::to(server.port).await;
    let (_service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&_service).await;
    let archive = large(&mut archives, "run-1").await;
    let mut slow = at(s3(line.port));
    slow.bytes_per_second = archive.size_bytes / 3;
    let mut stream = begin(&mut client, &archive, slow).await;
    progressed(&mut stream, |one| one.done >= 8 << 20).await;
    line.go_down();
    let given_up = end(stream).await.unwrap_err();
    assert_eq!(given_up.code(), Code::Unavailable, "{given_up}");
    let left = everything(&server).await;
    assert!(
        left.len() == 1 && left[0].name.ends_with(".part") && left[0].size == 8 << 20,
        "{left:?}"
    );
    assert_eq!(copies(&mut client, at(s3(server.port)), "").await, []);

    let next = create(&mut archives, sample("run-2")).await.unwrap();
    copy(&mut client, &next, at(s3(server.port))).await.unwrap();
    let left = everything(&server).await;
    assert!(left.len() == 1 && left[0].name == next.file_name, "{left:?}");
}
