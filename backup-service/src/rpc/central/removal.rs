//! Removes from a central what an archive holds: reads the archive, has each file removed, tells how far it is.
//!
//! **Invariant:** a file is named to the central only after its digest in the archive was found right.

use std::sync::atomic::{AtomicU64, Ordering};

use satellite_proto::wire::backup::v1 as pb;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::MissedTickBehavior;
use tonic::Status;

use super::{AHEAD, TELL, blocking, chain, connected, status, wire};
use crate::archive::member::{Kind, Origin};
use crate::archive::read::Archive;
use crate::archive::select::{self, Check, SelectError, Selection, select};
use crate::catalog::Reading;
use crate::central::remove::{Archived, Piece, remove};

/// Does it, and tells.
pub(super) async fn removed(
    plan: wire::Removal,
    reading: Reading,
    out: &Sender<Result<pb::RemoveArchivedResponse, Status>>,
) -> Result<pb::RemoveArchivedResponse, Status> {
    let central = connected(plan.login).await?;
    let (feed, pieces) = channel(AHEAD * 16);
    let from = tokio::spawn(blocking(move || {
        send_files(&reading, &feed);
        Ok(())
    }));
    let done = AtomicU64::new(0);
    let mut work = Box::pin(remove(&central, (&plan.sets, plan.limit), pieces, |looked_at| {
        done.store(looked_at, Ordering::Relaxed);
    }));
    let mut ticks = tokio::time::interval(TELL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let report = loop {
        tokio::select! {
            report = &mut work => break report,
            // A file may be large: whoever waits learns that we are there.
            _ = ticks.tick() => {
                let tell = pb::RemoveArchivedResponse { done: done.load(Ordering::Relaxed), report: None };
                let _full = out.try_send(Ok(tell));
            }
        }
    };
    drop(work);
    let report = report.map_err(|error| status(&error))?;
    // It has sent everything: the end came.
    drop(from);
    central.leave().await;
    Ok(pb::RemoveArchivedResponse {
        done: report.gone + report.changed + report.failed,
        report: Some(pb::RemoveReport {
            gone: report.gone,
            changed: report.changed,
            failed: report.failed,
            problems: wire::fitting(report.problems),
        }),
    })
}

/// Reads the archive on a thread that may block, until nobody takes its files. What a command printed lies nowhere.
fn send_files(reading: &Reading, feed: &Sender<Piece>) {
    let mut begun = None;
    let archive = Archive::open(&reading.path).map_err(SelectError::from);
    let done = archive.and_then(|archive| {
        let all = Selection::default();
        select(&archive, &all, Check::Here, |piece| match piece {
            select::Piece::Begin(member) => {
                begun = Some(member).filter(|member| member.origin == Origin::Path);
                !feed.is_closed()
            }
            select::Piece::Content(_) => !feed.is_closed(),
            select::Piece::End(sha256) => {
                let file = begun.take().and_then(|member| match member.kind {
                    Kind::File(size) => Some(Archived {
                        data_set: member.data_set,
                        path: member.path.as_bytes().clone(),
                        size,
                        modified: member.modified.seconds,
                        sha256,
                    }),
                    _ => None,
                });
                file.is_none_or(|file| feed.blocking_send(Piece::File(file)).is_ok())
            }
        })
    });
    let last = match done {
        Ok(()) => Piece::Whole,
        Err(SelectError::Stopped) => return,
        Err(error) => Piece::Broken(chain(&error)),
    };
    let _gone = feed.blocking_send(last);
}
