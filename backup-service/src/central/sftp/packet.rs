//! The messages of SFTP, version 3. Pure.
//!
//! **Invariant:** nothing is read beyond a message, and no length in it is believed.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::SftpError;

/// Kinds of messages.
pub(super) mod kind {
    pub(crate) const INIT: u8 = 1;
    pub(crate) const VERSION: u8 = 2;
    pub(crate) const OPEN: u8 = 3;
    pub(crate) const CLOSE: u8 = 4;
    pub(crate) const READ: u8 = 5;
    pub(crate) const WRITE: u8 = 6;
    pub(crate) const LSTAT: u8 = 7;
    pub(crate) const FSTAT: u8 = 8;
    pub(crate) const SETSTAT: u8 = 9;
    pub(crate) const FSETSTAT: u8 = 10;
    pub(crate) const OPENDIR: u8 = 11;
    pub(crate) const READDIR: u8 = 12;
    pub(crate) const REMOVE: u8 = 13;
    pub(crate) const MKDIR: u8 = 14;
    pub(crate) const STAT: u8 = 17;
    pub(crate) const RENAME: u8 = 18;
    pub(crate) const READLINK: u8 = 19;
    pub(crate) const SYMLINK: u8 = 20;
    pub(crate) const STATUS: u8 = 101;
    pub(crate) const HANDLE: u8 = 102;
    pub(crate) const DATA: u8 = 103;
    pub(crate) const NAME: u8 = 104;
    pub(crate) const ATTRS: u8 = 105;
    pub(crate) const EXTENDED: u8 = 200;
}

const HAS_SIZE: u32 = 1;
const HAS_OWNER: u32 = 2;
const HAS_MODE: u32 = 4;
const HAS_TIMES: u32 = 8;
const HAS_MORE: u32 = 0x8000_0000;

/// What a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::central) enum Kind {
    File,
    Directory,
    Symlink,
    Other,
}

/// What is known of a file, or is to be set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::central) struct Attributes {
    /// Bytes.
    pub(in crate::central) size: Option<u64>,
    /// User and group.
    pub(in crate::central) owner: Option<(u32, u32)>,
    /// Kind and permissions.
    pub(in crate::central) mode: Option<u32>,
    /// When it was read and changed last.
    pub(in crate::central) times: Option<(u32, u32)>,
}

impl Attributes {
    /// What it is.
    pub(in crate::central) fn kind(&self) -> Kind {
        match self.mode.unwrap_or_default() & 0o170_000 {
            0o100_000 => Kind::File,
            0o040_000 => Kind::Directory,
            0o120_000 => Kind::Symlink,
            _ => Kind::Other,
        }
    }

    /// Bytes of it.
    pub(in crate::central) fn size(&self) -> u64 {
        self.size.unwrap_or_default()
    }

    /// When it was changed last, in seconds.
    pub(in crate::central) fn modified(&self) -> u32 {
        self.times.map_or(0, |(_, modified)| modified)
    }
}

/// A message to the server.
pub(super) struct Request {
    kind: u8,
    body: BytesMut,
}

impl Request {
    pub(super) fn new(kind: u8) -> Self {
        Self {
            kind,
            body: BytesMut::new(),
        }
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        // Nothing that we send is that long.
        self.body.put_u32(u32::try_from(bytes.len()).unwrap_or_default());
        self.body.put_slice(bytes);
        self
    }

    pub(super) fn number(mut self, number: u32) -> Self {
        self.body.put_u32(number);
        self
    }

    pub(super) fn long(mut self, number: u64) -> Self {
        self.body.put_u64(number);
        self
    }

    pub(super) fn attributes(mut self, attributes: &Attributes) -> Self {
        let Attributes {
            size,
            owner,
            mode,
            times,
        } = *attributes;
        let flag = |there: bool, flag: u32| if there { flag } else { 0 };
        let flags = flag(size.is_some(), HAS_SIZE)
            | flag(owner.is_some(), HAS_OWNER)
            | flag(mode.is_some(), HAS_MODE)
            | flag(times.is_some(), HAS_TIMES);
        self.body.put_u32(flags);
        if let Some(size) = size {
            self.body.put_u64(size);
        }
        if let Some((user, group)) = owner {
            self.body.put_u32(user);
            self.body.put_u32(group);
        }
        if let Some(mode) = mode {
            self.body.put_u32(mode);
        }
        if let Some((read, modified)) = times {
            self.body.put_u32(read);
            self.body.put_u32(modified);
        }
        self
    }

    pub(super) fn encode(self, id: u32) -> Bytes {
        let mut whole = BytesMut::with_capacity(self.body.len() + 9);
        whole.put_u32(u32::try_from(self.body.len() + 5).unwrap_or_default());
        whole.put_u8(self.kind);
        whole.put_u32(id);
        whole.put_slice(&self.body);
        whole.freeze()
    }
}

/// The first message.
pub(super) fn hello() -> Bytes {
    let mut whole = BytesMut::new();
    whole.put_u32(5);
    whole.put_u8(kind::INIT);
    whole.put_u32(3);
    whole.freeze()
}

/// The names of the extensions in the answer to it.
pub(super) fn extensions(mut answer: Bytes) -> Option<Vec<Bytes>> {
    if take_u8(&mut answer)? != kind::VERSION || take_u32(&mut answer)? < 3 {
        return None;
    }
    let mut found = Vec::new();
    while !answer.is_empty() {
        found.push(take_bytes(&mut answer)?);
        take_bytes(&mut answer)?;
    }
    Some(found)
}

/// What the server answers.
#[derive(Debug)]
pub(super) enum Answer {
    Status(u32, String),
    Handle(Bytes),
    Data(Bytes),
    Names(Vec<(Bytes, Attributes)>),
    Attributes(Attributes),
}

/// A message of the server, with the number of what it answers.
pub(super) fn decode(mut packet: Bytes) -> Option<(u32, Answer)> {
    let kind = take_u8(&mut packet)?;
    let id = take_u32(&mut packet)?;
    let answer = match kind {
        kind::STATUS => {
            let code = take_u32(&mut packet)?;
            // Old servers say no more.
            let text = take_bytes(&mut packet).unwrap_or_default();
            let shown = String::from_utf8_lossy(&text);
            Answer::Status(
                code,
                shown.chars().filter(|c| !c.is_control()).take(300).collect(),
            )
        }
        kind::HANDLE => Answer::Handle(take_bytes(&mut packet)?),
        kind::DATA => Answer::Data(take_bytes(&mut packet)?),
        kind::NAME => {
            let count = take_u32(&mut packet)?;
            let mut names = Vec::new();
            for _ in 0..count {
                let name = take_bytes(&mut packet)?;
                // As `ls -l` shows it.
                take_bytes(&mut packet)?;
                names.push((name, take_attributes(&mut packet)?));
            }
            Answer::Names(names)
        }
        kind::ATTRS => Answer::Attributes(take_attributes(&mut packet)?),
        _ => return None,
    };
    Some((id, answer))
}

impl Answer {
    fn failed(self) -> SftpError {
        match self {
            Self::Status(1, _) => SftpError::End,
            Self::Status(2, _) => SftpError::Gone,
            Self::Status(3, text) => SftpError::Denied(text),
            Self::Status(6 | 7, text) => SftpError::Lost(text),
            Self::Status(8, _) => SftpError::Unsupported,
            Self::Status(code, text) => SftpError::Other(format!("{text} ({code})")),
            _ => SftpError::Other("the server answered something else".to_owned()),
        }
    }

    pub(super) fn done(self) -> Result<(), SftpError> {
        match self {
            Self::Status(0, _) => Ok(()),
            other => Err(other.failed()),
        }
    }

    pub(super) fn handle(self) -> Result<Bytes, SftpError> {
        match self {
            Self::Handle(handle) => Ok(handle),
            other => Err(other.failed()),
        }
    }

    pub(super) fn data(self) -> Result<Bytes, SftpError> {
        match self {
            Self::Data(data) => Ok(data),
            other => Err(other.failed()),
        }
    }

    pub(super) fn names(self) -> Result<Vec<(Bytes, Attributes)>, SftpError> {
        match self {
            Self::Names(names) => Ok(names),
            other => Err(other.failed()),
        }
    }

    pub(super) fn attributes(self) -> Result<Attributes, SftpError> {
        match self {
            Self::Attributes(attributes) => Ok(attributes),
            other => Err(other.failed()),
        }
    }
}

fn take_u8(from: &mut Bytes) -> Option<u8> {
    (!from.is_empty()).then(|| from.get_u8())
}

fn take_u32(from: &mut Bytes) -> Option<u32> {
    (from.len() >= 4).then(|| from.get_u32())
}

fn take_u64(from: &mut Bytes) -> Option<u64> {
    (from.len() >= 8).then(|| from.get_u64())
}

fn take_bytes(from: &mut Bytes) -> Option<Bytes> {
    let length = take_u32(from)? as usize;
    (from.len() >= length).then(|| from.split_to(length))
}

fn take_attributes(from: &mut Bytes) -> Option<Attributes> {
    let flags = take_u32(from)?;
    let mut found = Attributes::default();
    if flags & HAS_SIZE != 0 {
        found.size = Some(take_u64(from)?);
    }
    if flags & HAS_OWNER != 0 {
        found.owner = Some((take_u32(from)?, take_u32(from)?));
    }
    if flags & HAS_MODE != 0 {
        found.mode = Some(take_u32(from)?);
    }
    if flags & HAS_TIMES != 0 {
        found.times = Some((take_u32(from)?, take_u32(from)?));
    }
    if flags & HAS_MORE != 0 {
        for _ in 0..take_u32(from)? {
            take_bytes(from)?;
            take_bytes(from)?;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_answer_of_a_server_upsets_us(bytes: Vec<u8>) {
            let _ = decode(Bytes::from(bytes.clone()));
            let _ = extensions(Bytes::from(bytes));
        }

        #[test]
        fn attributes_come_back_as_they_were_sent(
            size: Option<u64>, owner: Option<(u32, u32)>, mode: Option<u32>, times: Option<(u32, u32)>,
        ) {
            let sent = Attributes { size, owner, mode, times };
            let packet = Request::new(kind::ATTRS).attributes(&sent).encode(7);
            let Some((7, Answer::Attributes(came))) = decode(packet.slice(4..)) else { panic!() };
            prop_assert_eq!(came, sent);
        }
    }
}
