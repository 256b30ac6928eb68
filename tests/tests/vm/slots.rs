//! The two slots of a machine: a damaged one is given up, a sound one is kept.

use std::io::{Seek as _, SeekFrom, Write as _};

use e2e::scratch::Scratch;
use e2e::vm::{BOOT_LIMIT, Vm};
use e2e::wait::until;

use super::{SEEN, Watch, again, fingerprint, started};

/// The kernel images on the loader's partition, seen from outside, also while the machine runs.
async fn entries(vm: &Vm) -> Vec<String> {
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
async fn has_entry(vm: &Vm, name: &str) {
    let mut last = Vec::new();
    let found = until("the loader's partition to say so", SEEN, async || {
        last = entries(vm).await;
        last.iter().any(|entry| entry == name).then_some(())
    });
    assert!(found.await.is_ok(), "no {name} in {last:?}");
}

/// Puts another version into slot B of a machine that is off, as an update does.
async fn put_into_slot_b(vm: &Vm, lab: &Scratch, damaged: bool) {
    let dir = lab.release.image_of("9.9.9", "", "report").await.unwrap();
    let (disk, raw) = (vm.file("disk.qcow2"), vm.file("disk.raw"));
    vm.tool(&["qemu-img", "convert", "-O", "raw", &disk, &raw])
        .await
        .unwrap();
    let root = dir.join("satellite-9.9.9.root");
    let kernel = dir.join("satellite-9.9.9.efi").display().to_string();
    let partition = format!("{raw}@@1M");
    let _ = vm
        .tool(&["mdel", "-i", &partition, "::/EFI/Linux/satellite_9*"])
        .await;
    vm.tool(&[
        "mcopy",
        "-i",
        &partition,
        &kernel,
        "::/EFI/Linux/satellite_9.9.9+3.efi",
    ])
    .await
    .unwrap();
    let mut bytes = std::fs::read(root).unwrap();
    if damaged {
        // One bit of the first block: dm-verity must not let it pass.
        bytes[1024] ^= 1;
    }
    let label = std::fs::read_to_string(dir.join("slot")).unwrap();
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

#[tokio::test]
#[ignore = "make test-vm: boots a machine six times"]
async fn a_slot_that_does_not_start_is_given_up_for_the_one_before_and_one_that_does_is_kept() {
    let lab = Scratch::new().await.unwrap();
    let vm = started(&lab).await;
    let before = fingerprint(&vm).await;
    let shipped = format!("satellite_{}.efi", env!("CARGO_PKG_VERSION"));
    has_entry(&vm, &shipped).await;
    vm.power_button().await.unwrap();

    put_into_slot_b(&vm, &lab, true).await;
    let mut watch = Watch::start();
    vm.start(&[]).await.unwrap();
    vm.console().shows("cannot start", BOOT_LIMIT).await.unwrap();
    vm.menu().await.unwrap();
    watch.lap("a damaged slot, three times, then the one before");
    assert_eq!(fingerprint(&vm).await, before);
    has_entry(&vm, "satellite_9.9.9+0-3.efi").await;
    vm.power_button().await.unwrap();

    put_into_slot_b(&vm, &lab, false).await;
    again(&vm, "first start of the other slot").await;
    assert_eq!(fingerprint(&vm).await, before);
    has_entry(&vm, "satellite_9.9.9.efi").await;
    vm.power_button().await.unwrap();
}
