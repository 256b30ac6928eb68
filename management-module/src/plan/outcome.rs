//! How a run ended: from what became of the archive and of each copy, and from nothing else.
//!
//! **Invariant:** pure. One failed destination makes a run partial, never a failure while another copy or the spool holds
//! the archive, and never a success.

/// What became of a run's archive at one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyState {
    /// It was not begun.
    Pending,
    /// It is under way.
    Copying,
    /// It is there, read back and found equal.
    Done,
    /// It is not there.
    Failed,
    /// It was not tried, because there was no archive.
    Skipped,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunState {
    /// It waits for its turn.
    Queued,
    /// Something else works on the central: it starts later.
    Deferred,
    /// It is under way.
    Running,
    /// The archive is whole and everywhere where it should be.
    Succeeded,
    /// There is an archive, and something is missing: in it, or a copy of it.
    Partial,
    /// There is no archive.
    Failed,
    /// A person ended it.
    Cancelled,
    /// It was due and nothing ran.
    Missed,
}

impl RunState {
    /// Nothing more happens to it.
    #[must_use]
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Queued | Self::Deferred | Self::Running)
    }

    /// It says how backups go: one that waits, runs or was cancelled does not.
    #[must_use]
    pub fn is_result(self) -> bool {
        self.has_ended() && self != Self::Cancelled
    }
}

/// How a run ended whose archive was made: `left_out` things are missing in it, the copies went so.
#[must_use]
pub fn of_run(left_out: u64, copies: &[CopyState]) -> RunState {
    let all_there = copies.iter().all(|copy| *copy == CopyState::Done);
    if all_there && left_out == 0 {
        RunState::Succeeded
    } else {
        RunState::Partial
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_destination_makes_a_run_partial() {
        assert_eq!(of_run(0, &[]), RunState::Succeeded);
        assert_eq!(
            of_run(0, &[CopyState::Done, CopyState::Done]),
            RunState::Succeeded
        );
        assert_eq!(
            of_run(0, &[CopyState::Done, CopyState::Failed]),
            RunState::Partial
        );
        assert_eq!(of_run(0, &[CopyState::Failed]), RunState::Partial);
        assert_eq!(of_run(0, &[CopyState::Copying]), RunState::Partial);
        assert_eq!(of_run(3, &[CopyState::Done]), RunState::Partial);
    }
}
