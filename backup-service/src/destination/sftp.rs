//! An SFTP server, with russh.
//!
//! **Invariant:** it is reached by [`crate::ssh`] only: no server hears anything whose key was not confirmed.

use std::io;
use std::io::SeekFrom;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::client::fs::File;
use russh_sftp::client::{Config as SftpConfig, SftpSession};
use russh_sftp::protocol::{OpenFlags, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::fault::Fault;
use super::path::PlacePath;
use super::place::{Entry, Place};
use crate::ssh::{self, Login, Ssh};

/// How long a server may take for one request: slow disks take long to flush gigabytes.
const REQUEST: Duration = Duration::from_secs(180);

/// The free space below which a write that failed is taken for a full disk: the protocol has no word for that.
const NEARLY_FULL: u64 = 2 << 20;

/// Where to sign in, and where copies lie there.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server.
    pub login: Login,
    /// Absolute, or relative to where a login begins.
    pub path: String,
}

/// A connection that speaks SFTP.
struct Connection {
    // The session ends with it.
    ssh: Ssh,
    sftp: SftpSession,
}

async fn connect(login: &Login) -> Result<Connection, Fault> {
    let ssh = ssh::connect(login).await?;
    let no_sftp = |why: String| Fault::Other {
        at: login.at(),
        what: "begin SFTP".to_owned(),
        why,
    };
    let channel = ssh.session().await?;
    let asked = channel.request_subsystem(true, "sftp").await;
    asked.map_err(|error| no_sftp(error.to_string()))?;
    let config = SftpConfig {
        request_timeout_secs: REQUEST.as_secs(),
        ..SftpConfig::default()
    };
    let begun = SftpSession::new_with_config(channel.into_stream(), config);
    match tokio::time::timeout(ssh::CONNECT, begun).await {
        Ok(Ok(sftp)) => Ok(Connection { ssh, sftp }),
        Ok(Err(error)) => Err(no_sftp(format!("the user may have no SFTP: {error}"))),
        Err(_) => Err(no_sftp("no answer".to_owned())),
    }
}

/// The server.
#[expect(missing_debug_implementations, reason = "a connection has nothing to show")]
pub struct Sftp {
    settings: Settings,
    connection: Option<Connection>,
    writing: Option<File>,
    reading: Option<(PlacePath, u64, File)>,
}

impl Sftp {
    /// Connects, compares the key, signs in.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn connect(settings: Settings) -> Result<Self, Fault> {
        let mut place = Self {
            settings,
            connection: None,
            writing: None,
            reading: None,
        };
        place.again().await?;
        Ok(place)
    }

    fn at(&self, path: &PlacePath) -> String {
        let root = self.settings.path.trim_end_matches('/');
        format!("{root}/{path}")
    }

    fn sftp(&self) -> Result<&SftpSession, Fault> {
        let connection = self.connection.as_ref().map(|connection| &connection.sftp);
        connection.ok_or_else(|| self.cut("it was closed"))
    }

    fn cut(&self, why: impl ToString) -> Fault {
        Fault::Cut {
            at: self.settings.login.at(),
            why: why.to_string(),
        }
    }

    /// What an answer of the server means.
    fn fault(&self, what: &str, path: &str, error: SftpError) -> Fault {
        let SftpError::Status(status) = error else {
            return self.cut(error);
        };
        let why = status.error_message;
        match status.status_code {
            StatusCode::NoSuchFile => Fault::NoPlace {
                what: format!("`{path}` at {}", self.settings.login.at()),
            },
            StatusCode::PermissionDenied => Fault::Denied {
                what: format!("{what} `{path}` at {}", self.settings.login.at()),
                why,
            },
            StatusCode::NoConnection | StatusCode::ConnectionLost => self.cut(why),
            code => Fault::Other {
                at: self.settings.login.at(),
                what: format!("{what} `{path}`"),
                why: format!("{code}: {why}"),
            },
        }
    }

    /// What an error of a file means: the crate wraps those of the connection and makes those of the server text.
    async fn file_fault(&mut self, what: &str, error: io::Error) -> Fault {
        let timed_out = error.kind() == io::ErrorKind::TimedOut;
        let wrapped = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<SftpError>());
        match wrapped {
            Some(SftpError::Status(_)) | None if !timed_out => {}
            _ => return self.cut(&error),
        }
        let nearly_full = |free: Option<u64>| free.is_some_and(|free| free < NEARLY_FULL);
        if what == WRITE && nearly_full(self.free().await.ok().flatten()) {
            return Fault::Full {
                needed: 1,
                available: 0,
            };
        }
        Fault::Other {
            at: self.settings.login.at(),
            what: what.to_owned(),
            why: error.to_string(),
        }
    }
}

const WRITE: &str = "write the file";

/// Work on a file with a deadline.
async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(REQUEST, work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[tonic::async_trait]
impl Place for Sftp {
    async fn again(&mut self) -> Result<(), Fault> {
        (self.writing, self.reading, self.connection) = (None, None, None);
        let connection = connect(&self.settings.login).await?;
        let path = self.settings.path.clone();
        match connection.sftp.metadata(&path).await {
            Ok(there) if there.is_dir() => {
                self.connection = Some(connection);
                Ok(())
            }
            Ok(_) => Err(Fault::NoPlace {
                what: format!("the directory `{path}` at {}", self.settings.login.at()),
            }),
            Err(error) => Err(self.fault("look at", &path, error)),
        }
    }

    async fn close(&mut self) {
        (self.writing, self.reading) = (None, None);
        if let Some(connection) = self.connection.take()
            && !connection.ssh.leave().await
        {
            tracing::debug!(
                at = self.settings.login.at(),
                "The server was gone before it was left"
            );
        }
    }

    async fn free(&mut self) -> Result<Option<u64>, Fault> {
        let path = self.settings.path.clone();
        match self.sftp()?.fs_info(&path).await {
            Ok(info) => Ok(info.map(|info| info.fragment_size.saturating_mul(info.blocks_avail))),
            // Some say that they can and then cannot.
            Err(SftpError::Status(_)) => Ok(None),
            Err(error) => Err(self.fault("ask for the space of", &path, error)),
        }
    }

    async fn most(&mut self) -> Result<Option<u64>, Fault> {
        Ok(None)
    }

    async fn make_directory(&mut self, path: &PlacePath) -> Result<(), Fault> {
        let at = self.at(path);
        match self.sftp()?.metadata(&at).await {
            Ok(there) if there.is_dir() => return Ok(()),
            Ok(_) => {
                return Err(Fault::NoPlace {
                    what: format!("the directory `{at}` at {}", self.settings.login.at()),
                });
            }
            Err(SftpError::Status(status)) if status.status_code == StatusCode::NoSuchFile => {}
            Err(error) => return Err(self.fault("look at", &at, error)),
        }
        match self.sftp()?.create_dir(&at).await {
            Ok(()) => Ok(()),
            // Somebody else may have made it meanwhile.
            Err(error) => match self.sftp()?.metadata(&at).await {
                Ok(there) if there.is_dir() => Ok(()),
                _ => Err(self.fault("make the directory", &at, error)),
            },
        }
    }

    async fn list(&mut self, path: &PlacePath) -> Result<Vec<Entry>, Fault> {
        let at = self.at(path);
        let read = match self.sftp()?.read_dir(&at).await {
            Ok(read) => read,
            Err(SftpError::Status(status)) if status.status_code == StatusCode::NoSuchFile => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(self.fault("list", &at, error)),
        };
        let found = read.take(super::MOST_ENTRIES).filter(|entry| {
            let kind = entry.file_type();
            kind.is_dir() || kind.is_file()
        });
        let entries = found.map(|entry| {
            let metadata = entry.metadata();
            Entry {
                name: entry.file_name(),
                is_directory: metadata.is_dir(),
                size: metadata.len(),
                modified: metadata
                    .mtime
                    .and_then(|at| Timestamp::from_second(i64::from(at)).ok()),
            }
        });
        Ok(entries.collect())
    }

    async fn size(&mut self, path: &PlacePath) -> Result<Option<u64>, Fault> {
        let at = self.at(path);
        match self.sftp()?.symlink_metadata(&at).await {
            Ok(there) if there.is_regular() => Ok(Some(there.len())),
            Ok(_) => Ok(None),
            Err(SftpError::Status(status)) if status.status_code == StatusCode::NoSuchFile => Ok(None),
            Err(error) => Err(self.fault("look at", &at, error)),
        }
    }

    async fn begin(&mut self, path: &PlacePath, offset: u64, _total: u64) -> Result<(), Fault> {
        self.reading = None;
        let at = self.at(path);
        let mut flags = OpenFlags::WRITE | OpenFlags::CREATE;
        if offset == 0 {
            flags |= OpenFlags::TRUNCATE;
        }
        let opened = self.sftp()?.open_with_flags(&at, flags).await;
        let mut file = opened.map_err(|error| self.fault("write", &at, error))?;
        if let Err(error) = file.seek(SeekFrom::Start(offset)).await {
            return Err(self.file_fault(WRITE, error).await);
        }
        self.writing = Some(file);
        Ok(())
    }

    async fn put(&mut self, piece: Bytes) -> Result<(), Fault> {
        let Some(mut file) = self.writing.take() else {
            return Err(self.cut("nothing was begun"));
        };
        match within(file.write_all(&piece)).await {
            Ok(()) => {
                self.writing = Some(file);
                Ok(())
            }
            Err(error) => Err(self.file_fault(WRITE, error).await),
        }
    }

    async fn end(&mut self) -> Result<(), Fault> {
        let Some(mut file) = self.writing.take() else {
            return Ok(());
        };
        let ended = within(async {
            file.flush().await?;
            file.shutdown().await
        });
        match ended.await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.file_fault(WRITE, error).await),
        }
    }

    async fn rename(&mut self, from: &PlacePath, to: &PlacePath) -> Result<(), Fault> {
        self.reading = None;
        let (from, to) = (self.at(from), self.at(to));
        let renamed = self.sftp()?.rename(&from, &to).await;
        renamed.map_err(|error| self.fault("give a name to", &to, error))
    }

    async fn get(&mut self, path: &PlacePath, offset: u64, length: usize) -> Result<Bytes, Fault> {
        let open = self.reading.take().filter(|(open, ..)| open == path);
        let (mut position, mut file) = match open {
            Some((_, position, file)) => (position, file),
            None => {
                let at = self.at(path);
                let opened = self.sftp()?.open(&at).await;
                (0, opened.map_err(|error| self.fault("read", &at, error))?)
            }
        };
        let mut piece = BytesMut::zeroed(length);
        let read = within(async {
            if position != offset {
                file.seek(SeekFrom::Start(offset)).await?;
            }
            let mut filled = 0;
            while filled < length {
                match file.read(&mut piece[filled..]).await? {
                    0 => break,
                    read => filled += read,
                }
            }
            Ok(filled)
        });
        match read.await {
            Ok(filled) => {
                piece.truncate(filled);
                position = offset + filled as u64;
                self.reading = Some((path.clone(), position, file));
                Ok(piece.freeze())
            }
            Err(error) => Err(self.file_fault("read the file", error).await),
        }
    }

    async fn remove(&mut self, path: &PlacePath) -> Result<(), Fault> {
        (self.reading, self.writing) = (None, None);
        let at = self.at(path);
        match self.sftp()?.remove_file(&at).await {
            Ok(()) => Ok(()),
            Err(SftpError::Status(status)) if status.status_code == StatusCode::NoSuchFile => Ok(()),
            Err(error) => Err(self.fault("remove", &at, error)),
        }
    }
}
