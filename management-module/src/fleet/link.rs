//! How the server stands with one satellite.

use jiff::Timestamp;
use satellite_proto::wire::bridge::v1 as bridge;

use super::{Known, Trail};

/// Whether a satellite answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reachability {
    /// First contact is awaited.
    Connecting,
    /// Calls are answered.
    Reachable,
    /// Calls are not answered.
    Unreachable,
    /// It answers and does not trust us any more, or is another machine than we know.
    Refused,
    /// It was disconnected from this server at its console, and said so.
    Disconnected,
    /// It answers, and is a copy of another satellite: a person has to decide.
    Quarantined,
}

/// What is true now about one satellite.
#[derive(Debug, Clone)]
pub struct Link {
    /// Whether it answers.
    pub reachability: Reachability,
    /// As it last described itself.
    pub satellite: Option<bridge::Satellite>,
    /// When that was.
    pub seen_at: Option<Timestamp>,
    /// Why it cannot be reached; empty if it can.
    pub problem: String,
    /// Counts the sessions with it.
    pub epoch: u64,
    /// Counts the sessions that ended, or did not come about, because it did not answer as it should.
    pub failures: u64,
    /// What is remembered of the meetings with it.
    pub trail: Trail,
}

impl Link {
    pub(super) fn first(known: Known) -> Self {
        Self {
            reachability: if known.trail.disconnected {
                Reachability::Disconnected
            } else {
                Reachability::Connecting
            },
            satellite: known.observed,
            seen_at: known.seen_at,
            problem: String::new(),
            epoch: 0,
            failures: 0,
            trail: known.trail,
        }
    }

    /// What a reconciler wakes for: a change in this value. Times, memory and disk space are not in it.
    #[must_use]
    pub fn gist(&self) -> Gist {
        let satellite = self.satellite.as_ref();
        Gist {
            reachability: self.reachability,
            reverts: self.trail.reverts,
            boot_id: satellite.map(|s| s.boot_id.clone()).unwrap_or_default(),
            firewall: satellite.map(|s| s.firewall_revision.clone()).unwrap_or_default(),
            workloads: self.facts(),
        }
    }

    /// What it last said of its workloads.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.satellite.as_ref().map(Facts::of).unwrap_or_default()
    }
}

/// What a satellite says of its workloads, as far as plans depend on it: which versions, and how they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts(Vec<(String, String, i32, bool)>);

impl Facts {
    /// Those of a satellite.
    #[must_use]
    pub fn of(satellite: &bridge::Satellite) -> Self {
        let all = satellite.workloads.iter();
        Self(
            all.map(|w| (w.name.clone(), w.manifest_digest.clone(), w.state, w.enabled))
                .collect(),
        )
    }
}

/// The part of a [`Link`] that plans depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gist {
    reachability: Reachability,
    reverts: u64,
    boot_id: String,
    firewall: String,
    workloads: Facts,
}
