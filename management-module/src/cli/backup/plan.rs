//! `backup plan`

use clap::Args;
use satellite_proto::wire::management::v1 as pb;
use serde::Serialize;

use super::super::texts::Text;
use super::super::{CliError, Global, client, render, texts};

#[derive(Debug, Args)]
pub(in crate::cli) struct Plan {
    /// Name of the configuration.
    configuration: String,
}

/// What is shown of a run that is not begun.
#[derive(Debug, Serialize)]
struct View {
    data_sets: Vec<SetView>,
    content_bytes: u64,
    archive_bytes: u64,
    places: Vec<PlaceView>,
    refused_because: String,
}

#[derive(Debug, Serialize)]
struct SetView {
    data_set: String,
    files: u64,
    size_bytes: u64,
}

#[derive(Debug, Serialize)]
struct PlaceView {
    /// Empty: the satellite.
    destination: String,
    free_bytes: Option<u64>,
    most_bytes: Option<u64>,
    fits: bool,
    problem: String,
}

impl From<pb::PlanRunResponse> for View {
    fn from(planned: pb::PlanRunResponse) -> Self {
        let set = |set: pb::DataSetSize| SetView {
            data_set: set.data_set,
            files: set.files,
            size_bytes: set.size_bytes,
        };
        let place = |place: pb::RunPlace| PlaceView {
            destination: place.destination,
            free_bytes: place.free_bytes,
            most_bytes: place.most_bytes,
            fits: place.fits,
            problem: place.problem,
        };
        Self {
            data_sets: planned.data_sets.into_iter().map(set).collect(),
            content_bytes: planned.content_bytes,
            archive_bytes: planned.archive_bytes,
            places: planned.places.into_iter().map(place).collect(),
            refused_because: planned.refused_because,
        }
    }
}

impl View {
    fn properties(&self) -> Vec<(Text, String)> {
        let set = |set: &SetView| {
            let (files, size) = (set.files, render::size(set.size_bytes));
            let files_told = texts::FILES.say().to_lowercase();
            (
                texts::DATA_SET,
                format!("{}: {files} {files_told}, {size}", set.data_set),
            )
        };
        let mut properties: Vec<_> = self.data_sets.iter().map(set).collect();
        properties.push((texts::SIZE, render::size(self.content_bytes)));
        properties.push((texts::ARCHIVE_ABOUT, render::size(self.archive_bytes)));
        properties.extend(self.places.iter().map(PlaceView::property));
        properties
    }
}

impl PlaceView {
    fn property(&self) -> (Text, String) {
        let of_satellite = self.destination.is_empty();
        let room = match (&self.problem, self.free_bytes) {
            (problem, _) if !problem.is_empty() => problem.clone(),
            (_, Some(free)) => texts::BYTES_FREE.say().replace("{}", &render::size(free)),
            (_, None) => texts::FREE_UNKNOWN.say().to_owned(),
        };
        if of_satellite {
            (texts::SATELLITE, room)
        } else {
            (texts::DESTINATION, format!("{}: {room}", self.destination))
        }
    }
}

impl Plan {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let request = pb::PlanRunRequest {
            name: self.configuration,
            configuration: None,
        };
        let view = View::from(client.run.plan_run(request).await?.into_inner());
        render::one(global.output, &view, View::properties)?;
        if !view.refused_because.is_empty() {
            return Err(CliError::said(view.refused_because));
        }
        let problems: Vec<_> = view
            .places
            .into_iter()
            .filter(|place| !place.problem.is_empty())
            .map(|place| format!("{}: {}", place.destination, place.problem))
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(CliError::Partly(problems.join("\n")))
        }
    }
}

/// The same as lines for the overview of a wizard. What cannot be asked is left out: the run will say.
pub(super) async fn lines(client: &mut client::Client, one: &pb::Configuration) -> Vec<(Text, String)> {
    let request = pb::PlanRunRequest {
        name: String::new(),
        configuration: Some(one.clone()),
    };
    let Ok(planned) = client.run.plan_run(request).await else {
        return Vec::new();
    };
    let view = View::from(planned.into_inner());
    let mut lines = view.properties();
    if !view.refused_because.is_empty() {
        lines.push((texts::PROBLEM, view.refused_because));
    }
    lines
}
