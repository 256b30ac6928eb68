//! Bundles and updates.

use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};
use satellite_proto::bundle::WorkloadName;
use satellite_proto::wire::MAX_PIECE;
use satellite_proto::wire::management::v1 as wire;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use super::{actor, asked, job_events, name_of, to_the_end, wire_time, workload_name_of};
use crate::app::workloads::WorkloadOn;
use crate::app::{App, AppError, bundles, trust, workloads};
use crate::names::SatelliteName;
use crate::store::{BundleRow, Outcome};

/// Pieces of a file between the connection and the disk.
const AHEAD: usize = 16;

/// The service.
#[derive(Debug, Clone)]
pub struct Bundle(pub App);

#[tonic::async_trait]
impl wire::bundle_service_server::BundleService for Bundle {
    type PushUpdateStream = Pin<Box<dyn Stream<Item = Result<wire::JobEvent, Status>> + Send>>;

    async fn add_bundle(
        &self,
        request: Request<Streaming<wire::AddBundleRequest>>,
    ) -> Result<Response<wire::AddBundleResponse>, Status> {
        let actor = actor(&request)?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        let mut pieces = request.into_inner();
        let first = pieces.message().await?.unwrap_or_default();
        let hold = first.hold;
        let feed = feed(stream::iter([Ok(first)]).chain(pieces), sender);
        let (result, ()) = tokio::join!(bundles::add(&self.0, receiver, hold), feed);
        let subject = match &result {
            Ok(added) => format!("{} {}", added.bundle.workload, added.bundle.version),
            Err(_) => String::new(),
        };
        let added = self
            .0
            .audit
            .recorded(&actor, "BundleService/AddBundle", &subject, result)
            .await?;
        let known = added.known;
        Ok(Response::new(wire::AddBundleResponse {
            bundle: Some(bundle(added.bundle)),
            known,
        }))
    }

    async fn list_bundles(
        &self,
        _request: Request<wire::ListBundlesRequest>,
    ) -> Result<Response<wire::ListBundlesResponse>, Status> {
        let rows = self.0.store.bundles().await.map_err(AppError::from)?;
        Ok(Response::new(wire::ListBundlesResponse {
            bundles: rows.into_iter().map(bundle).collect(),
        }))
    }

    async fn push_update(
        &self,
        request: Request<wire::PushUpdateRequest>,
    ) -> Result<Response<Self::PushUpdateStream>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let action = "BundleService/PushUpdate";
        let subject = format!("{} {}", request.workload, request.version);
        let wish = wish_of(&request);
        let (workload, version, satellites) = asked(&self.0, (&actor, action, subject.trim()), wish).await?;
        let permit = request.permit.map(super::release::signed_of);
        let app = self.0.clone();
        let job = to_the_end(async move {
            let result = async {
                if let Some(permit) = &permit {
                    trust::add_permit(&app, permit).await?;
                }
                workloads::push(&app, &workload, version, satellites).await
            };
            let result = result.await;
            app.audit.recorded(&actor, action, subject.trim(), result).await
        })
        .await?;
        job_events(&self.0, &job).await
    }

    async fn get_update_status(
        &self,
        request: Request<wire::GetUpdateStatusRequest>,
    ) -> Result<Response<wire::GetUpdateStatusResponse>, Status> {
        let only = request.into_inner().workload;
        let all = workloads::list(&self.0).await?;
        let chosen = all
            .iter()
            .filter(|workload| only.is_empty() || workload.name() == only);
        Ok(Response::new(wire::GetUpdateStatusResponse {
            updates: chosen.map(|w| self.status(w)).collect(),
        }))
    }
}

fn wish_of(
    request: &wire::PushUpdateRequest,
) -> Result<(WorkloadName, Option<semver::Version>, Vec<SatelliteName>), Status> {
    let version = match request.version.as_str() {
        "" => None,
        text => Some(super::release::version_of(text)?),
    };
    let satellites = request.satellites.iter().map(|name| name_of(name));
    Ok((
        workload_name_of(&request.workload)?,
        version,
        satellites.collect::<Result<_, _>>()?,
    ))
}

/// Hands the pieces of a file on; a piece that is too large, or a broken stream, ends them with an error.
async fn feed(
    mut pieces: impl Stream<Item = Result<wire::AddBundleRequest, Status>> + Unpin,
    sender: mpsc::Sender<Result<bytes::Bytes, AppError>>,
) {
    while let Some(piece) = pieces.next().await {
        let piece = match piece {
            Ok(piece) if piece.data.len() <= MAX_PIECE => Ok(piece.data),
            Ok(_) => Err(AppError::Invalid(format!(
                "a piece has more than {MAX_PIECE} bytes"
            ))),
            Err(status) => Err(AppError::machine("receive the bundle", status)),
        };
        let last = piece.is_err();
        if sender.send(piece).await.is_err() || last {
            return;
        }
    }
}

impl Bundle {
    fn status(&self, workload: &WorkloadOn) -> wire::UpdateStatus {
        let pass = self.0.reconciler.last(&workload.satellite);
        let target = workload.desired.as_ref().and_then(|(_, bundle)| bundle.as_ref());
        let installed = workload.observed.as_ref();
        let tried = workload
            .attempt
            .as_ref()
            .filter(|attempt| target.is_some_and(|target| target.manifest_digest == attempt.manifest_digest));
        let failed = tried.filter(|attempt| attempt.outcome != Outcome::Done);
        let there = |target: &BundleRow| {
            installed.is_some_and(|there| there.manifest_digest == target.manifest_digest.to_string())
        };
        let working = !pass.ended && pass.step.contains(workload.name());
        let state = match (&workload.desired, target) {
            (None, _) => "not managed".to_owned(),
            (Some(_), None) => "no bundle".to_owned(),
            (Some(_), Some(_)) if working => pass.step.to_lowercase(),
            (Some(_), Some(target)) if there(target) => "up to date".to_owned(),
            _ if failed.is_some_and(|attempt| attempt.outcome == Outcome::Failed) => "failed".to_owned(),
            _ => "waiting".to_owned(),
        };
        let problem = match (failed, &pass.failure) {
            (Some(attempt), _) => attempt.problem.clone(),
            (None, Some(failure)) if state == "waiting" => failure.message.clone(),
            _ => String::new(),
        };
        wire::UpdateStatus {
            satellite: workload.satellite.to_string(),
            workload: workload.name().to_owned(),
            desired_version: target
                .map(|target| target.version.to_string())
                .unwrap_or_default(),
            installed_version: installed.map(|there| there.version.clone()).unwrap_or_default(),
            state,
            problem,
            attempt_time: tried.map(|attempt| wire_time(attempt.ended_at)),
            cause: match failed.map(|attempt| attempt.outcome) {
                Some(Outcome::Failed) => "version".to_owned(),
                Some(Outcome::Retry) => "surroundings".to_owned(),
                _ => String::new(),
            },
            tries: tried.map(|attempt| attempt.tries).unwrap_or_default(),
        }
    }
}

fn bundle(row: BundleRow) -> wire::Bundle {
    wire::Bundle {
        workload: row.workload.to_string(),
        version: row.version.to_string(),
        manifest_digest: row.manifest_digest.to_string(),
        release: row.release,
        channel: row.channel,
        architecture: row.architecture,
        size_bytes: row.size_bytes,
        payload_bytes: row.payload_bytes,
        key_ids: row.key_ids,
        add_time: Some(wire_time(row.added_at)),
        held: row.held,
    }
}
