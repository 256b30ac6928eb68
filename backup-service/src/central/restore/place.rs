//! Where something is written on a central: under a name that nobody has, and renamed when it is whole.
//!
//! **Invariant:** every directory below a configured path was seen to be one, and no link, before anything is written in it.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use satellite_host::fail_point;

use super::super::Central;
use super::super::sftp::{Attributes, Handle, Kind, PIECE, Sftp, SftpError, WRITE_NEW};

/// With this begin the names of what is not whole yet; the next restore that writes beside it removes it.
const TEMPORARY: &[u8] = b".satellite-restore-";
/// Requests that are under way at once.
const AHEAD: usize = 16;

/// A file that is being written.
pub(super) struct Open {
    place: Vec<u8>,
    temporary: Vec<u8>,
    handle: Handle,
    written: u64,
}

/// The central's file system.
pub(super) struct Places<'a> {
    sftp: &'a Sftp,
    overwrite: bool,
    /// The directory that was looked at last.
    last: Option<Vec<u8>>,
    /// The directory in which a temporary was looked for last.
    swept: Option<Vec<u8>>,
}

impl<'a> Places<'a> {
    pub(super) fn new(central: &'a Central, overwrite: bool) -> Self {
        Self {
            sftp: &central.sftp,
            overwrite,
            last: None,
            swept: None,
        }
    }

    /// Makes sure that what is above `path` is there: below `root` directories and nothing else.
    pub(super) async fn find(&mut self, root: &Bytes, path: Vec<u8>) -> Result<Vec<u8>, SftpError> {
        let above = parent(&path);
        if self.last.as_deref() == Some(above) {
            return Ok(path);
        }
        // What is above the configured path is the administrator's, links included.
        let first = parent(root);
        for end in ends(first) {
            self.make(&first[..end], true).await?;
        }
        for end in ends(above).filter(|end| *end > first.len()) {
            self.make(&above[..end], false).await?;
        }
        self.last = Some(above.to_vec());
        Ok(path)
    }

    async fn make(&self, path: &[u8], through_links: bool) -> Result<(), SftpError> {
        let looked = match through_links {
            true => self.sftp.look_through(path).await,
            false => self.sftp.look(path).await,
        };
        match looked {
            Ok(there) if there.kind() == Kind::Directory => Ok(()),
            Ok(_) => Err(SftpError::Other(format!(
                "`{}` on the way is not a directory",
                super::shown(path)
            ))),
            Err(SftpError::Gone) => self.sftp.make_directory(path, 0o755).await,
            Err(error) => Err(error),
        }
    }

    pub(super) async fn directory(&mut self, path: &[u8]) -> Result<(), SftpError> {
        self.make(path, false).await
    }

    /// Sets what a directory was; the owner first, since that takes bits of the mode away.
    pub(super) async fn set(&self, path: &[u8], attributes: &Attributes) -> Result<(), SftpError> {
        if self.sftp.look(path).await?.kind() != Kind::Directory {
            return Err(SftpError::Other("it is no directory any more".to_owned()));
        }
        let (owner, rest) = apart(attributes);
        let owned = self.sftp.set_at(path, &owner).await;
        self.sftp.set_at(path, &rest).await?;
        owned
    }

    /// Begins a file.
    pub(super) async fn begin(&mut self, place: &[u8]) -> Result<Open, SftpError> {
        self.sweep(parent(place)).await?;
        if !self.overwrite {
            match self.sftp.look(place).await {
                Err(SftpError::Gone) => {}
                Ok(_) => return Err(there_already()),
                Err(error) => return Err(error),
            }
        }
        let temporary = temporary(place);
        let handle = self.sftp.open(&temporary, WRITE_NEW, 0o600).await?;
        Ok(Open {
            place: place.to_vec(),
            temporary,
            handle,
            written: 0,
        })
    }

    /// Writes the next part of it.
    pub(super) async fn write(&self, open: &mut Open, mut data: Bytes) -> Result<(), SftpError> {
        let (sftp, handle) = (self.sftp, &open.handle);
        let (mut at, mut parts) = (open.written, Vec::new());
        while !data.is_empty() {
            let part = data.split_to(data.len().min(PIECE as usize));
            parts.push((at, part.clone()));
            at += part.len() as u64;
        }
        let mut written = stream::iter(parts)
            .map(|(offset, part)| async move { sftp.write(handle, offset, &part).await })
            .buffered(AHEAD);
        while let Some(done) = written.next().await {
            if let Err(error) = done {
                drop(written);
                self.give_up(&open.temporary).await;
                return Err(error);
            }
        }
        drop(written);
        open.written = at;
        fail_point("central.writing");
        Ok(())
    }

    /// Gives it its name; answers what could not be set on it.
    pub(super) async fn end(&self, open: Open, attributes: &Attributes) -> Result<Option<String>, SftpError> {
        let (owner, rest) = apart(attributes);
        let owned = self.sftp.set(&open.handle, &owner).await;
        let mode = match owned {
            Ok(()) => rest.mode,
            // A file of another owner must not run as that one.
            Err(_) => rest.mode.map(|mode| mode & 0o1777),
        };
        let done = async {
            self.sftp.set(&open.handle, &Attributes { mode, ..rest }).await?;
            self.sftp.flush(&open.handle).await?;
            self.sftp.close(open.handle.clone()).await?;
            self.put(&open.temporary, &open.place).await?;
            fail_point("central.placed");
            Ok(())
        };
        if let Err(error) = done.await {
            self.give_up(&open.temporary).await;
            return Err(error);
        }
        Ok(owned.err().map(|error| format!("its owner was not set: {error}")))
    }

    pub(super) async fn symlink(
        &mut self,
        place: &[u8],
        target: &[u8],
        attributes: &Attributes,
    ) -> Result<(), SftpError> {
        self.sweep(parent(place)).await?;
        let temporary = temporary(place);
        self.sftp.link_to(target, &temporary).await?;
        // Of no weight, and not every server can.
        let (owner, _) = apart(attributes);
        let _unset = self.sftp.set_on_link(&temporary, &owner).await;
        self.put_or_remove(&temporary, place).await
    }

    pub(super) async fn hard_link(&mut self, first: &[u8], place: &[u8]) -> Result<(), SftpError> {
        if self.sftp.look(first).await?.kind() != Kind::File {
            return Err(SftpError::Other(
                "what it is another name of is not a file".to_owned(),
            ));
        }
        self.sweep(parent(place)).await?;
        let temporary = temporary(place);
        self.sftp.hard_link(first, &temporary).await?;
        self.put_or_remove(&temporary, place).await?;
        // Where both names are one file already, a rename does nothing and leaves the other name.
        self.give_up(&temporary).await;
        Ok(())
    }

    async fn put_or_remove(&self, temporary: &[u8], place: &[u8]) -> Result<(), SftpError> {
        let put = self.put(temporary, place).await;
        if put.is_err() {
            self.give_up(temporary).await;
        }
        put
    }

    async fn put(&self, temporary: &[u8], place: &[u8]) -> Result<(), SftpError> {
        match self.sftp.look(place).await {
            Ok(there) if there.kind() == Kind::Directory => {
                return Err(SftpError::Other("a directory of that name is there".to_owned()));
            }
            Ok(_) if !self.overwrite => return Err(there_already()),
            Ok(_) | Err(SftpError::Gone) => {}
            Err(error) => return Err(error),
        }
        self.sftp.rename(temporary, place, self.overwrite).await
    }

    async fn give_up(&self, temporary: &[u8]) {
        // If that fails, the next restore does it.
        let _left = self.sftp.remove(temporary).await;
    }

    /// Removes what a restore that was cut has left in a directory.
    async fn sweep(&mut self, directory: &[u8]) -> Result<(), SftpError> {
        if self.swept.as_deref() == Some(directory) {
            return Ok(());
        }
        let handle = self.sftp.open_directory(directory).await?;
        while let Some(names) = self.sftp.list_on(&handle).await? {
            for (name, _) in names.into_iter().filter(|(name, _)| name.starts_with(TEMPORARY)) {
                self.give_up(&[directory, b"/", &name[..]].concat()).await;
            }
        }
        self.sftp.close(handle).await?;
        self.swept = Some(directory.to_vec());
        Ok(())
    }
}

fn there_already() -> SftpError {
    SftpError::Other("something of that name is there already".to_owned())
}

/// The directory of a path.
fn parent(path: &[u8]) -> &[u8] {
    let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
    &path[..slash]
}

/// Where the directories of a path end, outermost first; none for the empty path, which is `/`.
fn ends(path: &[u8]) -> impl Iterator<Item = usize> {
    let slashes = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
    let last = (!path.is_empty()).then_some(path.len());
    let all: Vec<_> = slashes.map(|(at, _)| at).chain(last).collect();
    all.into_iter()
}

fn temporary(place: &[u8]) -> Vec<u8> {
    let name = format!("{:016x}", rand::random::<u64>());
    [parent(place), b"/", TEMPORARY, name.as_bytes()].concat()
}

/// The owner, and the rest.
fn apart(attributes: &Attributes) -> (Attributes, Attributes) {
    let owner = Attributes {
        owner: attributes.owner,
        ..Attributes::default()
    };
    let rest = Attributes {
        owner: None,
        ..*attributes
    };
    (owner, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directories_above_something_are_all_looked_at() {
        assert_eq!(parent(b"/a/b/c"), b"/a/b");
        assert_eq!(parent(b"/a"), b"");
        assert_eq!(ends(b"/a/bc").collect::<Vec<_>>(), [2, 5]);
        assert!(ends(b"").next().is_none());
    }
}
