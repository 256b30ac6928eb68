//! What has not changed on a central since its last archive is not read again, and nothing that has is missed.
#![expect(
    clippy::disallowed_methods,
    reason = "the test changes a central's files as its programs do"
)]

use std::collections::BTreeSet;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use satellite_proto::wire::backup::v1 as pb;

use super::removal::files;
use super::{Pulled, World, scan};
use crate::client::list;
use crate::servers::can;
use crate::support::noise;

/// Waits until nothing was changed within the last seconds: a file that was is read again the next time.
async fn at_rest(data: &Path) {
    let changed = std::fs::metadata(data).unwrap().ctime();
    loop {
        let now = SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        if i64::try_from(now.as_secs()).unwrap() > changed + 3 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Bytes of the files that are copied if nothing has changed: a name of one that has another does not count.
fn bytes(data: &Path) -> u64 {
    let mut known = BTreeSet::new();
    let all = files(data)
        .into_iter()
        .map(|path| path.symlink_metadata().unwrap());
    let new = all.filter(|at| at.is_file() && known.insert((at.dev(), at.ino())));
    new.map(|at| at.len()).sum()
}

fn archive(pulled: &Pulled) -> &pb::Archive {
    pulled.archive.as_ref().unwrap()
}

/// What was read comes back as it is on the central.
async fn comes_back(world: &mut World, pulled: &Pulled) {
    let (data, set) = (world.at("data"), world.data());
    let before = scan(&data);
    std::fs::remove_dir_all(&data).unwrap();
    let report = world.push(archive(pulled), set, false, &[]).await.unwrap();
    assert_eq!((report.refused, report.notices.len()), (0, 0), "{report:?}");
    assert_eq!(scan(&data), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_changed_is_not_read_again_and_nothing_that_has_is_missed() {
    if !can() {
        return;
    }
    let mut world = World::new().await;
    let (data, set) = (world.at("data"), world.data());
    crate::tree(&data);
    std::fs::remove_file(data.join("many/x.tmp")).unwrap();
    let secret = data.join("etc/secret.conf");
    std::fs::write(&secret, "password=one").unwrap();
    std::fs::File::create(data.join("last")).unwrap();
    at_rest(&data).await;
    let first = world.pull(set.clone(), "1").await.unwrap();
    assert_eq!((first.copied, first.notices.len()), (0, 0));

    // Nothing has changed.
    let all = bytes(&data);
    let second = world.pull(set.clone(), "2").await.unwrap();
    assert_eq!((second.copied, second.members), (all, first.members));
    assert_eq!(archive(&second).data_sets, archive(&first).data_sets);

    // A change that keeps size and time; one in the middle of a large file; one gone, one new, one with another name.
    let was = std::fs::metadata(&secret).unwrap().modified().unwrap();
    std::fs::write(&secret, "password=two").unwrap();
    std::fs::File::options()
        .write(true)
        .open(&secret)
        .unwrap()
        .set_modified(was)
        .unwrap();
    let large = std::fs::File::options()
        .write(true)
        .open(data.join("large"))
        .unwrap();
    large.write_all_at(b"changed", 1_500_000).unwrap();
    std::fs::remove_file(data.join("many/59")).unwrap();
    std::fs::rename(data.join("many/58"), data.join("many/58 and on")).unwrap();
    std::fs::write(data.join("many/new"), noise(5000, 99)).unwrap();
    let third = world.pull(set.clone(), "3").await.unwrap();
    let read = ["etc/secret.conf", "large", "many/58 and on", "many/new"].map(|name| {
        let at = std::fs::metadata(data.join(name)).unwrap();
        at.len()
    });
    assert_eq!(third.copied, bytes(&data) - read.iter().sum::<u64>());
    comes_back(&mut world, &third).await;

    // All files are others now, though nothing in them has changed: they are read.
    at_rest(&data).await;
    let fourth = world.pull(set.clone(), "4").await.unwrap();
    assert_eq!(fourth.copied, 0);

    // What the archive before has is damaged: everything is read, and it is told.
    let kept = files(&world.service.dir.path().join("state/archives"));
    let name = &archive(&fourth).file_name;
    let path = kept.iter().find(|path| path.ends_with(name)).unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&[0xa5; 4096], 1_000_000).unwrap();
    let fifth = world.pull(set.clone(), "5").await.unwrap();
    assert_eq!(fifth.copied, 0);
    let [told] = fifth.notices.as_slice() else {
        panic!("{:?}", fifth.notices)
    };
    assert!(told.starts_with("everything is read: "), "{told}");
    let sixth = world.pull(set.clone(), "6").await.unwrap();
    assert_eq!(sixth.copied, bytes(&data));

    // So it is when it is gone; another configuration has its own.
    for gone in list(&mut world.archives).await {
        world
            .archives
            .delete_archive(pb::DeleteArchiveRequest {
                idempotency_key: format!("no more {}", gone.id),
                id: gone.id,
                ..pb::DeleteArchiveRequest::default()
            })
            .await
            .unwrap();
    }
    let seventh = world.pull(set, "7").await.unwrap();
    assert_eq!((seventh.copied, seventh.notices.len()), (0, 0));
    comes_back(&mut world, &seventh).await;
    let kept = std::fs::read_dir(world.service.dir.path().join("state/catalogue")).unwrap();
    let kept = kept.filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        path.extension().is_some_and(|ending| ending == "seen")
    });
    assert_eq!(kept.count(), 1);
}
