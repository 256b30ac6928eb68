//! What a machine has and a container has not: a video console with a keyboard, keys that ask the kernel for something, and
//! disks on USB.

use std::path::Path;
use std::time::Duration;

use e2e::command::run;
use e2e::console;
use e2e::scratch::Scratch;
use e2e::vm::Vm;
use e2e::wait::until;

use super::{SEEN, Watch, fingerprint, image, type_text, usb_disk};

/// What one key stroke may take to be answered.
const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
#[ignore = "make test-vm: boots a machine"]
async fn the_keyboard_has_the_menu_and_nothing_else_and_a_support_bundle_goes_to_a_usb_disk() {
    let lab = Scratch::new().await.unwrap();
    let vm = Vm::new(&lab, 1, &image(&lab).await).await.unwrap();
    // What a hypervisor adds to the kernel's command line opens no shell; whatever makes the machine restart ends QEMU.
    let table = "type=11,value=io.systemd.stub.kernel-cmdline-extra=systemd.debug_shell=ttyS1 \
                 systemd.unit=rescue.target init=/bin/sh";
    // Nor do the rules for devices that it may hand over.
    let rule = "type=11,value=io.systemd.credential:udev.rules.99-shell=KERNEL==\"tty[0-9]*\",, \
                RUN+=\"/bin/sh -c 'echo a rule ran >/dev/ttyS1'\"";
    let (second, shell) = (format!("file:{}", vm.file("shell")), vm.file("shell"));
    let options = [
        "-no-reboot",
        "-smbios",
        table,
        "-smbios",
        rule,
        "-serial",
        &second,
    ];
    vm.start(&options).await.unwrap();
    vm.menu().await.unwrap();
    let before = fingerprint(&vm).await;
    kernel_keys_do_nothing(&vm).await;
    assert_eq!(fingerprint(&vm).await, before);
    the_video_console_is_the_menu(&vm).await;
    support_bundle(&vm, &lab).await;
    the_clock_is_set(&vm).await;
    assert!(vm.pid().is_some(), "the machine restarted");
    let said = std::fs::read_to_string(&shell).unwrap();
    // The firmware names what it starts on all lines; nothing comes after that.
    let (_, after) = said.rsplit_once("BdsDxe: starting").unwrap();
    let after: Vec<&str> = after
        .lines()
        .skip(1)
        .filter(|line| !line.trim().is_empty())
        .collect();
    assert!(
        after.is_empty(),
        "something has the second serial line: {after:?}"
    );
    vm.power_button().await.unwrap();
}

/// A break on the serial line and the key beside Print make the kernel listen for one more; other keys switch terminals,
/// or restart the machine.
async fn kernel_keys_do_nothing(vm: &Vm) {
    for key in ["b", "o", "k", "e", "i"] {
        vm.order("chardev-send-break serial").await.unwrap();
        vm.console().send_keys(&[key]).await.unwrap();
        vm.order(&format!("sendkey alt-sysrq-{key}")).await.unwrap();
    }
    for _ in 0..8 {
        vm.order("sendkey ctrl-alt-delete").await.unwrap();
    }
    for keys in ["ctrl-alt-f2", "alt-f3", "ctrl-c", "ctrl-z", "ctrl-backslash"] {
        vm.order(&format!("sendkey {keys}")).await.unwrap();
    }
    for keys in ["C-c", "C-z", "C-\\"] {
        vm.console().send_keys(&[keys]).await.unwrap();
    }
    console::home(&vm.console()).await.unwrap();
    assert!(vm.pid().is_some(), "a key restarted the machine");
}

/// A code that the serial line shows is made invalid at the keyboard.
async fn the_video_console_is_the_menu(vm: &Vm) {
    let code = console::pairing_code(&vm.console()).await.unwrap();
    // To the status page from wherever the keys above have led, into the menu, its first entry, the second way.
    for key in ["esc", "esc", "ret", "ret", "down", "ret"] {
        vm.order(&format!("sendkey {key}")).await.unwrap();
        // An Escape is a key only after a moment of silence, and each page takes its time.
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
    let gone = until("the code to be gone", SOON, async || {
        let screen = vm.console().capture().await.ok()?;
        (screen.contains("Enter: menu") && !screen.contains(&code)).then_some(())
    });
    gone.await.unwrap();
}

/// By a person: no time server is to be had here.
async fn the_clock_is_set(vm: &Vm) {
    let console = vm.console();
    console::open(&console, "Date and time").await.unwrap();
    console
        .shows("does not follow a time server", SOON)
        .await
        .unwrap();
    console.send_keys(&["DC"]).await.unwrap();
    type_text(vm, "2031-02-30").await;
    console.shows("This is no date", SOON).await.unwrap();
    console.send_keys(&["DC"]).await.unwrap();
    type_text(vm, "2031-02-03").await;
    console.send_keys(&["Down", "DC"]).await.unwrap();
    type_text(vm, "04:05").await;
    console.send_keys(&["Down", "Enter"]).await.unwrap();
    console.shows("Done.", SOON).await.unwrap();
    console::home(&console).await.unwrap();
    console.shows("2031-02-03 04:0", SOON).await.unwrap();
}

/// What `ss -tuln` says on the machine itself: the bridge, and the client halves of DHCP.
fn only_the_bridge_listens(sockets: &str) {
    let ports: Vec<&str> = sockets
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(4)?.rsplit(':').next())
        .collect();
    assert!(ports.contains(&"7640"), "{sockets}");
    let others = ports.iter().filter(|port| !["7640", "68", "546"].contains(port));
    assert_eq!(others.count(), 0, "{sockets}");
}

async fn support_bundle(vm: &Vm, lab: &Scratch) {
    let stick = usb_disk(vm).await;
    let mut watch = Watch::start();
    // The kernel takes a moment to find it.
    let found = until("the disk in the list", SEEN, async || {
        console::open(&vm.console(), "Support bundle").await.ok()?;
        let listed = vm.console().shows("QEMU HARDDISK", Duration::from_secs(10)).await;
        listed.ok()
    });
    found.await.unwrap();
    vm.console().send_keys(&["Enter"]).await.unwrap();
    let written = vm.console().shows("Written: support-", SEEN).await.unwrap();
    watch.lap("support bundle to a USB disk");
    assert!(written.contains("unplugged"), "{written}");
    vm.order("device_del stick").await.unwrap();

    let listed = vm.tool(&["mdir", "-b", "-i", &stick, "::/"]).await.unwrap();
    let names: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.rsplit('/').next())
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let (from, to) = (format!("::/{}", names[0]), lab.data().join("bundle.tar.zst"));
    let to = to.display().to_string();
    vm.tool(&["mcopy", "-i", &stick, &from, &to]).await.unwrap();
    let directory = lab.data().join("bundle");
    std::fs::create_dir(&directory).unwrap();
    let into = directory.display().to_string();
    run(
        "tar",
        &["--zstd", "--strip-components=1", "-C", &into, "-xf", &to],
    )
    .await
    .unwrap();
    let read = |name: &str| std::fs::read_to_string(Path::new(&into).join(name)).unwrap_or_default();
    assert!(read("status.json").contains("\"is_paired\": false"));
    only_the_bridge_listens(&read("machine/sockets.txt"));
    assert!(read("logs/kernel.log").contains("Linux version"));
    assert!(!read("logs/bridge.log").is_empty());
    let secret = run("grep", &["-rl", "PRIVATE KEY", &into]).await;
    assert!(secret.is_err(), "a key is in {secret:?}");
}
