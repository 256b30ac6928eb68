//! A stream of chunks: checked and written on other threads while the next ones come in.
//!
//! **Invariant:** at most [`AT_ONCE`] chunks are in memory, however fast they are sent.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use satellite_proto::bundle::{ChunkEntry, Digest, unpack_chunk};
use satellite_proto::wire::bridge::v1::Update;

use super::uploads::Upload;
use super::{ChunkStore, UpdateError, Updates};

/// Batches that are worked on at the same time.
const WORKERS: usize = 3;
/// Chunks that one worker takes at a time.
const BATCH: usize = 8;
/// Chunks in memory at most.
pub const AT_ONCE: usize = (WORKERS + 1) * BATCH;

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
    /// The first one of the stream itself; [`UpdateError::Unknown`]; [`UpdateError::Foreign`]; [`UpdateError::Bundle`] for a
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
        // What is ready goes on at once; nobody waits for a batch to fill.
        let batches = pieces.ready_chunks(BATCH).map(|batch| {
            let (listed, store) = (listed.clone(), store.clone());
            async move {
                let batch: Vec<Piece> = batch.into_iter().collect::<Result<_, E>>()?;
                blocking(move || batch.iter().try_for_each(|piece| take(&listed, &store, piece))).await?;
                Ok::<(), E>(())
            }
        });
        let taken = batches
            .buffer_unordered(WORKERS)
            .try_for_each(|()| async { Ok(()) })
            .await;
        let store = self.inner.store.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = store.sync() {
                tracing::warn!(error = %crate::cli::error_chain(&error), "Chunks are not on the disk yet");
            }
        });
        taken?;
        let store = self.inner.store.clone();
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

fn take(listed: &HashMap<Digest, ChunkEntry>, store: &ChunkStore, piece: &Piece) -> Result<(), UpdateError> {
    let entry = listed
        .get(&piece.digest)
        .ok_or(UpdateError::Foreign(piece.digest))?;
    unpack_chunk(entry, &piece.frame).map_err(UpdateError::Bundle)?;
    store.put(piece.digest, &piece.frame).map_err(UpdateError::File)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UpdateError> + Send + 'static,
) -> Result<T, UpdateError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(err) => Err(UpdateError::Fault(err)),
    }
}
