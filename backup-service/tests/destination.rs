//! Copies at a directory, over the service's real socket: made, listed, verified, fetched, deleted, cut, and refused.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(
    clippy::disallowed_methods,
    reason = "the tests damage files and make file systems"
)]

mod client;
mod destinations;
mod support;
mod trees;

use std::path::{Path, PathBuf};
use std::process::Command;

use client::{Service, create, files, list, read, sample};
use destinations::*;
use satellite_proto::wire::backup::v1 as pb;
use support::noise;
use tonic::Code;
use trees::come_back;

fn directory(path: &Path) -> pb::Destination {
    of(pb::destination::Kind::Directory(pb::DirectoryDestination {
        path: path.to_str().unwrap().to_owned(),
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_made_listed_verified_fetched_and_deleted() {
    let (service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&service).await;
    let there = tempfile::tempdir().unwrap();
    round_trip(&mut archives, &mut client, directory(there.path())).await;
    assert_eq!(files(there.path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_of_any_shape_come_back_as_they_were() {
    let (service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&service).await;
    let there = tempfile::tempdir().unwrap();
    come_back(&mut archives, &mut client, &directory(there.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_path_copies_lie_beside_the_archives() {
    let (service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&service).await;
    round_trip(&mut archives, &mut client, directory(Path::new(""))).await;
    assert!(
        service
            .dir
            .path()
            .join("state/copies/starface-backup/Täglich 1")
            .is_dir()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_copy_is_gone_on_with_and_what_other_runs_left_is_removed() {
    let (service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&service).await;
    let there = tempfile::tempdir().unwrap();
    let first = create(&mut archives, sample("run-1")).await.unwrap();
    let second = create(&mut archives, sample("run-2")).await.unwrap();
    let destination = directory(there.path());

    cut(&mut client, &first, destination.clone()).await;
    let directory = there.path().join("starface-backup/Täglich 1");
    let [left] = &files(there.path())[..] else {
        panic!("one temporary")
    };
    assert!(
        left.starts_with(&first.file_name) && left.ends_with(".part"),
        "{left}"
    );
    // After a power cut what lies there may be anything.
    let good = std::fs::read(directory.join(left)).unwrap();
    std::fs::write(directory.join(left), noise(good.len(), 9)).unwrap();
    std::fs::write(directory.join("theirs.sar.00000000.part"), b"of another service").unwrap();

    let (service, _) = service.restart().await;
    let mut client = connect(&service).await;
    let done = copy(&mut client, &first, destination.clone()).await.unwrap();
    assert_eq!(
        (done.sha256.as_str(), done.existed),
        (first.sha256.as_str(), false)
    );

    cut(&mut client, &second, destination.clone()).await;
    std::fs::remove_file(directory.join(&first.file_name)).unwrap();
    copy(&mut client, &first, destination).await.unwrap();
    let mut found = files(there.path());
    found.sort();
    assert_eq!(found, [first.file_name, "theirs.sar.00000000.part".to_owned()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_before_a_cut_is_not_sent_again() {
    let (service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&service).await;
    let there = tempfile::tempdir().unwrap();
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    cut(&mut client, &archive, directory(there.path())).await;
    let mut watched = directory(there.path());
    watched.bytes_per_second = 4 << 20;
    let (_, progress) = copy_and_watch(&mut client, &archive, watched).await.unwrap();
    let sending = progress.iter().find(|p| p.step() == pb::CopyStep::Send).unwrap();
    assert!(sending.done > 0, "{sending:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_is_found_is_not_fetched_and_is_made_anew() {
    let (service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&service).await;
    let there = tempfile::tempdir().unwrap();
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    let destination = directory(there.path());
    let done = copy(&mut client, &archive, destination.clone()).await.unwrap();
    let file = there.path().join(&done.path);
    let good = std::fs::read(&file).unwrap();
    for at in [0, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&file, bad).unwrap();
        let found = verify(&mut client, &done.path, destination.clone())
            .await
            .unwrap();
        assert!(!found.intact, "byte {at}");
    }
    for length in [0, 5, good.len() - 1] {
        std::fs::write(&file, &good[..length]).unwrap();
        let found = verify(&mut client, &done.path, destination.clone())
            .await
            .unwrap();
        assert!(!found.intact, "{length} bytes");
    }
    let mut bad = good.clone();
    bad[1000] ^= 1;
    std::fs::write(&file, bad).unwrap();
    let id = archive.id.clone();
    let asked = pb::DeleteArchiveRequest {
        id,
        idempotency_key: "d".to_owned(),
        ..Default::default()
    };
    archives.delete_archive(asked).await.unwrap();
    let refused = fetch(&mut client, &done.path, destination.clone())
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), kind(&refused)),
        (Code::DataLoss, pb::FaultKind::Damaged)
    );
    assert_eq!(
        (list(&mut archives).await, service.files()),
        (Vec::new(), Vec::new())
    );

    let again = create(&mut archives, sample("run-3")).await.unwrap();
    let done = copy(&mut client, &again, destination.clone()).await.unwrap();
    std::fs::write(there.path().join(&done.path), b"not it").unwrap();
    let anew = copy(&mut client, &again, destination.clone()).await.unwrap();
    assert!(!anew.existed);
    assert!(copy(&mut client, &again, destination).await.unwrap().existed);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_lead_elsewhere_and_places_that_are_not_there_are_refused() {
    let (service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&service).await;
    let there = tempfile::tempdir().unwrap();
    for path in [
        "",
        "a.sar",
        "starface-backup/../a.sar",
        "/etc/x/a.sar",
        "starface-backup/x/passwd",
    ] {
        let refused = fetch(&mut client, path, directory(there.path()))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{path}");
        let refused = delete(&mut client, path, directory(there.path()))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{path}");
    }
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    for (path, code, fault) in [
        ("relative", Code::InvalidArgument, pb::FaultKind::Description),
        ("/a/../b", Code::InvalidArgument, pb::FaultKind::Description),
        (
            service.dir.path().join("state/x").to_str().unwrap(),
            Code::InvalidArgument,
            pb::FaultKind::Description,
        ),
        ("/nowhere", Code::FailedPrecondition, pb::FaultKind::NoPlace),
        ("/etc/passwd", Code::FailedPrecondition, pb::FaultKind::NoPlace),
    ] {
        let refused = copy(&mut client, &archive, directory(Path::new(path)))
            .await
            .unwrap_err();
        assert_eq!(
            (refused.code(), kind(&refused)),
            (code, fault),
            "{path}: {refused}"
        );
        let tested = test(&mut client, directory(Path::new(path))).await;
        assert_eq!(
            tested.steps.last().unwrap().fault.unwrap().kind(),
            fault,
            "{path}"
        );
    }
    let outside = there.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, there.path().join("starface-backup")).unwrap();
    copy(&mut client, &archive, directory(there.path()))
        .await
        .unwrap_err();
    assert_eq!(files(&outside), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_bytes_a_second_is_kept() {
    let (service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&service).await;
    let there = tempfile::tempdir().unwrap();
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    let mut destination = directory(there.path());
    destination.bytes_per_second = archive.size_bytes;
    let begun = std::time::Instant::now();
    let (_, progress) = copy_and_watch(&mut client, &archive, destination).await.unwrap();
    // A second to send it, a second to read it back.
    assert!(begun.elapsed().as_millis() >= 1900, "{:?}", begun.elapsed());
    assert!(
        progress.iter().any(|p| p.total == archive.size_bytes),
        "{progress:?}"
    );
}

/// A file system of its own on a loop device, as long as this lives.
struct Disk(PathBuf);

impl Disk {
    fn make(dir: &Path, bytes: u64) -> Self {
        let (image, at) = (dir.join("disk.img"), dir.join("disk"));
        std::fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        std::fs::create_dir(&at).unwrap();
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-m", "0"])
            .arg(&image));
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at));
        Self(at)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run(Command::new("umount").arg(&self.0));
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_or_becomes_full_is_told_with_numbers_and_keeps_nothing() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("only root can make a file system for this");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::make(dir.path(), 16 << 20);
    let (service, mut archives) = Service::start(tempfile::tempdir().unwrap()).await;
    let mut client = connect(&service).await;
    let archive = create(&mut archives, sample("run-1")).await.unwrap();
    let mut destination = directory(&disk.0);
    let tested = test(&mut client, destination.clone()).await;
    let free = tested.free_bytes.unwrap();
    assert!(tested.steps.iter().all(|step| step.ok), "{tested:?}");

    // Full before it begins.
    let filler = disk.0.join("filler");
    std::fs::write(&filler, noise((free - archive.size_bytes / 2) as usize, 1)).unwrap();
    let refused = copy(&mut client, &archive, destination.clone())
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), kind(&refused)),
        (Code::ResourceExhausted, pb::FaultKind::Full)
    );
    let fault = fault(&refused);
    assert_eq!(fault.needed_bytes, archive.size_bytes);
    assert!(fault.available_bytes < archive.size_bytes, "{fault:?}");
    assert_eq!(files(&disk.0), ["filler"]);

    // It becomes full on the way.
    std::fs::remove_file(&filler).unwrap();
    destination.bytes_per_second = archive.size_bytes / 8;
    let mut sending = begin(&mut client, &archive, destination.clone()).await;
    sent(&mut sending).await;
    std::fs::write(&filler, b"").unwrap();
    run(Command::new("sh")
        .arg("-c")
        .arg(format!("cat /dev/zero > {} || true", filler.display())));
    let full = end(sending).await.unwrap_err();
    assert_eq!(
        (full.code(), kind(&full)),
        (Code::ResourceExhausted, pb::FaultKind::Full),
        "{full}"
    );
    assert_eq!(files(&disk.0), ["filler"]);

    std::fs::remove_file(&filler).unwrap();
    destination.bytes_per_second = 0;
    copy(&mut client, &archive, destination).await.unwrap();
    let read = read(&mut archives, &archive.id, &[]).await.unwrap();
    assert_eq!(read.len(), 3);
}
