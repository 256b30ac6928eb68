//! Disks that are found by the label or the UUID of their file system, mounted for as long as somebody holds them, and
//! let go of.
//!
//! **Invariant:** a disk is mounted while it is held and not a moment longer, whoever is killed: what is left is found by
//! its request file and let go of at the next start. Nothing on a disk is run, and no link on it is followed.

mod find;
mod mount;
mod own;

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::files::{self, FileError};
use crate::systemd::{UnitError, Units};

/// How long mounting may take: a disk that was unplugged under way repairs itself first.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long what was written may take to come to the disk.
const FLUSHED: Duration = Duration::from_secs(900);
/// Most bytes of a request or an answer.
const LIMIT: u64 = 64 * 1024;
/// How requests and answers end.
const REQUEST: &str = "json";
const ANSWER: &str = "answer";

/// Which disk, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Label of its file system; empty: the UUID says it.
    pub label: String,
    /// UUID of its file system, as `blkid` shows it; empty: the label says it.
    pub uuid: String,
    /// Whether a disk counts that is not on a USB port.
    pub on_any_bus: bool,
    /// Directory on it that is made for the owner: a single name.
    pub directory: String,
    /// User and group that may write there.
    pub owner: (u32, u32),
}

impl Wanted {
    /// The disk, for a person.
    #[must_use]
    pub fn told(&self) -> String {
        match (self.uuid.as_str(), self.label.as_str()) {
            ("", label) => format!("`{label}`"),
            (uuid, "") => format!("with the UUID {uuid}"),
            (uuid, label) => format!("`{label}` with the UUID {uuid}"),
        }
    }

    /// Whether it can be looked for at all.
    ///
    /// # Errors
    /// [`DiskError::Wanted`].
    pub fn check(&self) -> Result<(), DiskError> {
        let plain = |text: &str| text.len() <= 255 && !text.chars().any(char::is_control);
        let is_name = !self.directory.is_empty()
            && !self.directory.contains('/')
            && ![".", ".."].contains(&self.directory.as_str());
        if self.label.is_empty() && self.uuid.is_empty() {
            return Err(DiskError::Wanted("neither label nor UUID says which disk it is"));
        }
        if !(plain(&self.label) && plain(&self.uuid)) {
            return Err(DiskError::Wanted("its label or UUID is none"));
        }
        if !(is_name && plain(&self.directory)) {
            return Err(DiskError::Wanted("the directory on it is no single name"));
        }
        Ok(())
    }

    /// Names what is held: the same wish always has the same name.
    fn id(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

/// Why a disk cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The wish makes no sense.
    #[error("the disk cannot be looked for: {0}")]
    Wanted(&'static str),
    /// It is not there.
    #[error("the disk {what} is not plugged in: plug it in and try again ({there})")]
    NotPluggedIn {
        /// Which.
        what: String,
        /// What is there instead.
        there: String,
    },
    /// There is more than one.
    #[error("the disk {what} is there more than once ({devices}): unplug the others, or name it by its UUID")]
    Several {
        /// Which.
        what: String,
        /// Names of the devices.
        devices: String,
    },
    /// Somebody else has it.
    #[error("the disk {device} is in use by the machine itself")]
    InUse {
        /// Its device.
        device: String,
    },
    /// We do not write to such.
    #[error("the disk {device} has the file system `{kind}`: format it as ext4, FAT or exFAT")]
    Kind {
        /// Its device.
        device: String,
        /// What it has.
        kind: String,
    },
    /// The kernel does not mount it.
    #[error("the disk {device} cannot be mounted as {kind}: {hint}")]
    Mount {
        /// Its device.
        device: String,
        /// Its file system.
        kind: String,
        /// What may help.
        hint: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The directory on it cannot be made.
    #[error("the directory on the disk {what} cannot be prepared")]
    Own {
        /// Which.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be let go of.
    #[error("the disk at {} cannot be let go of: do not unplug it yet", path.display())]
    Unmount {
        /// Where it is mounted.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The records of what is held.
    #[error("it cannot be recorded which disk is held")]
    Record(#[source] FileError),
    /// The service manager.
    #[error("the disk cannot be mounted by the service manager")]
    Unit(#[source] UnitError),
    /// What another process of ours said, which mounts.
    #[error("{0}")]
    Told(String),
}

/// What the process that mounts answers.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Answer {
    /// Why it is not mounted; empty: it is.
    error: String,
}

/// Who mounts.
#[derive(Clone)]
pub enum Way {
    /// This process, which may.
    Direct,
    /// A unit, outside of this process's sandbox: `PREFIX@ID.service` calls [`mount_asked`] and [`unmount_asked`].
    Unit {
        /// The service manager.
        units: Arc<dyn Units>,
        /// Name of the unit before the `@`.
        prefix: &'static str,
    },
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("Direct"),
            Self::Unit { prefix, .. } => f.debug_tuple("Unit").field(prefix).finish(),
        }
    }
}

/// Disks that are held, each once however many hold it.
#[derive(Debug, Clone)]
pub struct Disks {
    directory: PathBuf,
    way: Way,
    held: Arc<Mutex<HashMap<String, usize>>>,
}

/// A disk that is there as long as this is.
#[derive(Debug)]
pub struct Held {
    disks: Disks,
    id: String,
    path: PathBuf,
}

impl Disks {
    /// Mounts below `directory`, which others may pass through.
    #[must_use]
    pub fn new(directory: PathBuf, way: Way) -> Self {
        Self {
            directory,
            way,
            held: Arc::default(),
        }
    }

    /// Lets go of what a former process held.
    pub async fn sweep(&self) {
        let _nobody_holds_yet = self.held.lock().await;
        for id in asked(&self.directory) {
            match self.let_go(&id).await {
                Ok(()) => tracing::info!(id, "Let go of a disk that was left mounted"),
                Err(error) => tracing::warn!(id, %error, "A disk was left mounted"),
            }
        }
    }

    /// Mounts a disk, or takes part in holding it.
    ///
    /// # Errors
    /// [`DiskError`]; nothing is mounted then that was not before.
    ///
    /// # Cancel safety
    /// What was mounted for a caller that is gone is let go of.
    pub async fn hold(&self, wanted: Wanted) -> Result<Held, DiskError> {
        wanted.check()?;
        let disks = self.clone();
        // To the end, also if nobody waits any more: half a mount is nobody's.
        let held = tokio::spawn(async move { disks.hold_to_the_end(wanted).await });
        held.await
            .unwrap_or(Err(DiskError::Wanted("the work stopped by a fault of its own")))
    }

    async fn hold_to_the_end(self, wanted: Wanted) -> Result<Held, DiskError> {
        let id = wanted.id();
        let mut held = Arc::clone(&self.held).lock_owned().await;
        if !held.contains_key(&id) {
            self.take(&id, &wanted).await?;
        }
        *held.entry(id.clone()).or_default() += 1;
        let path = self.directory.join(&id);
        Ok(Held {
            disks: self,
            id,
            path,
        })
    }

    async fn take(&self, id: &str, wanted: &Wanted) -> Result<(), DiskError> {
        files::create_dir(&self.directory, 0o711).map_err(DiskError::Record)?;
        let text = serde_json::to_vec(wanted).unwrap_or_default();
        files::write_atomic(&file(&self.directory, id, REQUEST), &text, 0o600).map_err(DiskError::Record)?;
        let taken = match &self.way {
            Way::Direct => mount(&self.directory, id, wanted).await,
            Way::Unit { units, prefix } => {
                let unit = unit(prefix, id);
                let started = units.start(&unit, DEADLINE).await;
                self.answered(id, started)
            }
        };
        if taken.is_err()
            && let Err(error) = self.let_go(id).await
        {
            tracing::warn!(id, %error, "A disk that could not be mounted was not let go of");
        }
        taken
    }

    /// What the unit has to say counts more than that it failed.
    fn answered(&self, id: &str, started: Result<(), UnitError>) -> Result<(), DiskError> {
        let Err(error) = started else { return Ok(()) };
        let answer: Option<Answer> = files::read(&file(&self.directory, id, ANSWER), LIMIT)
            .ok()
            .flatten()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        match answer.filter(|answer| !answer.error.is_empty()) {
            Some(answer) => Err(DiskError::Told(answer.error)),
            None => Err(DiskError::Unit(error)),
        }
    }

    async fn let_go(&self, id: &str) -> Result<(), DiskError> {
        match &self.way {
            Way::Direct => unmount_asked(&self.directory, id).await?,
            Way::Unit { units, prefix } => {
                let unit = unit(prefix, id);
                units.stop(&unit, FLUSHED).await.map_err(DiskError::Unit)?;
                // One that failed is started anew the next time.
                units.reset_failed(&unit).await.map_err(DiskError::Unit)?;
            }
        }
        for ending in [ANSWER, REQUEST] {
            files::remove(&file(&self.directory, id, ending)).map_err(DiskError::Record)?;
        }
        Ok(())
    }

    async fn released(self, id: String, mut held: OwnedMutexGuard<HashMap<String, usize>>) {
        let left = held.get(&id).map_or(0, |count| count - 1);
        if left > 0 {
            held.insert(id, left);
            return;
        }
        held.remove(&id);
        if let Err(error) = self.let_go(&id).await {
            tracing::error!(id, %error, "Disk not let go of");
        }
    }
}

impl Held {
    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (disks, id) = (self.disks.clone(), std::mem::take(&mut self.id));
        // Without a runtime the process ends, and the next one lets go.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let held = Arc::clone(&disks.held).lock_owned().await;
                disks.released(id, held).await;
            });
        }
    }
}

/// Mounts what the request `id` asks for, and leaves the answer beside it. What a unit calls.
///
/// # Errors
/// [`DiskError`], which the answer tells too.
pub async fn mount_asked(directory: &Path, id: &str) -> Result<(), DiskError> {
    let id = checked(id)?;
    let request = files::read(&file(directory, id, REQUEST), LIMIT).map_err(DiskError::Record)?;
    let wanted = request.and_then(|bytes| serde_json::from_slice::<Wanted>(&bytes).ok());
    let wanted = wanted.ok_or(DiskError::Wanted("nobody asked for it"))?;
    let mounted = match wanted.check() {
        Ok(()) => mount(directory, id, &wanted).await,
        Err(error) => Err(error),
    };
    let answer = Answer {
        error: mounted.as_ref().err().map(chain).unwrap_or_default(),
    };
    let text = serde_json::to_vec(&answer).unwrap_or_default();
    files::write_atomic(&file(directory, id, ANSWER), &text, 0o600).map_err(DiskError::Record)?;
    mounted
}

/// Lets go of what the request `id` had asked for. What a unit calls.
///
/// # Errors
/// [`DiskError::Unmount`].
pub async fn unmount_asked(directory: &Path, id: &str) -> Result<(), DiskError> {
    mount::unmount(&directory.join(checked(id)?)).await
}

async fn mount(directory: &Path, id: &str, wanted: &Wanted) -> Result<(), DiskError> {
    let found = find::find(wanted).await?;
    let place = directory.join(id);
    mount::mount(&found, &place, wanted.owner, directory).await?;
    if found.keeps_owners() {
        let (at, wish) = (place.clone(), wanted.clone());
        let owned = tokio::task::spawn_blocking(move || own::own(&at, &wish.directory, wish.owner)).await;
        if let Err(source) = owned.map_err(io::Error::other).flatten() {
            mount::unmount(&place).await?;
            return Err(DiskError::Own {
                what: wanted.told(),
                source,
            });
        }
    }
    Ok(())
}

/// Ids of what was asked for.
fn asked(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let ids = names.filter_map(|name| Some(name.strip_suffix(&format!(".{REQUEST}"))?.to_owned()));
    ids.filter(|id| checked(id).is_ok()).collect()
}

fn checked(id: &str) -> Result<&str, DiskError> {
    let good = id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    good.then_some(id)
        .ok_or(DiskError::Wanted("its request has no name of ours"))
}

fn file(directory: &Path, id: &str, ending: &str) -> PathBuf {
    directory.join(format!("{id}.{ending}"))
}

fn unit(prefix: &str, id: &str) -> String {
    format!("{prefix}@{id}.service")
}

/// An error with its causes.
fn chain(error: &DiskError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests;
