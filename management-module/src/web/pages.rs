//! The pages, one module each. A handler reads what was asked, calls one use case, and shows what it answers.

pub(super) mod account;
pub(super) mod archives;
pub(super) mod audit;
pub(super) mod backups;
pub(super) mod bundles;
pub(super) mod centrals;
pub(super) mod destinations;
pub(super) mod firewall;
pub(super) mod jobs;
pub(super) mod logs;
pub(super) mod network;
pub(super) mod overview;
pub(super) mod pair;
pub(super) mod restores;
pub(super) mod rollouts;
pub(super) mod satellite;
pub(super) mod satellites;
pub(super) mod sign_in;
pub(super) mod users;
pub(super) mod warnings;
pub(super) mod wizard;
