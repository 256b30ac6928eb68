//! Work done by several threads whose results come in the order in which it was given. Nothing here waits for ever:
//! when one end goes away, the other is told.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// The other end is gone; it knows why.
#[derive(Debug)]
pub(crate) struct Gone;

/// Where work is given.
pub(crate) struct Work<J, R> {
    jobs: SyncSender<(J, SyncSender<R>)>,
    order: SyncSender<Receiver<R>>,
}

/// Where results come.
pub(crate) struct Results<R> {
    order: Receiver<Receiver<R>>,
}

/// Starts a thread for each worker; at most `ahead` pieces of work are neither taken back nor refused.
pub(crate) fn ordered<J, R, W>(workers: Vec<W>, ahead: usize) -> io::Result<(Work<J, R>, Results<R>)>
where
    J: Send + 'static,
    R: Send + 'static,
    W: FnMut(J) -> R + Send + 'static,
{
    let (jobs, todo) = sync_channel::<(J, SyncSender<R>)>(ahead);
    let (order, results) = sync_channel(ahead);
    let todo = Arc::new(Mutex::new(todo));
    for mut worker in workers {
        let todo = Arc::clone(&todo);
        std::thread::Builder::new()
            .name("frames".to_owned())
            .spawn(move || {
                while let Ok((job, answer)) = next(&todo) {
                    // Nobody waits for it: the consumer stopped early.
                    let _ = answer.send(worker(job));
                }
            })?;
    }
    Ok((Work { jobs, order }, Results { order: results }))
}

fn next<T>(todo: &Mutex<Receiver<T>>) -> Result<T, std::sync::mpsc::RecvError> {
    todo.lock().unwrap_or_else(PoisonError::into_inner).recv()
}

impl<J, R> Work<J, R> {
    /// Waits until there is room.
    pub(crate) fn give(&self, job: J) -> Result<(), Gone> {
        let (answer, result) = sync_channel(1);
        self.order.send(result).map_err(|_| Gone)?;
        self.jobs.send((job, answer)).map_err(|_| Gone)
    }
}

impl<R> Results<R> {
    /// The next result; none when all work was done or the giver went away.
    pub(crate) fn next(&self) -> Option<R> {
        self.order.recv().ok()?.recv().ok()
    }
}

/// Buffers that are used again, so that the kernel does not clear the same pages for each frame.
#[derive(Clone, Default)]
pub(crate) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// An empty buffer with at least this capacity.
    pub(crate) fn take(&self, capacity: usize) -> Vec<u8> {
        let mut buffer = self.take_used();
        buffer.clear();
        buffer.reserve_exact(capacity);
        buffer
    }

    /// A buffer with what was last in it, or an empty one.
    pub(crate) fn take_used(&self) -> Vec<u8> {
        let mut buffers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buffers.pop().unwrap_or_default()
    }

    /// Gives a buffer back.
    pub(crate) fn give(&self, buffer: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}
