//! Disks on loop devices: real file systems, mounted and let go of.

use std::os::unix::fs::{MetadataExt as _, symlink};

use super::*;
use crate::exec::Exec;

/// A file system on a loop device.
struct Loop {
    node: PathBuf,
    _dir: tempfile::TempDir,
}

impl Loop {
    async fn new(label: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("disk.img");
        std::fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        let make = Exec::new("mkfs.ext4").args(["-q", "-F", "-L", label]);
        make.arg(&image).run().await.unwrap();
        let attach = Exec::new("losetup").args(["--find", "--show"]);
        let attached = attach.arg(&image).run().await.unwrap();
        Self {
            node: PathBuf::from(attached.text().trim()),
            _dir: dir,
        }
    }

    async fn detach(self) {
        let detach = Exec::new("losetup").arg("--detach").arg(&self.node);
        detach.run().await.unwrap();
    }
}

fn wanted(label: &str) -> Wanted {
    Wanted {
        label: label.to_owned(),
        uuid: String::new(),
        on_any_bus: true,
        directory: "starface-backup".to_owned(),
        owner: (4711, 4712),
    }
}

fn label() -> String {
    format!("t{}", &uuid::Uuid::new_v4().simple().to_string()[..12])
}

fn mounts(below: &Path) -> usize {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let below = below.display().to_string();
    table.lines().filter(|line| line.contains(&below)).count()
}

async fn until_gone(below: &Path) {
    for _ in 0..500 {
        if mounts(below) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it stays mounted");
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[tokio::test]
async fn a_disk_is_there_while_somebody_holds_it_and_belongs_to_whom_it_is_for() {
    if !is_root() {
        return;
    }
    let (label, dir) = (label(), tempfile::tempdir().unwrap());
    let disk = Loop::new(&label).await;
    let disks = Disks::new(dir.path().join("disks"), Way::Direct);
    let gone = disks.hold(wanted("never-there")).await.unwrap_err().to_string();
    assert!(gone.contains("`never-there` is not plugged in"), "{gone}");
    assert!(gone.contains(&label), "{gone}");

    let one = disks.hold(wanted(&label)).await.unwrap();
    let other = disks.hold(wanted(&label)).await.unwrap();
    assert_eq!(one.path(), other.path());
    let base = one.path().join("starface-backup");
    let owner = |path: &Path| {
        let found = path.symlink_metadata().unwrap();
        (found.uid(), found.gid())
    };
    assert_eq!(owner(&base), (4711, 4712));
    std::fs::create_dir(base.join("Nightly")).unwrap();
    files::write_atomic(&base.join("Nightly/a.sar"), b"x", 0o600).unwrap();
    symlink("/etc/passwd", base.join("Nightly/link")).unwrap();
    drop(one);
    assert!(base.exists());
    let path = other.path().to_owned();
    drop(other);
    until_gone(dir.path()).await;
    assert!(!path.join("starface-backup").exists());

    // What another machine's user has written is this one's now; what a link leads to is not.
    let again = disks.hold(wanted(&label)).await.unwrap();
    assert_eq!(owner(&base.join("Nightly/a.sar")), (4711, 4712));
    assert_eq!(owner(&base.join("Nightly/link")), (0, 0));
    assert_eq!(owner(Path::new("/etc/passwd")), (0, 0));
    drop(again);
    until_gone(dir.path()).await;
    disk.detach().await;
}

#[tokio::test]
async fn what_a_killed_process_has_left_mounted_is_let_go_of_by_the_next() {
    if !is_root() {
        return;
    }
    let (label, dir) = (label(), tempfile::tempdir().unwrap());
    let disk = Loop::new(&label).await;
    let place = dir.path().join("disks");
    let killed = Disks::new(place.clone(), Way::Direct);
    // As if it had been killed: nothing is dropped.
    std::mem::forget(killed.hold(wanted(&label)).await.unwrap());
    assert_eq!(mounts(dir.path()), 1);
    let next = Disks::new(place.clone(), Way::Direct);
    next.sweep().await;
    assert_eq!(mounts(dir.path()), 0);
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
    disk.detach().await;
}

#[tokio::test]
async fn a_unit_finds_its_request_and_leaves_its_answer() {
    let dir = tempfile::tempdir().unwrap();
    for id in ["", "../0123456789abcd", "0123456789abcdeg", "0123456789abcdef"] {
        let refused = mount_asked(dir.path(), id).await;
        assert!(matches!(refused, Err(DiskError::Wanted(_))), "{id}");
    }
    let id = "0123456789abcdef";
    let text = serde_json::to_vec(&wanted("never-there")).unwrap();
    files::write_atomic(&file(dir.path(), id, REQUEST), &text, 0o600).unwrap();
    assert!(mount_asked(dir.path(), id).await.is_err());
    let answer = std::fs::read_to_string(file(dir.path(), id, ANSWER)).unwrap();
    assert!(answer.contains("is not plugged in"), "{answer}");
}

#[test]
fn a_wish_that_makes_no_sense_is_refused() {
    let good = wanted("BACKUP");
    good.check().unwrap();
    for bad in [
        Wanted {
            label: String::new(),
            ..good.clone()
        },
        Wanted {
            label: "a\nb".into(),
            ..good.clone()
        },
        Wanted {
            directory: "../etc".into(),
            ..good.clone()
        },
        Wanted {
            directory: "..".into(),
            ..good.clone()
        },
    ] {
        assert!(bad.check().is_err(), "{bad:?}");
    }
}
