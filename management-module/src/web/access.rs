//! Who may do what: the one table of roles. What is not said here is not allowed.

use crate::app::users::Role;

/// What a route asks of who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: before signing in.
    Nothing,
    /// A password was right and the second factor is still asked for.
    HalfProved,
    /// To be signed in: one's own account.
    SignedIn,
    /// To see satellites, bundles, logs, firewalls and networks.
    SeeFleet,
    /// To change them.
    ChangeFleet,
    /// To see backups, as far as they are the reader's own.
    SeeBackups,
    /// To make backups and to fetch them, as far as they are the reader's own.
    RunBackups,
    /// To configure, restore and delete backups.
    ChangeBackups,
    /// To set when warnings come, as far as they are the reader's own.
    ChangeWarnings,
    /// To keep users and to read the audit log.
    Administer,
}

/// Whether a role may do what is needed.
pub(super) fn may(role: Role, need: Need) -> bool {
    use Need::{
        ChangeBackups, ChangeFleet, ChangeWarnings, Nothing, RunBackups, SeeBackups, SeeFleet, SignedIn,
    };
    match role {
        Role::Administrator => need != Need::HalfProved,
        Role::Operator => matches!(
            need,
            Nothing
                | SignedIn
                | SeeFleet
                | ChangeFleet
                | SeeBackups
                | RunBackups
                | ChangeBackups
                | ChangeWarnings
        ),
        Role::Viewer => matches!(need, Nothing | SignedIn | SeeFleet | SeeBackups),
        Role::Customer => matches!(
            need,
            Nothing | SignedIn | SeeBackups | RunBackups | ChangeWarnings
        ),
    }
}
