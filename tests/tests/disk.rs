//! A disk that is plugged into a satellite: mounted by a unit outside of the daemon's sandbox, seen by the workload in its
//! own, and let go of when the call ends, also if the bridge is killed.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::time::Duration;

use e2e::central::Sample;
use e2e::command::{DEADLINE, command, run, stdout_of};
use e2e::lab::SATELLITE;
use e2e::network::write;
use e2e::scratch::Scratch;
use e2e::wait::until;

const SETTLED: Duration = Duration::from_mins(3);

/// A file system on a loop device, which the satellite sees; gone with the test.
struct Disk {
    node: String,
    label: String,
}

impl Disk {
    async fn new(lab: &Scratch) -> Self {
        // What a failed test leaves attached is detached by those of `tests/tests/runs/places.rs`, which know it by this name.
        let label = format!("T{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        let image = lab.data().join(format!("{label}.img"));
        std::fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        let image = image.display().to_string();
        run("mkfs.ext4", &["-q", "-F", "-L", &label, &image])
            .await
            .unwrap();
        let mut attach = command("losetup");
        attach.args(["--find", "--show", &image]);
        let node = stdout_of(attach, DEADLINE).await.unwrap().trim().to_owned();
        let number = node.strip_prefix("/dev/loop").unwrap();
        let make = ["mknod", "-m", "600", &node, "b", "7", number];
        lab.satellite().exec(&make).await.unwrap();
        Self { node, label }
    }

    async fn detach(self) {
        run("losetup", &["--detach", &self.node]).await.unwrap();
    }
}

async fn until_let_go(lab: &Scratch) {
    let gone = until("the disk to be let go of", SETTLED, async || {
        let table = lab
            .satellite()
            .exec(&["cat", "/proc/self/mountinfo"])
            .await
            .ok()?;
        let left = lab
            .satellite()
            .exec(&["find", "/run/satellite/disks", "-mindepth", "1"])
            .await
            .ok()?;
        (!table.contains("/run/satellite/disks") && left.is_empty()).then_some(())
    });
    gone.await.unwrap();
}

#[tokio::test]
#[ignore = "commissions a satellite, more than a minute: run `make test-hardship`"]
async fn a_satellite_mounts_a_disk_for_its_workload_and_lets_go_of_it() {
    let lab = Scratch::new().await.unwrap();
    lab.boot().await.unwrap();
    lab.serve().await.unwrap();
    lab.add_bundle().await.unwrap();
    lab.pair(&[]).await.unwrap();
    lab.server.converged(SATELLITE, SETTLED).await.unwrap();
    let disk = Disk::new(&lab).await;
    let add = [
        "destination",
        "add",
        "stick",
        "usb",
        "--label",
        &disk.label,
        "--on-any-bus",
    ];
    lab.server.cli(&add).await.unwrap();
    let tried = lab
        .server
        .try_cli(&["destination", "test", "stick"])
        .await
        .unwrap();
    assert_eq!(tried.code, Some(0), "{tried:?}");
    until_let_go(&lab).await;

    let sample = Sample::at(lab.data().join("central"), 4_000_000);
    sample.make(|_, _| ()).await.unwrap();
    let profile = lab.data().join("central.toml");
    write(&profile, sample.profile()).unwrap();
    let profile = profile.display().to_string();
    lab.server
        .cli(&["central", "add", &profile, "--satellite", SATELLITE])
        .await
        .unwrap();
    let create = "backup config create Stick --central sample --destination stick --then save-and-run";
    let made = lab
        .server
        .try_cli(&create.split(' ').collect::<Vec<_>>())
        .await
        .unwrap();
    assert_eq!(made.code, Some(0), "{made:?}");
    until_let_go(&lab).await;

    // Whoever was killed: the disk is let go of, and the next run mounts it again.
    lab.satellite().kill_bridge().await.unwrap();
    let again = until("a run after the bridge was killed", SETTLED, async || {
        let again = lab.server.try_cli(&["backup", "run", "Stick"]).await.ok()?;
        (again.code == Some(0)).then_some(())
    });
    again.await.unwrap();
    until_let_go(&lab).await;
    opens(&lab, &disk).await;
    disk.detach().await;
}

/// The archives lie on the disk, for everybody.
async fn opens(lab: &Scratch, disk: &Disk) {
    let at = lab.data().join("mounted");
    std::fs::create_dir(&at).unwrap();
    let shown = at.display().to_string();
    run("mount", &["-o", "ro", &disk.node, &shown]).await.unwrap();
    let archives = archives(&at.join("starface-backup/Stick"));
    run("umount", &[&shown]).await.unwrap();
    assert!(archives >= 2, "{archives}");
}

fn archives(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}
