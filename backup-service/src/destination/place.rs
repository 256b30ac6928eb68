//! The seam: what every kind of destination can do, in the words of the engine above it.

use bytes::Bytes;
use jiff::Timestamp;

use super::fault::Fault;
use super::path::PlacePath;

/// A file or directory at a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Whether it is a directory; what is neither that nor a file is not listed.
    pub is_directory: bool,
    /// Bytes of a file.
    pub size: u64,
    /// When it was written, if the destination says so.
    pub modified: Option<Timestamp>,
}

/// A destination that was reached and that took the credentials. One file is written at a time.
///
/// Each call has a deadline of its own. After an error that is transient ([`Fault::is_transient`]) only [`Self::again`],
/// [`Self::close`] and dropping are of use.
#[tonic::async_trait]
pub trait Place: Send {
    /// Connects anew after a cut. What was being written is given up; what had arrived of it may be there.
    async fn again(&mut self) -> Result<(), Fault>;

    /// Ends the connection in good order.
    async fn close(&mut self);

    /// Bytes that may still be written, if it says so.
    async fn free(&mut self) -> Result<Option<u64>, Fault>;

    /// Most bytes of one file, if there is a limit.
    async fn most(&mut self) -> Result<Option<u64>, Fault>;

    /// Whether it only takes: then nothing can be listed, read, renamed or removed, and a file has its name from the
    /// beginning.
    fn only_takes(&self) -> bool {
        false
    }

    /// How much of what had arrived before a cut is sent again: some servers write what is under way in any order.
    fn overlap(&self) -> u64 {
        super::PIECE as u64
    }

    /// Makes a directory; good if it is there.
    async fn make_directory(&mut self, path: &PlacePath) -> Result<(), Fault>;

    /// What is in a directory; nothing if that is not there.
    async fn list(&mut self, path: &PlacePath) -> Result<Vec<Entry>, Fault>;

    /// Bytes of a file, or none if it is not there.
    async fn size(&mut self, path: &PlacePath) -> Result<Option<u64>, Fault>;

    /// Begins to write a file of `total` bytes from `offset` on; what is there beyond `offset` goes. With 0 the file is made.
    async fn begin(&mut self, path: &PlacePath, offset: u64, total: u64) -> Result<(), Fault>;

    /// Adds to the file that was begun.
    async fn put(&mut self, piece: Bytes) -> Result<(), Fault>;

    /// Ends the file that was begun: it is on the destination's disk as far as that can be asked for.
    async fn end(&mut self) -> Result<(), Fault>;

    /// Gives a file another name in the same directory; nothing has that name.
    async fn rename(&mut self, from: &PlacePath, to: &PlacePath) -> Result<(), Fault>;

    /// Reads at most `length` bytes of a file, at least one unless it ends there. Reads that follow each other are quick.
    async fn get(&mut self, path: &PlacePath, offset: u64, length: usize) -> Result<Bytes, Fault>;

    /// Removes a file; good if it is not there.
    async fn remove(&mut self, path: &PlacePath) -> Result<(), Fault>;
}
