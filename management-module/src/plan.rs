//! Decides what to do. Pure: no clock, no I/O, no async.
//!
//! **Invariant:** planning from the state a plan leads to gives an empty plan.

pub mod account;
pub mod configuration;
pub mod hook;
pub mod mail;
pub mod outcome;
pub mod renewal;
pub mod retention;
pub mod rollout;
pub mod schedule;
pub mod space;
pub mod warnings;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use satellite_proto::bundle::{Digest, Direction, Manifest, ManifestRule, Protocol, WorkloadName};
use satellite_proto::wire::bridge::v1::{self as bridge, Action, Rule, Ruleset};

/// Owner of the operator's rules.
pub const OPERATOR: &str = "operator";

/// What one satellite is meant to be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    /// What it is meant to run.
    pub workloads: BTreeMap<WorkloadName, Wanted>,
    /// The rules that versions need, as far as their manifests are known.
    pub rules: BTreeMap<Digest, Vec<Rule>>,
    /// The operator's rules; a default that is not set stays as it is.
    pub operator: Ruleset,
    /// The sets of keys that were published; none: the satellite keeps to those that it has.
    pub trust: Option<TrustPlace>,
}

/// How far sets of keys have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrustPlace {
    /// Sequence of the root set.
    pub root: u64,
    /// Sequence of the set of release keys.
    pub keys: u64,
}

impl TrustPlace {
    /// Something in it is ahead of `other`.
    fn is_ahead_of(self, other: Self) -> bool {
        self.root > other.root || self.keys > other.keys
    }
}

/// What a workload is meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Its version; none: no bundle fits.
    pub target: Option<Digest>,
    /// Whether it is meant to run.
    pub running: bool,
    /// That version failed there: it waits for a person or for another version.
    pub blocked: bool,
}

/// What one satellite is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// What is installed.
    pub workloads: BTreeMap<WorkloadName, Present>,
    /// Versions that have arrived whole and are not installed.
    pub uploaded: BTreeSet<Digest>,
    /// The rules as they were set.
    pub ruleset: Ruleset,
    /// The rules in force are those that were set.
    pub in_sync: bool,
    /// The sets of keys that it follows; none: it trusts release keys of its image, or its bridge is too old to follow.
    pub trust: Option<TrustPlace>,
}

/// What a workload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Present {
    /// Its version; none before its first installation has ended.
    pub digest: Option<Digest>,
    /// Whether it is meant to run, as the satellite has it.
    pub enabled: bool,
    /// Something is being done to it.
    pub busy: bool,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Bring the sets of keys there that were published.
    SetTrust(TrustPlace),
    /// Stop it, across boots.
    Stop(WorkloadName),
    /// Bring a version there.
    PushBundle(WorkloadName, Digest),
    /// Install a version that is there.
    Install(WorkloadName, Digest),
    /// Replace all rules.
    SetFirewall(Ruleset),
    /// Start it, also at boot from now on.
    Start(WorkloadName),
}

/// The steps that take `observed` to `desired`, in the order to run them: a workload's rules are in force before it is
/// started for the first time. What is busy is left alone, and so is what is installed and not desired.
#[must_use]
pub fn plan(desired: &Desired, observed: &Observed) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut starts = Vec::new();
    if let (Some(published), Some(there)) = (desired.trust, observed.trust)
        && published.is_ahead_of(there)
    {
        steps.push(Step::SetTrust(published));
    }
    for (name, wanted) in &desired.workloads {
        let present = observed.workloads.get(name);
        if present.is_some_and(|present| present.busy) {
            continue;
        }
        let installed = present.and_then(|present| present.digest);
        let enabled = present.is_some_and(|present| present.enabled);
        // The satellite itself always runs.
        if enabled && !wanted.running && !name.is_base() {
            steps.push(Step::Stop(name.clone()));
        }
        if let Some(target) = wanted
            .target
            .filter(|target| !wanted.blocked && installed != Some(*target))
        {
            if !observed.uploaded.contains(&target) {
                steps.push(Step::PushBundle(name.clone(), target));
            }
            steps.push(Step::Install(name.clone(), target));
        }
        let becomes = effective(wanted, installed);
        let failed_there = wanted.blocked && becomes == wanted.target;
        if becomes.is_some() && wanted.running && !enabled && !failed_there && !name.is_base() {
            starts.push(Step::Start(name.clone()));
        }
    }
    let ruleset = ruleset(desired, observed);
    if ruleset != observed.ruleset || !observed.in_sync {
        steps.push(Step::SetFirewall(ruleset));
    }
    steps.extend(starts);
    steps
}

/// All rules that a satellite is meant to have: the operator's first, then those of its workloads.
#[must_use]
pub fn ruleset(desired: &Desired, observed: &Observed) -> Ruleset {
    let mut rules: Vec<Rule> = desired.operator.rules.clone();
    for (name, wanted) in &desired.workloads {
        let installed = observed.workloads.get(name).and_then(|present| present.digest);
        let known = effective(wanted, installed).and_then(|digest| desired.rules.get(&digest));
        match known {
            Some(own) => rules.extend(own.iter().cloned()),
            // The manifest of what is installed is not in the store: its rules stay as they are.
            None => {
                let owner = owner_of(name);
                rules.extend(
                    observed
                        .ruleset
                        .rules
                        .iter()
                        .filter(|rule| rule.owner == owner)
                        .cloned(),
                );
            }
        }
    }
    for remote in rules.iter_mut().flat_map(|rule| &mut rule.remotes) {
        *remote = canonical(remote);
    }
    let or = |set: i32, there: i32| {
        if set == i32::from(Action::Unspecified) {
            there
        } else {
            set
        }
    };
    Ruleset {
        rules,
        default_in: or(desired.operator.default_in, observed.ruleset.default_in),
        default_out: or(desired.operator.default_out, observed.ruleset.default_out),
    }
}

/// A remote as satellites give it back: a network with its length, bits behind that cleared. Anything else would differ
/// from what they report for ever. What is no network stays as it is: they refuse it, and say why.
fn canonical(remote: &str) -> String {
    let network = remote.parse::<IpNet>();
    let network = network.or_else(|_| remote.parse::<IpAddr>().map(IpNet::from));
    network.map_or_else(|_| remote.to_owned(), |network| network.trunc().to_string())
}

/// The version that is there once the plan is done.
fn effective(wanted: &Wanted, installed: Option<Digest>) -> Option<Digest> {
    if wanted.blocked {
        installed
    } else {
        wanted.target.or(installed)
    }
}

/// The rules that a version needs, as the satellite takes them.
#[must_use]
pub fn rules_of(manifest: &Manifest) -> Vec<Rule> {
    let owner = owner_of(&manifest.workload);
    manifest
        .firewall
        .iter()
        .map(|rule| wire_rule(rule, &owner))
        .collect()
}

fn owner_of(workload: &WorkloadName) -> String {
    format!("workload/{workload}")
}

fn wire_rule(rule: &ManifestRule, owner: &str) -> Rule {
    let ports = rule.ports.iter();
    Rule {
        name: rule.name.clone(),
        owner: owner.to_owned(),
        direction: match rule.direction {
            Direction::In => bridge::Direction::In,
            Direction::Out => bridge::Direction::Out,
        }
        .into(),
        protocol: match rule.protocol {
            Protocol::Tcp => bridge::Protocol::Tcp,
            Protocol::Udp => bridge::Protocol::Udp,
        }
        .into(),
        ports: ports
            .map(|p| bridge::PortRange {
                first: p.first.into(),
                last: p.last.into(),
            })
            .collect(),
        remotes: rule.remotes.clone(),
        action: Action::Accept.into(),
        comment: rule.comment.clone(),
        rate_limit: None,
    }
}

#[cfg(test)]
mod tests;
