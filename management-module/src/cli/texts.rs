//! Words that tables and messages have in common, in one place so that they can be translated.

use satellite_proto::wire::bridge::v1::WorkloadState;
use satellite_proto::wire::management::v1::Reachability;

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; what was tried and why is on stderr
  2  the command line or a document is wrong
  3  the module or the satellite cannot be reached
  4  done in part; what was not is on stderr";

pub(super) const NO_REASON: &str = "the module gave no reason";
pub(super) const CODE_IN_ARGV: &str = "the code is visible to other users in the list of processes: \
                                       better use --code-file, --code - or the prompt";
pub(super) const DONE: &str = "done";
pub(super) const YES: &str = "yes";
pub(super) const NO: &str = "no";
pub(super) const NOT_IN_SYNC: &str = "what is in force is not what was set: somebody else changed the chains; the \
                                      bridge puts them back within a minute (see `satellite logs`)";
pub(super) const NONE: &str = "-";
pub(super) const NEWEST: &str = "newest";

pub(super) fn reachability(value: Reachability) -> &'static str {
    match value {
        Reachability::Unspecified => "unknown",
        Reachability::Connecting => "connecting",
        Reachability::Reachable => "reachable",
        Reachability::Unreachable => "unreachable",
        Reachability::Refused => "refused",
    }
}

pub(super) fn workload_state(value: WorkloadState) -> &'static str {
    match value {
        WorkloadState::Unspecified => "unknown",
        WorkloadState::Stopped => "stopped",
        WorkloadState::Starting => "starting",
        WorkloadState::Healthy => "healthy",
        WorkloadState::Unhealthy => "unhealthy",
        WorkloadState::Failed => "failed",
        WorkloadState::Installing => "installing",
    }
}

pub(super) fn yes_no(value: bool) -> &'static str {
    if value { YES } else { NO }
}
