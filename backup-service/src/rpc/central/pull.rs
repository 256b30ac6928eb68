//! Reads a central over SSH and has an archive made of it; what the archive before has and has not changed since is copied from there.
//!
//! **Invariant:** if it may be for what was not read that there is no archive, everything is read once more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use satellite_host::fail_point;
use satellite_proto::wire::backup::v1 as pb;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::{AHEAD, NOTICES, TELL, connected, status, wire};
use crate::catalog::{Reading, Record};
use crate::central::plan::DataSet;
use crate::central::read::{self, Seen, Totals};
use crate::central::{Central, CentralError, STALL};
use crate::rpc::{Archives, catalog_status, wire as archive_wire};

type Answer = Result<pb::PullArchiveResponse, Status>;

/// What the archive before has.
struct Before {
    // It is not deleted meanwhile.
    reading: Reading,
    seen: Seen,
}

/// Why there is no archive.
enum Broken {
    /// It may be for what was to be copied.
    Base(Status),
    Other(Status),
}

/// Reads the central and has the archive written.
pub(super) async fn pull(archives: Archives, plan: wire::Pull, out: Sender<Answer>) -> Answer {
    let wire::Pull { login, sets, header } = plan;
    // What an earlier call has made is not read again.
    archive_wire::key(&header.idempotency_key)?;
    let made = archives.catalog.made(&header.idempotency_key);
    if let Some(record) = made.map_err(catalog_status)? {
        return Ok(pb::PullArchiveResponse {
            archive: Some(archive_wire::archive(&record, &archives.config.directory)),
            ..pb::PullArchiveResponse::default()
        });
    }
    // Before anything is stopped on the central.
    let turn = archives.turn().await?;
    // What is moved away is not there the next time.
    let is_kept = sets.iter().all(|set| set.changed_before.is_none());
    let before = if is_kept {
        before(&archives, &header)?
    } else {
        None
    };
    let central = connected(login).await?;
    let work = Work {
        archives: &archives,
        central: &central,
        sets: &sets,
        out: &out,
    };
    let of_before = before.as_ref().map(|before| before.reading.record.id);
    let first = Box::pin(work.attempt(header.clone(), before, turn)).await;
    let made = match first {
        Err(Broken::Base(why)) => {
            if let Some(id) = of_before {
                archives.catalog.forget_seen(id);
            }
            tracing::warn!(error = why.message(), "Everything is read");
            let notice = format!("everything is read: {}", why.message());
            let _gone = out
                .send(Ok(pb::PullArchiveResponse {
                    notice,
                    ..pb::PullArchiveResponse::default()
                }))
                .await;
            let turn = archives.turn().await?;
            Box::pin(work.attempt(header, None, turn)).await
        }
        made => made,
    };
    let (record, totals, seen) = made.map_err(|(Broken::Base(status) | Broken::Other(status))| status)?;
    central.leave().await;
    fail_point("central.noted");
    if is_kept {
        keep(&archives, &record, &seen, of_before);
    }
    Ok(pb::PullArchiveResponse {
        done_bytes: totals.bytes,
        archive: Some(archive_wire::archive(&record, &archives.config.directory)),
        members: totals.members,
        notices: totals.notices,
        copied_bytes: totals.copied,
        ..pb::PullArchiveResponse::default()
    })
}

/// What the last archive of the same has.
fn before(archives: &Archives, header: &pb::ArchiveHeader) -> Result<Option<Before>, Status> {
    let manifest = archive_wire::manifest(header.clone())?;
    let found = archives.catalog.seen_before(&manifest);
    Ok(found.and_then(|(reading, kept)| {
        let seen = Seen::kept(&kept)?;
        Some(Before { reading, seen })
    }))
}

/// Keeps what the new archive has, in place of what the one before has. Without it the next run reads everything: no reason to
/// fail this one.
fn keep(archives: &Archives, record: &Record, seen: &Seen, of_before: Option<uuid::Uuid>) {
    let Some(bytes) = seen.to_keep() else { return };
    match archives.catalog.keep_seen(record.id, &bytes) {
        Ok(()) => {
            if let Some(id) = of_before {
                archives.catalog.forget_seen(id);
            }
        }
        Err(error) => {
            tracing::warn!(archive = %record.id, %error, "The next run of the configuration reads everything");
        }
    }
}

/// What an attempt needs.
struct Work<'a> {
    archives: &'a Archives,
    central: &'a Central,
    sets: &'a [DataSet],
    out: &'a Sender<Answer>,
}

impl Work<'_> {
    async fn attempt(
        &self,
        header: pb::ArchiveHeader,
        before: Option<Before>,
        turn: tokio::sync::OwnedSemaphorePermit,
    ) -> Result<(Record, Totals, Seen), Broken> {
        let (base_reading, mut seen) = before.map(|before| (before.reading, before.seen)).unzip();
        let base = base_reading.as_ref().map(|reading| reading.record.id.to_string());
        let has_base = base.is_some();
        let (requests, messages) = channel(AHEAD);
        let first = pb::create_archive_request::Kind::Header(pb::ArchiveHeader {
            base_archive_id: base.unwrap_or_default(),
            ..header
        });
        let first = pb::CreateArchiveRequest { kind: Some(first) };
        // There is room for it: nothing was sent.
        let _taken = requests.try_send(Ok(first));
        let (notices, noticed) = channel(NOTICES);
        let done = Arc::new(AtomicU64::new(0));
        let taker = read::Taker {
            requests: requests.clone(),
            notices,
            done: Arc::clone(&done),
        };
        let seen = seen.get_or_insert_default();
        let reading = async {
            let read = read::read(self.central, self.sets, taker, seen).await;
            if let Err(error) = &read {
                // The writer learns why there is no more, and keeps nothing.
                let _gone = requests.send(Err(status(error))).await;
            }
            drop(requests);
            read
        };
        let commands = self.sets.iter().flat_map(|set| &set.commands);
        let longest = commands.map(|command| command.deadline).max();
        // A dump may be silent for long; the reader has a deadline for everything.
        let stall = STALL + longest.unwrap_or_default();
        let messages = Box::pin(ReceiverStream::new(messages));
        let writing = self.archives.write_archive(turn, messages, stall);
        let work = async { tokio::join!(reading, writing) };
        let (read, written) = Box::pin(told(work, noticed, &done, self.out)).await;
        drop(base_reading);
        match (read, written) {
            (Ok(totals), Ok(record)) => Ok((record, totals, std::mem::take(seen))),
            // The reader is done, or the writer has ended first: the writer says why.
            (Ok(_) | Err(CentralError::Cancelled), Err(status)) if has_base && is_of_the_base(&status) => {
                Err(Broken::Base(status))
            }
            (Ok(_) | Err(CentralError::Cancelled), Err(status)) => Err(Broken::Other(status)),
            (Err(CentralError::Cancelled), Ok(_)) => Err(Broken::Other(Status::internal(
                "the archive's writer stopped taking what was read",
            ))),
            (Err(error), _) => Err(Broken::Other(status(&error))),
        }
    }
}

/// Whether it may be for what was to be copied: it is not there, or not what it was.
fn is_of_the_base(status: &Status) -> bool {
    let codes = [Code::FailedPrecondition, Code::InvalidArgument, Code::DataLoss];
    codes.contains(&status.code())
}

/// Does the work and tells how far it is; what stands still for too long is given up.
async fn told<T>(
    work: impl Future<Output = T>,
    mut noticed: Receiver<String>,
    done: &AtomicU64,
    out: &Sender<Answer>,
) -> T {
    let mut ticks = tokio::time::interval(TELL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let tell = |notice: String| pb::PullArchiveResponse {
        done_bytes: done.load(Ordering::Relaxed),
        notice,
        ..pb::PullArchiveResponse::default()
    };
    tokio::pin!(work);
    let answer = loop {
        tokio::select! {
            answer = &mut work => break answer,
            Some(notice) = noticed.recv() => {
                let _gone = out.send(Ok(tell(notice))).await;
            }
            _ = ticks.tick() => {
                // A caller that does not listen misses some; that is no reason to wait for it.
                let _full = out.try_send(Ok(tell(String::new())));
            }
        }
    };
    while let Ok(notice) = noticed.try_recv() {
        let _gone = out.send(Ok(tell(notice))).await;
    }
    answer
}
