//! A central over SSH, and a backup-service that reads it.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod lost;
mod removal;
mod sftp_only;
mod unchanged;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use prost_types::Duration as WireDuration;
use satellite_proto::wire::backup::v1 as pb;
use satellite_proto::wire::backup::v1::central_service_client::CentralServiceClient;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::client::{self, Service};
use crate::destinations::secret;
use crate::servers::Server;
use crate::servers::sshd::sshd_with_units;
use crate::support;

pub(crate) type Client =
    CentralServiceClient<InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>>;

/// A central, and who reads it.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) service: Service,
    pub(crate) archives: client::Client,
    pub(crate) client: Client,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(sshd_with_units()).await
    }

    pub(crate) async fn with(server: Server) -> Self {
        let (service, archives) = Service::start(tempfile::tempdir().unwrap()).await;
        let channel = client::channel(&Service::socket(service.dir.path()))
            .await
            .unwrap();
        let world = Self {
            server,
            service,
            archives,
            client: CentralServiceClient::with_interceptor(channel, client::as_admin),
        };
        std::fs::create_dir_all(world.at("units")).unwrap();
        std::fs::create_dir_all(world.at("data")).unwrap();
        world
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.server.dir.path().join(name)
    }

    pub(crate) fn orders(&self) -> String {
        std::fs::read_to_string(self.at("orders")).unwrap_or_default()
    }

    /// Signed in as root, who alone may give files to others.
    pub(crate) fn central(&self) -> pb::SshCentral {
        let read = |name: &str| std::fs::read_to_string(self.at(name)).unwrap();
        pb::SshCentral {
            server: "127.0.0.1".to_owned(),
            port: self.server.port.into(),
            user: "root".to_owned(),
            private_key: secret(&read("user")),
            host_key: read("host.pub").trim().to_owned(),
            ..pb::SshCentral::default()
        }
    }

    pub(crate) fn data(&self) -> pb::CentralDataSet {
        pb::CentralDataSet {
            name: "core".to_owned(),
            paths: vec![Bytes::copy_from_slice(self.at("data").as_os_str().as_bytes())],
            excludes: vec!["**/*.tmp".to_owned()],
            ..pb::CentralDataSet::default()
        }
    }

    pub(crate) async fn pull(&mut self, set: pb::CentralDataSet, key: &str) -> Result<Pulled, Status> {
        let central = self.central();
        self.pull_from(central, set, key).await
    }

    pub(crate) async fn pull_from(
        &mut self,
        central: pb::SshCentral,
        set: pb::CentralDataSet,
        key: &str,
    ) -> Result<Pulled, Status> {
        let asked = request(central, set, key);
        let mut stream = self.client.pull_archive(asked).await?.into_inner();
        let mut pulled = Pulled::default();
        while let Some(answer) = stream.message().await? {
            if !answer.notice.is_empty() {
                pulled.notices.push(answer.notice);
            }
            pulled.members = answer.members;
            pulled.archive = answer.archive;
            pulled.copied = answer.copied_bytes;
        }
        Ok(pulled)
    }

    pub(crate) async fn push(
        &mut self,
        archive: &pb::Archive,
        set: pb::CentralDataSet,
        overwrite: bool,
        paths: &[&str],
    ) -> Result<pb::PushReport, Status> {
        let asked = pb::PushArchiveRequest {
            selection: Some(pb::ReadArchiveRequest {
                id: archive.id.clone(),
                paths: paths
                    .iter()
                    .map(|path| Bytes::copy_from_slice(path.as_bytes()))
                    .collect(),
                ..pb::ReadArchiveRequest::default()
            }),
            central: Some(self.central()),
            data_sets: vec![set],
            quiesce_for_restore: Vec::new(),
            overwrite,
        };
        let mut stream = self.client.push_archive(asked).await?.into_inner();
        let mut report = None;
        while let Some(answer) = stream.message().await? {
            report = answer.report;
        }
        Ok(report.unwrap())
    }
}

pub(crate) fn request(central: pb::SshCentral, set: pb::CentralDataSet, key: &str) -> pb::PullArchiveRequest {
    pb::PullArchiveRequest {
        header: Some(pb::ArchiveHeader {
            central: "pbx".to_owned(),
            central_address: "192.0.2.1".to_owned(),
            idempotency_key: key.to_owned(),
            ..pb::ArchiveHeader::default()
        }),
        central: Some(central),
        data_sets: vec![set],
        changed_before: None,
    }
}

#[derive(Debug, Default)]
pub(crate) struct Pulled {
    pub(crate) archive: Option<pb::Archive>,
    pub(crate) members: u64,
    pub(crate) notices: Vec<String>,
    pub(crate) copied: u64,
}

pub(crate) fn command(name: &str, run: &str, restore: &str) -> pb::CentralCommand {
    let shell = |text: &str| match text {
        "" => Vec::new(),
        text => ["sh", "-c", text].map(str::to_owned).to_vec(),
    };
    pb::CentralCommand {
        name: name.to_owned(),
        run: shell(run),
        restore: shell(restore),
        deadline: Some(WireDuration {
            seconds: 60,
            nanos: 0,
        }),
    }
}

/// All that SFTP can bring back of what is there.
pub(crate) fn scan(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![root.to_owned()];
    while let Some(path) = ahead.pop() {
        let stat = path.symlink_metadata().unwrap();
        let mut told = format!("{:o} {}:{} {}", stat.mode(), stat.uid(), stat.gid(), stat.nlink());
        if stat.is_symlink() {
            told = format!("link to {}", path.read_link().unwrap().display());
        } else if stat.is_dir() {
            let told_time = format!(" {}", stat.mtime());
            told.push_str(&told_time);
            ahead.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else {
            let content = support::sha256(&std::fs::read(&path).unwrap());
            let more = format!(" {} {} {content:02x?}", stat.mtime(), stat.size());
            told.push_str(&more);
        }
        found.insert(path.as_os_str().as_bytes().to_vec(), told);
    }
    found
}

pub(crate) async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
