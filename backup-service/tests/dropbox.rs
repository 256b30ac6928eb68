//! Copies at a Dropbox: a server of its own that follows the published API.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod client;
mod destinations;
mod dropbox_server;
mod support;
mod trees;

use std::time::Duration;

use client::{Service, create, sample};
use destinations::*;
use dropbox_server::Server;
use satellite_proto::wire::backup::v1 as pb;
use tonic::Code;
use trees::come_back;

async fn start(server: &Server) -> (Service, client::Client, Client) {
    let url = server.url.clone();
    let started = Service::start_with(tempfile::tempdir().unwrap(), move |config| {
        config.dropbox = Some(url)
    });
    let (service, archives) = started.await;
    let client = connect(&service).await;
    (service, archives, client)
}

fn dropbox() -> pb::Destination {
    of(pb::destination::Kind::Dropbox(pb::DropboxDestination {
        app_key: "the-app".to_owned(),
        refresh_token: secret("the refresh/token"),
        ..pb::DropboxDestination::default()
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_connects_an_account_by_a_code_and_a_copy_goes_there_and_back() {
    let server = Server::start().await;
    let (_service, mut archives, mut client) = start(&server).await;
    let app_key = "the-app".to_owned();
    let begun = client
        .begin_dropbox(pb::BeginDropboxRequest {
            app_key: app_key.clone(),
        })
        .await;
    let begun = begun.unwrap().into_inner();
    let finish = |code: &str| pb::FinishDropboxRequest {
        app_key: app_key.clone(),
        verifier: begun.verifier.clone(),
        code: secret(code),
    };
    let code = server.consent(&begun.url);
    let refused = client.finish_dropbox(finish("another code")).await.unwrap_err();
    assert_eq!(
        (refused.code(), kind(&refused)),
        (Code::FailedPrecondition, pb::FaultKind::SignIn)
    );
    let finished = client.finish_dropbox(finish(&code)).await.unwrap().into_inner();
    assert_eq!(finished.account, "Anna <anna@example.test>");
    assert!(!format!("{finished:?} {begun:?}").contains("refresh/token"));
    let destination = of(pb::destination::Kind::Dropbox(finished.dropbox.unwrap()));
    round_trip(&mut archives, &mut client, destination).await;
    assert!(server.with(|state| state.files.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_of_any_shape_come_back_as_they_were() {
    let server = Server::start().await;
    let (_service, mut archives, mut client) = start(&server).await;
    come_back(&mut archives, &mut client, &dropbox()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn access_that_runs_out_lost_answers_and_a_plea_for_peace_are_gone_on_after() {
    let server = Server::start().await;
    let (_service, mut archives, mut client) = start(&server).await;
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    let mut slow = dropbox();
    slow.bytes_per_second = archive.size_bytes / 2;
    let mut stream = begin(&mut client, &archive, slow).await;
    sent(&mut stream).await;
    server.with(|state| {
        state.expire();
        (state.busy, state.lost) = (1, 1);
    });
    let (done, progress) = end(stream).await.unwrap();
    assert_eq!(done.sha256, archive.sha256);
    assert!(progress.last().unwrap().retries >= 2, "{progress:?}");
    server.with(|state| {
        assert!(state.refreshes >= 2 && state.busy == 0 && state.lost == 0);
        assert!(state.delayed[0].elapsed() >= Duration::from_secs(1));
        assert_eq!(state.files.len(), 1);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_space_and_a_consent_that_was_taken_back_are_told() {
    let server = Server::start().await;
    let (_service, mut archives, mut client) = start(&server).await;
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    server.with(|state| state.room = 1000);
    let refused = copy(&mut client, &archive, dropbox()).await.unwrap_err();
    assert_eq!(
        (refused.code(), kind(&refused)),
        (Code::ResourceExhausted, pb::FaultKind::Full)
    );
    let fault = fault(&refused);
    assert_eq!(
        (fault.needed_bytes, fault.available_bytes),
        (archive.size_bytes, 1000)
    );
    server.with(|state| {
        state.revoked = true;
        state.expire();
    });
    let tested = test(&mut client, dropbox()).await;
    assert_eq!(
        failed(&tested),
        Some((pb::TestStepName::SignIn, pb::FaultKind::SignIn)),
        "{tested:?}"
    );
    let refused = copy(&mut client, &archive, dropbox()).await.unwrap_err();
    assert!(!refused.message().contains("refresh/token"), "{refused}");
}
