//! SFTP, version 3, with names in bytes as the file system has them and many requests under way at once.
//!
//! The crate that destinations use makes names text, which loses those that are not UTF-8.
//!
//! **Invariants:** each request has a deadline; an answer of the server is doubted, none is larger than [`LARGEST`].

mod packet;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use russh::ChannelStream;
use russh::client::Msg;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::oneshot;

use self::packet::{Answer, Request, decode, kind};
pub(super) use self::packet::{Attributes, Kind};
use crate::destination::fault::Fault;
use crate::ssh::{Login, Ssh};

/// How long a server may take for one request: slow disks take long to flush gigabytes.
const REQUEST: Duration = Duration::from_secs(180);

/// Bytes of an answer.
const LARGEST: usize = 1 << 20;

/// Bytes that are asked for or sent at once: what every server takes.
pub(super) const PIECE: u32 = 32 << 10;

/// Open for reading.
pub(super) const READ: u32 = 0x01;
/// Open for writing a file that is not there yet.
pub(super) const WRITE_NEW: u32 = 0x02 | 0x08 | 0x20;

/// What the server says of a request that it did not do.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum SftpError {
    /// It is not there.
    #[error("it is not there")]
    Gone,
    /// The end of a file or a list.
    #[error("it ends there")]
    End,
    /// It is not allowed.
    #[error("it is not allowed: {0}")]
    Denied(String),
    /// The server does not know the request.
    #[error("the server cannot do that")]
    Unsupported,
    /// Something else.
    #[error("{0}")]
    Other(String),
    /// There is no connection any more.
    #[error("the connection was lost: {0}")]
    Lost(String),
}

impl SftpError {
    /// Whether nothing more can be asked.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self, Self::Lost(_))
    }
}

/// A file or directory that is open at the server. It is closed by [`Sftp::close`], or with the connection.
#[derive(Debug, Clone)]
pub(super) struct Handle(Bytes);

/// A conversation.
pub(super) struct Sftp {
    shared: Arc<Shared>,
    reader: tokio::task::JoinHandle<()>,
    extensions: Vec<Bytes>,
}

struct Shared {
    out: tokio::sync::Mutex<WriteHalf<ChannelStream<Msg>>>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u32,
    asked: HashMap<u32, oneshot::Sender<Answer>>,
    ended: Option<String>,
}

impl Drop for Sftp {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Sftp {
    /// Begins it.
    pub(super) async fn begin(ssh: &Ssh, login: &Login) -> Result<Self, Fault> {
        let no_sftp = |why: String| Fault::Other {
            at: login.at(),
            what: "begin SFTP".to_owned(),
            why: format!("{why}; the user may have no SFTP"),
        };
        let channel = ssh.session().await?;
        let asked = channel.request_subsystem(true, "sftp").await;
        asked.map_err(|error| no_sftp(error.to_string()))?;
        let (mut input, mut out) = tokio::io::split(channel.into_stream());
        let hello = async {
            out.write_all(&packet::hello()).await?;
            out.flush().await?;
            receive(&mut input).await
        };
        let answer = match tokio::time::timeout(REQUEST, hello).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(no_sftp(error.to_string())),
            Err(_) => return Err(no_sftp("no answer".to_owned())),
        };
        let extensions =
            packet::extensions(answer).ok_or_else(|| no_sftp("its answer is none".to_owned()))?;
        let shared = Arc::new(Shared {
            out: tokio::sync::Mutex::new(out),
            waiting: Mutex::default(),
        });
        let reader = tokio::spawn(take_answers(input, Arc::clone(&shared)));
        Ok(Self {
            shared,
            reader,
            extensions,
        })
    }

    /// Whether the server has an extension of the protocol.
    pub(super) fn has(&self, extension: &str) -> bool {
        self.extensions.iter().any(|one| *one == extension.as_bytes())
    }

    async fn ask(&self, request: Request) -> Result<Answer, SftpError> {
        let (tell, told) = oneshot::channel();
        let id = {
            let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(why) = &waiting.ended {
                return Err(SftpError::Lost(why.clone()));
            }
            waiting.next = waiting.next.wrapping_add(1);
            let id = waiting.next;
            waiting.asked.insert(id, tell);
            id
        };
        let work = async {
            let mut out = self.shared.out.lock().await;
            let sent = async {
                out.write_all(&request.encode(id)).await?;
                out.flush().await
            };
            sent.await
                .map_err(|error: std::io::Error| SftpError::Lost(error.to_string()))?;
            drop(out);
            told.await.map_err(|_| SftpError::Lost(self.shared.why_ended()))
        };
        match tokio::time::timeout(REQUEST, work).await {
            Ok(answer) => answer,
            Err(_) => {
                let why = format!("no answer for {}", humantime::format_duration(REQUEST));
                self.shared.end(&why);
                Err(SftpError::Lost(why))
            }
        }
    }

    async fn done(&self, request: Request) -> Result<(), SftpError> {
        self.ask(request).await?.done()
    }

    /// What is there, without following a symbolic link.
    pub(super) async fn look(&self, path: &[u8]) -> Result<Attributes, SftpError> {
        let request = Request::new(kind::LSTAT).bytes(path);
        self.ask(request).await?.attributes()
    }

    /// What is there, at the end of all symbolic links.
    pub(super) async fn look_through(&self, path: &[u8]) -> Result<Attributes, SftpError> {
        let request = Request::new(kind::STAT).bytes(path);
        self.ask(request).await?.attributes()
    }

    /// What is open.
    pub(super) async fn look_at(&self, handle: &Handle) -> Result<Attributes, SftpError> {
        let request = Request::new(kind::FSTAT).bytes(&handle.0);
        self.ask(request).await?.attributes()
    }

    /// Where a symbolic link leads, as it is stored.
    pub(super) async fn link_target(&self, path: &[u8]) -> Result<Bytes, SftpError> {
        let request = Request::new(kind::READLINK).bytes(path);
        let names = self.ask(request).await?.names()?;
        let first = names.into_iter().next();
        first
            .map(|(name, _)| name)
            .ok_or_else(|| SftpError::Other("the server named no target".to_owned()))
    }

    /// Opens a directory to be listed.
    pub(super) async fn open_directory(&self, path: &[u8]) -> Result<Handle, SftpError> {
        let request = Request::new(kind::OPENDIR).bytes(path);
        self.ask(request).await?.handle().map(Handle)
    }

    /// The next of its names, without `.` and `..`; none at its end.
    pub(super) async fn list_on(
        &self,
        directory: &Handle,
    ) -> Result<Option<Vec<(Bytes, Attributes)>>, SftpError> {
        let request = Request::new(kind::READDIR).bytes(&directory.0);
        let names = match self.ask(request).await?.names() {
            Err(SftpError::End) => return Ok(None),
            other => other?,
        };
        // A name with a slash would lead elsewhere.
        let is_one = |name: &Bytes| {
            !name.is_empty()
                && *name != b"."[..]
                && *name != b".."[..]
                && !name.contains(&b'/')
                && !name.contains(&0)
        };
        Ok(Some(names.into_iter().filter(|(name, _)| is_one(name)).collect()))
    }

    /// Opens a file.
    pub(super) async fn open(&self, path: &[u8], how: u32, mode: u32) -> Result<Handle, SftpError> {
        let attributes = Attributes {
            mode: (how != READ).then_some(mode),
            ..Attributes::default()
        };
        let request = Request::new(kind::OPEN)
            .bytes(path)
            .number(how)
            .attributes(&attributes);
        self.ask(request).await?.handle().map(Handle)
    }

    /// A part of a file, which may be shorter than asked for; empty at its end.
    pub(super) async fn read(&self, file: &Handle, offset: u64, length: u32) -> Result<Bytes, SftpError> {
        let request = Request::new(kind::READ)
            .bytes(&file.0)
            .long(offset)
            .number(length);
        match self.ask(request).await?.data() {
            Err(SftpError::End) => Ok(Bytes::new()),
            Ok(data) if data.len() > length as usize => Err(SftpError::Other(
                "the server sent more than was asked for".to_owned(),
            )),
            other => other,
        }
    }

    /// The same, until it is whole or the file ends.
    pub(super) async fn read_whole(
        &self,
        file: &Handle,
        offset: u64,
        length: u32,
    ) -> Result<Bytes, SftpError> {
        let first = self.read(file, offset, length).await?;
        if first.len() == length as usize || first.is_empty() {
            return Ok(first);
        }
        let mut whole = BytesMut::from(&first[..]);
        while whole.len() < length as usize {
            let left = length - u32::try_from(whole.len()).unwrap_or(length);
            let more = self.read(file, offset + whole.len() as u64, left).await?;
            if more.is_empty() {
                break;
            }
            whole.extend_from_slice(&more);
        }
        Ok(whole.freeze())
    }

    /// Writes a part of a file.
    pub(super) async fn write(&self, file: &Handle, offset: u64, data: &[u8]) -> Result<(), SftpError> {
        let request = Request::new(kind::WRITE).bytes(&file.0).long(offset).bytes(data);
        self.done(request).await
    }

    /// Sets what is given of an open file.
    pub(super) async fn set(&self, file: &Handle, attributes: &Attributes) -> Result<(), SftpError> {
        let request = Request::new(kind::FSETSTAT).bytes(&file.0).attributes(attributes);
        self.done(request).await
    }

    /// Sets what is given of a directory.
    pub(super) async fn set_at(&self, path: &[u8], attributes: &Attributes) -> Result<(), SftpError> {
        let request = Request::new(kind::SETSTAT).bytes(path).attributes(attributes);
        self.done(request).await
    }

    /// Sets what is given of a symbolic link itself, where the server can.
    pub(super) async fn set_on_link(&self, path: &[u8], attributes: &Attributes) -> Result<(), SftpError> {
        const NAME: &str = "lsetstat@openssh.com";
        if !self.has(NAME) {
            return Err(SftpError::Unsupported);
        }
        let request = Request::new(kind::EXTENDED)
            .bytes(NAME.as_bytes())
            .bytes(path)
            .attributes(attributes);
        self.done(request).await
    }

    /// Closes it.
    pub(super) async fn close(&self, handle: Handle) -> Result<(), SftpError> {
        self.done(Request::new(kind::CLOSE).bytes(&handle.0)).await
    }

    /// Brings an open file to the disk, where the server can.
    pub(super) async fn flush(&self, file: &Handle) -> Result<(), SftpError> {
        const NAME: &str = "fsync@openssh.com";
        if !self.has(NAME) {
            return Ok(());
        }
        let request = Request::new(kind::EXTENDED).bytes(NAME.as_bytes()).bytes(&file.0);
        self.done(request).await
    }

    /// Makes a directory.
    pub(super) async fn make_directory(&self, path: &[u8], mode: u32) -> Result<(), SftpError> {
        let attributes = Attributes {
            mode: Some(mode),
            ..Attributes::default()
        };
        let request = Request::new(kind::MKDIR).bytes(path).attributes(&attributes);
        self.done(request).await
    }

    /// Makes a symbolic link.
    pub(super) async fn link_to(&self, target: &[u8], at: &[u8]) -> Result<(), SftpError> {
        // OpenSSH takes them in this order and not in that of the draft, and so does everybody since.
        let request = Request::new(kind::SYMLINK).bytes(target).bytes(at);
        self.done(request).await
    }

    /// Gives a file a further name.
    pub(super) async fn hard_link(&self, first: &[u8], at: &[u8]) -> Result<(), SftpError> {
        const NAME: &str = "hardlink@openssh.com";
        if !self.has(NAME) {
            return Err(SftpError::Unsupported);
        }
        let request = Request::new(kind::EXTENDED)
            .bytes(NAME.as_bytes())
            .bytes(first)
            .bytes(at);
        self.done(request).await
    }

    /// Removes what is no directory.
    pub(super) async fn remove(&self, path: &[u8]) -> Result<(), SftpError> {
        self.done(Request::new(kind::REMOVE).bytes(path)).await
    }

    /// Gives something another name. What has that name is replaced in one step, or it is refused.
    pub(super) async fn rename(&self, from: &[u8], to: &[u8], replace: bool) -> Result<(), SftpError> {
        const NAME: &str = "posix-rename@openssh.com";
        let request = match replace {
            true if !self.has(NAME) => return Err(SftpError::Unsupported),
            true => Request::new(kind::EXTENDED).bytes(NAME.as_bytes()),
            false => Request::new(kind::RENAME),
        };
        self.done(request.bytes(from).bytes(to)).await
    }
}

impl Shared {
    fn end(&self, why: &str) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.ended.get_or_insert_with(|| why.to_owned());
        // Whoever waits is told by the loss of the sender.
        waiting.asked.clear();
    }

    fn why_ended(&self) -> String {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting
            .ended
            .clone()
            .unwrap_or_else(|| "it was closed".to_owned())
    }
}

async fn take_answers(mut input: ReadHalf<ChannelStream<Msg>>, shared: Arc<Shared>) {
    let why = loop {
        let packet = match receive(&mut input).await {
            Ok(packet) => packet,
            Err(error) => break error.to_string(),
        };
        let Some((id, answer)) = decode(packet) else {
            break "an answer of the server is malformed".to_owned();
        };
        let mut waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever asked may not want to know any more.
        if let Some(tell) = waiting.asked.remove(&id) {
            let _gone = tell.send(answer);
        }
    };
    shared.end(&why);
}

async fn receive(input: &mut ReadHalf<ChannelStream<Msg>>) -> std::io::Result<Bytes> {
    let length = input.read_u32().await? as usize;
    if length == 0 || length > LARGEST {
        return Err(std::io::Error::other(
            "an answer of the server has no length that is allowed",
        ));
    }
    let mut packet = BytesMut::zeroed(length);
    input.read_exact(&mut packet).await?;
    Ok(packet.freeze())
}
