//! The section `[warnings]`: how often they are looked at and repeated, and what counts as too old.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::check::Check;

/// How accounts are warned. Who and when is a matter of each account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Warnings {
    /// How often they are looked at without cause.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// After how long a warning that stands is told again.
    #[serde(with = "humantime_serde")]
    pub repeat_after: Duration,
    /// The least version of a satellite's bridge; empty: any will do.
    pub least_bridge: String,
    /// The least versions of workloads.
    pub least_workloads: BTreeMap<String, String>,
}

impl Default for Warnings {
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(10),
            repeat_after: Duration::from_hours(24 * 7),
            least_bridge: String::new(),
            least_workloads: BTreeMap::new(),
        }
    }
}

impl Warnings {
    /// Adds what is wrong with it to the faults of the file.
    pub(super) fn check(&self, faults: &mut Vec<String>) {
        let mut check = Check::of("warnings", faults);
        check.within("interval", self.interval, 1, 86_400);
        check.within("repeat-after", self.repeat_after, 1, 86_400 * 366);
        let bridge = Some(("least-bridge", &self.least_bridge)).filter(|(_, version)| !version.is_empty());
        let workloads = self
            .least_workloads
            .iter()
            .map(|(name, version)| (name.as_str(), version));
        for (key, version) in bridge.into_iter().chain(workloads) {
            if semver::Version::parse(version).is_err() {
                faults.push(format!(
                    "`warnings`: the least version of `{key}` must be such as 1.2.3, not {version:?}"
                ));
            }
        }
    }
}
