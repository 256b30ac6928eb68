//! Puts the parts together and runs them until told to stop.
//!
//! **Invariant:** nothing is decided here.

mod joins;
mod trails;

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nix::fcntl::Flock;
use satellite_host::disks::{Disks, Way};
use satellite_host::systemd::SystemUnits;
use satellite_proto::identity::IdentityError;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::app::backup::Backups;
use crate::app::join::Desk;
use crate::app::page::Page;
use crate::app::{
    App, AppError, Audit, Jobs, Reconciler, bundles, certificate, directory, notify, rollout, scheduler,
    users, verify,
};
use crate::central::quiesce::StopNotes;
use crate::central::restore::Traces;
use crate::config::Config;
use crate::files;
use crate::fleet::{Backoff, Fleet, Known, Reachability};
use crate::installation::{self, InstallationError};
use crate::names::SatelliteName;
use crate::rpc;
use crate::store::{Store, StoreError};
use crate::web;

/// How long calls under way may take after the wish to stop.
const GRACE: Duration = Duration::from_secs(10);

/// How often a report of a satellite that says nothing new reaches the disk.
const NOTE_EVERY: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);

/// How often it is looked whether the state has become free.
const STANDBY: Duration = Duration::from_millis(250);

/// How often sessions that have ended are removed.
const PURGE: Duration = Duration::from_mins(10);

/// Why the module cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A directory cannot be made.
    #[error("cannot make the directory {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store cannot be used.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// There is no installation key.
    #[error(transparent)]
    Installation(#[from] InstallationError),
    /// No leaf could be issued.
    #[error("cannot issue the server's key")]
    Leaf(#[source] IdentityError),
    /// The satellites cannot be taken up.
    #[error("the fleet cannot be taken up")]
    Fleet(#[source] AppError),
    /// What a former process left under way cannot be taken up.
    #[error("work of a former process cannot be taken up")]
    TakeUp(#[source] AppError),
    /// The socket cannot be offered.
    #[error("cannot listen on {}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process serves already.
    #[error("another management module is running: it answers on {}", path.display())]
    Running {
        /// The socket.
        path: PathBuf,
    },
    /// Another process uses the state, behind another socket.
    #[error(
        "another management module uses the state directory {}: stop it, or give this one a state directory of its own",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Serving ended with an error.
    #[error("serving ended")]
    Serve(#[source] tonic::transport::Error),
}

/// Runs the module until it is told to stop by SIGTERM or SIGINT. With `standby` it waits until the state is nobody else's.
///
/// # Errors
/// [`ServeError`].
pub async fn run(config: Config, standby: bool) -> Result<(), ServeError> {
    let stop = CancellationToken::new();
    stop_on_signals(&stop).map_err(|source| ServeError::Listen {
        path: config.socket.clone(),
        source,
    })?;
    make_directories(&config)?;
    let held = if standby {
        match stand_by(&config, &stop).await? {
            Some(held) => held,
            None => return Ok(()),
        }
    } else {
        lock(&config)?
    };
    serve(config, stop, held).await
}

/// Runs the module until `stop`.
///
/// # Errors
/// [`ServeError`].
pub async fn run_until(config: Config, stop: CancellationToken) -> Result<(), ServeError> {
    make_directories(&config)?;
    let held = lock(&config)?;
    serve(config, stop, held).await
}

fn make_directories(config: &Config) -> Result<(), ServeError> {
    for (path, mode) in [(config.state_dir.clone(), 0o700), (config.bundles(), 0o700)] {
        files::make_directory(&path, mode).map_err(|source| ServeError::Directory { path, source })?;
    }
    Ok(())
}

/// The right to the state as soon as it is nobody else's; none: told to stop before.
async fn stand_by(config: &Config, stop: &CancellationToken) -> Result<Option<Flock<File>>, ServeError> {
    let _ = sd_notify::notify(&[
        sd_notify::NotifyState::Ready,
        sd_notify::NotifyState::Status("Waits for the end of another management module"),
    ]);
    info!(state = %config.state_dir.display(), "Standing by");
    loop {
        match lock(config) {
            Err(ServeError::InUse { .. }) => {}
            held => return held.map(Some),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(STANDBY) => {}
        }
    }
}

/// Serves until `stop`, as the holder of the state: nothing was touched before it was clear that no other process does.
async fn serve(config: Config, stop: CancellationToken, _held: Flock<File>) -> Result<(), ServeError> {
    let listener = listen(&config.socket).await?;
    start_stopped_services(&config).await;
    sweep_restores(&config);
    sweep_scratch(&config);
    bundles::clean(&config).map_err(|source| ServeError::Directory {
        path: config.bundles(),
        source,
    })?;
    let (app, reported) = build(config).await?;
    app.disks.sweep().await;
    scheduler::take_up(&app).await.map_err(ServeError::TakeUp)?;
    let backups = Backups::new(app.clone());
    let satellites = app.store.satellites().await?;
    let trails = trails::Trails::of(&satellites);
    let background = [
        tokio::spawn(note_reports(app.clone(), reported, trails)),
        tokio::spawn(renew_leaf(app.clone(), stop.clone())),
        tokio::spawn(joins::receive(app.clone(), stop.clone())),
        tokio::spawn(web::offer(app.clone(), backups.clone(), stop.clone())),
        tokio::spawn(certificate::run(app.clone(), stop.clone())),
        tokio::spawn(web::offer_metrics(app.clone(), stop.clone())),
        tokio::spawn(end_sessions(app.clone())),
        tokio::spawn(rollout::run(app.clone(), stop.clone())),
    ];
    let spread = Backoff::spread(satellites.len());
    for row in satellites {
        let known = Known {
            observed: row.observed,
            seen_at: row.seen_at,
            trail: serde_json::from_str(&row.trail).unwrap_or_default(),
        };
        app.fleet
            .add_after(
                spread.mul_f64(rand::random()),
                (&row.name, &row.address, row.pin),
                known,
            )
            .map_err(|e| ServeError::Fleet(e.into()))?;
        app.reconciler.add(&app, &row.name);
    }

    // After the satellites are known: what is due at once needs them.
    let planned = [
        tokio::spawn(scheduler::run(app.clone(), stop.clone())),
        tokio::spawn(verify::run(app.clone(), stop.clone())),
        tokio::spawn(notify::run(app.clone(), stop.clone())),
        tokio::spawn(directory::run(app.clone(), stop.clone())),
    ];
    info!(socket = %app.config.socket.display(), installation = %app.installation_pin(), "Serving");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let asked = stop.clone();
    let server = tonic::transport::Server::builder()
        .add_routes(rpc::routes(&app, &backups))
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), asked.cancelled_owned());
    let late = async {
        stop.cancelled().await;
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        tokio::time::sleep(GRACE).await;
    };
    let ended = tokio::select! {
        ended = server => ended.map_err(ServeError::Serve),
        () = late => { warn!("Calls were still under way at the end"); Ok(()) }
    };
    stop.cancel();
    for task in background.into_iter().chain(planned) {
        task.abort();
    }
    app.store.close().await;
    info!("Stopped");
    ended
}

/// Under a service manager the server may not mount: a unit does.
fn disks(config: &Config) -> Disks {
    let is_managed = Path::new("/run/systemd/system").is_dir();
    let way = if is_managed {
        Way::Unit {
            units: Arc::new(SystemUnits::new()),
            prefix: "management-module-disk",
        }
    } else {
        Way::Direct
    };
    Disks::new(config.disks(), way)
}

async fn build(config: Config) -> Result<(App, mpsc::Receiver<SatelliteName>), ServeError> {
    let store = Store::open(&config.store()).await?;
    let installation = installation::load_or_make(&config.installation())?;
    let leaf = installation::issue_leaf(&installation, &config.server_name).map_err(ServeError::Leaf)?;
    let (fleet, reported) = Fleet::new(leaf);
    let app = App {
        disks: disks(&config),
        jobs: Jobs::open(store.clone()).await?,
        audit: Audit::new(store.clone()),
        rollouts: rollout::Bell::default(),
        desk: Desk::default(),
        runs: crate::app::runs::Desk::default(),
        page: Page::default(),
        reconciler: Reconciler::new(config.max_concurrent_changes),
        config: Arc::new(config),
        store,
        fleet,
        installation: Arc::new(installation),
        started_at: Timestamp::now(),
    };
    Ok((app, reported))
}

/// Stores what satellites report: at once if they changed, else now and then.
async fn note_reports(app: App, mut reported: mpsc::Receiver<SatelliteName>, mut trails: trails::Trails) {
    let mut noted = std::collections::HashMap::new();
    let mut followed = std::collections::HashMap::new();
    while let Some(name) = reported.recv().await {
        let Ok(link) = app.fleet.observed(&name) else {
            noted.remove(&name);
            followed.remove(&name);
            trails.forget(&name);
            continue;
        };
        trails.note(&app, &name, &link).await;
        let (Some(satellite), Some(seen_at), Reachability::Reachable) =
            (&link.satellite, link.seen_at, link.reachability)
        else {
            continue;
        };
        if let Some(change) = satellite
            .network_change
            .clone()
            .filter(|change| change.from_console)
            && followed.insert(name.clone(), change.id.clone()) != Some(change.id.clone())
        {
            let (app, name) = (app.clone(), name.clone());
            tokio::spawn(async move { crate::app::network::follow(&app, &name, &change).await });
        }
        let gist = link.gist();
        let known = noted.get(&name).is_some_and(|(last, at): &(_, Timestamp)| {
            *last == gist && seen_at.duration_since(*at) < NOTE_EVERY
        });
        if known {
            continue;
        }
        match app.store.note_observed(&name, satellite, seen_at).await {
            Ok(()) => {
                noted.insert(name, (gist, seen_at));
            }
            Err(error) => warn!(satellite = %name, error = %crate::error_chain(&error), "Report not stored"),
        }
    }
}

/// Replaces the server's own leaf long before it expires.
async fn renew_leaf(app: App, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(installation::LEAF_RENEWAL) => {}
        }
        match installation::issue_leaf(&app.installation, &app.config.server_name) {
            Ok(leaf) => {
                app.fleet.reload(leaf);
                info!("Server key renewed");
            }
            Err(error) => error!(error = %crate::error_chain(&error), "Server key not renewed"),
        }
    }
}

/// Removes sessions of the web page that have ended.
async fn end_sessions(app: App) {
    loop {
        if let Err(error) = users::purge(&app).await {
            warn!(error = %crate::error_chain(&error), "Sessions that have ended are still stored");
        }
        tokio::time::sleep(PURGE).await;
    }
}

/// The right to this state; it ends with the process, however that ends.
fn lock(config: &Config) -> Result<Flock<File>, ServeError> {
    let path = config.lock();
    match files::lock(&path) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(ServeError::InUse {
            path: config.state_dir.clone(),
        }),
        Err(source) => Err(ServeError::Directory { path, source }),
    }
}

/// A former process may have been killed while it tried a restore.
fn sweep_scratch(config: &Config) {
    match std::fs::remove_dir_all(config.scratch()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!(path = %config.scratch().display(), %error, "Directory of tests not emptied");
        }
        _ => {}
    }
}

/// A former process may have been killed while it wrote files of a restore. Nobody waits for it: a large tree takes time, and
/// what is begun meanwhile has names of its own.
fn sweep_restores(config: &Config) {
    // Listed now, so that no note of this process is among them.
    match Traces::new(config.restores()).left() {
        Ok(left) => drop(tokio::task::spawn_blocking(move || Traces::sweep(left))),
        Err(error) => error!(%error, "Notes of interrupted restores cannot be read"),
    }
}

/// A former process may have been killed while services of a central stood still.
async fn start_stopped_services(config: &Config) {
    let notes = StopNotes::new(config.stopped_services());
    let started = tokio::task::spawn_blocking(move || notes.start_again()).await;
    match started {
        Ok(Ok(())) => {}
        Ok(Err(error)) => error!(%error, "Notes of stopped services cannot be read"),
        Err(error) => error!(%error, "Stopped services were not looked after"),
    }
}

/// Offers the socket: for its owner and its group, in a directory that others cannot enter.
async fn listen(path: &Path) -> Result<UnixListener, ServeError> {
    let failed = |source| ServeError::Listen {
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent() {
        files::make_directory(parent, 0o750).map_err(|source| ServeError::Directory {
            path: parent.to_owned(),
            source,
        })?;
    }
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(failed(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something else has that name",
            )));
        }
        if tokio::net::UnixStream::connect(path).await.is_ok() {
            return Err(ServeError::Running {
                path: path.to_owned(),
            });
        }
        std::fs::remove_file(path).map_err(failed)?;
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
    Ok(listener)
}

fn stop_on_signals(stop: &CancellationToken) -> io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind)?;
        let stop = stop.clone();
        tokio::spawn(async move {
            signals.recv().await;
            stop.cancel();
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_second_module_on_the_same_state_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let config = |socket: &str| Config {
            state_dir: dir.path().join("state"),
            socket: dir.path().join(socket),
            web_listen: None,
            ..Config::default()
        };
        let stop = CancellationToken::new();
        let first = tokio::spawn(run_until(config("run/a.sock"), stop.clone()));
        while !dir.path().join("run/a.sock").exists() {
            assert!(!first.is_finished());
            tokio::task::yield_now().await;
        }
        let second = run_until(config("run/b.sock"), stop.clone()).await.unwrap_err();
        assert!(matches!(second, ServeError::InUse { .. }), "{second}");
        assert!(
            second.to_string().contains("state directory of its own"),
            "{second}"
        );
        assert!(!dir.path().join("run/b.sock").exists());
        stop.cancel();
        first.await.unwrap().unwrap();
        let stopped = CancellationToken::new();
        stopped.cancel();
        run_until(config("run/b.sock"), stopped).await.unwrap();
    }
}
