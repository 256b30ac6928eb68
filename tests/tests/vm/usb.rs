//! A USB disk as the place that copies go to: found by its label, mounted for the time of a run only, read by anybody
//! afterwards, and missed by name when it is not there.

use e2e::central::Sample;
use e2e::command::{DEADLINE, command, stdout_of};
use e2e::lab::SATELLITE;
use e2e::network::write;
use e2e::scratch::Scratch;
use e2e::vm::Vm;
use e2e::wait::until;

use super::life::commissioned;
use super::{SEEN, Watch, log, usb_disk};

/// What [`usb_disk`] calls its file system.
const LABEL: &str = "STICK";

#[tokio::test]
#[ignore = "make test-vm: boots a machine and commissions it"]
async fn a_machine_copies_an_archive_to_a_usb_disk_and_misses_it_when_it_is_unplugged() {
    let lab = Scratch::new().await.unwrap();
    let vm = commissioned(&lab).await;
    central(&lab).await;
    // Not plugged in yet, it is missed like one that was taken away.
    is_missed(&lab, &["destination", "test", "stick"]).await;

    let mut watch = Watch::start();
    let stick = usb_disk(&vm).await;
    let found = until("the disk to be found", SEEN, async || {
        let tried = lab.server.try_cli(&["destination", "test", "stick"]).await.ok()?;
        (tried.code == Some(0)).then_some(tried.stdout)
    });
    let said = found.await.unwrap();
    assert!(
        said.contains(&format!("the disk `{LABEL}` is plugged in and mounted")),
        "{said}"
    );
    until_let_go(&lab).await;
    watch.lap("disk plugged in, found, tried and let go of");

    let ran = lab.server.try_cli(&["backup", "run", "Stick"]).await.unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    until_let_go(&lab).await;
    watch.lap("backup with its copy on the disk, let go of");
    let stored = lab.server.archives().await.unwrap();
    let archive = stored[0].archive.clone().unwrap();

    vm.order("device_del stick").await.unwrap();
    let gone = until("the disk to be gone", SEEN, async || {
        let tried = lab.server.try_cli(&["destination", "test", "stick"]).await.ok()?;
        (tried.code == Some(1)).then_some(())
    });
    gone.await.unwrap();
    is_missed(&lab, &["backup", "run", "Stick"]).await;
    watch.lap("disk unplugged, and missed");

    opens(&lab, &vm, &stick, &archive.file_name).await;
    vm.power_button().await.unwrap();
}

/// A small central, and a configuration whose copies go to the disk.
async fn central(lab: &Scratch) {
    let sample = Sample::at(lab.data().join("central"), 4_000_000);
    sample.make(|_, _| ()).await.unwrap();
    let profile = lab.data().join("central.toml");
    write(&profile, sample.profile()).unwrap();
    let profile = profile.display().to_string();
    for words in [
        &["central", "add", &profile, "--satellite", SATELLITE][..],
        // Only disks on USB count: this one is on USB.
        &["destination", "add", "stick", "usb", "--label", LABEL],
        &[
            "backup",
            "config",
            "create",
            "Stick",
            "--central",
            "sample",
            "--destination",
            "stick",
            "--then",
            "save",
        ],
    ] {
        lab.server.cli(words).await.unwrap();
    }
}

/// What needs the disk says that it is not there.
async fn is_missed(lab: &Scratch, words: &[&str]) {
    let missed = lab.server.try_cli(words).await.unwrap();
    assert_ne!(missed.code, Some(0), "{missed:?}");
    let said = format!("{}{}", missed.stdout, missed.stderr);
    assert!(
        said.contains(&format!("the disk `{LABEL}` is not plugged in")),
        "{said}"
    );
}

/// Waits until every mount of the disk has ended.
async fn until_let_go(lab: &Scratch) {
    let gone = until("the disk to be let go of", SEEN, async || {
        let lines = log(lab, "system").await;
        let count = |word: &str| lines.lines().filter(|line| line.contains(word)).count();
        let (held, left) = (
            count("Finished satellite-disk@"),
            count("Stopped satellite-disk@"),
        );
        (held > 0 && held == left).then_some(())
    });
    gone.await.unwrap();
}

/// The archive lies on the disk, and `tar` reads it.
async fn opens(lab: &Scratch, vm: &Vm, stick: &str, name: &str) {
    let to = lab.data().join(name).display().to_string();
    let from = format!("::/starface-backup/Stick/{name}");
    vm.tool(&["mcopy", "-i", stick, &from, &to]).await.unwrap();
    let mut list = command("tar");
    list.args(["--zstd", "-tf", &to]);
    let names = stdout_of(list, DEADLINE).await.unwrap();
    assert!(names.starts_with("manifest.json\n"), "{names}");
    assert!(
        names.contains("data/core/") && names.trim_end().ends_with("checksums.json"),
        "{names}"
    );
}
