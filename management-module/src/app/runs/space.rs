//! Whether a run fits where it has to go: asked before anything is read.

use std::path::Path;

use futures_util::StreamExt as _;
use satellite_proto::wire::backup::v1 as pb;
use tonic::Code;

use super::{Runs, Which, archiving};
use crate::app::backup::{Weight, satellite_name};
use crate::app::configurations::Configurations;
use crate::app::destinations::{Place as Opened, room_at};
use crate::app::remote::call;
use crate::app::{AppError, Job};
use crate::central::profile::DataSet;
use crate::names::SatelliteName;
use crate::plan::configuration::{Configuration, Kind};
use crate::plan::space::{Place, Room, refusal};

/// Destinations that are asked at once.
const AT_ONCE: usize = 8;

/// What a run would be.
#[derive(Debug, Clone)]
pub struct Planned {
    weight: Weight,
    /// The satellite first, then the destinations.
    pub places: Vec<Place>,
    /// Why it would be refused; none: it would begin.
    pub refusal: Option<String>,
}

impl Planned {
    /// Bytes that the archive will have.
    #[must_use]
    pub fn archive(&self) -> u64 {
        self.weight.archive
    }

    /// Bytes of content.
    #[must_use]
    pub fn content(&self) -> u64 {
        self.weight.content
    }

    /// The data sets and their sizes.
    #[must_use]
    pub fn sizes(&self) -> Vec<satellite_proto::wire::management::v1::DataSetSize> {
        self.weight.sizes()
    }
}

impl Runs {
    /// Says what a run would be, and runs nothing.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Invalid`].
    pub async fn plan(&self, which: Which) -> Result<Planned, AppError> {
        let plan = self.configuration(which).await?;
        Configurations::new(self.app.clone()).check(&plan).await?;
        let (central, profile) = self.backups.central(&plan.central).await?;
        let sets = chosen(&plan, &profile)?;
        let satellite = satellite_name(&central.satellite)?;
        let weight = self.backups.weigh(&central, &satellite, &sets).await?;
        let (places, refusal) = self.fits(&plan, &satellite, weight.archive).await?;
        Ok(Planned {
            weight,
            places,
            refusal,
        })
    }

    /// Refuses a run that cannot fit; of destinations that are too full while others are not is only told.
    pub(super) async fn admit(
        &self,
        plan: &Configuration,
        satellite: &SatelliteName,
        weight: &Weight,
        job: &mut Job,
    ) -> Result<(), AppError> {
        let (places, refusal) = self.fits(plan, satellite, weight.archive).await?;
        if let Some(refusal) = refusal {
            return Err(AppError::NoSpace(refusal));
        }
        for place in places {
            if let Some(problem) = place.problem(weight.archive) {
                job.note(format!("destination {}: {problem}", place.destination))
                    .await;
            }
        }
        Ok(())
    }

    async fn fits(
        &self,
        plan: &Configuration,
        satellite: &SatelliteName,
        needed: u64,
    ) -> Result<(Vec<Place>, Option<String>), AppError> {
        let names = futures_util::stream::iter(plan.destinations.clone());
        let asked = names.map(|name| self.place_at(name, plan, satellite));
        let (own, mut others) = tokio::join!(
            self.backups.room(satellite),
            asked.buffered(AT_ONCE).collect::<Vec<_>>()
        );
        others.insert(0, own);
        let copies = others.len();
        let over = self.backups.over_quota(&plan.central, needed, copies).await?;
        let refusal = refusal(needed, satellite.as_str(), &others).or(over);
        Ok((others, refusal))
    }

    async fn place_at(&self, destination: String, plan: &Configuration, satellite: &SatelliteName) -> Place {
        let room = self.room_of(&destination, plan, satellite).await;
        Place {
            destination,
            room: room.map_err(|error| crate::error_chain(&error)),
        }
    }

    async fn room_of(
        &self,
        destination: &str,
        plan: &Configuration,
        satellite: &SatelliteName,
    ) -> Result<Room, AppError> {
        let whole = match self.destinations.opened(destination).await?.1 {
            Opened::Server(path) => return room_here(&path).await,
            Opened::Satellite(whole) => pb::Destination {
                base_directory: plan.directory.clone(),
                ..*whole
            },
        };
        let reached = self.destinations.reach(satellite, whole).await?;
        let request = pb::GetSpaceRequest {
            destination: reached.destination(),
        };
        let mut client = self.destinations.client(satellite)?;
        let deadline = self.app.config.call_deadline * 2;
        match call(satellite, deadline, client.get_space(request)).await {
            Ok(space) => Ok(Room {
                free: space.free_bytes,
                most: space.most_bytes,
            }),
            // An older backup-service: the copy itself will say.
            Err(error) if error.code() == Code::Unimplemented => Ok(Room::default()),
            Err(error) => Err(error),
        }
    }
}

async fn room_here(path: &Path) -> Result<Room, AppError> {
    let path = path.to_owned();
    let asked = tokio::task::spawn_blocking(move || room_at(&path)).await;
    let room = asked.map_err(std::io::Error::other).flatten();
    room.map_err(|error| AppError::machine("ask for the free space", error))
}

/// The data sets of a configuration; of archiving only what has grown old.
pub(super) fn chosen(
    plan: &Configuration,
    profile: &crate::central::profile::Profile,
) -> Result<Vec<DataSet>, AppError> {
    let sets = profile
        .select(&plan.data_sets)
        .map_err(|set| AppError::Invalid(format!("central {} has no data set {set}", plan.central)))?;
    Ok(match plan.kind {
        Kind::Backup => sets,
        Kind::Archiving => archiving::old(sets, plan.older_than_days),
    })
}
