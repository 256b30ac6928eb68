//! What has not changed since an archive before is copied from it, and frames that come again whole are taken as they lie there.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use backup_service::archive::seek::{FOOTER, Table};
use bytes::Bytes;
use satellite_proto::wire::backup::v1::create_archive_request::Kind;
use satellite_proto::wire::backup::v1::{CopiedContent, MemberEnd, MemberType, item};
use tonic::Code;
use twox_hash::XxHash3_64;

use crate::client::{Client, Service, batch, begin, create, download, header, trailer};
use crate::support::{noise, sha256};

/// Seconds of its last change, and content; none: a directory.
type Node = (i64, Option<Vec<u8>>);

/// What is in a data set.
type Tree = BTreeMap<String, Node>;

fn tree() -> Tree {
    let file = |number: u64, length| (1_700_000_000 + number as i64, Some(noise(length, number)));
    let mut tree = Tree::new();
    for number in 0..1000 {
        let directory = format!("d{:02}", number / 20);
        tree.insert(directory.clone(), (1_600_000_000, None));
        let length = 37_000 + 50 * number as usize;
        tree.insert(format!("{directory}/{number:03}"), file(number, length));
    }
    tree.insert("large".to_owned(), file(5000, 9_000_000));
    tree
}

/// All of a tree; what is the same in `before` is copied from that archive.
fn messages(key: &str, tree: &Tree, before: Option<(&str, &Tree)>) -> Vec<Kind> {
    let Kind::Header(mut first) = header(key) else {
        unreachable!("it is one")
    };
    first.base_archive_id = before.map(|(id, _)| id.to_owned()).unwrap_or_default();
    let mut all = vec![Kind::Header(first)];
    let mut bytes = 0;
    for (path, (modified, content)) in tree {
        let mut member = begin("core", path, content.as_ref().map_or(0, |c| c.len() as u64));
        if let item::Kind::Begin(member) = &mut member {
            member.modify_time = Some(prost_types::Timestamp {
                seconds: *modified,
                nanos: 0,
            });
            if content.is_none() {
                member.r#type = MemberType::Directory.into();
                member.mode = 0o755;
            }
        }
        all.push(batch(member));
        let Some(content) = content else { continue };
        bytes += content.len() as u64;
        let same =
            before.is_some_and(|(_, old)| old.get(path).is_some_and(|(_, c)| c.as_ref() == Some(content)));
        if same {
            all.push(batch(item::Kind::Copied(CopiedContent {
                path: Bytes::copy_from_slice(path.as_bytes()),
                offset: 0,
                length: content.len() as u64,
            })));
        } else {
            let pieces = content.chunks(200_000).map(Bytes::copy_from_slice);
            all.extend(pieces.map(|piece| batch(item::Kind::Content(piece))));
        }
        all.push(batch(item::Kind::End(MemberEnd {
            sha256: Bytes::copy_from_slice(&sha256(content)),
            xxh3: (!same).then(|| XxHash3_64::oneshot(content)),
        })));
    }
    all.push(trailer(tree.len() as u64, bytes));
    all
}

/// The bytes of each frame.
fn frames(archive: &[u8]) -> Vec<&[u8]> {
    let length = Table::length(archive.last_chunk::<FOOTER>().unwrap()).unwrap();
    let table = Table::decode(&archive[archive.len() - length..], archive.len() as u64).unwrap();
    let range = |at: u64, length: u32| at as usize..at as usize + length as usize;
    table
        .frames()
        .iter()
        .map(|f| &archive[range(f.at, f.length)])
        .collect()
}

/// What tar finds in an archive.
fn unpacked(archive: &[u8]) -> Tree {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("archive.sar");
    std::fs::write(&file, archive).unwrap();
    let tar = Command::new("tar")
        .arg("--zstd")
        .arg("-xf")
        .arg(&file)
        .arg("-C")
        .arg(dir.path())
        .status();
    assert!(tar.unwrap().success());
    let root = dir.path().join("data/core");
    let mut tree = Tree::new();
    let mut todo = vec![root.clone()];
    while let Some(directory) = todo.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let (path, metadata) = (entry.path(), entry.metadata().unwrap());
            let content = metadata.is_file().then(|| std::fs::read(&path).unwrap());
            if metadata.is_dir() {
                todo.push(path.clone());
            }
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            tree.insert(name, (metadata.mtime(), content));
        }
    }
    tree
}

async fn made(client: &mut Client, messages: Vec<Kind>) -> (String, Vec<u8>) {
    let archive = create(client, messages).await.unwrap();
    let bytes = download(client, &archive.id, 0).await.unwrap();
    (archive.id, bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_the_same_lies_in_the_same_frames_and_all_else_is_new() {
    let (_service, mut client) = Service::start(tempfile::tempdir().unwrap()).await;
    let old = tree();
    let (first, before) = made(&mut client, messages("run-1", &old, None)).await;

    let mut new = old.clone();
    new.insert("d10/207".to_owned(), (1_700_000_207, Some(noise(60_000, 77))));
    new.insert("d20/new".to_owned(), (1_700_000_001, Some(noise(900_000, 78))));
    new.remove("d30/611").unwrap();
    // Nothing but its time, and a directory's.
    new.get_mut("d40/800").unwrap().0 += 60;
    new.get_mut("d45").unwrap().0 += 60;
    let (_, after) = made(&mut client, messages("run-2", &new, Some((&first, &old)))).await;
    assert!(
        unpacked(&after) == new,
        "the archive holds other things than were sent"
    );

    let (there, here) = (frames(&before), frames(&after));
    let same = here.iter().filter(|frame| there.contains(frame)).count();
    // The frames of five changes and of the two ends, and at most one more for each until they are the same again.
    assert!(
        here.len() >= 18 && same + 14 >= here.len(),
        "{same} of {} frames",
        here.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_frame_of_the_archive_before_gets_into_none() {
    let (service, mut client) = Service::start(tempfile::tempdir().unwrap()).await;
    let tree = tree();
    let (first, before) = made(&mut client, messages("run-1", &tree, None)).await;
    let file = crate::client::files_below(&service.dir.path().join("state"))
        .into_iter()
        .find(|path| path.metadata().unwrap().len() == before.len() as u64)
        .unwrap();
    let mut bytes = before;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, &bytes).unwrap();
    let refused = create(&mut client, messages("run-2", &tree, Some((&first, &tree)))).await;
    assert_eq!(refused.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_the_one_there_is_not_copied() {
    let (_service, mut client) = Service::start(tempfile::tempdir().unwrap()).await;
    let tree = tree();
    let (first, _) = made(&mut client, messages("run-1", &tree, None)).await;
    // The sender believes that one has another content there; its length is the same.
    let mut other = tree.clone();
    let content = other.get_mut("d30/611").and_then(|node| node.1.as_mut()).unwrap();
    content[0] ^= 1;
    let refused = create(&mut client, messages("run-2", &other, Some((&first, &other)))).await;
    assert_eq!(refused.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_without_checksums_is_taken_at_its_digests() {
    let (_service, mut client) = Service::start(tempfile::tempdir().unwrap()).await;
    let old = tree();
    let without = |mut messages: Vec<Kind>| {
        for message in &mut messages {
            let Kind::Batch(batch) = message else { continue };
            for item in &mut batch.items {
                if let Some(item::Kind::End(end)) = &mut item.kind {
                    end.xxh3 = None;
                }
            }
        }
        messages
    };
    let (first, _) = made(&mut client, without(messages("run-1", &old, None))).await;
    let mut new = old.clone();
    new.insert("d10/207".to_owned(), (1_700_000_207, Some(noise(60_000, 77))));
    let again = |key| without(messages(key, &new, Some((&first, &old))));
    let (_, after) = made(&mut client, again("run-2")).await;
    assert!(
        unpacked(&after) == new,
        "the archive holds other things than were sent"
    );
    let mut wrong = again("run-3");
    let changed = wrong.iter_mut().rev().find_map(|message| match message {
        Kind::Batch(batch) => batch.items.iter_mut().find_map(|item| match &mut item.kind {
            Some(item::Kind::Content(bytes)) => Some(bytes),
            _ => None,
        }),
        _ => None,
    });
    let changed = changed.unwrap();
    let mut bytes = changed.to_vec();
    bytes[7] ^= 1;
    *changed = bytes.into();
    assert_eq!(
        create(&mut client, wrong).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}
