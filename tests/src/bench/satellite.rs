//! A manager that is nothing but a client, so that a transfer is measured without what a real manager does besides.
//! It holds a leaf that the laboratory's installation key has signed.

use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use satellite_proto::bundle::{BundleReader, Digest, Manifest};
use satellite_proto::identity::{Installation, Pin, Role};
use satellite_proto::tls::{Expect, channel, client_config};
use satellite_proto::wire::bridge::v1 as pb;
use satellite_proto::wire::bridge::v1::{
    log_service_client::LogServiceClient, operation_service_client::OperationServiceClient,
    update_service_client::UpdateServiceClient, workload_service_client::WorkloadServiceClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use uuid::Uuid;

/// A connection to a satellite, with the role `admin`.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
}

fn key() -> String {
    Uuid::new_v4().to_string()
}

impl Client {
    /// Dials `address` and expects the satellite with `fingerprint`; `installation` is the directory of the installation key.
    ///
    /// # Errors
    ///
    /// If the key cannot be read.
    pub fn new(installation: &Path, address: &str, fingerprint: &str) -> anyhow::Result<Self> {
        let read =
            |name: &str| std::fs::read_to_string(installation.join(name)).context("no installation key");
        let installation = Installation::from_pem(&read("key.pem")?, &read("cert.pem")?)?;
        let leaf = installation.issue(Role::Admin, "benchmark", Duration::from_secs(3600))?;
        let pin: Pin = fingerprint.parse()?;
        Ok(Self {
            channel: channel(address.to_owned(), client_config(&leaf, Expect::Pin(pin))?),
        })
    }

    /// Sends the chunks of a bundle that the satellite lacks, and answers its name.
    ///
    /// # Errors
    ///
    /// If the satellite refuses it.
    pub async fn push(&self, bundle: &Path) -> anyhow::Result<String> {
        let mut client = UpdateServiceClient::new(self.channel.clone());
        let reader = BundleReader::open(BufReader::with_capacity(1 << 20, std::fs::File::open(bundle)?))?;
        let manifest = Manifest::parse(reader.manifest_bytes())?;
        let begin = pb::BeginUpdateRequest {
            manifest: reader.manifest_bytes().clone(),
            signatures: reader.signatures().to_vec(),
            idempotency_key: key(),
            ..Default::default()
        };
        let begun = client.begin_update(begin).await?.into_inner();
        let name = begun.update.context("no update in the answer")?.manifest_digest;
        let missing: std::collections::HashSet<Digest> = begun
            .missing
            .chunks_exact(32)
            .filter_map(|digest| Digest::try_from(digest).ok())
            .collect();
        if missing.is_empty() {
            return Ok(name);
        }
        let (sender, receiver) = mpsc::channel(16);
        let upload = name.clone();
        let reading = tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
            for chunk in reader.chunks_unchecked(&manifest) {
                let (entry, data) = chunk?;
                if !missing.contains(&entry.digest) {
                    continue;
                }
                let digest = Bytes::copy_from_slice(entry.digest.as_bytes());
                let request = pb::PutChunksRequest {
                    manifest_digest: upload.clone(),
                    digest,
                    data,
                };
                sender
                    .blocking_send(request)
                    .context("the satellite stopped taking chunks")?;
            }
            Ok(())
        });
        let put = client
            .put_chunks(ReceiverStream::new(receiver))
            .await?
            .into_inner();
        reading.await??;
        let update = put.update.context("no update in the answer")?;
        anyhow::ensure!(
            update.present_bytes == update.total_bytes,
            "chunks are missing after the push"
        );
        Ok(name)
    }

    /// Makes the satellite forget an upload.
    ///
    /// # Errors
    ///
    /// If it does not know it.
    pub async fn abort(&self, name: &str) -> anyhow::Result<()> {
        let mut client = UpdateServiceClient::new(self.channel.clone());
        let request = pb::AbortUpdateRequest {
            manifest_digest: name.to_owned(),
            idempotency_key: key(),
        };
        client.abort_update(request).await?;
        Ok(())
    }

    /// Installs an upload and starts it.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub async fn install(&self, name: &str) -> anyhow::Result<()> {
        let ended = self.installed(name).await?;
        let good = ended.state() == pb::OperationState::Succeeded;
        let error = ended.error.unwrap_or_default();
        anyhow::ensure!(good, "{}\n{}", error.message, error.log_tail.join("\n"));
        Ok(())
    }

    /// The same, however it ends.
    ///
    /// # Errors
    ///
    /// If it does not begin, or its end is not told.
    pub async fn installed(&self, name: &str) -> anyhow::Result<pb::Operation> {
        let mut client = UpdateServiceClient::new(self.channel.clone());
        let manifest_digest = name.to_owned();
        let request = pb::InstallUpdateRequest {
            manifest_digest,
            idempotency_key: key(),
            enable: true,
            ..Default::default()
        };
        let begun = client.install_update(request).await?.into_inner();
        let id = begun.operation.context("no operation in the answer")?.id;
        let mut client = OperationServiceClient::new(self.channel.clone());
        let mut states = client
            .watch_operation(pb::WatchOperationRequest { id })
            .await?
            .into_inner();
        let mut last = None;
        while let Some(state) = states.message().await? {
            last = state.operation;
        }
        last.context("the operation showed no state")
    }

    /// Reads a log source to its end, decompresses it, and answers its bytes.
    ///
    /// # Errors
    ///
    /// If there is no such source or the stream breaks.
    pub async fn fetch_log(&self, source: &str) -> anyhow::Result<u64> {
        let mut client = LogServiceClient::new(self.channel.clone());
        let query = pb::FetchLogsRequest {
            source: source.to_owned(),
            ..Default::default()
        };
        let mut pieces = client.fetch_logs(query).await?.into_inner();
        let (sender, mut receiver) = mpsc::channel::<Bytes>(16);
        let reading = tokio::task::spawn_blocking(move || -> anyhow::Result<u64> {
            let mut decoder = zstd::stream::write::Decoder::new(Count(0))?;
            while let Some(piece) = receiver.blocking_recv() {
                std::io::Write::write_all(&mut decoder, &piece)?;
            }
            std::io::Write::flush(&mut decoder)?;
            Ok(decoder.into_inner().0)
        });
        while let Some(piece) = pieces.message().await? {
            sender
                .send(piece.data)
                .await
                .context("the decompressor stopped")?;
        }
        drop(sender);
        reading.await?
    }

    /// Asks once how a workload is.
    ///
    /// # Errors
    ///
    /// If there is no such workload.
    pub async fn status(&self, workload: &str) -> anyhow::Result<()> {
        let mut client = WorkloadServiceClient::new(self.channel.clone());
        client
            .get_workload(pb::GetWorkloadRequest {
                name: workload.to_owned(),
            })
            .await?;
        Ok(())
    }
}

/// Takes everything and counts it.
struct Count(u64);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += u64::try_from(bytes.len()).unwrap_or(0);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
