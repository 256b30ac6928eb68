//! Wire for the disk service: wire to one call to wire.

use std::os::unix::fs::MetadataExt as _;
use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use satellite_host::disks::{DiskError, Disks, Wanted};
use satellite_proto::bundle::WorkloadName;
use satellite_proto::wire::bridge::v1 as wire;
use satellite_proto::wire::bridge::v1::disk_service_server::DiskService;
use tonic::{Request, Response, Status};

use crate::cli::error_chain;
use crate::workload::Places;

/// The directory that is made unless another is asked for.
const DIRECTORY: &str = "starface-backup";

/// How often it is said that the disk is there: a connection that is gone is then known to be.
const TELL: Duration = Duration::from_secs(15);

/// The disk service.
#[derive(Debug, Clone)]
pub struct DiskRpc {
    disks: Disks,
    places: Places,
}

impl DiskRpc {
    /// Mounts through `disks` for workloads that are installed in `places`.
    #[must_use]
    pub fn new(disks: Disks, places: Places) -> Self {
        Self { disks, places }
    }

    /// User and group of a workload that runs: they own its socket.
    fn owner(&self, workload: &WorkloadName) -> Result<(u32, u32), Status> {
        let socket = std::fs::symlink_metadata(self.places.socket(workload)).map_err(|_| {
            Status::not_found(format!("workload {workload} does not run here: start it first"))
        })?;
        Ok((socket.uid(), socket.gid()))
    }
}

#[tonic::async_trait]
impl DiskService for DiskRpc {
    type HoldDiskStream = Pin<Box<dyn Stream<Item = Result<wire::HoldDiskResponse, Status>> + Send>>;

    async fn hold_disk(
        &self,
        request: Request<wire::HoldDiskRequest>,
    ) -> Result<Response<Self::HoldDiskStream>, Status> {
        let request = request.into_inner();
        let workload: WorkloadName = request
            .workload
            .parse()
            .map_err(|_| Status::invalid_argument("`workload` is no name of a workload"))?;
        let directory = match request.directory.as_str() {
            "" => DIRECTORY.to_owned(),
            _ => request.directory,
        };
        let wanted = Wanted {
            label: request.label,
            uuid: request.uuid,
            on_any_bus: request.on_any_bus,
            directory,
            owner: self.owner(&workload)?,
        };
        let disk = wanted.told();
        let held = self.disks.hold(wanted).await.map_err(|error| refusal(&error))?;
        tracing::info!(disk, %workload, "Disk mounted");
        let first = wire::HoldDiskResponse {
            path: held.path().display().to_string(),
        };
        let messages = async_stream::stream! {
            // Let go of when the call ends, however it does.
            let _held = held;
            yield Ok(first);
            loop {
                tokio::time::sleep(TELL).await;
                yield Ok(wire::HoldDiskResponse::default());
            }
        };
        Ok(Response::new(Box::pin(messages)))
    }
}

fn refusal(error: &DiskError) -> Status {
    let text = error_chain(error);
    match error {
        DiskError::Wanted(_) => Status::invalid_argument(text),
        DiskError::Unit(_) | DiskError::Record(_) => {
            tracing::error!(error = text, "Disk not mounted");
            Status::internal(text)
        }
        _ => Status::failed_precondition(text),
    }
}
