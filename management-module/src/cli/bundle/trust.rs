//! `bundle trust …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use satellite_proto::wire::bridge::v1::TrustState;
use satellite_proto::wire::management::v1::{GetTrustRequest, PublishTrustRequest};
use serde::Serialize;

use super::document;
use crate::cli::texts::Text;
use crate::cli::{CliError, Global, client, render, texts};

/// The commands.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TrustCommand {
    /// Brings signed sets of keys to all satellites. Each follows them only if they follow from its own image.
    Publish(Publish),
    /// Shows whom the module trusts, or a satellite.
    Show(Show),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Publish {
    /// Signed set of root or release keys, can be repeated; its signatures lie beside it.
    #[arg(required = true)]
    file: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    /// The satellite; without it the module.
    satellite: Option<String>,
}

#[derive(Debug, Serialize)]
struct View {
    rooted: bool,
    root_sequence: u64,
    root_threshold: u32,
    root_key_ids: Vec<String>,
    root_expire_time: String,
    keys_sequence: u64,
    release_threshold: u32,
    release_key_ids: Vec<String>,
    keys_expire_time: String,
    problem: String,
    floors: Vec<FloorView>,
}

#[derive(Debug, Serialize)]
struct FloorView {
    workload: String,
    channel: String,
    release: u64,
}

impl From<TrustState> for View {
    fn from(trust: TrustState) -> Self {
        let floors = trust.floors.into_iter().map(|floor| FloorView {
            workload: floor.workload,
            channel: floor.channel,
            release: floor.release,
        });
        Self {
            rooted: trust.rooted,
            root_sequence: trust.root_sequence,
            root_threshold: trust.root_threshold,
            root_key_ids: trust.root_key_ids,
            root_expire_time: render::time(trust.root_expire_time.as_ref()),
            keys_sequence: trust.keys_sequence,
            release_threshold: trust.release_threshold,
            release_key_ids: trust.release_key_ids,
            keys_expire_time: render::time(trust.keys_expire_time.as_ref()),
            problem: trust.problem,
            floors: floors.collect(),
        }
    }
}

impl View {
    fn properties(&self) -> Vec<(Text, String)> {
        let set = |threshold: u32, ids: &[String]| format!("{threshold} / {}: {}", ids.len(), ids.join(", "));
        let floors = self.floors.iter();
        let floors = floors.map(|floor| format!("{} {}: {}", floor.workload, floor.channel, floor.release));
        let release = (
            texts::RELEASE_KEYS,
            set(self.release_threshold, &self.release_key_ids),
        );
        let problem = (texts::PROBLEM, self.problem.clone());
        let floors = (texts::FLOORS, floors.collect::<Vec<_>>().join(", "));
        if !self.rooted {
            let root = (texts::ROOT_KEYS, texts::NOT_ROOTED.say().to_owned());
            return vec![root, release, floors, problem];
        }
        vec![
            (texts::ROOT_KEYS, set(self.root_threshold, &self.root_key_ids)),
            (texts::SEQUENCE, self.root_sequence.to_string()),
            (texts::EXPIRES, self.root_expire_time.clone()),
            release,
            (texts::SEQUENCE, self.keys_sequence.to_string()),
            (texts::EXPIRES, self.keys_expire_time.clone()),
            floors,
            problem,
        ]
    }
}

impl TrustCommand {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        match self {
            Self::Publish(publish) => {
                let record = document::record_of(&publish.file)?;
                let request = PublishTrustRequest {
                    roots: record.roots.into_iter().map(document::wire_of).collect(),
                    keys: record.keys.map(document::wire_of),
                };
                let mut client = client::connect(global).await?;
                let answer = client.release.publish_trust(request).await?.into_inner();
                if !answer.changed {
                    render::note(texts::NOTHING_CHANGED.say());
                }
                let view = View::from(answer.trust.unwrap_or_default());
                render::one(global.output, &view, View::properties)
            }
            Self::Show(show) => {
                let request = GetTrustRequest {
                    satellite: show.satellite.unwrap_or_default(),
                };
                let mut client = client::connect(global).await?;
                let answer = client.release.get_trust(request).await?.into_inner();
                let view = View::from(answer.trust.unwrap_or_default());
                render::one(global.output, &view, View::properties)
            }
        }
    }
}
