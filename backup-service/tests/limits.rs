//! What an archive lacks, a disk that becomes full, and files that are no archives.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests leave junk among the archives"
)]

mod client;
mod support;

use std::path::Path;
use std::time::Duration;

use client::*;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use satellite_proto::wire::backup::v1::create_archive_request::Kind;
use satellite_proto::wire::backup::v1::{ArchiveTrailer, DeleteArchiveRequest, ListArchivesRequest};
use support::noise;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_out_is_told_by_the_archive_itself() {
    let (service, mut client) = Service::start(tempfile::tempdir().unwrap()).await;
    let lacking = |first: Vec<String>, left_out| {
        let mut kinds = sample("run-1");
        kinds.pop();
        let Kind::Trailer(trailer) = trailer(3, 9_300_005) else {
            panic!()
        };
        kinds.push(Kind::Trailer(ArchiveTrailer {
            left_out,
            left_out_first: first,
            ..trailer
        }));
        kinds
    };
    for (first, left_out) in [
        (vec!["two\nlines".to_owned()], 1),
        (vec!["x".repeat(301)], 1),
        (vec!["x".to_owned(); 65], 65),
        (vec!["more than counted".to_owned()], 0),
    ] {
        let refused = create(&mut client, lacking(first, left_out)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(service.files(), Vec::<String>::new());
    }
    // As much as may be named, in the bytes that take most room as JSON.
    let first = vec!["\\".repeat(300); 64];
    let archive = create(&mut client, lacking(first.clone(), 1000)).await.unwrap();
    assert_eq!(archive.left_out, 1000);
    let file = service
        .dir
        .path()
        .join("state/archives")
        .join(&archive.path)
        .join(&archive.file_name);
    let kept = backup_service::archive::read::Archive::open(&file).unwrap();
    assert_eq!(kept.index().unwrap().head().unwrap().left_out.first, first);

    std::fs::remove_dir_all(service.dir.path().join("state/catalogue")).unwrap();
    let (_service, mut client) = service.restart().await;
    for _ in 0..500 {
        if let [listed] = &list(&mut client).await[..] {
            assert_eq!(listed.left_out, 1000);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the archive was not found again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_archive_is_deleted_by_the_name_that_the_list_gives_it() {
    let (service, mut client) = Service::start(tempfile::tempdir().unwrap()).await;
    create(&mut client, sample("run-1")).await.unwrap();
    create(&mut client, sample("run-2")).await.unwrap();
    let archives = service.dir.path().join("state/archives/starface-backup/Nightly");
    std::fs::write(archives.join("junk.sar"), b"no archive").unwrap();
    let (service, mut client) = service.restart().await;
    for _ in 0..500 {
        let answer = client
            .list_archives(ListArchivesRequest::default())
            .await
            .unwrap();
        if !answer.into_inner().unreadable.is_empty() {
            return delete_junk(&mut client, &service.files()).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the unreadable file was not named");
}

/// A file that is no archive is deleted by the name that the list gives it, and nothing else is.
#[expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
async fn delete_junk(client: &mut Client, before: &[String]) {
    let asked = |unreadable: &str, key: &str| DeleteArchiveRequest {
        unreadable: unreadable.to_owned(),
        idempotency_key: key.to_owned(),
        ..DeleteArchiveRequest::default()
    };
    assert!(before.contains(&"junk.sar".to_owned()));
    let archive = list(client).await.remove(0);
    let good = format!("Nightly/{}", archive.file_name);
    for name in [
        "Nightly/../Nightly/junk.sar",
        "../../../api.sock",
        "junk.sar",
        &good,
    ] {
        let refused = client.delete_archive(asked(name, "a")).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{name}");
    }
    client
        .delete_archive(asked("Nightly/junk.sar", "b"))
        .await
        .unwrap();
    client
        .delete_archive(asked("Nightly/junk.sar", "b"))
        .await
        .unwrap();
    let gone = client
        .delete_archive(asked("Nightly/junk.sar", "c"))
        .await
        .unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    let answer = client
        .list_archives(ListArchivesRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!((answer.archives.len(), answer.unreadable.len()), (2, 0));
}

/// A file system of a few bytes, in memory, as long as this lives.
struct Small(std::path::PathBuf);

#[expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
impl Small {
    fn mount(at: &Path, bytes: u64) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={bytes}");
        let none = None::<&str>;
        mount(none, at, Some("tmpfs"), MsFlags::MS_NOSUID, Some(size.as_str())).unwrap();
        Self(at.to_owned())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_becomes_full_is_told_with_numbers_and_keeps_nothing() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("only root can make a file system for this");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let size = 24 << 20;
    let _small = Small::mount(&dir.path().join("state"), size);
    let (service, mut client) = Service::start(dir).await;
    let mut large = vec![header("run-1")];
    large.extend(file("core", "etc/big", &noise(60_000_000, 3)));
    large.push(trailer(1, 60_000_000));
    let full = create(&mut client, large).await.unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted, "{full}");
    let numbers: Vec<u64> = full
        .message()
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    let [came, total, archives] = numbers[..] else {
        panic!("{full}")
    };
    assert!((20_000_000..60_000_000).contains(&came), "{full}");
    assert_eq!((total, archives), (size, 0), "{full}");
    assert_eq!(service.files(), Vec::<String>::new());
    let kept = create(&mut client, sample("run-2")).await.unwrap();
    assert_eq!(list(&mut client).await, [kept]);
}
