//! Writing the slot that does not run: what the unit of its own does that may write to the machine's disk.
//!
//! A disk with three slots keeps the system that it came with in the first one, for a factory reset; the others are written
//! in turn. Older machines have two, which are both written.
//!
//! **Invariants:** the slot that runs and its kernel image are never touched, nor those that the machine came with; no kernel image
//! is there whose slot is not whole; what was written is read back from the disk before the loader may start it.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use satellite_host::exec::{Exec, ExecError};
use satellite_host::files::{self, FileError};
use satellite_host::{disk, fail_point};
use satellite_proto::bundle::{Digest, FileEntry, Hasher, KERNEL_FILE, Manifest, ROOT_FILE, Unpacker};
use serde::{Deserialize, Serialize};
use tonic::Code;
use tracing::info;

use super::entries::Entries;
use super::loader::{Entry, is_older};
use super::record::{Change, Part, Step};
use super::{Ground, change_under_way};
use crate::boot::table::{Slot, Table, TableError};
use crate::journal::{self, JournalError};
use crate::update::ChunkStore;
use crate::workload::Places;
use crate::workload::record::{Fault, chain};

/// Name of a slot that holds nothing.
const EMPTY: &str = "root-empty";
/// Bytes that are read back at once.
const PIECE: usize = 1024 * 1024;
/// Space that is left on the loader's partition, in bytes.
const MARGIN: u64 = 1024 * 1024;

/// The disk that the machine was started from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The disk, or an image of one.
    pub disk: PathBuf,
    /// Where the loader's partition is mounted.
    pub loader: PathBuf,
    /// What runs.
    pub ground: Ground,
}

/// Why a slot is not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlotError {
    /// Nobody asked for it.
    #[error("no change of the system is under way")]
    Nothing,
    /// The record cannot be read.
    #[error("the change of the system cannot be read")]
    Record(#[source] JournalError),
    /// The disk is not known.
    #[error("it is not known from which disk this machine was started: {0}")]
    Disk(String),
    /// The table cannot be read or changed.
    #[error("the partition table of the disk cannot be {action}")]
    Table {
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: ExecError,
    },
    /// The table says something that it should not.
    #[error(transparent)]
    Layout(#[from] TableError),
    /// There is no slot to write to.
    #[error("the disk has no second slot: {0}")]
    NoSlot(String),
    /// It does not fit.
    #[error("{what} needs {needed} bytes, there is room for {room}")]
    Room {
        /// What.
        what: &'static str,
        /// Its bytes.
        needed: u64,
        /// What there is.
        room: u64,
    },
    /// A chunk is missing or damaged.
    #[error("a stored chunk is missing or was damaged: push the bundle again")]
    Chunk,
    /// The disk.
    #[error("{what} cannot be written or read back")]
    Io {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The disk gives back something else than was written.
    #[error("{0} is not what was written when it is read back: the disk is not to be trusted")]
    Differs(&'static str),
    /// The running system's own kernel image is not there.
    #[error(
        "the kernel image of the system that runs ({0}) is not on the loader's partition: nothing is changed there"
    )]
    Strange(String),
}

impl SlotError {
    fn code(&self) -> Code {
        match self {
            Self::Chunk => Code::Aborted,
            // It does not fit this machine, and never will.
            Self::Room { .. } | Self::NoSlot(_) => Code::FailedPrecondition,
            Self::File(error) if error.is_full() => Code::ResourceExhausted,
            _ => Code::Unavailable,
        }
    }
}

/// What the unit leaves for the daemon.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// Why it was not done; none: it was.
    pub(super) fault: Option<Fault>,
}

impl Outcome {
    pub(super) fn file(places: &Places) -> PathBuf {
        places.base_dir().join("slot.json")
    }
}

impl Machine {
    /// The machine itself: the disk that holds its data holds its slots.
    ///
    /// # Errors
    ///
    /// [`SlotError::Disk`].
    pub fn of_the_machine(data: &Path, ground: Ground) -> Result<Self, SlotError> {
        let strange = |what: &str| SlotError::Disk(what.to_owned());
        let mounts =
            std::fs::read_to_string("/proc/self/mounts").map_err(|err| SlotError::Disk(err.to_string()))?;
        let data = data.to_string_lossy();
        let node = mounts.lines().rev().find_map(|line| {
            let mut words = line.split(' ');
            let (source, place) = (words.next()?, words.next()?);
            (place == data).then(|| source.strip_prefix("/dev/")).flatten()
        });
        let node = node.ok_or_else(|| strange("its data is not on a disk"))?;
        let device = std::fs::canonicalize(Path::new("/sys/class/block").join(node));
        let device = device.map_err(|err| SlotError::Disk(err.to_string()))?;
        let disk = device.parent().and_then(Path::file_name);
        let disk = disk.ok_or_else(|| strange("its data is not on a partition"))?;
        Ok(Self {
            disk: Path::new("/dev").join(disk),
            loader: "/efi".into(),
            ground,
        })
    }

    /// Does what the record of the change asks for, and leaves word of how it went.
    ///
    /// # Errors
    ///
    /// [`SlotError`]: the slot that runs is as it was, and the loader starts it.
    pub async fn run(&self, places: &Places) -> Result<(), SlotError> {
        let done = self.go(places).await;
        let fault = done.as_ref().err();
        let outcome = Outcome {
            fault: fault.map(|error| Fault::new(error.code(), chain(error))),
        };
        journal::write(&Outcome::file(places), &outcome).map_err(SlotError::Record)?;
        done
    }

    async fn go(&self, places: &Places) -> Result<(), SlotError> {
        let change = change_under_way(places).map_err(SlotError::Record)?;
        let change = change.filter(|change| change.part == Part::System);
        let change = change.ok_or(SlotError::Nothing)?;
        match change.step {
            Step::Accepted => self.put(places, &change).await,
            Step::Back if change.slot == self.ground.slot => self.entries().give_up(&change.version),
            Step::Back => self.disarm(&self.slots().await?),
            Step::Trial | Step::Confirmed => Ok(()),
        }
    }

    fn disarm(&self, slots: &[Slot]) -> Result<(), SlotError> {
        let shipped = shipped(slots).map(|slot| slot.name.as_str());
        self.entries().keep(&self.ground.version, shipped)
    }

    async fn put(&self, places: &Places, change: &Change) -> Result<(), SlotError> {
        fail_point("slot.begun");
        let home = places.base(Part::System);
        let manifest = home.manifest(change.target).ok_or(SlotError::Chunk)?;
        let store = ChunkStore::open(places.chunks())?;
        let (root, kernel) = (entry(&manifest, ROOT_FILE)?, entry(&manifest, KERNEL_FILE)?);
        let slots = self.slots().await?;
        let slot = self.other_slot(&slots, change, root.size)?;
        self.disarm(&slots)?;
        fail_point("slot.disarmed");
        self.label(&slot, EMPTY).await?;
        fail_point("slot.unlabelled");
        info!(
            partition = slot.number,
            slot = change.slot,
            "Writing the other slot"
        );
        self.write_root(&manifest, root, &store, slot.offset)?;
        fail_point("slot.written");
        self.read_back(root, slot.offset)?;
        fail_point("slot.verified");
        self.label(&slot, &change.slot).await?;
        fail_point("slot.labelled");
        self.place_kernel(&manifest, kernel, &store, &Entry::new(&change.version))?;
        if is_older(&change.version, &self.ground.version) {
            self.entries()
                .prefer_older(&change.version, &self.ground.version)?;
        }
        info!(
            version = change.version,
            "Slot is whole, and the loader starts it next"
        );
        fail_point("slot.armed");
        Ok(())
    }

    /// The slots of the disk, in its order.
    pub(super) async fn slots(&self) -> Result<Vec<Slot>, SlotError> {
        let name = self.disk.display().to_string();
        let read = Exec::new("sfdisk").args(["--json", &name]).run().await;
        let said = read.map_err(|source| SlotError::Table {
            action: "read",
            source,
        })?;
        Ok(Table::parse(&said.stdout)?.slots()?)
    }

    /// The slot to write: no two may have one name, so the one that has it already.
    fn other_slot(&self, slots: &[Slot], change: &Change, needed: u64) -> Result<Slot, SlotError> {
        let strange = |text: &str| SlotError::NoSlot(text.to_owned());
        if !(2..=3).contains(&slots.len()) {
            return Err(strange("it has another number of slots than two or three"));
        }
        let running = &self.ground.slot;
        if slots.iter().filter(|slot| slot.name == *running).count() != 1 {
            return Err(strange("it is not known which of them runs"));
        }
        let kept = shipped(slots).map(|slot| slot.number);
        let others = slots
            .iter()
            .filter(|slot| slot.name != *running && Some(slot.number) != kept);
        let other = others
            .min_by_key(|slot| slot.name != change.slot)
            .ok_or_else(|| strange("there is none but the one that runs"))?;
        if needed > other.size {
            return Err(SlotError::Room {
                what: "the root of the new system",
                needed,
                room: other.size,
            });
        }
        Ok(other.clone())
    }

    async fn label(&self, slot: &Slot, name: &str) -> Result<(), SlotError> {
        let (disk, number) = (self.disk.display().to_string(), slot.number.to_string());
        let change = Exec::new("sfdisk").args(["--quiet", "--no-reread", "--no-tell-kernel"]);
        let changed = change.args(["--part-label", &disk, &number, name]).run().await;
        changed.map_err(|source| SlotError::Table {
            action: "changed",
            source,
        })?;
        let synced = File::options()
            .write(true)
            .open(&self.disk)
            .and_then(|disk| disk.sync_all());
        synced.map_err(io_of("the partition table"))
    }

    fn write_root(
        &self,
        manifest: &Manifest,
        root: &FileEntry,
        store: &ChunkStore,
        offset: u64,
    ) -> Result<(), SlotError> {
        let what = "the root of the new system";
        let disk = File::options()
            .write(true)
            .open(&self.disk)
            .map_err(io_of(what))?;
        let half = root.size / 2;
        let mut at = 0_u64;
        let written = each_chunk(manifest, root, store, |bytes| {
            disk.write_all_at(bytes, offset.saturating_add(at))?;
            let before = at;
            at = at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            if before < half && at >= half {
                fail_point("slot.half-written");
            }
            Ok(())
        });
        written.map_err(|fault| fault.into_error(what))?;
        disk.sync_all().map_err(io_of(what))
    }

    /// Reads the root from the disk, not from memory, and compares it with what was signed.
    fn read_back(&self, root: &FileEntry, offset: u64) -> Result<(), SlotError> {
        let what = "the root of the new system";
        let disk = File::open(&self.disk).map_err(io_of(what))?;
        files::forget_cached(&disk, offset, root.size).map_err(io_of(what))?;
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; PIECE];
        let mut at = 0_u64;
        while at < root.size {
            let left = usize::try_from(root.size - at).unwrap_or(usize::MAX);
            let piece = &mut buffer[..left.min(PIECE)];
            disk.read_exact_at(piece, offset.saturating_add(at))
                .map_err(io_of(what))?;
            hasher.update(piece);
            at = at.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        }
        if hasher.finish() == root.digest {
            Ok(())
        } else {
            Err(SlotError::Differs(what))
        }
    }

    pub(super) fn entries(&self) -> Entries {
        Entries::of(&self.loader)
    }

    fn place_kernel(
        &self,
        manifest: &Manifest,
        kernel: &FileEntry,
        store: &ChunkStore,
        entry: &Entry,
    ) -> Result<(), SlotError> {
        let what = "the kernel image of the new system";
        let dir = self.entries().dir().to_owned();
        let room = disk::space(&dir).map_err(io_of(what))?.free;
        if kernel.size.saturating_add(MARGIN) > room {
            let needed = kernel.size;
            return Err(SlotError::Room { what, needed, room });
        }
        let place = dir.join(entry.name());
        let part = place.with_extension("efi.part");
        let mut file = File::create(&part).map_err(io_of(what))?;
        let written = each_chunk(manifest, kernel, store, |bytes| {
            io::Write::write_all(&mut file, bytes)
        });
        written.map_err(|fault| fault.into_error(what))?;
        file.sync_all().map_err(io_of(what))?;
        files::forget_cached(&file, 0, kernel.size).map_err(io_of(what))?;
        drop(file);
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; PIECE];
        let mut file = File::open(&part).map_err(io_of(what))?;
        loop {
            match file.read(&mut buffer).map_err(io_of(what))? {
                0 => break,
                read => hasher.update(&buffer[..read]),
            }
        }
        if hasher.finish() != kernel.digest {
            return Err(SlotError::Differs(what));
        }
        fail_point("slot.kernel-written");
        files::rename(&part, &place)?;
        files::sync_file_system(&dir)?;
        Ok(())
    }
}

/// The slot with the system that the machine came with, where the disk keeps it.
pub(super) fn shipped(slots: &[Slot]) -> Option<&Slot> {
    slots.first().filter(|_| slots.len() == 3)
}

fn entry<'m>(manifest: &'m Manifest, name: &str) -> Result<&'m FileEntry, SlotError> {
    let found = manifest.files.iter().find(|file| file.path == name);
    found.ok_or(SlotError::Chunk)
}

pub(super) fn io_of(what: &'static str) -> impl FnOnce(io::Error) -> SlotError {
    move |source| SlotError::Io { what, source }
}

/// Why a file was not put together.
enum Torn {
    Chunk,
    Store(FileError),
    Io(io::Error),
}

impl Torn {
    fn into_error(self, what: &'static str) -> SlotError {
        match self {
            Self::Chunk => SlotError::Chunk,
            Self::Store(error) => SlotError::File(error),
            Self::Io(source) => SlotError::Io { what, source },
        }
    }
}

/// Gives the chunks of a file to `take`, one behind the other; each is what was signed, and so is the whole.
fn each_chunk(
    manifest: &Manifest,
    file: &FileEntry,
    store: &ChunkStore,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), Torn> {
    let mut unpacker = Unpacker::new().map_err(|_| Torn::Chunk)?;
    let mut hasher = Hasher::default();
    for index in &file.chunks {
        let index = usize::try_from(*index).unwrap_or(usize::MAX);
        let chunk = manifest.chunks.get(index).ok_or(Torn::Chunk)?;
        let frame = store
            .read(chunk.digest)
            .map_err(Torn::Store)?
            .ok_or(Torn::Chunk)?;
        let bytes = unpacker.unpack(chunk, &frame).map_err(|_| Torn::Chunk)?;
        hasher.update(bytes);
        take(bytes).map_err(Torn::Io)?;
    }
    let whole: Digest = hasher.finish();
    if whole == file.digest {
        Ok(())
    } else {
        Err(Torn::Chunk)
    }
}
