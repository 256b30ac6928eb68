//! What the data sets of centrals hold, kept for some minutes: to look takes long where a central is large or far away.
//!
//! **Invariant:** what is kept of a central counts only as long as the central is described as it was.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::app::AppError;
use crate::app::backup::Backups;
use crate::bounded::make_room;
use crate::central::profile::{DataSet, Profile};
use crate::store::Central;

/// How long sizes count.
const FRESH: Duration = Duration::from_mins(5);
/// How long a central that did not answer is not asked again.
const PATIENCE: Duration = Duration::from_secs(30);
/// Centrals that are remembered; beyond that the oldest goes.
const MOST: usize = 500;

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Sizes(Mutex<HashMap<String, Kept>>);

#[derive(Debug)]
struct Kept {
    at: Instant,
    of: Central,
    looked: Arc<Looked>,
}

/// What was found out of a central.
#[derive(Debug)]
pub(super) struct Looked {
    /// Its data sets, with the bytes of each if they are known.
    pub(super) sets: Vec<(DataSet, Option<u64>)>,
    /// Why they are not.
    pub(super) problem: Option<AppError>,
}

impl Looked {
    fn counts_for(&self) -> Duration {
        if self.problem.is_none() { FRESH } else { PATIENCE }
    }

    /// Bytes of all, if they are known.
    pub(super) fn total(&self) -> Option<u64> {
        self.sets.iter().map(|(_, bytes)| *bytes).sum()
    }
}

impl Sizes {
    /// What a central holds now, or held some minutes ago.
    ///
    /// # Errors
    /// [`AppError::Invalid`] its profile cannot be read.
    pub(super) async fn of(&self, backups: &Backups, central: &Central) -> Result<Arc<Looked>, AppError> {
        if let Some(looked) = self.kept(central) {
            return Ok(looked);
        }
        let looked = match backups.measure(&central.name).await {
            Ok(measured) => {
                let known =
                    |(set, measured): (DataSet, crate::central::read::Measured)| (set, Some(measured.bytes));
                Looked {
                    sets: measured.into_iter().map(known).collect(),
                    problem: None,
                }
            }
            Err(error) => {
                let profile = Profile::parse(&central.profile);
                let profile = profile.map_err(|fault| AppError::Invalid(fault.to_string()))?;
                Looked {
                    sets: profile.data_sets.into_iter().map(|set| (set, None)).collect(),
                    problem: Some(error),
                }
            }
        };
        Ok(self.keep(central, looked))
    }

    /// The next look is one at the central.
    pub(super) fn forget(&self, central: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(central);
    }

    fn kept(&self, central: &Central) -> Option<Arc<Looked>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.get(&central.name)?;
        let counts = kept.of == *central && kept.at.elapsed() < kept.looked.counts_for();
        counts.then(|| Arc::clone(&kept.looked))
    }

    fn keep(&self, central: &Central, looked: Looked) -> Arc<Looked> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&central.name);
        make_room(&mut all, MOST, |kept| kept.at);
        let looked = Arc::new(looked);
        let kept = Kept {
            at: Instant::now(),
            of: central.clone(),
            looked: Arc::clone(&looked),
        };
        all.insert(central.name.clone(), kept);
        looked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn central(name: &str) -> Central {
        Central {
            name: name.to_owned(),
            address: "192.0.2.1".to_owned(),
            tenant: "default".to_owned(),
            profile: String::new(),
            satellite: "vm".to_owned(),
            added_at: jiff::Timestamp::UNIX_EPOCH,
            is_master: false,
            ssh: None,
        }
    }

    fn looked() -> Looked {
        Looked {
            sets: Vec::new(),
            problem: None,
        }
    }

    #[test]
    fn what_is_kept_counts_for_the_same_central_only_and_has_a_bound() {
        let (sizes, first) = (Sizes::default(), central("0"));
        sizes.keep(&first, looked());
        assert!(sizes.kept(&first).is_some() && sizes.kept(&central("1")).is_none());
        let changed = Central {
            profile: "other".to_owned(),
            ..first.clone()
        };
        assert!(sizes.kept(&changed).is_none());
        sizes.forget("0");
        assert!(sizes.kept(&first).is_none());
        for number in 0..=MOST {
            sizes.keep(&central(&number.to_string()), looked());
        }
        let all = sizes.0.lock().unwrap().len();
        assert_eq!(all, MOST);
    }
}
