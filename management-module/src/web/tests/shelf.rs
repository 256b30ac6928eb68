//! A backup-service that has archives and nothing else, where the server's own is looked for.

use pb::archive_service_server::{ArchiveService, ArchiveServiceServer};
use satellite_proto::wire::backup::v1 as pb;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, Streaming};

/// What the file of every archive holds.
pub(super) const CONTENT: &str = "what is in the archive";

type Answer<T> = Result<Response<T>, Status>;
type Sent<T> = std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<T, Status>> + Send>>;

#[derive(Debug)]
struct Shelf {
    archives: Vec<pb::Archive>,
    unreadable: Vec<String>,
}

/// An archive of a central; `said` is what may stand in texts.
pub(super) fn archive(id: &str, central: &str, tenant: &str, said: &str) -> pb::Archive {
    let set = pb::ArchiveDataSet {
        name: format!("core{said}"),
        members: 3,
        size_bytes: 10,
    };
    pb::Archive {
        id: id.to_owned(),
        file_name: format!("{central}{said}.sar"),
        size_bytes: CONTENT.len() as u64,
        central: central.to_owned(),
        central_address: format!("address of {central}{said}"),
        tenant: tenant.to_owned(),
        configuration: format!("Nightly {central}{said}"),
        data_sets: vec![set],
        sha256: format!("digest{said}"),
        path: format!("starface-backup/{central}{said}"),
        ..pb::Archive::default()
    }
}

/// Serves until the test ends. Before the module begins.
pub(super) fn serve(dir: &tempfile::TempDir, archives: Vec<pb::Archive>, unreadable: Vec<String>) {
    let listener = tokio::net::UnixListener::bind(dir.path().join("shelf.sock")).unwrap();
    let service = ArchiveServiceServer::new(Shelf { archives, unreadable });
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
}

fn no<T>() -> Answer<T> {
    Err(Status::failed_precondition("a shelf does not do that"))
}

#[tonic::async_trait]
impl ArchiveService for Shelf {
    type DownloadArchiveStream = Sent<pb::DownloadArchiveResponse>;
    type ReadArchiveStream = Sent<pb::ReadArchiveResponse>;

    async fn list_archives(&self, _: Request<pb::ListArchivesRequest>) -> Answer<pb::ListArchivesResponse> {
        Ok(Response::new(pb::ListArchivesResponse {
            archives: self.archives.clone(),
            unreadable: self.unreadable.clone(),
        }))
    }

    async fn download_archive(
        &self,
        _: Request<pb::DownloadArchiveRequest>,
    ) -> Answer<Self::DownloadArchiveStream> {
        let data = CONTENT.into();
        let pieces = futures_util::stream::iter([Ok(pb::DownloadArchiveResponse { data })]);
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn create_archive(
        &self,
        _: Request<Streaming<pb::CreateArchiveRequest>>,
    ) -> Answer<pb::CreateArchiveResponse> {
        no()
    }

    async fn get_archive(&self, _: Request<pb::GetArchiveRequest>) -> Answer<pb::GetArchiveResponse> {
        no()
    }

    async fn seal_archive(&self, _: Request<pb::SealArchiveRequest>) -> Answer<pb::SealArchiveResponse> {
        no()
    }

    async fn find_members(
        &self,
        request: Request<pb::FindMembersRequest>,
    ) -> Answer<pb::FindMembersResponse> {
        let asked = request.into_inner();
        let said = &self
            .archives
            .iter()
            .find(|archive| archive.id == asked.id)
            .unwrap()
            .data_sets[0]
            .name;
        // Names are bytes; those of the second are no UTF-8.
        let names = [
            format!("{said}/etc/pbx.conf").into_bytes(),
            b"core/voice \xff.wav".to_vec(),
        ];
        let member = |path: &Vec<u8>| pb::FoundMember {
            path: path.clone().into(),
            r#type: pb::MemberType::File.into(),
            size_bytes: 1500,
        };
        Ok(Response::new(pb::FindMembersResponse {
            members: names.iter().map(member).collect(),
            found: 1200,
        }))
    }

    /// A file for each path that is asked for, with [`CONTENT`].
    async fn read_archive(
        &self,
        request: Request<pb::ReadArchiveRequest>,
    ) -> Answer<Self::ReadArchiveStream> {
        let digest = satellite_proto::bundle::Digest::of(CONTENT.as_bytes());
        let file = |path: bytes::Bytes| {
            let at = path.iter().position(|byte| *byte == b'/').unwrap();
            let member = pb::Member {
                data_set: String::from_utf8_lossy(&path[..at]).into_owned(),
                path: path.slice(at + 1..),
                r#type: pb::MemberType::File.into(),
                mode: 0o600,
                size_bytes: CONTENT.len() as u64,
                modify_time: Some(prost_types::Timestamp::default()),
                ..pb::Member::default()
            };
            let end = pb::MemberEnd {
                sha256: digest.as_bytes().to_vec().into(),
                xxh3: None,
            };
            let kinds = [
                pb::item::Kind::Begin(member),
                pb::item::Kind::Content(CONTENT.into()),
                pb::item::Kind::End(end),
            ];
            kinds.map(|kind| pb::Item { kind: Some(kind) })
        };
        let items = request.into_inner().paths.into_iter().flat_map(file).collect();
        let batch = Some(pb::Batch { items });
        let sent = futures_util::stream::iter([Ok(pb::ReadArchiveResponse { batch })]);
        Ok(Response::new(Box::pin(sent)))
    }

    async fn verify_archive(
        &self,
        _: Request<pb::VerifyArchiveRequest>,
    ) -> Answer<pb::VerifyArchiveResponse> {
        no()
    }

    async fn delete_archive(
        &self,
        _: Request<pb::DeleteArchiveRequest>,
    ) -> Answer<pb::DeleteArchiveResponse> {
        no()
    }

    async fn get_storage(&self, _: Request<pb::GetStorageRequest>) -> Answer<pb::GetStorageResponse> {
        no()
    }
}
