//! What the last archive of the same data holds: kept beside the store, and of use as long as that archive is where it was.
//!
//! **Invariant:** it is a help and no truth: lost, damaged or wrong, everything is read and sent again.

use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use prost::Message as _;
use satellite_proto::wire::backup::v1 as pb;

use super::{Backups, Making};
use crate::app::remote::call;
use crate::central::read::seen::{Base, Seen, SeenFile};
use crate::files;

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
        let read = move || {
            let seen = Seen::decode(std::fs::read(path).ok()?.as_slice()).ok()?;
            Some((
                seen.archive.clone(),
                seen.satellite.clone(),
                Arc::new(Base::new(seen)),
            ))
        };
        let (archive, satellite, base) = tokio::task::spawn_blocking(read).await.ok()??;
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
        Some(LastSeen { archive, base })
    }

    /// Keeps what an archive holds, for the next one.
    pub(super) async fn note_seen(&self, plan: &Making, archive: &pb::Archive, files: Vec<SeenFile>) {
        if files.is_empty() || plan.sets.iter().any(|set| set.changed_before.is_some()) {
            return;
        }
        let seen = Seen {
            archive: archive.id.clone(),
            satellite: plan.satellite.to_string(),
            files,
        };
        let path = self.seen_path(plan);
        let write = move || {
            if let Some(directory) = path.parent() {
                files::make_directory(directory, 0o700)?;
            }
            files::write_atomic(&path, &seen.encode_to_vec(), 0o600)
        };
        let written = tokio::task::spawn_blocking(write).await;
        if let Err(error) = written.map_err(std::io::Error::other).flatten() {
            tracing::warn!(%error, "The next backup will send everything");
        }
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
