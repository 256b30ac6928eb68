//! A service of its own for a test, and the calls of a caller.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use backup_service::config::Config;
use backup_service::serve::serve_until;
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use satellite_proto::wire::ROLE_HEADER;
use satellite_proto::wire::backup::v1::archive_service_client::ArchiveServiceClient;
use satellite_proto::wire::backup::v1::create_archive_request::Kind;
use satellite_proto::wire::backup::v1::{
    Archive, ArchiveHeader, ArchiveTrailer, Batch, CreateArchiveRequest, DownloadArchiveRequest, Item,
    ListArchivesRequest, Member, MemberEnd, MemberType, ReadArchiveRequest, item,
};

use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};
use twox_hash::XxHash3_64;

use crate::support::{noise, sha256};

pub(crate) type Client =
    ArchiveServiceClient<InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>>;

pub(crate) struct Service {
    pub(crate) dir: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

impl Service {
    pub(crate) fn socket(dir: &Path) -> PathBuf {
        dir.join("api.sock")
    }

    pub(crate) async fn start(dir: tempfile::TempDir) -> (Self, Client) {
        Self::start_with(dir, |_| {}).await
    }

    /// Starts it with other settings than usual.
    pub(crate) async fn start_with(
        dir: tempfile::TempDir,
        change: impl FnOnce(&mut Config),
    ) -> (Self, Client) {
        let mut config = Config {
            socket: Self::socket(dir.path()),
            state: dir.path().join("state"),
            directory: "starface-backup".parse().unwrap(),
            reserve: 0,
            stall: Duration::from_secs(30),
            grace: Duration::from_secs(5),
            tries: 3,
            dropbox: None,
            local_role: None,
        };
        change(&mut config);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            serve_until(config, stop).await.unwrap();
        });
        let client = connect(&Self::socket(dir.path())).await;
        (
            Self {
                dir,
                stop: Some(stop),
                task,
            },
            client,
        )
    }

    pub(crate) async fn restart(mut self) -> (Self, Client) {
        let _ = self.stop.take().unwrap().send(());
        self.task.await.unwrap();
        Self::start(self.dir).await
    }

    /// Names of all files below the state directory, but for the catalogue's records.
    pub(crate) fn files(&self) -> Vec<String> {
        files(&self.dir.path().join("state"))
    }
}

pub(crate) fn files(dir: &Path) -> Vec<String> {
    let found = files_below(dir).into_iter();
    let found = found.filter(|path| path.extension().is_none_or(|e| e != "json"));
    found
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect()
}

pub(crate) fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            found.extend(files_below(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// A connection to a service at that socket.
pub(crate) async fn channel(socket: &Path) -> Result<Channel, tonic::transport::Error> {
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://backup")
        .connect_with_connector(connector)
        .await
}

pub(crate) async fn connect(socket: &Path) -> Client {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        match channel(socket).await {
            Ok(channel) => return ArchiveServiceClient::with_interceptor(channel, as_admin),
            Err(error) => assert!(
                tokio::time::Instant::now() < deadline,
                "the socket to be there: {error}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn as_admin(mut request: Request<()>) -> Result<Request<()>, Status> {
    request
        .metadata_mut()
        .insert(ROLE_HEADER, "admin".parse().unwrap());
    Ok(request)
}

pub(crate) fn header(key: &str) -> Kind {
    Kind::Header(ArchiveHeader {
        central: "pbx".to_owned(),
        central_address: "192.0.2.1".to_owned(),
        configuration: "Nightly".to_owned(),
        data_sets: vec!["core".to_owned(), "cdr".to_owned()],
        idempotency_key: key.to_owned(),
        ..ArchiveHeader::default()
    })
}

pub(crate) fn begin(set: &str, path: &str, size: u64) -> item::Kind {
    item::Kind::Begin(Member {
        data_set: set.to_owned(),
        path: Bytes::copy_from_slice(path.as_bytes()),
        r#type: MemberType::File.into(),
        mode: 0o600,
        size_bytes: size,
        ..Member::default()
    })
}

pub(crate) fn file(set: &str, path: &str, content: &[u8]) -> Vec<Kind> {
    let end = MemberEnd {
        sha256: Bytes::copy_from_slice(&sha256(content)),
        xxh3: Some(XxHash3_64::oneshot(content)),
    };
    let mut kinds = vec![begin(set, path, content.len() as u64)];
    kinds.extend(
        content
            .chunks(200_000)
            .map(|c| item::Kind::Content(Bytes::copy_from_slice(c))),
    );
    kinds.push(item::Kind::End(end));
    kinds.into_iter().map(batch).collect()
}

pub(crate) fn batch(kind: item::Kind) -> Kind {
    Kind::Batch(Batch {
        items: vec![Item { kind: Some(kind) }],
    })
}

pub(crate) fn trailer(members: u64, content_bytes: u64) -> Kind {
    Kind::Trailer(ArchiveTrailer {
        members,
        content_bytes,
        ..ArchiveTrailer::default()
    })
}

pub(crate) fn sample(key: &str) -> Vec<Kind> {
    let mut all = vec![header(key)];
    all.extend(file("core", "etc/a", b"hello"));
    all.extend(file("core", "etc/b", &noise(300_000, 1)));
    all.extend(file("cdr", "big", &noise(9_000_000, 2)));
    all.push(trailer(3, 9_300_005));
    all
}

pub(crate) async fn create(client: &mut Client, kinds: Vec<Kind>) -> Result<Archive, Status> {
    let messages = kinds
        .into_iter()
        .map(|kind| CreateArchiveRequest { kind: Some(kind) });
    let answer = client
        .create_archive(tokio_stream::iter(messages.collect::<Vec<_>>()))
        .await?;
    Ok(answer.into_inner().archive.unwrap())
}

pub(crate) async fn list(client: &mut Client) -> Vec<Archive> {
    client
        .list_archives(ListArchivesRequest::default())
        .await
        .unwrap()
        .into_inner()
        .archives
}

pub(crate) async fn download(client: &mut Client, id: &str, offset: u64) -> Result<Vec<u8>, Status> {
    let asked = DownloadArchiveRequest {
        id: id.to_owned(),
        offset,
        encryption: None,
    };
    let mut stream = client.download_archive(asked).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = stream.message().await? {
        assert!(piece.data.len() <= 256 << 10);
        bytes.extend_from_slice(&piece.data);
    }
    Ok(bytes)
}

pub(crate) async fn read(
    client: &mut Client,
    id: &str,
    paths: &[&str],
) -> Result<Vec<(String, Vec<u8>)>, Status> {
    let paths = paths
        .iter()
        .map(|p| Bytes::copy_from_slice(p.as_bytes()))
        .collect();
    let asked = ReadArchiveRequest {
        id: id.to_owned(),
        paths,
        ..ReadArchiveRequest::default()
    };
    let mut stream = client.read_archive(asked).await?.into_inner();
    let mut members: Vec<(String, Vec<u8>)> = Vec::new();
    while let Some(answer) = stream.message().await? {
        let batch = answer.batch.unwrap();
        assert!(prost::Message::encoded_len(&batch) <= 256 << 10);
        for item in batch.items {
            match item.kind.unwrap() {
                item::Kind::Begin(m) => {
                    members.push((
                        format!("{}/{}", m.data_set, String::from_utf8_lossy(&m.path)),
                        Vec::new(),
                    ));
                }
                item::Kind::Content(bytes) => members.last_mut().unwrap().1.extend_from_slice(&bytes),
                item::Kind::Copied(_) => panic!("content is sent"),
                item::Kind::End(end) => assert_eq!(end.sha256[..], sha256(&members.last().unwrap().1)),
            }
        }
    }
    Ok(members)
}
