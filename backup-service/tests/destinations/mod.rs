//! The calls of someone who copies archives to destinations.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use prost::Message as _;
use satellite_proto::wire::backup::v1 as pb;
use satellite_proto::wire::backup::v1::destination_service_client::DestinationServiceClient;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use crate::client::{self, Service, as_admin, create, list, sample};

pub(crate) type Client =
    DestinationServiceClient<InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>>;

pub(crate) async fn connect(service: &Service) -> Client {
    let channel = client::channel(&Service::socket(service.dir.path()))
        .await
        .unwrap();
    DestinationServiceClient::with_interceptor(channel, as_admin)
}

pub(crate) fn of(kind: pb::destination::Kind) -> pb::Destination {
    pb::Destination {
        kind: Some(kind),
        ..pb::Destination::default()
    }
}

pub(crate) fn secret(text: &str) -> Option<pb::Secret> {
    Some(pb::Secret {
        value: text.to_owned(),
    })
}

pub(crate) fn fault(status: &Status) -> pb::Fault {
    pb::Fault::decode(status.details()).unwrap()
}

pub(crate) fn kind(status: &Status) -> pb::FaultKind {
    fault(status).kind()
}

pub(crate) async fn test(client: &mut Client, destination: pb::Destination) -> pb::TestDestinationResponse {
    let asked = pb::TestDestinationRequest {
        destination: Some(destination),
    };
    client.test_destination(asked).await.unwrap().into_inner()
}

/// What the last step of a test says, if it did not go well.
pub(crate) fn failed(tested: &pb::TestDestinationResponse) -> Option<(pb::TestStepName, pb::FaultKind)> {
    let last = tested.steps.last().unwrap();
    last.fault.map(|fault| (last.name(), fault.kind()))
}

/// What is wrong with a destination is told alike by a test of it and by a copy to it, without the secret.
pub(crate) async fn is_told(
    client: &mut Client,
    archive: &pb::Archive,
    wrong: pb::Destination,
    (step, fault): (pb::TestStepName, pb::FaultKind),
    secret: &str,
) {
    let tested = test(client, wrong.clone()).await;
    assert_eq!(failed(&tested), Some((step, fault)), "{tested:?}");
    let refused = copy(client, archive, wrong).await.unwrap_err();
    assert_eq!(kind(&refused), fault, "{refused}");
    assert!(!refused.message().contains(secret), "{refused}");
}

pub(crate) async fn try_begin(
    client: &mut Client,
    archive: &pb::Archive,
    destination: pb::Destination,
) -> Result<Streaming<pb::CopyArchiveResponse>, Status> {
    let asked = pb::CopyArchiveRequest {
        archive_id: archive.id.clone(),
        destination: Some(destination),
        sub_directory: "Täglich 1".to_owned(),
        encryption: None,
    };
    Ok(client.copy_archive(asked).await?.into_inner())
}

pub(crate) async fn begin(
    client: &mut Client,
    archive: &pb::Archive,
    destination: pb::Destination,
) -> Streaming<pb::CopyArchiveResponse> {
    try_begin(client, archive, destination).await.unwrap()
}

/// Waits until it is so far.
pub(crate) async fn progressed(
    stream: &mut Streaming<pb::CopyArchiveResponse>,
    is_so_far: fn(&pb::CopyProgress) -> bool,
) {
    loop {
        if let Some(pb::copy_archive_response::Kind::Progress(progress)) =
            stream.message().await.unwrap().unwrap().kind
            && is_so_far(&progress)
        {
            return;
        }
    }
}

/// Waits until something was sent.
pub(crate) async fn sent(stream: &mut Streaming<pb::CopyArchiveResponse>) {
    progressed(stream, |one| one.step() == pb::CopyStep::Send && one.done > 0).await;
}

/// Takes what comes until the end.
pub(crate) async fn end(
    mut stream: Streaming<pb::CopyArchiveResponse>,
) -> Result<(pb::CopyDone, Vec<pb::CopyProgress>), Status> {
    let mut progress = Vec::new();
    loop {
        match stream.message().await?.unwrap().kind.unwrap() {
            pb::copy_archive_response::Kind::Progress(one) => progress.push(one),
            pb::copy_archive_response::Kind::Done(done) => return Ok((done, progress)),
        }
    }
}

/// Copies; waits for the end of a call that was cut.
pub(crate) async fn copy_and_watch(
    client: &mut Client,
    archive: &pb::Archive,
    destination: pb::Destination,
) -> Result<(pb::CopyDone, Vec<pb::CopyProgress>), Status> {
    for _ in 0..500 {
        match try_begin(client, archive, destination.clone()).await {
            Err(busy) if busy.code() == tonic::Code::Aborted => {}
            begun => return end(begun?).await,
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the call that was cut did not end")
}

pub(crate) async fn copy(
    client: &mut Client,
    archive: &pb::Archive,
    destination: pb::Destination,
) -> Result<pb::CopyDone, Status> {
    copy_and_watch(client, archive, destination)
        .await
        .map(|(done, _)| done)
}

/// Begins a copy slowly and goes away in the middle.
pub(crate) async fn cut(client: &mut Client, archive: &pb::Archive, mut destination: pb::Destination) {
    destination.bytes_per_second = archive.size_bytes / 4;
    let mut stream = begin(client, archive, destination).await;
    sent(&mut stream).await;
}

/// A slow copy over a line that is cut is made nevertheless, and one over a line that stays down is given up.
pub(crate) async fn over_a_bad_line(
    client: &mut Client,
    archive: &pb::Archive,
    slow: pb::Destination,
    (cut, stay_down): (impl FnOnce(), impl FnOnce()),
) {
    let mut stream = begin(client, archive, slow.clone()).await;
    sent(&mut stream).await;
    cut();
    let (done, progress) = end(stream).await.unwrap();
    assert_eq!(done.sha256, archive.sha256);
    assert!(progress.last().unwrap().retries > 0, "{progress:?}");
    delete(client, &done.path, slow.clone()).await.unwrap();

    let mut stream = begin(client, archive, slow).await;
    sent(&mut stream).await;
    stay_down();
    let given_up = end(stream).await.unwrap_err();
    assert_eq!(given_up.code(), tonic::Code::Unavailable, "{given_up}");
}

pub(crate) async fn copies(client: &mut Client, destination: pb::Destination, below: &str) -> Vec<pb::Copy> {
    let asked = pb::ListCopiesRequest {
        destination: Some(destination),
        sub_directory: below.to_owned(),
    };
    client.list_copies(asked).await.unwrap().into_inner().copies
}

pub(crate) async fn fetch(
    client: &mut Client,
    path: &str,
    destination: pb::Destination,
) -> Result<pb::Archive, Status> {
    let asked = pb::FetchCopyRequest {
        destination: Some(destination),
        path: path.to_owned(),
        ..pb::FetchCopyRequest::default()
    };
    let mut stream = client.fetch_copy(asked).await?.into_inner();
    loop {
        if let pb::fetch_copy_response::Kind::Archive(archive) =
            stream.message().await?.unwrap().kind.unwrap()
        {
            return Ok(archive);
        }
    }
}

pub(crate) async fn verify(
    client: &mut Client,
    path: &str,
    destination: pb::Destination,
) -> Result<pb::VerifyDone, Status> {
    let asked = pb::VerifyCopyRequest {
        destination: Some(destination),
        path: path.to_owned(),
        sha256: String::new(),
    };
    let mut stream = client.verify_copy(asked).await?.into_inner();
    loop {
        if let pb::verify_copy_response::Kind::Done(done) = stream.message().await?.unwrap().kind.unwrap() {
            return Ok(done);
        }
    }
}

pub(crate) async fn delete(
    client: &mut Client,
    path: &str,
    destination: pb::Destination,
) -> Result<(), Status> {
    let asked = pb::DeleteCopyRequest {
        destination: Some(destination),
        path: path.to_owned(),
    };
    client.delete_copy(asked).await.map(|_| ())
}

/// Everything that can be done with a copy, at a destination with nothing on it; leaves no file.
pub(crate) async fn round_trip(
    archives: &mut client::Client,
    client: &mut Client,
    destination: pb::Destination,
) {
    let tested = test(client, destination.clone()).await;
    assert_eq!(failed(&tested), None, "{tested:?}");
    let archive = create(archives, sample("round-trip")).await.unwrap();
    let whole = client::download(archives, &archive.id, 0).await.unwrap();
    let (done, _) = copy_and_watch(client, &archive, destination.clone())
        .await
        .unwrap();
    assert_eq!(
        done.path,
        format!("starface-backup/Täglich 1/{}", archive.file_name)
    );
    assert_eq!(
        (done.size_bytes, done.sha256.as_str()),
        (archive.size_bytes, archive.sha256.as_str())
    );
    assert!(!done.existed && !done.not_read_back);
    assert!(copy(client, &archive, destination.clone()).await.unwrap().existed);

    for below in ["", "Täglich 1"] {
        let [listed] = &copies(client, destination.clone(), below).await[..] else {
            panic!("one copy below {below:?}")
        };
        assert_eq!(
            (&listed.path, listed.size_bytes),
            (&done.path, archive.size_bytes)
        );
        assert_eq!(listed.file_name, archive.file_name);
    }
    assert_eq!(copies(client, destination.clone(), "another").await, []);
    let found = verify(client, &done.path, destination.clone()).await.unwrap();
    assert!(found.intact && found.sha256 == archive.sha256, "{found:?}");

    let id = archive.id.clone();
    let asked = pb::DeleteArchiveRequest {
        id,
        idempotency_key: "gone".to_owned(),
        ..Default::default()
    };
    archives.delete_archive(asked).await.unwrap();
    let back = fetch(client, &done.path, destination.clone()).await.unwrap();
    assert_eq!(
        (&back.id, &back.sha256, &back.data_sets),
        (&archive.id, &archive.sha256, &archive.data_sets)
    );
    assert_eq!(
        fetch(client, &done.path, destination.clone()).await.unwrap().id,
        back.id
    );
    assert_eq!(client::download(archives, &back.id, 0).await.unwrap(), whole);
    assert_eq!(list(archives).await.len(), 1);

    delete(client, &done.path, destination.clone()).await.unwrap();
    delete(client, &done.path, destination.clone()).await.unwrap();
    assert_eq!(copies(client, destination.clone(), "").await, []);
    let gone = fetch(client, &done.path, destination).await.unwrap_err();
    assert_eq!(
        (gone.code(), kind(&gone)),
        (tonic::Code::NotFound, pb::FaultKind::NotFound)
    );
}
