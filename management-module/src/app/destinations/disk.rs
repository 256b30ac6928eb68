//! Disks that are plugged in: mounted for the time of a call, by the satellite's bridge or by the server itself.
//!
//! **Invariant:** a disk is mounted as long as what [`Destinations::reach`] answers lives, and no longer.

use std::os::unix::fs::MetadataExt as _;

use satellite_host::disks::{DiskError, Held, Wanted};
use satellite_proto::wire::backup::v1 as pb;
use satellite_proto::wire::backup::v1::destination::Kind;
use satellite_proto::wire::bridge::v1::disk_service_client::DiskServiceClient;
use satellite_proto::wire::bridge::v1::{HoldDiskRequest, HoldDiskResponse};
use tonic::{Code, Status, Streaming};

use super::Destinations;
use crate::app::AppError;
use crate::app::local::HERE;
use crate::names::SatelliteName;
use crate::plan::configuration::DIRECTORY;

/// The workload that writes to disks.
const WORKLOAD: &str = "backup-service";

/// A destination as a backup-service can reach it now.
pub(in crate::app) struct Reached {
    whole: pb::Destination,
    _disk: Option<Disk>,
}

/// What keeps a disk mounted.
enum Disk {
    /// A call to the bridge of a satellite; the bridge lets go when it ends.
    There { _call: Box<Streaming<HoldDiskResponse>> },
    /// The server itself.
    Here { _held: Held },
}

impl Reached {
    /// The destination, for a request.
    pub(in crate::app) fn destination(&self) -> Option<pb::Destination> {
        Some(self.whole.clone())
    }
}

impl Destinations {
    /// Makes a destination reachable for the backup-service of a satellite: a disk is mounted for it.
    ///
    /// # Errors
    /// [`AppError::Precondition`] the disk is not plugged in, or cannot be mounted; what the satellite says.
    pub(in crate::app) async fn reach(
        &self,
        satellite: &SatelliteName,
        mut whole: pb::Destination,
    ) -> Result<Reached, AppError> {
        let directory = match whole.base_directory.as_str() {
            "" => DIRECTORY.to_owned(),
            given => given.to_owned(),
        };
        let disk = match &mut whole.kind {
            Some(Kind::Usb(usb)) => Some(self.hold(satellite, usb, directory).await?),
            _ => None,
        };
        Ok(Reached { whole, _disk: disk })
    }

    async fn hold(
        &self,
        satellite: &SatelliteName,
        usb: &mut pb::UsbDestination,
        directory: String,
    ) -> Result<Disk, AppError> {
        match &self.app.config.local_backup_service {
            Some(socket) if satellite.as_str() == HERE => {
                let owner = std::fs::symlink_metadata(socket);
                let owner =
                    owner.map_err(|error| AppError::machine("ask who the backup-service is", error))?;
                let wanted = Wanted {
                    label: usb.label.clone(),
                    uuid: usb.uuid.clone(),
                    on_any_bus: usb.on_any_bus,
                    directory,
                    owner: (owner.uid(), owner.gid()),
                };
                let held = self.app.disks.hold(wanted).await.map_err(refused)?;
                usb.mounted_at = held.path().display().to_string();
                satellite_host::fail_point("disk.mounted");
                Ok(Disk::Here { _held: held })
            }
            _ => self.hold_there(satellite, usb, directory).await,
        }
    }

    async fn hold_there(
        &self,
        satellite: &SatelliteName,
        usb: &mut pb::UsbDestination,
        directory: String,
    ) -> Result<Disk, AppError> {
        let remote = |status: Status| match status.code() {
            Code::Unimplemented => AppError::Precondition(format!(
                "the bridge of satellite {satellite} is too old to mount disks: update its machine image"
            )),
            _ => AppError::remote(satellite.as_str(), status),
        };
        let request = HoldDiskRequest {
            label: usb.label.clone(),
            uuid: usb.uuid.clone(),
            on_any_bus: usb.on_any_bus,
            workload: WORKLOAD.to_owned(),
            directory,
        };
        let mut client = DiskServiceClient::new(self.app.fleet.channel(satellite)?);
        let held = async {
            let mut call = client.hold_disk(request).await?.into_inner();
            let first = call.message().await?;
            let first = first.ok_or_else(|| Status::unavailable("the bridge ended the call at once"))?;
            Ok((first, call))
        };
        // A disk that was pulled out before repairs itself first.
        let deadline = self.app.config.operation_deadline;
        let late = |_| {
            remote(Status::deadline_exceeded(
                "the disk was not mounted for too long: check it",
            ))
        };
        let (first, call) = tokio::time::timeout(deadline, held)
            .await
            .map_err(late)?
            .map_err(remote)?;
        usb.mounted_at = first.path;
        Ok(Disk::There {
            _call: Box::new(call),
        })
    }
}

/// Whether a destination is a disk.
pub(super) fn is_one(whole: &pb::Destination) -> bool {
    matches!(whole.kind, Some(Kind::Usb(_)))
}

/// What a test says of a disk that could not be mounted.
pub(super) fn not_reached(error: &AppError) -> pb::TestDestinationResponse {
    let fault = pb::Fault {
        kind: pb::FaultKind::NotPluggedIn.into(),
        ..pb::Fault::default()
    };
    let step = pb::TestStep {
        name: pb::TestStepName::Connect.into(),
        ok: false,
        message: crate::error_chain(error),
        fault: Some(fault),
    };
    pb::TestDestinationResponse {
        steps: vec![step],
        ..pb::TestDestinationResponse::default()
    }
}

fn refused(error: DiskError) -> AppError {
    match error {
        DiskError::Wanted(why) => AppError::Invalid(why.to_owned()),
        DiskError::Unit(_) | DiskError::Record(_) => AppError::machine("mount the disk", error),
        error => AppError::Precondition(crate::error_chain(&error)),
    }
}
