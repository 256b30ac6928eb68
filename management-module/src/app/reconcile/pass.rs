//! How bringing a satellite to what is desired of it goes, for those who wait for it and for those who look.
//!
//! **Invariant:** nothing counts as fulfilled that no pass has read, or that the satellite does not show.

use crate::app::JobFailure;
use crate::fleet::{Facts, Link};

/// How a satellite's last or present pass goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pass {
    /// The newest wish that this pass has read.
    pub covers: u64,
    /// It is over.
    pub ended: bool,
    /// What is being done, for a person.
    pub step: String,
    /// Units done.
    pub done: u64,
    /// Units in all; 0: not known.
    pub total: u64,
    /// What is counted.
    pub unit: &'static str,
    /// Why it failed, if it did.
    pub failure: Option<JobFailure>,
    /// The newest wish that the pass before had read, and why that failed, if it did: who watches may have missed it.
    pub before: Option<(u64, JobFailure)>,
    /// What is there is what is meant to be.
    pub converged: bool,
    /// What was there when it was.
    pub(super) seen: Facts,
}

impl Pass {
    /// The one that begins after this.
    pub(super) fn next(&self, covers: u64) -> Self {
        Self {
            covers,
            // Whether it fulfils a wish that no pass has read is not known.
            converged: self.converged && covers == self.covers,
            seen: self.seen.clone(),
            before: self.failure.clone().map(|failure| (self.covers, failure)),
            ..Self::default()
        }
    }

    /// Whether a satellite that reports this of itself is as it is meant to be: what was found a while ago says nothing of
    /// one that shows something else.
    #[must_use]
    pub fn holds_for(&self, link: &Link) -> bool {
        self.converged && self.seen == link.facts()
    }

    /// How it went with a wish: nothing while no pass that has read it has ended.
    pub(in crate::app) fn outcome(&self, wish: u64) -> Option<Result<(), JobFailure>> {
        // The pass before may be over for no longer than a blink, and this one may end otherwise.
        if let Some((covers, failure)) = &self.before
            && *covers >= wish
        {
            return Some(Err(failure.clone()));
        }
        if self.covers < wish || !self.ended {
            return None;
        }
        match &self.failure {
            _ if self.converged => Some(Ok(())),
            // Something is still on its way.
            failure => failure.clone().map(Err),
        }
    }
}

#[cfg(test)]
mod tests {
    use satellite_proto::wire::bridge::v1 as bridge;

    use super::*;
    use crate::fleet::Reachability;

    fn failed() -> JobFailure {
        JobFailure {
            message: "it crashed".into(),
            code: tonic::Code::FailedPrecondition,
            log_tail: Vec::new(),
        }
    }

    fn link(version: &str) -> Link {
        let workload = bridge::Workload {
            name: "w".into(),
            manifest_digest: version.into(),
            ..bridge::Workload::default()
        };
        Link {
            reachability: Reachability::Reachable,
            satellite: Some(bridge::Satellite {
                workloads: vec![workload],
                ..bridge::Satellite::default()
            }),
            seen_at: None,
            problem: String::new(),
            epoch: 1,
            failures: 0,
            trail: crate::fleet::Trail::default(),
        }
    }

    #[test]
    fn a_satellite_is_as_wanted_only_while_it_shows_what_was_found_and_nothing_new_is_wished() {
        let (old, new) = (link("old"), link("new"));
        let pass = Pass {
            covers: 3,
            ended: true,
            converged: true,
            seen: new.facts(),
            ..Pass::default()
        };
        assert!(pass.holds_for(&new));
        assert!(
            !pass.holds_for(&old),
            "its report is not there yet, or it was set back"
        );
        assert!(pass.next(3).holds_for(&new), "it is only looked at again");
        assert!(!pass.next(4).holds_for(&new), "something else is wanted");
    }

    #[test]
    fn who_looks_after_the_next_pass_has_begun_still_hears_how_the_one_before_ended() {
        let mut pass = Pass::default().next(3);
        assert_eq!(pass.outcome(3), None);
        pass.ended = true;
        pass.failure = Some(failed());
        assert_eq!(pass.outcome(3), Some(Err(failed())));
        assert_eq!(pass.outcome(4), None, "it had not read that wish");

        let mut next = pass.next(4);
        assert_eq!(next.outcome(3), Some(Err(failed())));
        assert_eq!(next.outcome(4), None);
        next.ended = true;
        next.converged = true;
        assert_eq!(next.outcome(4), Some(Ok(())));
        assert_eq!(next.next(5).outcome(4), None, "what went well is looked at again");
    }
}
