//! What the last archive of the same data holds: kept beside the store, and of use as long as that archive is where it was.
//!
//! **Invariant:** it is a help and no truth: lost, damaged or wrong, everything is read and sent again.

use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use satellite_proto::wire::backup::v1 as pb;

use super::{Backups, Making};
use crate::app::remote::call;
use crate::central::read::seen::{Base, Head, Recorder};

/// The last archive, and what it holds.
pub(super) struct LastSeen {
    pub(super) archive: String,
    pub(super) base: Arc<Base>,
}

impl Backups {
    /// What the last archive holds, if the satellite has it and can copy from it.
    pub(super) async fn last_seen(&self, plan: &Making) -> Option<LastSeen> {
        if plan.sets.iter().any(|set| set.changed_before.is_some()) {
            return None;
        }
        let path = self.seen_path(plan);
        let base = tokio::task::spawn_blocking(move || Base::open(&path).ok());
        let base = base.await.ok()??;
        let Head { archive, satellite } = base.head().clone();
        if satellite != plan.satellite.as_str() {
            return None;
        }
        let mut client = self.client(&plan.satellite).ok()?;
        let deadline = self.app.config.call_deadline;
        let storage = client.get_storage(pb::GetStorageRequest {});
        if !call(&plan.satellite, deadline, storage)
            .await
            .ok()?
            .copies_content
        {
            return None;
        }
        let request = pb::GetArchiveRequest { id: archive.clone() };
        let there = client.get_archive(request);
        call(&plan.satellite, deadline, there).await.ok()?;
        // Not before it is sure to be of use: it takes room.
        let base = tokio::task::spawn_blocking(move || base.indexed().ok());
        Some(LastSeen {
            archive,
            base: Arc::new(base.await.ok()??),
        })
    }

    /// Where what is read is noted, for the next one; none if that would be of no use.
    pub(super) async fn recorder(&self, plan: &Making) -> Option<Recorder> {
        if plan.sets.iter().any(|set| set.changed_before.is_some()) {
            return None;
        }
        let path = self.seen_path(plan);
        let created = tokio::task::spawn_blocking(move || Recorder::create(path)).await;
        let created = created.map_err(std::io::Error::other).flatten();
        created.inspect_err(unnoted).ok()
    }

    /// Keeps what an archive holds.
    pub(super) async fn note_seen(&self, plan: &Making, archive: &pb::Archive, recorder: Option<Recorder>) {
        let Some(recorder) = recorder else { return };
        let head = Head {
            archive: archive.id.clone(),
            satellite: plan.satellite.to_string(),
        };
        let kept = tokio::task::spawn_blocking(move || recorder.keep(&head)).await;
        let _warned = kept.map_err(std::io::Error::other).flatten().inspect_err(unnoted);
    }

    /// Forgets it.
    pub(super) async fn forget_seen(&self, plan: &Making) {
        // Gone or not: what is wrong with it is found again.
        let _gone = tokio::fs::remove_file(self.seen_path(plan)).await;
    }

    /// A file for each configuration of a central.
    fn seen_path(&self, plan: &Making) -> PathBuf {
        let name = format!("{}\0{}", plan.central.name, plan.configuration);
        let digest = digest(&SHA256, name.as_bytes());
        let name = data_encoding::HEXLOWER.encode(digest.as_ref().get(..16).unwrap_or_default());
        self.app.config.seen().join(name)
    }
}

fn unnoted(error: &std::io::Error) {
    tracing::warn!(%error, "What the archive holds cannot be noted; the next backup will send everything");
}
