//! Writes and ends files that were made under their names, while the next ones are made, and brings what is written to the
//! disk as it goes.
//!
//! **Invariants:** orders are done in their sequence. The first file that cannot be ended ends the restore, and is removed
//! as are those that were to come after it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use nix::unistd::syncfs;
use satellite_proto::wire::backup::v1::Member;
use tokio_util::sync::CancellationToken;

use super::content::Content;
use super::{Report, RestoreError};

/// Orders that are given at once, for waking a thread takes as long as writing a small file, and content that they have
/// at most by then. Every third may hold a file open.
const BATCH: usize = 48;
const BATCH_BYTES: usize = 1 << 20;
/// Batches that wait.
const AHEAD: usize = 4;
/// What is written until the disk is told to take it: a server that is in use shall not find its memory full of what waits
/// for the disk, and the end shall not be waited for.
const FLUSHED: u64 = 64 << 20;

/// A thread that writes files.
#[derive(Debug)]
pub(super) struct Writer {
    orders: Option<SyncSender<Vec<Order>>>,
    /// Not yet given, with its content in bytes.
    batch: (Vec<Order>, usize),
    thread: Option<JoinHandle<Result<Report, RestoreError>>>,
}

#[derive(Debug)]
enum Order {
    Begin(Member, Box<Content>),
    Content(Bytes),
    /// It is whole and must have this digest.
    End(Bytes),
    /// Drop this when all before is done.
    Settle(SyncSender<()>),
}

impl Writer {
    /// A writer of files on the file system that `directory` lies on.
    pub(super) fn start(directory: Arc<OwnedFd>) -> io::Result<Self> {
        let flusher = Flusher::start(move || Ok(syncfs(directory.as_ref())?))?;
        let (orders, given) = sync_channel(AHEAD);
        let thread = std::thread::Builder::new().name("restore-writer".to_owned());
        Ok(Self {
            orders: Some(orders),
            batch: (Vec::with_capacity(BATCH), 0),
            thread: Some(thread.spawn(move || write(&given, flusher))?),
        })
    }

    /// A file was made.
    pub(super) fn begin(&mut self, member: Member, content: Content) -> Result<(), RestoreError> {
        self.order(Order::Begin(member, Box::new(content)))
    }

    /// More of it.
    pub(super) fn content(&mut self, data: Bytes) -> Result<(), RestoreError> {
        self.order(Order::Content(data))
    }

    /// That was all of it.
    pub(super) fn end(&mut self, sha256: Bytes) -> Result<(), RestoreError> {
        self.order(Order::End(sha256))
    }

    /// Waits until all that was ordered is done.
    pub(super) fn settle(&mut self) -> Result<(), RestoreError> {
        let (done, wait) = sync_channel(1);
        self.order(Order::Settle(done))?;
        self.give()?;
        // Nothing is sent: its end is dropped when its turn comes, or with all orders after a failure, which the next call
        // tells.
        let _ended = wait.recv();
        Ok(())
    }

    /// Waits until all is done; what was.
    pub(super) fn close(mut self) -> Result<Report, RestoreError> {
        self.give()?;
        self.join()
    }

    fn order(&mut self, order: Order) -> Result<(), RestoreError> {
        let (batch, bytes) = &mut self.batch;
        if let Order::Content(data) = &order {
            *bytes += data.len();
        }
        batch.push(order);
        if batch.len() < BATCH && *bytes < BATCH_BYTES {
            return Ok(());
        }
        self.give()
    }

    fn give(&mut self) -> Result<(), RestoreError> {
        let batch = std::mem::replace(&mut self.batch.0, Vec::with_capacity(BATCH));
        self.batch.1 = 0;
        let orders = self.orders.as_ref();
        let given = orders.is_some_and(|orders| orders.send(batch).is_ok());
        if given { Ok(()) } else { self.join().map(drop) }
    }

    fn join(&mut self) -> Result<Report, RestoreError> {
        drop(self.orders.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            // It failed and that was told.
            None => Err(all_files(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.orders.take());
        // What it says is of no interest to a restore that was given up.
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

/// Something failed that is not about one file.
pub(super) fn all_files(source: io::Error) -> RestoreError {
    RestoreError::Write {
        label: "all files".to_owned(),
        source,
    }
}

fn write(orders: &Receiver<Vec<Order>>, mut flusher: Flusher) -> Result<Report, RestoreError> {
    let mut report = Report::default();
    let mut open: Option<(Member, Box<Content>)> = None;
    // Only commands can be cancelled, and none come here.
    let never = CancellationToken::new();
    for order in orders.iter().flatten() {
        match (order, &mut open) {
            (Order::Begin(member, content), _) => open = Some((member, content)),
            (Order::Content(data), Some((member, content))) => {
                content.write(member, &data)?;
                flusher.wrote(data.len() as u64);
            }
            (Order::End(sha256), open) => {
                if let Some((member, content)) = open.take() {
                    report.ended(&member, content.finish(&member, &sha256, &never)?);
                }
            }
            (Order::Settle(done), _) => drop(done),
            (Order::Content(_), None) => {}
        }
    }
    flusher.close().map_err(all_files)?;
    Ok(report)
}

/// A thread that has the disk take what was written. What the disk could not take is told once for an open directory
/// (`syncfs(2)`): whoever syncs it in the end hears nothing of that any more, so it is kept here.
#[derive(Debug)]
struct Flusher {
    begin: Option<SyncSender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
    written: u64,
}

impl Flusher {
    fn start(mut sync: impl FnMut() -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        let (begin, told) = sync_channel(1);
        let thread = std::thread::Builder::new().name("restore-flusher".to_owned());
        let thread = thread.spawn(move || told.iter().try_for_each(|()| sync()))?;
        Ok(Self {
            begin: Some(begin),
            thread: Some(thread),
            written: 0,
        })
    }

    fn wrote(&mut self, bytes: u64) {
        self.written += bytes;
        if self.written >= FLUSHED
            && let Some(begin) = &self.begin
        {
            self.written = 0;
            // If it was told already and has not begun, it takes this too; if it failed, that is told in the end.
            let _told = begin.try_send(());
        }
    }

    fn close(mut self) -> io::Result<()> {
        drop(self.begin.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            Some(Ok(ended)) => ended,
            None => Ok(()),
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        drop(self.begin.take());
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_could_not_take_on_the_way_is_told_in_the_end() {
        let mut failures = vec![io::Error::from(io::ErrorKind::StorageFull)];
        let (done, synced) = sync_channel(2);
        let mut flusher = Flusher::start(move || {
            let failure = failures.pop();
            done.send(()).unwrap();
            failure.map_or(Ok(()), Err)
        })
        .unwrap();
        flusher.wrote(FLUSHED - 1);
        assert!(synced.try_recv().is_err(), "too early");
        flusher.wrote(1);
        synced.recv().unwrap();
        flusher.wrote(FLUSHED);
        let ended = flusher.close().map_err(|error| error.kind());
        assert_eq!(ended, Err(io::ErrorKind::StorageFull));
    }
}
