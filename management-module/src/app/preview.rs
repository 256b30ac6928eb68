//! What the reconcilers would do now, without doing it.
//!
//! **Invariant:** the steps are those of the same plan that a pass would carry out; nothing is changed anywhere.

use std::collections::HashSet;

use futures_util::{StreamExt, stream};
use satellite_proto::bundle::{Digest, Manifest, WorkloadName};

use super::{App, AppError, observe};
use crate::fleet::Reachability;
use crate::names::SatelliteName;
use crate::plan::{self, Desired, Observed, Step};
use crate::store::BundleRow;

/// Satellites that are asked at once.
const AT_ONCE: usize = 16;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Question {
    /// Only this workload.
    pub workload: Option<WorkloadName>,
    /// As if this version were wanted.
    pub version: Option<semver::Version>,
    /// Satellites; none: all.
    pub satellites: Vec<SatelliteName>,
}

/// One thing that would be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Where.
    pub satellite: SatelliteName,
    /// A word for it.
    pub step: &'static str,
    /// What it is done to.
    pub subject: String,
    /// What else is to know.
    pub detail: String,
    /// Bytes that would be sent at most.
    pub bytes: u64,
}

/// What would be done, by satellite.
///
/// # Errors
/// A satellite is not known, or there is no such bundle.
pub async fn preview(app: &App, question: &Question) -> Result<Vec<Planned>, AppError> {
    if question.version.is_some() && question.workload.is_none() {
        return Err(AppError::Invalid(
            "a version needs the workload that it is of".to_owned(),
        ));
    }
    let bundles = app.store.bundles().await?;
    if let (Some(workload), Some(version)) = (&question.workload, &question.version)
        && !bundles
            .iter()
            .any(|bundle| bundle.workload == *workload && bundle.version == *version)
    {
        return Err(AppError::no("bundle of", format!("{workload} {version}")));
    }
    let mut asked = question.satellites.clone();
    for satellite in &asked {
        if app.store.satellite(satellite).await?.is_none() {
            return Err(AppError::no("satellite", satellite.to_string()));
        }
    }
    if asked.is_empty() {
        asked = app
            .store
            .satellites()
            .await?
            .into_iter()
            .map(|row| row.name)
            .collect();
    }
    let bundles = &bundles;
    let each = stream::iter(asked)
        .map(|satellite| async move { of_one(app, question, satellite, bundles).await })
        .buffered(AT_ONCE)
        .collect::<Vec<_>>();
    let mut all = Vec::new();
    for planned in each.await {
        all.extend(planned?);
    }
    Ok(all)
}

async fn of_one(
    app: &App,
    question: &Question,
    satellite: SatelliteName,
    bundles: &[BundleRow],
) -> Result<Vec<Planned>, AppError> {
    let say = |step: &'static str, detail: String| Planned {
        satellite: satellite.clone(),
        step,
        subject: String::new(),
        detail,
        bytes: 0,
    };
    let link = app.fleet.observed(&satellite)?;
    if link.reachability != Reachability::Reachable {
        return Ok(vec![say("unreachable", link.problem)]);
    }
    let seen = match observe::observed(app, &satellite).await {
        Ok(seen) => seen,
        Err(error) => return Ok(vec![say("unreachable", crate::error_chain(&error))]),
    };
    let mut desired = observe::desired(app, &satellite).await?;
    if let Some(only) = &question.workload {
        desired.workloads.retain(|name, _| name == only);
        if let Some(version) = &question.version {
            want(&mut desired, version, bundles, &seen.satellite.architecture);
        }
    }
    let mut planned: Vec<_> = desired
        .workloads
        .iter()
        .filter_map(|(name, wanted)| {
            let detail = match wanted.target {
                None => "no bundle fits",
                Some(_) if wanted.blocked => "the version failed there; see `update retry`",
                Some(_) => return None,
            };
            Some(Planned {
                subject: name.to_string(),
                ..say("blocked", detail.to_owned())
            })
        })
        .collect();
    for step in plan::plan(&desired, &seen.state) {
        let of_others =
            question.workload.is_some() && matches!(step, Step::SetFirewall(_) | Step::SetTrust(_));
        if !of_others {
            planned.push(describe(&satellite, step, &seen.state, bundles));
        }
    }
    if planned.is_empty() {
        planned.push(say("none", "as it is meant to be".to_owned()));
    }
    Ok(planned)
}

/// Wants `version` of the workloads that are meant, as `update push` would.
fn want(desired: &mut Desired, version: &semver::Version, bundles: &[BundleRow], architecture: &str) {
    for (name, wanted) in &mut desired.workloads {
        let fits = bundles.iter().filter(|bundle| {
            bundle.workload == *name && bundle.version == *version && bundle.architecture == architecture
        });
        wanted.target = fits
            .max_by_key(|bundle| (bundle.release, bundle.added_at))
            .map(|bundle| bundle.manifest_digest);
        wanted.blocked = false;
    }
}

fn describe(satellite: &SatelliteName, step: Step, observed: &Observed, bundles: &[BundleRow]) -> Planned {
    let row = |digest: &Digest| bundles.iter().find(|bundle| bundle.manifest_digest == *digest);
    let version = |digest: &Digest| row(digest).map(|row| row.version.to_string()).unwrap_or_default();
    let from = |name: &WorkloadName| {
        let there = observed.workloads.get(name).and_then(|there| there.digest);
        match there {
            Some(digest) => format!(
                "from {}",
                row(&digest).map_or(digest.to_string(), |row| row.version.to_string())
            ),
            None => "for the first time".to_owned(),
        }
    };
    let (step, subject, detail, bytes) = match step {
        Step::SetTrust(place) => (
            "trust",
            "sets of keys".to_owned(),
            format!("{} / {}", place.root, place.keys),
            0,
        ),
        Step::PushBundle(name, digest) => {
            let there = observed.workloads.get(&name).and_then(|there| there.digest);
            let bytes = row(&digest).map_or(0, |new| to_send(new, there.as_ref().and_then(row)));
            (
                "push",
                format!("{name} {}", version(&digest)),
                String::new(),
                bytes,
            )
        }
        Step::Install(name, digest) => ("install", format!("{name} {}", version(&digest)), from(&name), 0),
        Step::SetFirewall(ruleset) => {
            let detail = format!(
                "{} rules, {} now",
                ruleset.rules.len(),
                observed.ruleset.rules.len()
            );
            ("firewall", String::new(), detail, 0)
        }
        Step::Start(name) => ("start", name.to_string(), String::new(), 0),
        Step::Stop(name) => ("stop", name.to_string(), String::new(), 0),
    };
    Planned {
        satellite: satellite.clone(),
        step,
        subject,
        detail,
        bytes,
    }
}

/// Bytes of the chunks that the installed version does not have.
fn to_send(new: &BundleRow, installed: Option<&BundleRow>) -> u64 {
    let chunks = |row: &BundleRow| {
        Manifest::parse(&row.manifest)
            .map(|manifest| manifest.chunks)
            .unwrap_or_default()
    };
    let there: HashSet<Digest> = installed
        .map(chunks)
        .unwrap_or_default()
        .iter()
        .map(|chunk| chunk.digest)
        .collect();
    let missing = chunks(new)
        .into_iter()
        .filter(|chunk| !there.contains(&chunk.digest));
    missing.map(|chunk| u64::from(chunk.size)).sum()
}
