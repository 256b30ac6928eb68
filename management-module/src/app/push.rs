//! Brings a bundle to a satellite: only the chunks that it lacks, again from where a cut left it.
//!
//! **Invariant:** no more than a few chunks of the file are in memory.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use satellite_proto::bundle::{BundleReader, Digest, Manifest};
use satellite_proto::wire::MAX_MESSAGE;
use satellite_proto::wire::bridge::v1::update_service_client::UpdateServiceClient;
use satellite_proto::wire::bridge::v1::{BeginUpdateRequest, PutChunksRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tracing::warn;

use super::remote::{call, is_transient, new_key, wait_after};
use super::{App, AppError};
use crate::names::SatelliteName;
use crate::store::BundleRow;

/// Chunks between the file and the connection.
const AHEAD: usize = 8;

/// How often an upload that was cut is taken up again in one go.
const TRIES: u32 = 5;

/// Bytes a second below which an upload is given up.
const SLOWEST: u64 = 16 * 1024;

/// How often progress is told.
const TICK: Duration = Duration::from_millis(250);

/// What an upload took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// Bytes of the chunks that were brought, uncompressed.
    pub(super) sent: u64,
    /// Bytes of the chunks that were there before.
    pub(super) saved: u64,
}

/// How an upload goes, over all the times that it is taken up.
#[derive(Debug, Default)]
struct Tally {
    /// Bytes of all chunks.
    all: u64,
    /// Bytes that were missing when it was begun, once that is known.
    first: Option<u64>,
    /// Bytes that were missing when it was taken up last.
    missing: u64,
}

impl Tally {
    fn begun(&mut self, all: u64, missing: u64) {
        self.first.get_or_insert(missing);
        (self.all, self.missing) = (all, missing);
    }

    fn sent(&self) -> Option<Sent> {
        let first = self.first?;
        Some(Sent {
            sent: first.saturating_sub(self.missing),
            saved: self.all.saturating_sub(first),
        })
    }
}

/// Brings `bundle` to a satellite; `progress` gets bytes done and in all, of those that were missing. Answers also what is
/// known to have arrived, once something is, however it ended.
pub(super) async fn push(
    app: &App,
    satellite: &SatelliteName,
    bundle: &BundleRow,
    mut progress: impl FnMut(u64, u64),
) -> (Option<Sent>, Result<(), AppError>) {
    let mut tally = Tally::default();
    let mut attempt = 0;
    loop {
        let before = tally.missing;
        let error = match push_once(app, satellite, bundle, &mut tally, &mut progress).await {
            Ok(()) => {
                tally.missing = 0;
                return (tally.sent(), Ok(()));
            }
            Err(error) => error,
        };
        // A line that is cut again and again brings something each time: that is no reason to give up.
        if tally.missing < before {
            attempt = 0;
        }
        if attempt + 1 >= TRIES || !is_transient(error.code()) {
            return (tally.sent(), Err(error));
        }
        warn!(%satellite, attempt, error = %crate::error_chain(&error), "Upload was cut and is taken up again");
        tokio::time::sleep(wait_after(&error, attempt)).await;
        attempt += 1;
    }
}

async fn push_once(
    app: &App,
    satellite: &SatelliteName,
    bundle: &BundleRow,
    tally: &mut Tally,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(), AppError> {
    let path = super::bundles::path_of(&app.config, &bundle.manifest_digest);
    let unreadable = |source| AppError::machine(format!("read the bundle {}", path.display()), source);
    let opened = open(path.clone()).await.map_err(unreadable)?;
    let manifest = opened.manifest;
    let mut client =
        UpdateServiceClient::new(app.fleet.channel(satellite)?).max_decoding_message_size(MAX_MESSAGE);
    let begin = begin(app, bundle, &opened.reader).await?;
    let begun = call(satellite, app.config.call_deadline, client.begin_update(begin)).await?;
    let missing: HashSet<[u8; 32]> = begun.missing.as_chunks::<32>().0.iter().copied().collect();
    let all: u64 = manifest.chunks.iter().map(|chunk| u64::from(chunk.size)).sum();
    let sizes = manifest
        .chunks
        .iter()
        .filter(|chunk| missing.contains(chunk.digest.as_bytes()));
    let total = sizes.map(|chunk| u64::from(chunk.size)).sum();
    tally.begun(all, total);
    if missing.is_empty() {
        return Ok(());
    }
    progress(0, total);

    let done = Arc::new(AtomicU64::new(0));
    let (sender, receiver) = mpsc::channel(AHEAD);
    let digest = bundle.manifest_digest;
    let counted = done.clone();
    let reader = opened.reader;
    let feeding = tokio::task::spawn_blocking(move || {
        for chunk in reader.chunks_unchecked(&manifest) {
            let (entry, frame) = chunk?;
            if !missing.contains(entry.digest.as_bytes()) {
                continue;
            }
            let request = PutChunksRequest {
                manifest_digest: digest.to_string(),
                digest: entry.digest.as_bytes().to_vec().into(),
                data: frame,
            };
            if sender.blocking_send(request).is_err() {
                break; // The call has ended; it says why.
            }
            counted.fetch_add(u64::from(entry.size), Ordering::Relaxed);
        }
        Ok(())
    });
    let deadline = app.config.call_deadline + Duration::from_secs(60 + total / SLOWEST);
    let sending = call(
        satellite,
        deadline,
        client.put_chunks(ReceiverStream::new(receiver)),
    );
    let mut sending = std::pin::pin!(sending);
    let mut ticks = tokio::time::interval(TICK);
    let sent = loop {
        tokio::select! {
            sent = &mut sending => break sent,
            _ = ticks.tick() => progress(done.load(Ordering::Relaxed), total),
        }
    };
    let fed: Result<(), satellite_proto::bundle::BundleError> = match feeding.await {
        Ok(fed) => fed,
        Err(error) => return Err(AppError::machine("read the bundle", error)),
    };
    // A file that cannot be read cut the call: it is the cause.
    fed.map_err(|source| AppError::machine(format!("read the bundle {}", path.display()), source))?;
    if let Err(error) = sent {
        if error.code() == Code::InvalidArgument {
            check_file(path).await?;
        }
        return Err(error);
    }
    progress(total, total);
    Ok(())
}

/// The first call of an upload: manifest, signatures, and the permit to go back if there is one.
async fn begin(
    app: &App,
    bundle: &BundleRow,
    reader: &BundleReader<BufReader<File>>,
) -> Result<BeginUpdateRequest, AppError> {
    let permit = app.store.permit(&bundle.manifest_digest).await?;
    let permit = permit.unwrap_or_default();
    Ok(BeginUpdateRequest {
        manifest: reader.manifest_bytes().clone(),
        signatures: reader.signatures().to_vec(),
        idempotency_key: new_key(),
        permit: permit.document,
        permit_signatures: permit.signatures,
    })
}

/// Reads the file to its end: a chunk that the satellite refused may have been damaged here.
async fn check_file(path: PathBuf) -> Result<(), AppError> {
    let doing = format!("read the bundle {}; add it again", path.display());
    let opened = open(path)
        .await
        .map_err(|source| AppError::machine(doing.clone(), source))?;
    let read = tokio::task::spawn_blocking(move || {
        for chunk in opened.reader.chunks(&opened.manifest) {
            chunk?;
        }
        Ok::<_, satellite_proto::bundle::BundleError>(())
    });
    match read.await {
        Ok(whole) => whole.map_err(|source| AppError::machine(doing, source)),
        Err(error) => Err(AppError::machine(doing, error)),
    }
}

struct Opened {
    reader: BundleReader<BufReader<File>>,
    manifest: Manifest,
}

async fn open(path: PathBuf) -> Result<Opened, Box<dyn std::error::Error + Send + Sync>> {
    let opened = tokio::task::spawn_blocking(move || {
        let reader = BundleReader::open(BufReader::with_capacity(256 * 1024, File::open(path)?))?;
        let manifest = Manifest::parse(reader.manifest_bytes())?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Opened { reader, manifest })
    });
    opened.await?
}

/// Names an upload as the wire has it.
pub(super) fn digest_of(text: &str) -> Option<Digest> {
    text.parse().ok()
}
