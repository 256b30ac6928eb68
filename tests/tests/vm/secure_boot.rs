//! Secure Boot with keys of one's own: firmware without keys takes them from the image, and then starts nothing else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::command::{command, stdout_of};
use e2e::scratch::Scratch;
use e2e::vm::{BOOT_LIMIT, Firmware, Vm};

use super::slots::has_entry;
use super::{Watch, with_end};

const BUILD: Duration = Duration::from_mins(20);
const VERSION: &str = "1.0.1";

/// Keys as `docs/image.md` says, and an image that is signed with them.
async fn signed_image(lab: &Scratch) -> PathBuf {
    let top = lab.release.top();
    let tools = stdout_of(command(top.join("image/build-tools")), BUILD)
        .await
        .unwrap();
    let keys = lab.data().join("keys");
    std::fs::create_dir(&keys).unwrap();
    let mut openssl = command(top.join("image/in-tools"));
    openssl.current_dir(&keys).arg(tools.lines().last().unwrap());
    openssl.args([
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650",
    ]);
    openssl.args([
        "-subj",
        "/CN=Keys of a test/",
        "-keyout",
        "db.key",
        "-out",
        "db.crt",
    ]);
    stdout_of(openssl, BUILD).await.unwrap();
    let mut build = command(top.join("image/build-image"));
    build.arg("--bridge").arg(lab.release.bridge_of_images());
    build.arg("--trust").arg(lab.release.trust().await.unwrap());
    build
        .arg("--out")
        .arg(top.join("target/image"))
        .arg("--secure-boot")
        .arg(&keys);
    build.args(["--version", VERSION, "--formats", "qcow2", "--lock", "report"]);
    let said = stdout_of(build, BUILD).await.unwrap();
    with_end(Path::new(said.lines().last().unwrap()), "qcow2")
}

/// The first part of the disk, with the loader's partition, as a file of its own.
async fn taken_out(vm: &Vm) -> String {
    let (disk, raw) = (vm.file("disk.qcow2"), vm.file("disk.raw"));
    vm.tool(&["qemu-img", "convert", "-O", "raw", &disk, &raw])
        .await
        .unwrap();
    raw
}

#[tokio::test]
#[ignore = "make test-vm: builds an image and boots it three times"]
async fn firmware_takes_the_keys_of_the_image_and_starts_nothing_else_from_then_on() {
    let lab = Scratch::new().await.unwrap();
    let image = signed_image(&lab).await;
    let vm = Vm::new(&lab, 1, &image).await.unwrap().with(Firmware::SecureBoot);
    let mut watch = Watch::start();
    // The loader hands the keys over and restarts; what comes then is checked.
    vm.start(&[]).await.unwrap();
    vm.menu().await.unwrap();
    watch.lap("keys taken, and first start");
    let name = format!("satellite_{VERSION}.efi");
    has_entry(&vm, &name).await;
    vm.power_button().await.unwrap();

    // A kernel image without its signature is not started.
    let raw = taken_out(&vm).await;
    let partition = format!("{raw}@@1M");
    let (entry, kernel) = (format!("::/EFI/Linux/{name}"), vm.file("kernel.efi"));
    vm.tool(&["mcopy", "-n", "-i", &partition, &entry, &kernel])
        .await
        .unwrap();
    let mut bytes = std::fs::read(&kernel).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    e2e::network::write(Path::new(&kernel), bytes).unwrap();
    vm.tool(&["mcopy", "-o", "-i", &partition, &kernel, &entry])
        .await
        .unwrap();
    let disk = vm.file("disk.qcow2");
    vm.tool(&["qemu-img", "convert", "-O", "qcow2", &raw, &disk])
        .await
        .unwrap();
    vm.start(&[]).await.unwrap();
    let refused = vm.console().shows("denied", BOOT_LIMIT).await.unwrap();
    println!("{}", refused.trim());
    vm.power_cut().await.unwrap();
}
