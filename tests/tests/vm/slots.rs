//! The two slots of a machine: a damaged one is given up, a sound one is kept.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::command::{command, stdout_of};
use e2e::scratch::Scratch;
use e2e::vm::{BOOT_LIMIT, Vm};
use e2e::wait::until;

use super::{SEEN, Watch, again, factory_reset, fingerprint, started};

const BUILD: Duration = Duration::from_mins(20);

/// The kernel images on the loader's partition, seen from outside, also while the machine runs.
pub(crate) async fn entries(vm: &Vm) -> Vec<String> {
    let (input, output) = (
        format!("if={}", vm.file("disk.qcow2")),
        format!("of={}", vm.file("loader.raw")),
    );
    let begin = ["qemu-img", "dd", "-U", "-f", "qcow2", "-O", "raw"];
    vm.tool(&[&begin[..], &["bs=1M", "count=129", &input, &output]].concat())
        .await
        .unwrap();
    let partition = format!("{}@@1M", vm.file("loader.raw"));
    let said = vm
        .tool(&["mdir", "-b", "-i", &partition, "::/EFI/Linux"])
        .await
        .unwrap_or_default();
    let mut names: Vec<String> = said
        .lines()
        .filter_map(|line| line.rsplit('/').next())
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

/// Waits until the loader's partition has this kernel image: a start was found good, or was counted.
pub(crate) async fn has_entry(vm: &Vm, name: &str) {
    let mut last = Vec::new();
    let found = until("the loader's partition to say so", SEEN, async || {
        last = entries(vm).await;
        last.iter().any(|entry| entry == name).then_some(())
    });
    assert!(found.await.is_ok(), "no {name} in {last:?}");
}

/// Another version of the image.
pub(crate) struct Other {
    pub(crate) dir: PathBuf,
    version: &'static str,
}

impl Other {
    /// With `bridge` in it.
    pub(crate) async fn new(lab: &Scratch, version: &'static str, bridge: &Path) -> Self {
        let mut build = command(lab.release.top().join("image/build-image"));
        build.arg("--bridge").arg(bridge);
        build.arg("--trust").arg(lab.release.trust().await.unwrap());
        build.args(["--version", version, "--formats", "", "--lock", "report"]);
        let said = stdout_of(build, BUILD).await.unwrap();
        let dir = PathBuf::from(said.lines().last().unwrap());
        Self { dir, version }
    }

    /// Puts it into slot B of a machine that is off, as an update does: the loader will try it so often.
    async fn put(&self, vm: &Vm, tries: u32, is_damaged: bool) {
        let version = self.version;
        let (disk, raw) = (vm.file("disk.qcow2"), vm.file("disk.raw"));
        vm.tool(&["qemu-img", "convert", "-O", "raw", &disk, &raw])
            .await
            .unwrap();
        let root = self.dir.join(format!("satellite-{version}.root"));
        let kernel = self.dir.join(format!("satellite-{version}.efi"));
        let (kernel, entry) = (
            kernel.display().to_string(),
            format!("::/EFI/Linux/satellite_{version}+{tries}.efi"),
        );
        let partition = format!("{raw}@@1M");
        let _ = vm
            .tool(&["mdel", "-i", &partition, "::/EFI/Linux/satellite_9*"])
            .await;
        vm.tool(&["mcopy", "-i", &partition, &kernel, &entry])
            .await
            .unwrap();
        let mut bytes = std::fs::read(root).unwrap();
        if is_damaged {
            // One bit of the first block: dm-verity must not let it pass.
            bytes[1024] ^= 1;
        }
        let label = std::fs::read_to_string(self.dir.join("slot")).unwrap();
        vm.tool(&["sfdisk", "--quiet", "--part-label", &raw, "3", label.trim()])
            .await
            .unwrap();
        let mut slot = std::fs::File::options().write(true).open(&raw).unwrap();
        slot.seek(SeekFrom::Start((1 + 128 + 256) << 20)).unwrap();
        slot.write_all(&bytes).unwrap();
        drop(slot);
        vm.tool(&["qemu-img", "convert", "-O", "qcow2", &raw, &disk])
            .await
            .unwrap();
    }
}

/// A bridge that makes the machine ready and shows the menu, and has no daemon.
fn without_daemon(lab: &Scratch) -> PathBuf {
    let mut bytes = std::fs::read(lab.release.bridge_of_images()).unwrap();
    let (name, other) = (b"daemon", b"daem0n");
    let places: Vec<usize> = (0..bytes.len() - name.len())
        .filter(|at| bytes[*at..].starts_with(name))
        .collect();
    for at in places {
        bytes[at..at + name.len()].copy_from_slice(other);
    }
    let path = lab.data().join("satellite-bridge");
    e2e::network::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
#[ignore = "make test-vm: boots a machine six times"]
async fn a_slot_that_does_not_start_is_given_up_for_the_one_before_and_one_that_does_is_kept() {
    let lab = Scratch::new().await.unwrap();
    let vm = started(&lab).await;
    let before = fingerprint(&vm).await;
    let shipped = format!("satellite_{}.efi", env!("CARGO_PKG_VERSION"));
    has_entry(&vm, &shipped).await;
    vm.power_button().await.unwrap();

    let other = Other::new(&lab, "9.9.9", &lab.release.bridge_of_images()).await;
    other.put(&vm, 3, true).await;
    let mut watch = Watch::start();
    vm.start(&[]).await.unwrap();
    vm.console().shows("cannot start", BOOT_LIMIT).await.unwrap();
    vm.menu().await.unwrap();
    watch.lap("a damaged slot, three times, then the one before");
    assert_eq!(fingerprint(&vm).await, before);
    has_entry(&vm, "satellite_9.9.9+0-3.efi").await;
    vm.power_button().await.unwrap();

    other.put(&vm, 3, false).await;
    again(&vm, "first start of the other slot").await;
    assert_eq!(fingerprint(&vm).await, before);
    has_entry(&vm, "satellite_9.9.9.efi").await;
    vm.power_button().await.unwrap();
}

#[tokio::test]
#[ignore = "make test-vm: boots a machine five times"]
async fn a_factory_reset_brings_back_the_system_that_the_machine_came_with() {
    let lab = Scratch::new().await.unwrap();
    let vm = started(&lab).await;
    let before = fingerprint(&vm).await;
    let shipped = format!("satellite_{}.efi", env!("CARGO_PKG_VERSION"));
    has_entry(&vm, &shipped).await;
    vm.power_button().await.unwrap();
    let other = Other::new(&lab, "9.9.9", &lab.release.bridge_of_images()).await;
    other.put(&vm, 3, false).await;
    again(&vm, "first start of the other slot").await;
    has_entry(&vm, "satellite_9.9.9.efi").await;

    let mut watch = Watch::start();
    factory_reset(&vm).await;
    // The other system erases the data, and has the shipped one started; that one is good once it has come up.
    has_entry(&vm, "satellite_9.9.9+0-1.efi").await;
    has_entry(&vm, &shipped).await;
    vm.menu().await.unwrap();
    watch.lap("factory reset to the menu of the shipped system");
    assert_ne!(fingerprint(&vm).await, before, "the data was not erased");
    vm.power_button().await.unwrap();
}

#[tokio::test]
#[ignore = "make test-vm: boots a machine three times, and waits five minutes for a bridge that never comes"]
async fn a_slot_whose_bridge_does_not_come_up_is_given_up_for_the_one_before() {
    let lab = Scratch::new().await.unwrap();
    let vm = started(&lab).await;
    let before = fingerprint(&vm).await;
    let shipped = format!("satellite_{}.efi", env!("CARGO_PKG_VERSION"));
    has_entry(&vm, &shipped).await;
    vm.power_button().await.unwrap();

    let other = Other::new(&lab, "9.9.8", &without_daemon(&lab)).await;
    // Its last try: each takes five minutes.
    other.put(&vm, 1, false).await;
    let mut watch = Watch::start();
    vm.start(&[]).await.unwrap();
    vm.console()
        .shows("The bridge does not answer", BOOT_LIMIT)
        .await
        .unwrap();
    watch.lap("a slot without a daemon, to its menu");
    let back = until("the slot before", BOOT_LIMIT, async || {
        let screen = vm.console().capture().await.ok()?;
        (screen.contains("Enter: menu") && !screen.contains("does not answer")).then_some(())
    });
    back.await.unwrap();
    watch.lap("until the slot before had its menu");
    assert_eq!(fingerprint(&vm).await, before);
    has_entry(&vm, "satellite_9.9.8+0-1.efi").await;
    vm.power_button().await.unwrap();
}
