//! Brings the data partition into place: made, grown, formatted, checked, mounted.
//!
//! A partition is formatted while its name says that it is blank, and only then gets its real name. So a cut leaves
//! either data or something that says of itself that it holds none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use satellite_host::exec::{Exec, ExecError};
use satellite_host::files;

use super::reset;
use super::table::{Action, BLANK, DATA, Data, Table, TableError};
use crate::base::shipped::UNUSED;
use crate::menu::text::Language;

/// A large disk takes long to check.
const CHECK_DEADLINE: Duration = Duration::from_hours(2);
/// Erasing may take a while where the disk has to be told block by block.
const FORMAT_DEADLINE: Duration = Duration::from_mins(30);
/// Where the first content of a data partition is put together.
const CONTENT: &str = "/run/satellite-data";
/// `e2fsck`: something is left that it could not correct.
const UNCORRECTED: i32 = 4;

/// Why there is no data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The table cannot be used.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The size of the disk is not known.
    #[error("the size of `{disk}` is not known")]
    Size {
        /// Which.
        disk: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The table cannot be read or changed.
    #[error("the partition table of the disk cannot be {action}")]
    Partition {
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: ExecError,
    },
    /// It cannot be formatted.
    #[error("the data partition cannot be formatted")]
    Format(#[source] ExecError),
    /// It is damaged.
    #[error("the data partition is damaged")]
    Damaged(#[source] ExecError),
    /// It cannot be mounted.
    #[error("the data partition cannot be mounted")]
    Mount(#[source] ExecError),
    /// Nothing is wrong that we know of.
    #[error("the rescue page was asked for; nothing was found to be wrong")]
    Asked,
    /// What was asked for before the start could not be done.
    #[error(transparent)]
    Reset(#[from] reset::ResetError),
}

/// Where things go.
#[derive(Debug, Clone)]
pub struct Places {
    /// Where the data is mounted.
    pub data: PathBuf,
    /// The machine's volatile `/etc`.
    pub etc: PathBuf,
    /// Units for this start.
    pub units: PathBuf,
    /// Where the kernel tells about disks.
    pub sys: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            data: "/var".into(),
            etc: "/etc".into(),
            units: "/run/systemd/system".into(),
            sys: "/sys/class/block".into(),
        }
    }
}

/// The data partition in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its device.
    pub node: String,
    /// It was formatted just now.
    pub made: bool,
}

/// Brings the data partition of `disk` into place. A factory reset that was asked for is done on the way.
///
/// # Errors
///
/// If there is none, it is damaged beyond what a check corrects by itself, or cannot be mounted. Nothing is mounted
/// then, and nothing was erased that was not asked for.
pub async fn prepare(disk: &Path, places: &Places) -> Result<Found, DataError> {
    let disk_name = disk.display().to_string();
    let table = read_table(&disk_name).await?;
    let plan = table.plan(&disk_name, sectors(disk, places)?)?;
    if plan.move_backup {
        run(
            Exec::new("sfdisk").args([
                "--quiet",
                "--no-reread",
                "--no-tell-kernel",
                "--relocate",
                "gpt-bak-std",
                &disk_name,
            ]),
            "moved to the disk's end",
        )
        .await?;
    }
    make_room(&disk_name, &plan.data).await?;
    let data = &plan.data;
    if data.blank {
        format(&disk_name, data).await?;
    } else {
        check(&data.node).await?;
    }
    mount(&data.node, &places.data).await?;
    let mut made = data.blank;
    if reset::is_requested(&places.data) {
        tracing::warn!("Factory reset was asked for");
        reset::overwrite_secrets(&places.data)?;
        unmount(&places.data).await?;
        erase(&disk_name, data).await?;
        mount(&data.node, &places.data).await?;
        made = true;
    } else if matches!(data.action, Action::Grow { .. }) {
        // Mounted, so that a cut in the middle is what the file system is made for.
        let grown = Exec::new("resize2fs")
            .arg(&data.node)
            .deadline(FORMAT_DEADLINE)
            .run()
            .await;
        if let Err(error) = grown {
            tracing::warn!(error = %crate::cli::error_chain(&error), "File system keeps its size");
        }
    }
    if let Some(loader) = table.loader() {
        reset::write_unit(&places.units, loader)?;
    }
    Ok(Found {
        node: data.node.clone(),
        made,
    })
}

/// Erases the data partition of `disk` and formats it.
///
/// # Errors
///
/// As [`prepare`]. Cut off, the next start finishes it.
pub async fn erase_all(disk: &Path) -> Result<(), DataError> {
    let disk_name = disk.display().to_string();
    let table = read_table(&disk_name).await?;
    let plan = table.plan(&disk_name, sectors(disk, &Places::default())?)?;
    if matches!(plan.data.action, Action::Make { .. }) {
        // Nothing to erase: the next try makes it.
        return Ok(());
    }
    erase(&disk_name, &plan.data).await
}

/// Lets `e2fsck` correct all that it finds.
///
/// # Errors
///
/// [`DataError::Damaged`] if something is left.
pub async fn repair(disk: &Path) -> Result<(), DataError> {
    let disk_name = disk.display().to_string();
    let table = read_table(&disk_name).await?;
    let plan = table.plan(&disk_name, sectors(disk, &Places::default())?)?;
    if plan.data.blank {
        // Nothing to repair: the next try formats it.
        return Ok(());
    }
    corrected("-fy", &plan.data.node).await
}

/// The language that was chosen at the console, where the data partition can be read as it is. Nothing is written.
pub(super) async fn stored_language(disk: &Path) -> Option<Language> {
    let places = Places::default();
    let disk_name = disk.display().to_string();
    let table = read_table(&disk_name).await.ok()?;
    let plan = table.plan(&disk_name, sectors(disk, &places).ok()?).ok()?;
    if plan.data.blank {
        return None;
    }
    let read_only = "ro,noload,nosuid,nodev,noexec";
    let mount = Exec::new("mount").args(["-t", "ext4", "-o", read_only, &plan.data.node]);
    mount.arg(&places.data).run().await.ok()?;
    let file = places.data.join("lib/satellite/language");
    let text = files::read(&file, 64).ok().flatten().unwrap_or_default();
    unmount(&places.data).await.ok()?;
    Language::from_code(&String::from_utf8_lossy(&text))
}

async fn erase(disk: &str, data: &Data) -> Result<(), DataError> {
    // From here on it is blank, whatever is still on it.
    label(disk, data.number, BLANK).await?;
    // Where the disk can forget, it shall; where it cannot, the file system forgets.
    let _ = Exec::new("blkdiscard")
        .args(["--force", &data.node])
        .deadline(FORMAT_DEADLINE)
        .run()
        .await;
    format(disk, data).await
}

async fn format(disk: &str, data: &Data) -> Result<(), DataError> {
    tracing::info!(node = %data.node, "Formatting the data partition");
    let options = "lazy_itable_init=1,lazy_journal_init=1";
    // What is in it from the beginning: the word that nobody has used it.
    let content = Path::new(CONTENT);
    files::create_dir(content, 0o755)
        .and_then(|()| files::write_atomic(&content.join(UNUSED), b"", 0o600))
        .map_err(reset::ResetError::File)?;
    Exec::new("mkfs.ext4")
        .args([
            "-q", "-F", "-L", DATA, "-m", "1", "-E", options, "-d", CONTENT, &data.node,
        ])
        .deadline(FORMAT_DEADLINE)
        .run()
        .await
        .map_err(DataError::Format)?;
    label(disk, data.number, DATA).await
}

/// Corrects what is safe to correct; what is not, is corrected too if that leaves a sound file system.
async fn check(node: &str) -> Result<(), DataError> {
    if corrected("-p", node).await.is_ok() {
        return Ok(());
    }
    tracing::warn!(%node, "Data partition needs more than a routine check");
    corrected("-y", node).await
}

async fn corrected(how: &str, node: &str) -> Result<(), DataError> {
    let check = Exec::new("e2fsck").args([how, node]).deadline(CHECK_DEADLINE);
    let output = check.run_any().await.map_err(DataError::Damaged)?;
    if output.status.code().is_some_and(|code| code < UNCORRECTED) {
        return Ok(());
    }
    Err(DataError::Damaged(ExecError::Failed {
        program: "e2fsck".to_owned(),
        status: output.status,
        complaint: last_line(&output.stdout),
    }))
}

fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.unwrap_or_default().trim().to_owned()
}

async fn make_room(disk: &str, data: &Data) -> Result<(), DataError> {
    let number = data.number.to_string();
    let change = Exec::new("sfdisk").args(["--quiet", "--no-reread", "--no-tell-kernel"]);
    match data.action {
        Action::Keep => Ok(()),
        Action::Make { start, size } => {
            tracing::info!(node = %data.node, "Making the data partition");
            let row = format!("start={start}, size={size}, type=linux, name=\"{BLANK}\"\n");
            let change = change.args(["--wipe-partitions", "never", "--append", disk]);
            run(change.input(row), "extended").await?;
            run(
                Exec::new("partx").args(["--add", "--nr", &number, disk]),
                "shown to the kernel",
            )
            .await
        }
        Action::Grow { start, size } => {
            tracing::info!(node = %data.node, "Growing the data partition");
            let change = change.args(["-N", &number, disk]);
            run(change.input(format!("start={start}, size={size}\n")), "extended").await?;
            run(
                Exec::new("partx").args(["--update", "--nr", &number, disk]),
                "shown to the kernel",
            )
            .await
        }
    }
}

async fn label(disk: &str, number: u32, name: &str) -> Result<(), DataError> {
    let number = number.to_string();
    let change = Exec::new("sfdisk").args(["--quiet", "--no-reread", "--no-tell-kernel"]);
    run(change.args(["--part-label", disk, &number, name]), "labelled").await
}

async fn run(exec: Exec, action: &'static str) -> Result<(), DataError> {
    let ended = exec.run().await;
    ended
        .map(|_| ())
        .map_err(|source| DataError::Partition { action, source })
}

async fn read_table(disk: &str) -> Result<Table, DataError> {
    let read = Exec::new("sfdisk").args(["--json", disk]).run().await;
    let output = read.map_err(|source| DataError::Partition {
        action: "read",
        source,
    })?;
    Ok(Table::parse(&output.stdout)?)
}

fn sectors(disk: &Path, places: &Places) -> Result<u64, DataError> {
    let size = |source| DataError::Size {
        disk: disk.display().to_string(),
        source,
    };
    let name = disk.file_name().unwrap_or_default();
    let text = std::fs::read_to_string(places.sys.join(name).join("size")).map_err(size)?;
    text.trim()
        .parse()
        .map_err(|err| size(std::io::Error::new(std::io::ErrorKind::InvalidData, err)))
}

async fn mount(node: &str, at: &Path) -> Result<(), DataError> {
    let options = "nosuid,nodev,noatime,errors=remount-ro";
    let mount = Exec::new("mount")
        .args(["-t", "ext4", "-o", options, node])
        .arg(at);
    mount
        .deadline(CHECK_DEADLINE)
        .run()
        .await
        .map(|_| ())
        .map_err(DataError::Mount)
}

async fn unmount(at: &Path) -> Result<(), DataError> {
    let unmount = Exec::new("umount").arg(at).run().await;
    unmount.map(|_| ()).map_err(DataError::Mount)
}
