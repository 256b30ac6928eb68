//! What the tests of reading and restoring share: profiles, streams, and trees told as text.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use prost::Message as _;
use satellite_proto::wire::MAX_PIECE;
use satellite_proto::wire::backup::v1::{Item, Member, MemberEnd, MemberType, item};
use tokio_util::sync::CancellationToken;

use super::profile::{DataSet, Profile};
use super::quiesce::StopNotes;
use super::read::seen::Recorder;
use super::read::{self, Memory, Output, ReadError, Totals};
use super::restore::{Report, RestoreError, Restorer, Target, Traces};

/// What a reading sent.
pub(super) struct Read {
    pub(super) items: Vec<Item>,
    pub(super) notices: Vec<String>,
    pub(super) result: Result<Totals, ReadError>,
}

pub(super) fn profile(more: &str) -> Profile {
    let text = format!("name = \"pbx\"\naddress = \"here\"\n[[data-set]]\nname = \"core\"\n{more}");
    Profile::parse(&text).unwrap()
}

pub(super) fn data_set_of(path: &Path) -> Vec<DataSet> {
    profile(&format!("paths = [{:?}]\n", path.display().to_string())).data_sets
}

/// For data sets that stop no service.
fn notes() -> StopNotes {
    StopNotes::new("/nonexistent".into())
}

pub(super) async fn read(sets: Vec<DataSet>) -> Read {
    read_since(sets, Memory::default()).await.0
}

/// Reads with what is known of the last archive, and answers what is to be known of this one.
pub(super) async fn read_since(sets: Vec<DataSet>, memory: Memory) -> (Read, Option<Recorder>) {
    let mut reading = read::start(sets, notes(), CancellationToken::new(), memory);
    let (mut items, mut notices) = (Vec::new(), Vec::new());
    while let Some(output) = reading.output.recv().await {
        match output {
            Output::Batch(batch) => {
                assert!(
                    batch.encoded_len() <= MAX_PIECE,
                    "a batch is too large: {}",
                    batch.encoded_len()
                );
                items.extend(batch.items);
            }
            Output::Notice(notice) => notices.push(notice),
            Output::Whole(_) => {}
        }
    }
    let (result, seen) = match reading.task.await.unwrap() {
        Ok(read) => (Ok(read.totals), read.seen),
        Err(error) => (Err(error), None),
    };
    let read = Read {
        items,
        notices,
        result,
    };
    (read, seen)
}

pub(super) fn restore(target: Target, items: Vec<Item>) -> Result<Report, RestoreError> {
    let traces = tempfile::tempdir().unwrap();
    let traces = Traces::new(traces.path().join("traces"));
    let mut restorer = Restorer::new(target, notes(), &traces, CancellationToken::new())?;
    for item in items {
        restorer.item(item)?;
    }
    restorer.finish()
}

pub(super) fn begin(path: &[u8], kind: MemberType, size: u64, link: &[u8]) -> Item {
    let member = Member {
        data_set: "core".to_owned(),
        path: path.to_vec().into(),
        r#type: kind.into(),
        mode: if kind == MemberType::Directory {
            0o755
        } else {
            0o644
        },
        uid: nix::unistd::getuid().as_raw(),
        gid: nix::unistd::getgid().as_raw(),
        size_bytes: size,
        link_target: link.to_vec().into(),
        ..Member::default()
    };
    Item {
        kind: Some(item::Kind::Begin(member)),
    }
}

pub(super) fn content(data: &[u8]) -> Item {
    Item {
        kind: Some(item::Kind::Content(data.to_vec().into())),
    }
}

pub(super) fn end(data: &[u8]) -> Item {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data);
    Item {
        kind: Some(item::Kind::End(MemberEnd {
            sha256: digest.as_ref().to_vec().into(),
            xxh3: None,
        })),
    }
}

pub(super) fn file(path: &[u8], data: &[u8]) -> Vec<Item> {
    vec![
        begin(path, MemberType::File, data.len() as u64, b""),
        content(data),
        end(data),
    ]
}

/// Everything below `root` with content and metadata, a line each, so that trees compare as text.
pub(super) fn told(root: &Path) -> String {
    let mut text = String::new();
    let mut first_names = std::collections::HashMap::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry.unwrap();
        let path = entry.path().strip_prefix(root).unwrap();
        let metadata = std::fs::symlink_metadata(entry.path()).unwrap();
        let first = first_names
            .entry(metadata.ino())
            .or_insert_with(|| path.to_path_buf())
            .clone();
        let body = if metadata.is_file() {
            let data = std::fs::read(entry.path()).unwrap();
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &data);
            format!("{} {:?}", data.len(), digest)
        } else if metadata.is_symlink() {
            format!("{:?}", std::fs::read_link(entry.path()).unwrap())
        } else {
            String::new()
        };
        let mut xattrs: Vec<_> = xattr::list(entry.path())
            .into_iter()
            .flatten()
            .map(|name| (name.clone(), xattr::get(entry.path(), name).unwrap()))
            .collect();
        xattrs.sort();
        let (mode, uid, gid) = (metadata.mode(), metadata.uid(), metadata.gid());
        let time = (metadata.mtime(), metadata.mtime_nsec());
        let name = path.as_os_str().as_bytes().escape_ascii();
        writeln!(
            text,
            "{name} {mode:o} {uid}:{gid} {time:?} ={first:?} {xattrs:?} {body}"
        )
        .unwrap();
    }
    text
}
