//! The rescue page: where a damaged data partition leads, and whoever asks for it in time.

use std::time::Duration;

use e2e::scratch::Scratch;
use e2e::vm::{BOOT_LIMIT, Vm};

use super::{SEEN, Watch, fingerprint, image, started, type_text, type_word};

/// What one key stroke may take to be answered.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
#[ignore = "make test-vm: boots a machine three times"]
async fn a_data_partition_that_cannot_be_used_leads_to_the_rescue_page() {
    let lab = Scratch::new().await.unwrap();
    let vm = started(&lab).await;
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
    let mut watch = Watch::start();
    vm.start(&[]).await.unwrap();
    let page = vm.console().shows("RESCUE", BOOT_LIMIT).await.unwrap();
    watch.lap("start to the rescue page");
    assert!(page.contains("damaged"), "{page}");
    // It waits, and whatever is typed that means nothing changes nothing.
    vm.console().send_keys(&["sh", "Enter"]).await.unwrap();
    vm.console().shows("3  Factory reset", SEEN).await.unwrap();
    vm.console().send_keys(&["3", "Enter"]).await.unwrap();
    vm.console().shows("Type DELETE", SEEN).await.unwrap();
    type_word(&vm, "DELETE").await;
    vm.menu().await.unwrap();
    watch.lap("factory reset from the rescue page to the menu");
    assert_ne!(fingerprint(&vm).await, before);
}

#[tokio::test]
#[ignore = "make test-vm: boots a machine"]
async fn a_key_at_the_start_leads_to_the_rescue_page_which_speaks_four_languages() {
    let lab = Scratch::new().await.unwrap();
    let vm = Vm::new(&lab, 1, &image(&lab).await).await.unwrap();
    vm.start(&[]).await.unwrap();
    vm.console().shows("R: rescue", BOOT_LIMIT).await.unwrap();
    vm.console().send_keys(&["r"]).await.unwrap();
    let page = vm.console().shows("RESCUE", BOOT_LIMIT).await.unwrap();
    assert!(page.contains("was asked for"), "{page}");
    for title in ["RETTUNG", "SECOURS", "SOCCORSO", "RESCUE"] {
        type_word(&vm, "L").await;
        vm.console().shows(title, SOON).await.unwrap();
    }
    // Going back from a question changes nothing.
    type_word(&vm, "3").await;
    vm.console().shows("Type DELETE", SOON).await.unwrap();
    type_text(&vm, "delete").await;
    vm.console().send_keys(&["Enter"]).await.unwrap();
    vm.console().shows("1  Restart", SOON).await.unwrap();
    type_word(&vm, "2").await;
    vm.console().shows("Type FIX", SOON).await.unwrap();
    type_word(&vm, "FIX").await;
    // Nothing was wrong: the start goes on.
    vm.menu().await.unwrap();
}
