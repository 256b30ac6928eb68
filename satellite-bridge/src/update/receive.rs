//! A stream of chunks: checked and written on other threads while the next ones come in.
//!
//! **Invariant:** at most [`STREAMS`] streams are taken, and at most [`IN_MEMORY`] bytes of chunks of all of them together
//! wait to be stored, however many, fast and large they are sent.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use satellite_proto::bundle::{ChunkEntry, Digest, Unpacker};
use satellite_proto::wire::bridge::v1::Update;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::store::{FRAME_MOST, Writer};
use super::uploads::Upload;
use super::{UpdateError, Updates};

/// Batches that are worked on at the same time.
const WORKERS: usize = 3;
/// Chunks that one worker takes at a time.
const BATCH: usize = 8;
/// Streams of chunks that are taken at a time.
pub const STREAMS: usize = 4;
/// Bytes of chunks that wait to be stored, of all streams.
pub const IN_MEMORY: usize = 8 * 1024 * 1024;

/// Bounds what all streams take together.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    streams: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            streams: Arc::new(Semaphore::new(STREAMS)),
            bytes: Arc::new(Semaphore::new(IN_MEMORY)),
        }
    }
}

/// A chunk and its share of the memory, which is given back with it.
struct Held {
    piece: Piece,
    _share: OwnedSemaphorePermit,
}

impl Bounds {
    /// Waits until there is room for the chunk.
    async fn hold(&self, piece: Piece) -> Result<Held, UpdateError> {
        let bytes = piece.frame.len();
        let share = u32::try_from(bytes)
            .ok()
            .filter(|share| u64::from(*share) <= FRAME_MOST)
            .ok_or(UpdateError::LargeChunk { bytes })?;
        let share = self.bytes.clone().acquire_many_owned(share).await;
        Ok(Held {
            piece,
            _share: share.map_err(|_| UpdateError::TooMany)?,
        })
    }
}

/// A chunk as it came.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Its digest, uncompressed.
    pub digest: Digest,
    /// One zstd frame.
    pub frame: Bytes,
}

impl Updates {
    /// Takes chunks of the upload `digest` until the stream ends, and answers the upload as it is then. What was taken
    /// before an error stays. It is on the disk soon after, and nobody waits for that: installing reads every chunk
    /// again and writes the version through to the disk, so a power cut before costs chunks that are pushed again.
    ///
    /// # Errors
    ///
    /// The first one of the stream itself; [`UpdateError::TooMany`]; [`UpdateError::Unknown`]; [`UpdateError::Foreign`]; [`UpdateError::Bundle`] for a
    /// chunk that does not match.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future keeps what was taken so far; the chunks under way may or may not be stored.
    pub async fn put<E>(
        &self,
        digest: Digest,
        pieces: impl Stream<Item = Result<Piece, E>> + Send,
    ) -> Result<Update, E>
    where
        E: From<UpdateError> + Send,
    {
        let bounds = self.inner.bounds.clone();
        let _turn = bounds.streams.try_acquire().map_err(|_| UpdateError::TooMany)?;
        let places = self.inner.places.clone();
        let upload = blocking(move || Upload::read(&places, digest)).await?;
        let upload = upload.ok_or(UpdateError::Unknown(digest))?;
        let listed: HashMap<Digest, ChunkEntry> = upload
            .manifest
            .chunks
            .iter()
            .map(|chunk| (chunk.digest, *chunk))
            .collect();
        let listed = Arc::new(listed);
        let store = self.inner.store.clone();
        let writer = Arc::new(store.writer());
        let failed = CancellationToken::new();
        let held = pieces.take_until(failed.clone().cancelled_owned()).then(|piece| {
            let bounds = bounds.clone();
            async move { Ok::<_, E>(bounds.hold(piece?).await?) }
        });
        // What is ready goes on at once; nobody waits for a batch to fill.
        let batches = held.ready_chunks(BATCH).map(|batch| {
            let (listed, writer) = (listed.clone(), writer.clone());
            async move {
                let (whole, came) = until_error(batch);
                blocking(move || take(&listed, &writer, &whole)).await?;
                came
            }
        });
        let taken = batches.buffer_unordered(WORKERS).fold(Ok(()), |taken, done| {
            if done.is_err() {
                // No more is taken; what has come before is stored.
                failed.cancel();
            }
            std::future::ready(taken.and(done))
        });
        let taken = taken.await;
        drop(writer);
        let synced = store.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = synced.gather().and_then(|()| synced.sync()) {
                tracing::warn!(error = %crate::cli::error_chain(&error), "Chunks are not on the disk yet");
            }
        });
        taken?;
        Ok(blocking(move || Ok(upload.describe(&store))).await?)
    }

    /// The same for chunks that are in memory.
    ///
    /// # Errors
    ///
    /// As for [`Updates::put`].
    pub async fn put_all(&self, digest: Digest, pieces: Vec<Piece>) -> Result<Update, UpdateError> {
        self.put(digest, stream::iter(pieces.into_iter().map(Ok))).await
    }
}

/// What came before the first error, and that error.
fn until_error<T, E>(batch: Vec<Result<T, E>>) -> (Vec<T>, Result<(), E>) {
    let mut whole = Vec::with_capacity(batch.len());
    for item in batch {
        match item {
            Ok(item) => whole.push(item),
            Err(error) => return (whole, Err(error)),
        }
    }
    (whole, Ok(()))
}

/// Checks the chunks of a batch and stores those before the first that is wrong.
fn take(listed: &HashMap<Digest, ChunkEntry>, writer: &Writer, batch: &[Held]) -> Result<(), UpdateError> {
    let mut unpacker = Unpacker::new().map_err(UpdateError::Bundle)?;
    let mut check = |piece: &Piece| {
        let entry = listed.get(&piece.digest);
        let entry = entry.ok_or(UpdateError::Foreign(piece.digest))?;
        unpacker
            .unpack(entry, &piece.frame)
            .map_err(UpdateError::Bundle)?;
        Ok(())
    };
    let mut good = Vec::with_capacity(batch.len());
    let mut checked = Ok(());
    for Held { piece, .. } in batch {
        checked = check(piece);
        if checked.is_err() {
            break;
        }
        good.push((piece.digest, piece.frame.as_ref()));
    }
    writer.put(&good).map_err(UpdateError::File)?;
    checked
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UpdateError> + Send + 'static,
) -> Result<T, UpdateError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(err) => Err(UpdateError::Fault(err)),
    }
}
