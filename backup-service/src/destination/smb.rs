//! A Windows share, with smb-rs: SMB 2 and 3, NTLMv2.
//!
//! **Invariant:** no message goes unsigned, and none unencrypted if encryption is wanted: whoever cannot is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use smb::{
    CreateDisposition, CreateOptions, DirAccessMask, Directory, Error, File, FileAccessMask, FileAttributes,
    FileCreateArgs, FileDirectoryInformation, FileDispositionInformation, FileFsFullSizeInformation,
    FileRenameInformation, Resource, Status, Tree,
};

use super::fault::Fault;
use super::path::PlacePath;
use super::place::{Entry, Place};

mod connect;

pub use self::connect::Settings;
use self::connect::{CONNECT, Connection, connect, late, status};

/// How long a server may take for one request: slow disks take long to flush gigabytes.
const REQUEST: Duration = Duration::from_secs(180);

/// Bytes of one request; many are under way at once.
const CHUNK: usize = 64 << 10;

/// How often one chunk is asked for, if the server says each time that it will answer later.
const READS: u32 = 12;

/// Answers that may lie unread in the connection before it is made anew: 16 MiB.
const MOST_UNREAD: usize = (16 << 20) / CHUNK;

/// The free space below which a write that failed is taken for a full disk: the crate gives its cause as text only.
const NEARLY_FULL: u64 = 2 << 20;

/// Seconds from 1601, where Windows begins to count, to 1970.
const WINDOWS_EPOCH: i64 = 11_644_473_600;

// What the crate has no name for.
const DISK_FULL: u32 = 0xC000_007F;
const QUOTA_EXCEEDED: u32 = 0xC000_0044;
const WRITE_PROTECTED: u32 = 0xC000_00A2;

/// The share.
#[expect(missing_debug_implementations, reason = "a connection has nothing to show")]
pub struct Smb {
    settings: Settings,
    connection: Option<Connection>,
    writing: Option<(File, u64)>,
    reading: Option<(PlacePath, File)>,
    unread: Arc<AtomicUsize>,
}

impl Smb {
    /// Connects, signs in, looks whether the share and its directories are there.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn connect(settings: Settings) -> Result<Self, Fault> {
        let mut place = Self {
            settings,
            connection: None,
            writing: None,
            reading: None,
            unread: Arc::default(),
        };
        place.again().await?;
        Ok(place)
    }

    fn at(&self, path: &PlacePath) -> String {
        let below = self.settings.below.iter().map(String::as_str);
        below.chain(path.parts()).collect::<Vec<_>>().join("\\")
    }

    fn root(&self) -> String {
        self.settings.below.join("\\")
    }

    fn tree(&self) -> Result<Arc<Tree>, Fault> {
        let connection = self.connection.as_ref();
        connection
            .map(|connection| Arc::clone(&connection.tree))
            .ok_or_else(|| self.cut("it was closed"))
    }

    fn cut(&self, why: impl ToString) -> Fault {
        Fault::Cut {
            at: self.settings.at(),
            why: why.to_string(),
        }
    }

    /// What an answer of the server means.
    fn fault(&self, what: &str, path: &str, error: &Error) -> Fault {
        let Some(status) = status(error) else {
            return self.cut(error);
        };
        let at = self.settings.at();
        match status {
            Status::U32_ACCESS_DENIED | WRITE_PROTECTED => Fault::Denied {
                what: format!("{what} `{path}` on {at}"),
                why: error.to_string(),
            },
            Status::U32_OBJECT_NAME_NOT_FOUND
            | Status::U32_OBJECT_PATH_NOT_FOUND
            | Status::U32_BAD_NETWORK_NAME => Fault::NoPlace {
                what: format!("`{path}` on {at}"),
            },
            DISK_FULL | QUOTA_EXCEEDED => Fault::Full {
                needed: 1,
                available: 0,
            },
            Status::U32_NETWORK_NAME_DELETED
            | Status::U32_USER_SESSION_DELETED
            | Status::U32_NETWORK_SESSION_EXPIRED
            | Status::U32_IO_TIMEOUT
            | Status::U32_SHARING_VIOLATION => self.cut(error),
            _ => Fault::Other {
                at,
                what: format!("{what} `{path}`"),
                why: error.to_string(),
            },
        }
    }

    /// A call of the crate with a deadline.
    async fn ask<T>(
        &self,
        what: &str,
        path: &str,
        work: impl Future<Output = smb::Result<T>> + Send,
    ) -> Result<T, Fault> {
        match tokio::time::timeout(REQUEST, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(self.fault(what, path, &error)),
            Err(_) => Err(self.cut(late(REQUEST))),
        }
    }

    async fn open(
        &self,
        what: &str,
        path: &str,
        disposition: CreateDisposition,
        access: FileAccessMask,
    ) -> Result<File, Fault> {
        let tree = self.tree()?;
        let arguments = FileCreateArgs {
            disposition,
            attributes: FileAttributes::new(),
            options: CreateOptions::new().with_non_directory_file(true),
            desired_access: access,
        };
        match self.ask(what, path, tree.create(path, &arguments)).await? {
            Resource::File(file) => Ok(file),
            _ => Err(Fault::NoPlace {
                what: format!("the file `{path}` on {}", self.settings.at()),
            }),
        }
    }

    async fn directory(
        &self,
        what: &str,
        path: &str,
        disposition: CreateDisposition,
    ) -> Result<Directory, Fault> {
        let tree = self.tree()?;
        let access = DirAccessMask::new()
            .with_list_directory(true)
            .with_read_attributes(true)
            .with_synchronize(true);
        let opened = tree.create_directory(path, disposition, access.into());
        match self.ask(what, path, opened).await? {
            Resource::Directory(directory) => Ok(directory),
            _ => Err(Fault::NoPlace {
                what: format!("the directory `{path}` on {}", self.settings.at()),
            }),
        }
    }

    /// What a write that failed means.
    async fn not_written(&mut self, error: std::io::Error) -> Fault {
        self.writing = None;
        match self.free().await {
            Ok(Some(free)) if free < NEARLY_FULL => Fault::Full {
                needed: 1,
                available: 0,
            },
            _ => self.cut(error),
        }
    }
}

/// Reads a chunk. A server whose disk is slow may say first that the answer comes later (MS-SMB2 3.3.4.2), which the
/// crate does not take for reads: the chunk is asked for again, and is in the server's memory by then. The late answer
/// stays in the connection, `unread`.
async fn read(file: &File, chunk: &mut [u8], from: u64, unread: &AtomicUsize) -> std::io::Result<usize> {
    let mut pause = Duration::from_millis(2);
    for _ in 1..READS {
        match file.read_block(chunk, from, None, false).await {
            Err(error) if error.to_string().contains("Async command is not allowed") => {
                unread.fetch_add(1, Relaxed);
            }
            answered => return answered,
        }
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        pause *= 2;
    }
    file.read_block(chunk, from, None, false).await
}

#[tonic::async_trait]
impl Place for Smb {
    async fn again(&mut self) -> Result<(), Fault> {
        (self.writing, self.reading, self.connection) = (None, None, None);
        self.unread.store(0, Relaxed);
        self.connection = Some(connect(&self.settings).await?);
        let root = self.root();
        let opened = self.directory("open", &root, CreateDisposition::Open).await?;
        self.ask("close", &root, opened.close()).await
    }

    async fn close(&mut self) {
        (self.writing, self.reading) = (None, None);
        if let Some(connection) = self.connection.take() {
            let closed = tokio::time::timeout(CONNECT, connection.client.close()).await;
            if !matches!(closed, Ok(Ok(()))) {
                tracing::debug!(at = self.settings.at(), "The server was gone before it was left");
            }
        }
    }

    async fn free(&mut self) -> Result<Option<u64>, Fault> {
        let root = self.root();
        let directory = self.directory("open", &root, CreateDisposition::Open).await?;
        let asked = directory.query_fs_info::<FileFsFullSizeInformation>();
        let size = self.ask("ask for the space of", &root, asked).await?;
        self.ask("close", &root, directory.close()).await?;
        let unit = u64::from(size.sectors_per_allocation_unit) * u64::from(size.bytes_per_sector);
        Ok(Some(size.caller_available_allocation_units.saturating_mul(unit)))
    }

    async fn most(&mut self) -> Result<Option<u64>, Fault> {
        Ok(None)
    }

    async fn make_directory(&mut self, path: &PlacePath) -> Result<(), Fault> {
        let at = self.at(path);
        let made = self
            .directory("make the directory", &at, CreateDisposition::OpenIf)
            .await?;
        self.ask("close", &at, made.close()).await
    }

    async fn list(&mut self, path: &PlacePath) -> Result<Vec<Entry>, Fault> {
        let at = self.at(path);
        let directory = match self.directory("list", &at, CreateDisposition::Open).await {
            Ok(directory) => Arc::new(directory),
            Err(Fault::NoPlace { .. }) => return Ok(Vec::new()),
            Err(fault) => return Err(fault),
        };
        let listed = async {
            let mut found = Vec::new();
            let mut entries = Directory::query::<FileDirectoryInformation>(&directory, "*").await?;
            while let Some(entry) = entries.next().await {
                if found.len() < super::MOST_ENTRIES {
                    found.push(entry?);
                }
            }
            Ok(found)
        };
        let found = self.ask("list", &at, listed).await?;
        self.ask("close", &at, directory.close()).await?;
        let entries = found.into_iter().map(|entry| {
            let seconds = i64::try_from(entry.last_write_time.since_epoch().as_secs()).ok();
            Entry {
                name: entry.file_name.to_string(),
                is_directory: entry.file_attributes.directory(),
                size: entry.end_of_file,
                modified: seconds.and_then(|at| Timestamp::from_second(at - WINDOWS_EPOCH).ok()),
            }
        });
        Ok(entries
            .filter(|entry| !matches!(entry.name.as_str(), "." | ".."))
            .collect())
    }

    async fn size(&mut self, path: &PlacePath) -> Result<Option<u64>, Fault> {
        let at = self.at(path);
        let access = FileAccessMask::new().with_file_read_attributes(true);
        let file = match self.open("look at", &at, CreateDisposition::Open, access).await {
            Ok(file) => file,
            Err(Fault::NoPlace { .. }) => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let size = self.ask("look at", &at, smb::GetLen::get_len(&file)).await?;
        self.ask("close", &at, file.close()).await?;
        Ok(Some(size))
    }

    async fn begin(&mut self, path: &PlacePath, offset: u64, _total: u64) -> Result<(), Fault> {
        self.reading = None;
        let at = self.at(path);
        let disposition = if offset == 0 {
            CreateDisposition::OverwriteIf
        } else {
            CreateDisposition::OpenIf
        };
        let access = FileAccessMask::new()
            .with_generic_read(true)
            .with_generic_write(true);
        let file = self.open("write", &at, disposition, access).await?;
        self.writing = Some((file, offset));
        Ok(())
    }

    async fn put(&mut self, piece: Bytes) -> Result<(), Fault> {
        let Some((file, at)) = self.writing.take() else {
            return Err(self.cut("nothing was begun"));
        };
        let writes = piece.chunks(CHUNK).enumerate().map(|(number, chunk)| {
            let file = &file;
            async move {
                let mut done = 0;
                while done < chunk.len() {
                    let from = at + (number * CHUNK + done) as u64;
                    match file.write_block(&chunk[done..], from, None).await? {
                        0 => return Err(std::io::ErrorKind::WriteZero.into()),
                        written => done += written,
                    }
                }
                Ok::<_, std::io::Error>(())
            }
        });
        match tokio::time::timeout(REQUEST, try_join_all(writes)).await {
            Ok(Ok(_)) => {
                self.writing = Some((file, at + piece.len() as u64));
                Ok(())
            }
            Ok(Err(error)) => Err(self.not_written(error).await),
            Err(_) => Err(self.cut(late(REQUEST))),
        }
    }

    async fn end(&mut self) -> Result<(), Fault> {
        let Some((file, _)) = self.writing.take() else {
            return Ok(());
        };
        match tokio::time::timeout(REQUEST, file.flush()).await {
            Ok(Ok(())) => self.ask("close", file.name(), file.close()).await,
            Ok(Err(error)) => Err(self.not_written(error).await),
            Err(_) => Err(self.cut(late(REQUEST))),
        }
    }

    async fn rename(&mut self, from: &PlacePath, to: &PlacePath) -> Result<(), Fault> {
        self.reading = None;
        let (from, to) = (self.at(from), self.at(to));
        let access = FileAccessMask::new()
            .with_delete(true)
            .with_file_read_attributes(true)
            .with_synchronize(true);
        let what = "give a name to";
        let file = self.open(what, &from, CreateDisposition::Open, access).await?;
        let renamed = file.set_info(FileRenameInformation {
            replace_if_exists: false.into(),
            root_directory: 0,
            file_name: to.as_str().into(),
        });
        self.ask(what, &to, renamed).await?;
        self.ask("close", &to, file.close()).await
    }

    async fn get(&mut self, path: &PlacePath, offset: u64, length: usize) -> Result<Bytes, Fault> {
        let open = self.reading.take().filter(|(open, _)| open == path);
        let file = match open {
            Some((_, file)) => file,
            None => {
                let access = FileAccessMask::new().with_generic_read(true);
                self.open("read", &self.at(path), CreateDisposition::Open, access)
                    .await?
            }
        };
        let mut piece = BytesMut::zeroed(length);
        let unread = self.unread.as_ref();
        let reads = piece.chunks_mut(CHUNK).enumerate().map(|(number, chunk)| {
            let file = &file;
            async move {
                let mut done = 0;
                while done < chunk.len() {
                    let from = offset + (number * CHUNK + done) as u64;
                    match read(file, &mut chunk[done..], from, unread).await? {
                        0 => break,
                        read => done += read,
                    }
                }
                Ok::<_, std::io::Error>(done)
            }
        });
        match tokio::time::timeout(REQUEST, try_join_all(reads)).await {
            Ok(Ok(read)) => {
                // A file that ends in the middle ends in the last chunk that has anything.
                let filled = read.iter().take_while(|length| **length == CHUNK).count();
                let end = filled * CHUNK + read.get(filled).copied().unwrap_or(0);
                piece.truncate(end);
                if self.unread.load(Relaxed) < MOST_UNREAD {
                    self.reading = Some((path.clone(), file));
                } else {
                    self.again().await?;
                }
                Ok(piece.freeze())
            }
            Ok(Err(error)) => Err(self.cut(error)),
            Err(_) => Err(self.cut(late(REQUEST))),
        }
    }

    async fn remove(&mut self, path: &PlacePath) -> Result<(), Fault> {
        (self.reading, self.writing) = (None, None);
        let at = self.at(path);
        let access = FileAccessMask::new()
            .with_delete(true)
            .with_file_read_attributes(true)
            .with_synchronize(true);
        let file = match self.open("remove", &at, CreateDisposition::Open, access).await {
            Ok(file) => file,
            Err(Fault::NoPlace { .. }) => return Ok(()),
            Err(fault) => return Err(fault),
        };
        let removed = file.set_info(FileDispositionInformation::default());
        self.ask("remove", &at, removed).await?;
        self.ask("close", &at, file.close()).await
    }
}
