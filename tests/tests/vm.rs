//! The machine image as built, started by firmware in QEMU: what a person sees on its serial line, and what its server
//! sees of it. `make test-vm` runs it: under emulation each takes minutes.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::console;
use e2e::lab::SATELLITE;
use e2e::manager::WORKLOAD;
use e2e::network::SERVER;
use e2e::scratch::Scratch;
use e2e::vm::{BOOT_LIMIT, Vm};
use e2e::wait::until;

/// What commissioning may take under emulation.
const COMMISSIONED: Duration = Duration::from_mins(10);
/// What the server may take to see that a satellite is there again, or not.
const SEEN: Duration = Duration::from_mins(5);

/// The image in the one format that these tests need.
async fn image(lab: &Scratch) -> PathBuf {
    let dir = lab.release.image("qcow2", "report").await.unwrap();
    let found = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    found
        .into_iter()
        .find(|path| path.extension().is_some_and(|kind| kind == "qcow2"))
        .unwrap()
}

/// Waits until the machine is on its way down, so that what is on its screen afterwards is of the next start.
async fn restarted(vm: &Vm, lab: &Scratch) {
    let gone = until("the satellite to be gone", SEEN, async || {
        let satellite = lab.server.satellite(SATELLITE).await?;
        let screen = vm.console().capture().await.unwrap_or_default();
        let firmware = screen.contains("BdsDxe") || !screen.contains("Satellite");
        (firmware || format!("{:?}", satellite.reachability()).contains("Unreachable")).then_some(())
    });
    gone.await.unwrap();
}

async fn pair(vm: &Vm, lab: &Scratch, name: &str) {
    let code = console::pairing_code(&vm.console()).await.unwrap();
    let address = vm.address().await.unwrap().to_string();
    lab.server.pair(&address, &code, name, &[]).await.unwrap();
}

fn fingerprint_on(screen: &str) -> Option<String> {
    let line = screen.lines().find(|line| line.contains("Fingerprint"))?;
    Some(line.split_once("Fingerprint")?.1.trim().to_owned()).filter(|text| !text.is_empty())
}

async fn fingerprint(vm: &Vm) -> String {
    console::home(&vm.console()).await.unwrap();
    until("the fingerprint", SEEN, async || {
        fingerprint_on(&vm.console().capture().await.ok()?)
    })
    .await
    .unwrap()
}

/// The whole life of a machine: first start, commissioning, USB disk, restart, factory reset, second commissioning.
#[tokio::test]
#[ignore = "make test-vm: boots a machine three times"]
async fn a_machine_is_commissioned_survives_a_restart_and_begins_anew_after_a_factory_reset() {
    let lab = Scratch::new().await.unwrap();
    let vm = Vm::new(&lab, 1, &image(&lab).await).await.unwrap();
    let begun = Instant::now();
    vm.start(&[]).await.unwrap();
    vm.menu().await.unwrap();
    println!("first start to the menu: {:.1} s", begun.elapsed().as_secs_f64());
    let before = fingerprint(&vm).await;

    lab.serve().await.unwrap();
    lab.add_bundle().await.unwrap();
    println!(
        "memory in use, not yet paired: {} MiB",
        vm.memory().await.unwrap() >> 20
    );
    pair(&vm, &lab, SATELLITE).await;
    lab.server.converged(SATELLITE, COMMISSIONED).await.unwrap();
    println!("commissioned after {:.1} s", begun.elapsed().as_secs_f64());

    usb_disk_is_seen(&vm, &lab).await;
    let system = ["satellite", "logs", SATELLITE, "system"];
    let log = lab.server.try_cli(&system).await.unwrap().stdout;
    for line in log.lines().filter(|line| line.contains("Startup finished")) {
        println!("{line}");
    }

    // A power cut, not a shutdown: what was confirmed is there.
    vm.power_cut().await.unwrap();
    let begun = Instant::now();
    vm.start(&[]).await.unwrap();
    vm.menu().await.unwrap();
    println!("start after a power cut: {:.1} s", begun.elapsed().as_secs_f64());
    lab.server.converged(SATELLITE, COMMISSIONED).await.unwrap();
    assert_eq!(fingerprint(&vm).await, before);

    console::open(&vm.console(), "Factory reset").await.unwrap();
    vm.console().shows("DELETE", SEEN).await.unwrap();
    type_word(&vm, "DELETE").await;
    restarted(&vm, &lab).await;
    vm.menu().await.unwrap();
    assert_ne!(
        fingerprint(&vm).await,
        before,
        "the identity survived a factory reset"
    );
    lab.server
        .cli(&["satellite", "forget", SATELLITE, "--yes"])
        .await
        .unwrap();
    pair(&vm, &lab, "s2").await;
    lab.server.converged("s2", COMMISSIONED).await.unwrap();

    vm.power_button().await.unwrap();
}

/// Letter by letter: tmux takes some words for names of keys.
async fn type_word(vm: &Vm, word: &str) {
    for letter in word.chars() {
        vm.console().send_keys(&[&letter.to_string()]).await.unwrap();
    }
    vm.console().send_keys(&["Enter"]).await.unwrap();
}

async fn usb_disk_is_seen(vm: &Vm, lab: &Scratch) {
    let stick = vm.file("stick.raw");
    std::fs::File::create(&stick).unwrap().set_len(64 << 20).unwrap();
    let said = vm
        .monitor(&format!("drive_add 0 if=none,id=stick,format=raw,file={stick}"))
        .await
        .unwrap();
    assert!(said.contains("OK"), "{said}");
    vm.order("device_add usb-storage,id=stick,drive=stick,bus=usb.0,removable=on")
        .await
        .unwrap();
    until("the USB disk in the kernel's log", SEEN, async || {
        let words = ["satellite", "logs", SATELLITE, "kernel"];
        let log = lab.server.try_cli(&words).await.ok()?.stdout;
        log.contains("Attached SCSI removable disk").then_some(())
    })
    .await
    .unwrap();
    vm.order("device_del stick").await.unwrap();
}

#[tokio::test]
#[ignore = "make test-vm: boots two machines"]
async fn two_machines_from_one_image_have_different_identities() {
    let lab = Scratch::new().await.unwrap();
    let image = image(&lab).await;
    let mut seen = Vec::new();
    for number in [1, 2] {
        let vm = Vm::new(&lab, number, &image).await.unwrap();
        vm.start(&[]).await.unwrap();
        vm.menu().await.unwrap();
        seen.push(fingerprint(&vm).await);
        vm.power_cut().await.unwrap();
    }
    assert_ne!(seen[0], seen[1]);
}

#[tokio::test]
#[ignore = "make test-vm: boots a machine three times"]
async fn a_data_partition_that_cannot_be_used_leads_to_the_rescue_page() {
    let lab = Scratch::new().await.unwrap();
    let vm = Vm::new(&lab, 1, &image(&lab).await).await.unwrap();
    vm.start(&[]).await.unwrap();
    vm.menu().await.unwrap();
    let before = fingerprint(&vm).await;
    vm.power_cut().await.unwrap();
    // Everything that e2fsck could begin with: the first 64 MiB, and all copies of the superblock.
    let disk = vm.file("disk.qcow2");
    for (offset, length) in [
        ("641M", "128M"),
        ("769M", "1200M"),
        ("1969M", "2000M"),
        ("3969M", "2000M"),
        ("5969M", "2000M"),
    ] {
        let write = format!("write -z {offset} {length}");
        vm.tool(&["qemu-io", "-f", "qcow2", "-c", &write, &disk])
            .await
            .unwrap();
    }
    vm.start(&[]).await.unwrap();
    let page = vm.console().shows("RESCUE", BOOT_LIMIT).await.unwrap();
    assert!(page.contains("damaged"), "{page}");
    // It waits, and whatever is typed that means nothing changes nothing.
    vm.console().send_keys(&["sh", "Enter"]).await.unwrap();
    vm.console().shows("3  Factory reset", SEEN).await.unwrap();
    vm.console().send_keys(&["3", "Enter"]).await.unwrap();
    vm.console().shows("Type DELETE", SEEN).await.unwrap();
    type_word(&vm, "DELETE").await;
    vm.menu().await.unwrap();
    assert_ne!(fingerprint(&vm).await, before);
}

#[tokio::test]
#[ignore = "make test-vm: boots a machine"]
async fn a_token_in_the_firmwares_tables_commissions_a_machine_with_nobody_at_its_console() {
    let lab = Scratch::new().await.unwrap();
    let vm = Vm::new(&lab, 1, &image(&lab).await).await.unwrap();
    lab.serve().await.unwrap();
    lab.add_bundle().await.unwrap();
    let server = SERVER.to_string();
    let words = [
        "satellite",
        "token",
        "create",
        "--server",
        &server,
        "--name",
        SATELLITE,
        "--output",
        "json",
    ];
    let made = lab.server.cli(&words).await.unwrap();
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let token = made["token"].as_str().unwrap();
    let table = format!("type=11,value=io.systemd.credential:satellite.join-token={token}");
    let begun = Instant::now();
    vm.start(&["-smbios", &table]).await.unwrap();
    lab.server.converged(SATELLITE, BOOT_LIMIT).await.unwrap();
    println!("power on to commissioned: {:.1} s", begun.elapsed().as_secs_f64());
}

#[tokio::test]
#[ignore = "make test-vm: boots a machine"]
async fn a_machine_that_goes_back_to_a_snapshot_is_commissioned_as_before() {
    let lab = Scratch::new().await.unwrap();
    let vm = Vm::new(&lab, 1, &image(&lab).await).await.unwrap();
    vm.start(&[]).await.unwrap();
    vm.menu().await.unwrap();
    lab.serve().await.unwrap();
    lab.add_bundle().await.unwrap();
    pair(&vm, &lab, SATELLITE).await;
    lab.server.converged(SATELLITE, COMMISSIONED).await.unwrap();
    vm.order("savevm commissioned").await.unwrap();
    // What happens after the snapshot is forgotten by the satellite, not by its server.
    lab.server
        .cli(&["workload", "stop", SATELLITE, WORKLOAD])
        .await
        .unwrap();
    let stopped = lab.server.converged(SATELLITE, COMMISSIONED).await.unwrap();
    assert_eq!(stopped.observed.unwrap().workloads.len(), 1);
    vm.order("loadvm commissioned").await.unwrap();
    let stopped = until("the workload to be stopped again", COMMISSIONED, async || {
        let satellite = lab
            .server
            .satellite(SATELLITE)
            .await
            .filter(|found| found.converged)?;
        let workloads = satellite.observed?.workloads;
        let state = workloads.first()?.state().as_str_name();
        state.ends_with("STOPPED").then_some(())
    });
    stopped.await.unwrap();
}

/// The kernel images on the loader's partition, from outside.
async fn entries(vm: &Vm, raw: &str) -> Vec<String> {
    let partition = format!("{raw}@@1M");
    let said = vm
        .tool(&["mdir", "-b", "-i", &partition, "::/EFI/Linux"])
        .await
        .unwrap();
    let mut names: Vec<String> = said
        .lines()
        .filter_map(|line| line.rsplit('/').next())
        .map(str::to_owned)
        .collect();
    names.sort();
    names
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

async fn entries_when_off(vm: &Vm) -> Vec<String> {
    let (disk, raw) = (vm.file("disk.qcow2"), vm.file("disk.raw"));
    vm.tool(&["qemu-img", "convert", "-O", "raw", &disk, &raw])
        .await
        .unwrap();
    entries(vm, &raw).await
}

#[tokio::test]
#[ignore = "make test-vm: boots a machine seven times"]
async fn a_slot_that_does_not_start_is_given_up_for_the_one_before_and_one_that_does_is_kept() {
    let lab = Scratch::new().await.unwrap();
    let vm = Vm::new(&lab, 1, &image(&lab).await).await.unwrap();
    vm.start(&[]).await.unwrap();
    vm.menu().await.unwrap();
    let before = fingerprint(&vm).await;
    // The power button comes after the start was found good.
    tokio::time::sleep(Duration::from_secs(30)).await;
    vm.power_button().await.unwrap();
    let first = entries_when_off(&vm).await;
    assert_eq!(first.len(), 1);
    assert!(
        !first[0].contains('+'),
        "the first start was not found good: {first:?}"
    );

    put_into_slot_b(&vm, &lab, true).await;
    vm.start(&[]).await.unwrap();
    vm.console().shows("cannot start", BOOT_LIMIT).await.unwrap();
    vm.menu().await.unwrap();
    assert_eq!(fingerprint(&vm).await, before);
    vm.power_button().await.unwrap();
    let given_up = entries_when_off(&vm).await;
    assert!(
        given_up.contains(&"satellite_9.9.9+0-3.efi".to_owned()),
        "{given_up:?}"
    );

    put_into_slot_b(&vm, &lab, false).await;
    vm.start(&[]).await.unwrap();
    vm.menu().await.unwrap();
    assert_eq!(fingerprint(&vm).await, before);
    tokio::time::sleep(Duration::from_secs(30)).await;
    vm.power_button().await.unwrap();
    let kept = entries_when_off(&vm).await;
    assert!(kept.contains(&"satellite_9.9.9.efi".to_owned()), "{kept:?}");
}
