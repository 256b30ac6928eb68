//! Leaving a server, and going back to what was shipped.
//!
//! Both work with the daemon and without it, and both are decided by one record on the disk: after it they are finished,
//! at the next start if need be. A factory reset itself is done at boot, before anything of the data partition is used;
//! here it is only asked for.
//!
//! **Invariant:** the record comes first, and nothing that fails after it takes it back.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use satellite_host::{
    fail_point,
    files::{self, FileError},
    systemd::{SystemUnits, UnitError, Units},
};
use tonic::Code;

use crate::{
    cli::error_chain,
    config::Config,
    menu::client::{ClientError, Console},
    pairing::{self, PairingError},
};

/// The places at which a test may kill the process, in the order in which they are passed.
pub const FAIL_POINTS: [&str; 5] = [
    "disconnect.recorded",
    "disconnect.released",
    "disconnect.done",
    "factory-reset.marked",
    "factory-reset.disconnected",
];

/// Name of the file at the root of the data partition that asks for a factory reset.
const MARKER: &str = ".factory-reset";

/// Entries of the state directory that a satellite makes at its first start.
const MADE_AT_FIRST_START: [&str; 2] = ["identity", "generation.json"];

/// Why the satellite is not disconnected or not reset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResetError {
    /// The daemon runs and failed.
    #[error("the satellite's daemon could not disconnect")]
    Daemon(#[source] ClientError),
    /// The disk.
    #[error("the server cannot be let go of")]
    Disconnect(#[source] PairingError),
    /// The disk does not take the request.
    #[error("the factory reset cannot be asked for")]
    Mark(#[source] FileError),
    /// The reset is asked for, and the machine does not restart by itself.
    #[error("the factory reset is done at the next start: restart the machine by its power button")]
    Reboot(#[source] UnitError),
    /// The self-test found something.
    #[error("{0} things are left of an earlier life: reset the satellite again")]
    Left(usize),
}

/// Lets go of the server, by the daemon if it runs, else on the disk. True if the satellite was paired.
///
/// A tombstone stays, which tells the former server what happened when it calls again.
///
/// # Errors
///
/// [`ResetError`].
pub async fn disconnect(config: &Config) -> Result<bool, ResetError> {
    let by_daemon = disconnect_by_daemon(config).await?;
    if let Some(was_paired) = by_daemon {
        return Ok(was_paired);
    }
    let was_paired = pairing::disconnect_on_disk(&config.state_dir).map_err(ResetError::Disconnect)?;
    // A daemon that came up meanwhile may have read the record that is gone.
    let again = disconnect_by_daemon(config).await?;
    Ok(was_paired || again == Some(true))
}

/// Asks for a factory reset, lets go of the server, and restarts the machine. From the first record on there is no way
/// back: a machine that loses its power is reset when it comes back.
///
/// # Errors
///
/// [`ResetError::Mark`]: nothing was changed. [`ResetError::Reboot`]: it is done at the next start.
pub async fn request_factory_reset(config: &Config) -> Result<(), ResetError> {
    request_factory_reset_of(config, &SystemUnits::new()).await
}

/// As [`request_factory_reset`], on a machine whose service manager is `units`.
///
/// # Errors
///
/// As there.
pub async fn request_factory_reset_of(config: &Config, units: &dyn Units) -> Result<(), ResetError> {
    files::write_atomic(&marker(config), b"asked for at the console\n", 0o600).map_err(ResetError::Mark)?;
    fail_point("factory-reset.marked");
    tracing::warn!("Factory reset asked for");
    // The server is told as far as it can be; what is on the disk is lost anyway.
    if let Err(error) = disconnect(config).await {
        tracing::warn!(error = %error_chain(&error), "Server not told of the factory reset");
    }
    fail_point("factory-reset.disconnected");
    units.reboot().await.map_err(ResetError::Reboot)
}

/// Whether a factory reset was asked for and is not done yet.
#[must_use]
pub fn is_requested(config: &Config) -> bool {
    marker(config).exists()
}

/// Something that a satellite which was just reset must not have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leftover {
    /// What kind of thing.
    pub kind: LeftoverKind,
    /// Where.
    pub path: PathBuf,
}

/// A kind of thing that a reset takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftoverKind {
    /// The request itself: the reset was not done.
    Request,
    /// A record of the bridge: server, settings, history, versions.
    Record,
    /// Data of a workload, such as archives.
    WorkloadState,
    /// Logs of another machine.
    Log,
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            LeftoverKind::Request => "request",
            LeftoverKind::Record => "record",
            LeftoverKind::WorkloadState => "workload-state",
            LeftoverKind::Log => "log",
        };
        write!(f, "{kind}: {}", self.path.display())
    }
}

/// What is left of an earlier life, sorted; nothing on a satellite that was just reset and has not been paired since.
///
/// What cannot be read is not listed: nobody can read it later either.
#[must_use]
pub fn self_test(config: &Config) -> Vec<Leftover> {
    let mut left = Vec::new();
    let mut note = |kind, path: PathBuf| left.push(Leftover { kind, path });
    if is_requested(config) {
        note(LeftoverKind::Request, marker(config));
    }
    for path in entries(&config.state_dir) {
        let is_made = MADE_AT_FIRST_START.iter().any(|name| path.ends_with(name));
        if !is_made && holds_anything(&path) {
            note(LeftoverKind::Record, path);
        }
    }
    let states = [
        config.workload_state_dir.clone(),
        config.workload_state_dir.join("private"),
    ];
    for path in states.iter().flat_map(|dir| entries(dir)) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("satellite-") && path != config.state_dir {
            note(LeftoverKind::WorkloadState, path);
        }
    }
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    for path in entries(&config.data_dir.join("log/journal")) {
        if !path.ends_with(machine.trim()) {
            note(LeftoverKind::Log, path);
        }
    }
    left.sort();
    left
}

/// Says in the log whether anything is left of an earlier life: for the first start.
pub(crate) fn report_first_start(config: &Config) {
    let left = self_test(config);
    if left.is_empty() {
        tracing::info!("First start: nothing is left of an earlier life");
    }
    for one in left {
        tracing::error!(%one, "First start, and something is left of an earlier life");
    }
}

/// Whether the daemon did it; none if there is no daemon.
async fn disconnect_by_daemon(config: &Config) -> Result<Option<bool>, ResetError> {
    let mut console = match Console::connect(&config.console_socket()).await {
        Ok(console) => console,
        Err(ClientError::Down { .. }) => return Ok(None),
        Err(error) => return Err(ResetError::Daemon(error)),
    };
    match console.disconnect().await {
        Ok(()) => Ok(Some(true)),
        Err(ClientError::Refused(status)) if status.code() == Code::FailedPrecondition => Ok(Some(false)),
        // It died in the middle: what it did not do is done without it.
        Err(ClientError::Refused(status)) if status.code() == Code::Unavailable => Ok(None),
        Err(error) => Err(ResetError::Daemon(error)),
    }
}

fn marker(config: &Config) -> PathBuf {
    config.data_dir.join(MARKER)
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Whether there is a file with something in it at `path` or below.
fn holds_anything(path: &Path) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return false;
    };
    if metadata.is_dir() {
        return entries(path).iter().any(|path| holds_anything(path));
    }
    !metadata.is_file() || metadata.len() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: dir.path().to_owned(),
            state_dir: dir.path().join("lib/satellite"),
            workload_state_dir: dir.path().join("lib"),
            run_dir: dir.path().join("run"),
            ..Config::default()
        };
        fs::create_dir_all(config.state_dir.join("operations")).unwrap();
        (dir, config)
    }

    #[test]
    fn what_a_first_start_makes_is_not_left_over() {
        let (_dir, config) = world();
        files::create_dir(&config.state_dir.join("identity"), 0o700).unwrap();
        files::write_atomic(&config.state_dir.join("identity/key.pem"), b"key", 0o600).unwrap();
        files::write_atomic(&config.state_dir.join("generation.json"), b"{}", 0o600).unwrap();
        assert_eq!(self_test(&config), []);
    }

    #[test]
    fn whatever_is_left_is_named() {
        let (dir, config) = world();
        for path in [
            ".factory-reset",
            "lib/satellite/pairing.json",
            "lib/satellite/workloads/w/desired.json",
            "lib/private/satellite-w/archive",
            "log/journal/0123/system.journal",
        ] {
            let path = dir.path().join(path);
            files::create_dir(path.parent().unwrap(), 0o700).unwrap();
            files::write_atomic(&path, b"x", 0o600).unwrap();
        }
        let found: Vec<_> = self_test(&config).into_iter().map(|one| one.kind).collect();
        use LeftoverKind::{Log, Record, Request, WorkloadState};
        assert_eq!(found, [Request, Record, Record, WorkloadState, Log]);
    }

    #[tokio::test]
    async fn a_request_that_cannot_be_recorded_changes_nothing() {
        let (_dir, mut config) = world();
        config.data_dir = "/nonexistent".into();
        let units = satellite_host::systemd::FakeUnits::new();
        let refused = request_factory_reset_of(&config, &units).await;
        assert!(matches!(refused, Err(ResetError::Mark(_))));
    }
}
