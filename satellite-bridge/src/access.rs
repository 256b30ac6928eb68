//! Which role may call which method in which state of the satellite: one table, deny by default.
//!
//! **Invariant:** a method without a row is refused to everyone; nothing here looks at what a call carries.

use satellite_proto::identity::Role;
use tonic::{Code, Status};

use crate::pairing::Stage;

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Least {
    /// Anyone who gets through the handshake.
    Anyone,
    /// Members of the installation with at least this role.
    Member(Role),
    /// The person at the console, never the network.
    Console,
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// Someone nobody trusts.
    Stranger,
    /// A member of the installation.
    Member(Role),
    /// The person at the console.
    Console,
}

/// One method's rights.
#[derive(Debug)]
pub struct Row {
    /// `/package.Service/Method`.
    pub method: &'static str,
    /// Who may call it.
    pub least: Least,
    /// In which states.
    pub states: &'static [Stage],
    /// Whether the console may call it too.
    pub at_console: bool,
}

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// No row.
    #[error("no right to call {0} is defined")]
    NoRow(String),
    /// The caller is nobody.
    #[error("the satellite does not know this caller: pair it first")]
    Unknown,
    /// Only at the console.
    #[error("this is possible at the satellite's console only")]
    ConsoleOnly,
    /// Not at the console.
    #[error("this is not possible at the console")]
    NotAtConsole,
    /// The role is too low.
    #[error("this needs the role {needs}, the caller has {has}")]
    Role {
        /// The least one that may.
        needs: Role,
        /// The caller's.
        has: Role,
    },
    /// Not now.
    #[error("not possible while the satellite is {}", stage_name(*.0))]
    State(Stage),
    /// Not now, for a member: the call itself is in order and can be made again when the satellite's state is another.
    #[error("not possible while the satellite is {}: try again later", stage_name(*.0))]
    Later(Stage),
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        let code = match denied {
            Denied::Unknown => Code::Unauthenticated,
            Denied::State(_) => Code::FailedPrecondition,
            Denied::Later(_) => Code::Unavailable,
            _ => Code::PermissionDenied,
        };
        Self::new(code, denied.to_string())
    }
}

/// Finds out whether `asking` may call `method` while the satellite is in `stage`.
///
/// # Errors
///
/// [`Denied`] says why not.
pub fn decide(method: &str, asking: Asking, stage: Stage) -> Result<&'static Row, Denied> {
    let row = TABLE
        .iter()
        .find(|row| row.method == method)
        .ok_or_else(|| Denied::NoRow(method.to_owned()))?;
    match (row.least, asking) {
        (Least::Console, Asking::Console) => {}
        (Least::Console, _) => return Err(Denied::ConsoleOnly),
        (_, Asking::Console) if row.at_console => {}
        (_, Asking::Console) => return Err(Denied::NotAtConsole),
        (Least::Anyone, _) => {}
        (Least::Member(_), Asking::Stranger) => return Err(Denied::Unknown),
        (Least::Member(needs), Asking::Member(has)) if has < needs => {
            return Err(Denied::Role { needs, has });
        }
        (Least::Member(_), Asking::Member(_)) => {}
    }
    let at_console = asking == Asking::Console;
    if at_console || row.states.contains(&stage) {
        return Ok(row);
    }
    match row.least {
        Least::Member(_) => Err(Denied::Later(stage)),
        Least::Anyone | Least::Console => Err(Denied::State(stage)),
    }
}

/// The table as docs/access.md shows it.
#[must_use]
pub fn as_markdown() -> String {
    let mut text = String::from("| method | least role | states | console |\n| --- | --- | --- | --- |\n");
    for row in TABLE {
        let least = match row.least {
            Least::Anyone => "anyone".to_owned(),
            Least::Member(role) => role.to_string(),
            Least::Console => "console".to_owned(),
        };
        let states: Vec<_> = row.states.iter().map(|stage| stage_name(*stage)).collect();
        let console = if row.at_console { "yes" } else { "no" };
        text += &format!(
            "| `{}` | {least} | {} | {console} |\n",
            row.method,
            states.join(", ")
        );
    }
    text
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Unpaired => "unpaired",
        Stage::Candidate => "candidate",
        Stage::Paired => "paired",
        Stage::Quarantined => "quarantined",
    }
}

const UNPAIRED: &[Stage] = &[Stage::Unpaired];
const MEMBERS: &[Stage] = &[Stage::Candidate, Stage::Paired];
const KNOWN: &[Stage] = &[Stage::Candidate, Stage::Paired, Stage::Quarantined];
const ALWAYS: &[Stage] = &[
    Stage::Unpaired,
    Stage::Candidate,
    Stage::Paired,
    Stage::Quarantined,
];

const fn member(method: &'static str, role: Role) -> Row {
    Row {
        method,
        least: Least::Member(role),
        states: MEMBERS,
        at_console: false,
    }
}

const fn viewer(method: &'static str) -> Row {
    member(method, Role::Viewer)
}

const fn operator(method: &'static str) -> Row {
    member(method, Role::Operator)
}

const fn admin(method: &'static str) -> Row {
    member(method, Role::Admin)
}

const fn console(method: &'static str) -> Row {
    Row {
        method,
        least: Least::Console,
        states: ALWAYS,
        at_console: true,
    }
}

/// Also with a satellite that is or may be a copy: it says what it is, and changes nothing that the other one has.
const fn of_copies_too(row: Row) -> Row {
    Row { states: KNOWN, ..row }
}

/// The person at the machine may do this too, in any state.
const fn and_console(row: Row) -> Row {
    Row {
        at_console: true,
        ..row
    }
}

/// Every method that the satellite offers.
pub const TABLE: &[Row] = &[
    Row {
        method: "/satellite.bridge.v1.PairingService/Pair",
        least: Least::Anyone,
        states: UNPAIRED,
        at_console: false,
    },
    of_copies_too(viewer("/satellite.bridge.v1.SatelliteService/GetSatellite")),
    of_copies_too(viewer("/satellite.bridge.v1.SatelliteService/WatchSatellite")),
    of_copies_too(admin("/satellite.bridge.v1.SatelliteService/Synchronise")),
    of_copies_too(admin("/satellite.bridge.v1.SatelliteService/Quarantine")),
    of_copies_too(admin("/satellite.bridge.v1.SatelliteService/TrustInstance")),
    of_copies_too(admin("/satellite.bridge.v1.SatelliteService/Unpair")),
    of_copies_too(admin("/satellite.bridge.v1.SatelliteService/RevokePeer")),
    of_copies_too(and_console(admin("/satellite.bridge.v1.SatelliteService/Reboot"))),
    viewer("/satellite.bridge.v1.OperationService/GetOperation"),
    viewer("/satellite.bridge.v1.OperationService/ListOperations"),
    viewer("/satellite.bridge.v1.OperationService/WatchOperation"),
    operator("/satellite.bridge.v1.OperationService/CancelOperation"),
    viewer("/satellite.bridge.v1.WorkloadService/ListWorkloads"),
    viewer("/satellite.bridge.v1.WorkloadService/GetWorkload"),
    operator("/satellite.bridge.v1.WorkloadService/StartWorkload"),
    operator("/satellite.bridge.v1.WorkloadService/StopWorkload"),
    operator("/satellite.bridge.v1.WorkloadService/RestartWorkload"),
    admin("/satellite.bridge.v1.WorkloadService/RemoveWorkload"),
    admin("/satellite.bridge.v1.UpdateService/BeginUpdate"),
    admin("/satellite.bridge.v1.UpdateService/PutChunks"),
    admin("/satellite.bridge.v1.UpdateService/InstallUpdate"),
    viewer("/satellite.bridge.v1.UpdateService/ListUpdates"),
    admin("/satellite.bridge.v1.UpdateService/AbortUpdate"),
    viewer("/satellite.bridge.v1.TrustService/GetTrust"),
    admin("/satellite.bridge.v1.TrustService/SetTrust"),
    of_copies_too(and_console(operator(
        "/satellite.bridge.v1.LogService/ListLogSources",
    ))),
    of_copies_too(and_console(operator("/satellite.bridge.v1.LogService/FetchLogs"))),
    of_copies_too(operator("/satellite.bridge.v1.LogService/FetchSupportBundle")),
    viewer("/satellite.bridge.v1.FirewallService/GetFirewall"),
    admin("/satellite.bridge.v1.FirewallService/SetFirewall"),
    admin("/satellite.bridge.v1.FirewallService/ConfirmFirewall"),
    admin("/satellite.bridge.v1.FirewallService/RollbackFirewall"),
    admin("/satellite.bridge.v1.FirewallService/ResetFirewall"),
    viewer("/satellite.bridge.v1.NetworkService/GetNetwork"),
    operator("/satellite.bridge.v1.NetworkService/ProbeNetwork"),
    admin("/satellite.bridge.v1.NetworkService/SetNetwork"),
    admin("/satellite.bridge.v1.NetworkService/ConfirmNetwork"),
    admin("/satellite.bridge.v1.NetworkService/RollbackNetwork"),
    operator("/satellite.bridge.v1.DiskService/HoldDisk"),
    console("/satellite.bridge.v1.ConsoleService/GetConsole"),
    console("/satellite.bridge.v1.ConsoleService/OpenPairingWindow"),
    console("/satellite.bridge.v1.ConsoleService/ClosePairingWindow"),
    console("/satellite.bridge.v1.ConsoleService/Join"),
    console("/satellite.bridge.v1.ConsoleService/Disconnect"),
    console("/satellite.bridge.v1.ConsoleService/ResetFirewallNow"),
    operator("/satellite.backup.v1.ArchiveService/CreateArchive"),
    viewer("/satellite.backup.v1.ArchiveService/ListArchives"),
    viewer("/satellite.backup.v1.ArchiveService/GetArchive"),
    operator("/satellite.backup.v1.ArchiveService/DownloadArchive"),
    operator("/satellite.backup.v1.ArchiveService/SealArchive"),
    operator("/satellite.backup.v1.ArchiveService/FindMembers"),
    operator("/satellite.backup.v1.ArchiveService/ReadArchive"),
    operator("/satellite.backup.v1.ArchiveService/VerifyArchive"),
    admin("/satellite.backup.v1.ArchiveService/DeleteArchive"),
    viewer("/satellite.backup.v1.ArchiveService/GetStorage"),
    operator("/satellite.backup.v1.DestinationService/TestDestination"),
    operator("/satellite.backup.v1.DestinationService/GetSpace"),
    operator("/satellite.backup.v1.DestinationService/CopyArchive"),
    operator("/satellite.backup.v1.DestinationService/ListCopies"),
    operator("/satellite.backup.v1.DestinationService/FetchCopy"),
    operator("/satellite.backup.v1.DestinationService/VerifyCopy"),
    admin("/satellite.backup.v1.DestinationService/DeleteCopy"),
    operator("/satellite.backup.v1.DestinationService/BeginDropbox"),
    operator("/satellite.backup.v1.DestinationService/FinishDropbox"),
    operator("/satellite.backup.v1.CentralService/TestCentral"),
    operator("/satellite.backup.v1.CentralService/MeasureCentral"),
    operator("/satellite.backup.v1.CentralService/PullArchive"),
    operator("/satellite.backup.v1.CentralService/PushArchive"),
    admin("/satellite.backup.v1.CentralService/RemoveArchived"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;
    use prost_types::FileDescriptorSet;
    use satellite_proto::wire::DESCRIPTORS;

    use super::*;

    fn methods_on_the_wire() -> BTreeSet<String> {
        let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
        let mut methods = BTreeSet::new();
        for file in &set.file {
            let package = file.package();
            if !["satellite.bridge.v1", "satellite.backup.v1"].contains(&package) {
                continue;
            }
            for service in &file.service {
                for method in &service.method {
                    methods.insert(format!("/{package}.{}/{}", service.name(), method.name()));
                }
            }
        }
        methods
    }

    #[test]
    fn every_method_has_one_row_and_every_row_has_its_method() {
        let rows: BTreeSet<_> = TABLE.iter().map(|row| row.method.to_owned()).collect();
        assert_eq!(rows.len(), TABLE.len(), "a method has two rows");
        assert_eq!(rows, methods_on_the_wire());
    }

    #[test]
    fn the_console_service_is_never_open_to_the_network() {
        for row in TABLE {
            let is_console = row.method.contains(".ConsoleService/");
            assert_eq!(is_console, row.least == Least::Console, "{}", row.method);
            for stage in ALWAYS {
                let denied = decide(row.method, Asking::Member(Role::Admin), *stage).is_err();
                assert!(!is_console || denied, "{}", row.method);
            }
        }
    }

    #[test]
    fn while_unpaired_nothing_but_pairing_is_open() {
        for row in TABLE {
            for asking in [Asking::Stranger, Asking::Member(Role::Admin)] {
                let open = decide(row.method, asking, Stage::Unpaired).is_ok();
                assert_eq!(
                    open,
                    row.method.ends_with("PairingService/Pair"),
                    "{}",
                    row.method
                );
            }
        }
    }

    #[test]
    fn a_members_call_at_the_wrong_time_is_not_held_against_what_it_carries() {
        for row in TABLE.iter().filter(|row| row.least != Least::Console) {
            let denied = decide(row.method, Asking::Member(Role::Admin), Stage::Unpaired);
            let Err(denied) = denied else { continue };
            assert_eq!(Status::from(denied).code(), Code::Unavailable, "{}", row.method);
        }
    }

    #[test]
    fn a_method_without_a_row_is_refused_to_everyone() {
        for asking in [Asking::Stranger, Asking::Member(Role::Admin), Asking::Console] {
            let denied = decide("/grpc.reflection.v1.X/Y", asking, Stage::Paired).unwrap_err();
            assert!(matches!(denied, Denied::NoRow(_)));
        }
    }

    #[test]
    fn the_documentation_shows_this_table() {
        let docs = include_str!("../../docs/access.md");
        assert!(
            docs.contains(&as_markdown()),
            "docs/access.md must contain:\n{}",
            as_markdown()
        );
    }
}
