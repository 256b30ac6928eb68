//! Places that are too small, and disks that are plugged in for the time of a run: real file systems on loop devices.

use std::path::{Path, PathBuf};

use e2e::command::{DEADLINE, command, run, stdout_of};
use e2e::wait::until;
use serde_json::Value;

use crate::world::{SETTLED, World, files, json, newest, said};

/// A file system on a loop device.
struct Disk {
    node: String,
    label: String,
    uuid: String,
}

impl Disk {
    /// Makes one in `directory`. What tests have left that failed is detached.
    async fn new(directory: &Path, bytes: u64) -> Self {
        let mut list = command("losetup");
        list.args(["--list", "--noheadings", "--output", "NAME,BACK-FILE"]);
        for line in stdout_of(list, DEADLINE).await.unwrap().lines() {
            let (node, file) = line.trim().split_once(' ').unwrap_or_default();
            if file.ends_with(".img (deleted)") && file.contains("/T") {
                // Another test may do the same.
                let _gone = run("losetup", &["--detach", node]).await;
            }
        }
        let uuid = uuid::Uuid::new_v4().to_string();
        let label = format!("T{}", &uuid[..8]);
        let image = directory.join(format!("{label}.img"));
        std::fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        let image = image.display().to_string();
        run(
            "mkfs.ext4",
            &["-q", "-F", "-m", "0", "-L", &label, "-U", &uuid, &image],
        )
        .await
        .unwrap();
        let mut attach = command("losetup");
        attach.args(["--find", "--show", &image]);
        let node = stdout_of(attach, DEADLINE).await.unwrap().trim().to_owned();
        Self { node, label, uuid }
    }

    async fn mount(&self, at: &Path) {
        std::fs::create_dir_all(at).unwrap();
        run("mount", &[&self.node, &at.display().to_string()])
            .await
            .unwrap();
    }

    /// Unplugs it.
    async fn detach(&self) {
        run("losetup", &["--detach", &self.node]).await.unwrap();
    }
}

async fn unmount(at: &Path) {
    run("umount", &[&at.display().to_string()]).await.unwrap();
}

/// Whether anything is mounted below.
fn is_mounted(below: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.contains(&below.display().to_string())
}

async fn until_unmounted(below: &Path) {
    let gone = until("the disk to be let go of", SETTLED, async || {
        (!is_mounted(below)).then_some(())
    });
    gone.await.unwrap();
}

#[tokio::test]
async fn a_run_beyond_the_space_of_its_tenant_is_refused_with_numbers() {
    let world = World::new().await;
    let account = "account add shop --tenant default --quota";
    let quota = async |words: &str, bytes: u64| {
        let line = format!("{words} {bytes}");
        said(&world, &line.split(' ').collect::<Vec<_>>()).await;
    };
    let create = "backup config create Shop --central sample --data-set core --destination disk";
    said(&world, &create.split(' ').collect::<Vec<_>>()).await;
    quota(account, 1000).await;
    for words in [
        ["backup", "run", "Shop"],
        ["backup", "run", "sample"],
        ["backup", "plan", "Shop"],
    ] {
        let refused = world.cli(&words).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(
            refused.stderr.contains("account shop has 1000 bytes of space"),
            "{refused:?}"
        );
    }
    assert_eq!(json(&world, &["backup", "list"]).await, serde_json::json!([]));
    // There is room for one with its copy, and not for a second.
    quota("account edit shop --quota", 20_000_000).await;
    said(&world, &["backup", "run", "Shop"]).await;
    let size = newest(&world).await["size_bytes"].as_u64().unwrap();
    quota("account edit shop --quota", size * 3).await;
    let refused = world.cli(&["backup", "run", "Shop"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let used = format!("its archives take {}", size * 2);
    assert!(refused.stderr.contains(&used), "{refused:?}");
    quota("account edit shop --quota", 0).await;
    said(&world, &["backup", "run", "Shop"]).await;
}

#[tokio::test]
async fn a_run_that_cannot_fit_is_refused_with_numbers_before_anything_is_read() {
    let world = World::new().await;
    let (small, large) = (world.at("small"), world.at("large"));
    let disk = Disk::new(world.dir.path(), 768 << 10).await;
    disk.mount(&small).await;
    std::fs::create_dir(&large).unwrap();
    for (name, place) in [("small", &small), ("large", &large)] {
        let place = place.display().to_string();
        said(&world, &["destination", "add", name, "directory", &place]).await;
    }
    let create = "backup config create Tight --central sample --destination small";
    said(&world, &create.split(' ').collect::<Vec<_>>()).await;
    let plan = world.cli(&["backup", "plan", "Tight"]).await;
    assert_eq!(plan.code, Some(1), "{plan:?}");
    assert!(
        plan.stdout.contains("core: ") && plan.stdout.contains("free"),
        "{plan:?}"
    );
    assert!(plan.stderr.contains("it fits at no destination"), "{plan:?}");

    let refused = world.cli(&["backup", "run", "Tight"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("destination small: the archive will have about")
    );
    assert!(refused.stderr.contains("bytes are free there; make room there"));
    let refused = newest(&world).await;
    assert_eq!(
        (&refused["state"], &refused["archive_id"]),
        (&"failed".into(), &"".into())
    );
    assert_eq!(files(&small), ["lost+found"]);

    // One that is too small stops no other, and is told before the archive is made.
    let both = "backup config edit Tight --destination small --destination large";
    said(&world, &both.split(' ').collect::<Vec<_>>()).await;
    let partly = world.cli(&["backup", "run", "Tight"]).await;
    assert_eq!(partly.code, Some(4), "{partly:?}");
    assert!(partly.stderr.contains("note: core: "), "{partly:?}");
    // Before the archive is made, and once more when it could not be copied.
    let told = partly.stderr.matches("destination small: ").count();
    assert!(told >= 2, "{partly:?}");
    let run = newest(&world).await;
    let states: Vec<_> = run["copies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|copy| &copy["state"])
        .collect();
    assert_eq!(states, ["failed", "copied"], "{run}");
    // Now that there is an archive, the next one is judged by it.
    let planned = world.cli(&["backup", "plan", "Tight", "--output", "json"]).await;
    let planned: Value = serde_json::from_str(&planned.stdout).unwrap();
    let expected = planned["archive_bytes"].as_f64().unwrap();
    let made = run["size_bytes"].as_f64().unwrap();
    assert!((0.9..1.1).contains(&(expected / made)), "{expected} of {made}");
    unmount(&small).await;
    disk.detach().await;
}

#[tokio::test]
async fn a_disk_is_mounted_for_the_time_of_a_run_only_and_missed_by_name() {
    let mut world = World::new().await;
    let disk = Disk::new(world.dir.path(), 64 << 20).await;
    let disks = world.at("run-disks");
    said(
        &world,
        &[
            "destination",
            "add",
            "stick",
            "usb",
            "--label",
            &disk.label,
            "--on-any-bus",
        ],
    )
    .await;
    let tried = world.cli(&["destination", "test", "stick"]).await;
    assert_eq!(tried.code, Some(0), "{tried:?}");
    assert!(
        tried
            .stdout
            .contains(&format!("the disk `{}` is plugged in and mounted", disk.label)),
        "{tried:?}"
    );
    until_unmounted(&disks).await;

    let create = "backup config create Stick --central sample --destination stick --then save-and-run";
    said(&world, &create.split(' ').collect::<Vec<_>>()).await;
    until_unmounted(&disks).await;
    let name = newest(&world).await["archive_name"].as_str().unwrap().to_owned();
    let copies = json(&world, &["destination", "copies", "stick"]).await;
    assert_eq!(copies[0]["file_name"], name.as_str(), "{copies}");
    until_unmounted(&disks).await;
    comes_back_from_the_disk(&world, copies[0]["path"].as_str().unwrap(), &name).await;
    until_unmounted(&disks).await;
    opens_elsewhere(&disk, &world.at("elsewhere"), &name).await;

    // Killed while the disk is mounted, the next process lets go of it, ends the run, and the disk is let go of again.
    world.restart_to_fail("disk.mounted").await;
    world.cli(&["backup", "run", "Stick"]).await;
    world.revive().await;
    assert_eq!(newest(&world).await["state"], "succeeded");
    until_unmounted(&disks).await;

    is_missed(&world, &disk).await;
    // By its UUID it is another way to the same disk, and only disks on USB count unless told otherwise.
    said(
        &world,
        &["destination", "add", "uuid", "usb", "--uuid", &disk.uuid],
    )
    .await;
    let tried = world.cli(&["destination", "test", "uuid"]).await;
    assert_eq!(tried.code, Some(1), "{tried:?}");
}

async fn comes_back_from_the_disk(world: &World, path: &str, name: &str) {
    said(world, &["backup", "delete", name, "--yes"]).await;
    said(world, &["destination", "fetch", "stick", path]).await;
    said(world, &["backup", "restore", name, "--test"]).await;
}

/// What lies on the disk is an archive for everybody.
async fn opens_elsewhere(disk: &Disk, at: &Path, name: &str) {
    disk.mount(at).await;
    let archive: PathBuf = at.join("starface-backup/Stick").join(name);
    let mut list = command("tar");
    list.args(["--zstd", "-tf"]).arg(&archive);
    let names = stdout_of(list, SETTLED).await.unwrap();
    assert!(names.contains("data/core/"), "{names}");
    unmount(at).await;
}

/// Not plugged in: the run says so and what to do, and what is there instead.
async fn is_missed(world: &World, disk: &Disk) {
    let other = Disk::new(world.dir.path(), 1 << 20).await;
    disk.detach().await;
    for words in [["destination", "test", "stick"], ["backup", "run", "Stick"]] {
        let missed = world.cli(&words).await;
        assert!([Some(1), Some(4)].contains(&missed.code), "{missed:?}");
        let said = format!("{}{}", missed.stdout, missed.stderr);
        assert!(
            said.contains(&format!("the disk `{}` is not plugged in", disk.label)),
            "{said}"
        );
        assert!(said.contains(&other.label), "{said}");
    }
    other.detach().await;
}
