//! What was archived is removed from a central over SSH: that, and nothing else.
#![expect(clippy::disallowed_methods, reason = "the tests look at the central's files")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use satellite_proto::wire::backup::v1 as pb;
use tonic::{Code, Status};

use super::{World, until};
use crate::servers::can;
use crate::support::noise;

/// Long ago.
const OLD: Duration = Duration::from_secs(1_000_000_000);

fn put(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
    age(path, UNIX_EPOCH + OLD);
}

fn age(path: &Path, to: SystemTime) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(to).unwrap();
}

/// All that is no directory. Files may go meanwhile: none is looked at after its directory was read.
pub(super) fn files(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut ahead = vec![root.to_owned()];
    while let Some(directory) = ahead.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                ahead.push(entry.path());
            } else {
                found.insert(entry.path());
            }
        }
    }
    found
}

impl World {
    async fn remove(
        &mut self,
        archive: &pb::Archive,
        set: pb::CentralDataSet,
        before: Option<Duration>,
    ) -> Result<pb::RemoveReport, Status> {
        let asked = pb::RemoveArchivedRequest {
            id: archive.id.clone(),
            central: Some(self.central()),
            data_sets: vec![set],
            changed_before: before.map(|before| prost_types::Timestamp {
                seconds: before.as_secs().try_into().unwrap(),
                nanos: 0,
            }),
        };
        let mut stream = self.client.remove_archived(asked).await?.into_inner();
        let mut report = None;
        while let Some(answer) = stream.message().await? {
            report = answer.report;
        }
        Ok(report.unwrap())
    }
}

fn at(path: &Path) -> Bytes {
    Bytes::copy_from_slice(path.as_os_str().as_bytes())
}

/// 317 files with all that a name may have, a link, and another name of one.
fn tree(data: &Path) {
    let names: [&[u8]; 9] = [
        b"a",
        b"with space/ b ",
        b"no utf-8 \xff\xfe/x",
        b"ends in a line\n/and so does this\n",
        b"$(touch surprise)/`touch surprise`",
        b"-rf",
        b"*/%s\\0101",
        b"empty",
        b"'\"/;&|<>",
    ];
    for (number, name) in names.iter().enumerate() {
        let content = noise(number * 1000, number as u64);
        let content = if *name == b"empty" { Vec::new() } else { content };
        put(&data.join(OsStr::from_bytes(name)), &content);
    }
    put(&data.join("large"), &noise(3_000_001, 3));
    for number in 0..300 {
        put(
            &data.join(format!("many/{number}")),
            format!("call {number}").as_bytes(),
        );
    }
    for name in [
        "other content",
        "later",
        "longer",
        "a link now",
        "moved/f",
        "young",
    ] {
        put(&data.join(name), name.as_bytes());
    }
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    age(&data.join("young"), yesterday);
    symlink("a", data.join("link")).unwrap();
    std::fs::hard_link(data.join("large"), data.join("many/large too")).unwrap();
    put(&data.join("below/f"), b"f");
}

/// Five are no more what they were, of one the directory is a link now.
fn change(data: &Path, elsewhere: &Path) {
    std::fs::write(data.join("other content"), "OTHER CONTENT").unwrap();
    age(&data.join("other content"), UNIX_EPOCH + OLD);
    age(&data.join("later"), UNIX_EPOCH + OLD + Duration::from_secs(1));
    put(&data.join("longer"), b"longer than before");
    put(&elsewhere.join("f"), b"moved/f");
    put(&elsewhere.join("g"), b"a link now");
    std::fs::remove_file(data.join("a link now")).unwrap();
    symlink(elsewhere.join("g"), data.join("a link now")).unwrap();
    std::fs::remove_dir_all(data.join("moved")).unwrap();
    symlink(elsewhere, data.join("moved")).unwrap();
    std::fs::remove_file(data.join("many/7")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_archived_leaves_a_central_over_ssh_only_if_it_is_what_the_archive_holds() {
    if !can() {
        return;
    }
    let mut world = World::new().await;
    let data = world.at("data");
    tree(&data);
    let set = pb::CentralDataSet {
        paths: vec![at(&data)],
        ..world.data()
    };
    let archive = world.pull(set.clone(), "1").await.unwrap().archive.unwrap();

    let elsewhere = world.at("elsewhere");
    change(&data, &elsewhere);

    // The profile names nothing of it today.
    let another = pb::CentralDataSet {
        paths: vec![at(&world.at("another"))],
        ..set.clone()
    };
    let report = world.remove(&archive, another, None).await.unwrap();
    let all = report.changed;
    assert_eq!((report.gone, report.failed), (0, 0), "{report:?}");

    let limit = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - Duration::from_secs(30 * 86_400);
    let report = world.remove(&archive, set.clone(), Some(limit)).await.unwrap();
    // Changed, touched, longer, a link, gone before, too young.
    assert_eq!((report.changed, report.failed), (6, 1), "{report:?}");
    assert_eq!(report.gone, all - 7, "{report:?}");
    assert!(report.problems[0].contains("moved/f: ") && report.problems[0].contains("symbolic link"));
    let left = [
        "other content",
        "later",
        "longer",
        "a link now",
        "moved",
        "young",
        "link",
        // The archive has it as another name of what is gone by now.
        "many/large too",
    ];
    assert_eq!(files(&data), left.map(|name| data.join(name)).into());
    assert_eq!(
        files(&elsewhere),
        ["f", "g"].map(|name| elsewhere.join(name)).into()
    );
    assert!(!world.at("home/surprise").exists() && !Path::new("/root/surprise").exists());
    // Once more: nothing is left of it, which is no failure.
    let again = world.remove(&archive, set, Some(limit)).await.unwrap();
    assert_eq!((again.gone, again.changed), (0, all - 1), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_stays_below_its_path_and_ends_with_its_caller() {
    if !can() {
        return;
    }
    let mut world = World::new().await;
    let data = world.at("data");
    for number in 0..2000 {
        put(&data.join(format!("d{}/{number}", number % 7)), b"x");
    }
    put(&data.join("alone"), b"alone");
    symlink(&data, world.at("by link")).unwrap();
    // Reached through a link above the path; and a path that is a file.
    let set = pb::CentralDataSet {
        paths: ["by link/d1", "by link/alone"]
            .map(|name| at(&world.at(name)))
            .into(),
        ..world.data()
    };
    let archive = world.pull(set.clone(), "1").await.unwrap().archive.unwrap();
    let before = files(&data).len();
    let report = world.remove(&archive, set, None).await.unwrap();
    assert_eq!((report.changed, report.failed), (0, 0), "{report:?}");
    assert_eq!(files(&data).len() as u64, before as u64 - report.gone);
    assert!(!data.join("alone").exists() && files(&data.join("d1")).is_empty());
    assert!(report.gone > 280, "{report:?}");

    // The caller leaves: what is not gone by then stays.
    let set = world.data();
    let archive = world.pull(set.clone(), "2").await.unwrap().archive.unwrap();
    let before = files(&data).len();
    let asked = pb::RemoveArchivedRequest {
        id: archive.id.clone(),
        central: Some(world.central()),
        data_sets: vec![set.clone()],
        changed_before: None,
    };
    let stream = world.client.remove_archived(asked).await.unwrap().into_inner();
    until("the first to go", || files(&data).len() < before).await;
    drop(stream);
    let (mut last, mut same) = (0, 0);
    until("the removal to end", || {
        let now = files(&data).len();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        same > 50
    })
    .await;
    assert!(last > 0, "it went on without its caller");

    // Who may not remove there says so of each.
    let user = pb::SshCentral {
        user: crate::servers::sshd::USER.to_owned(),
        ..world.central()
    };
    for directory in 0..7 {
        let directory = data.join(format!("d{directory}"));
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let asked = pb::RemoveArchivedRequest {
        id: archive.id.clone(),
        central: Some(user),
        data_sets: vec![set],
        changed_before: None,
    };
    let mut stream = world.client.remove_archived(asked).await.unwrap().into_inner();
    let mut report = pb::RemoveReport::default();
    while let Some(answer) = stream.message().await.unwrap() {
        report = answer.report.unwrap_or_default();
    }
    assert_eq!((report.gone, report.failed), (0, last as u64), "{report:?}");
    assert_eq!(report.problems.len(), 20);
    assert!(report.problems[0].contains("ermission"), "{report:?}");
    let none = world
        .remove(&pb::Archive::default(), world.data(), None)
        .await
        .unwrap_err();
    assert_eq!(none.code(), Code::InvalidArgument, "{none}");
}
