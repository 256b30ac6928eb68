//! The machine image as built, started by firmware in QEMU: what a person sees on its serial line, and what its server
//! sees of it. The short ones run with all tests, `make test-vm` runs all: under emulation each start takes a minute.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test, which says what everything took"
)]

mod hang;
mod image;
mod keys;
mod life;
mod network;
mod power;
mod rescue;
mod secure_boot;
mod slots;
mod system;
mod twins;
mod usb;
mod zero_touch;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::console;
use e2e::lab::SATELLITE;
use e2e::scratch::Scratch;
use e2e::vm::Vm;
use e2e::wait::until;
use satellite_proto::wire::management::v1::{FleetSatellite, Reachability};

/// What commissioning may take under emulation.
pub(crate) const COMMISSIONED: Duration = Duration::from_mins(10);
/// What the server may take to see that a satellite is there again, or not.
pub(crate) const SEEN: Duration = Duration::from_mins(5);

/// What a satellite says that was told so by its hypervisor.
pub(crate) const SET_BACK: &str = "The machine was set back to an earlier state";

/// The image in the one format that these tests need.
pub(crate) async fn image(lab: &Scratch) -> PathBuf {
    let dir = lab.release.image("qcow2", "report").await.unwrap();
    with_end(&dir, "qcow2")
}

/// The file of a directory that has this end.
pub(crate) fn with_end(dir: &std::path::Path, end: &str) -> PathBuf {
    let found = std::fs::read_dir(dir).unwrap();
    let mut paths = found.map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| path.extension().is_some_and(|kind| kind == end);
    paths
        .find(is_it)
        .unwrap_or_else(|| panic!("no {end} in {}", dir.display()))
}

/// Says how long something took.
#[derive(Debug)]
pub(crate) struct Watch(Instant);

impl Watch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn lap(&mut self, what: &str) {
        println!("{what}: {:.1} s", self.0.elapsed().as_secs_f64());
        self.0 = Instant::now();
    }
}

/// A machine with its menu on the serial line, on a disk as shipped.
pub(crate) async fn started(lab: &Scratch) -> Vm {
    let vm = Vm::new(lab, 1, &image(lab).await).await.unwrap();
    let mut watch = Watch::start();
    vm.start(&[]).await.unwrap();
    vm.menu().await.unwrap();
    watch.lap("first start to the menu");
    vm
}

/// Switches a machine on again that was off.
pub(crate) async fn again(vm: &Vm, what: &str) {
    let mut watch = Watch::start();
    vm.start(&[]).await.unwrap();
    vm.menu().await.unwrap();
    watch.lap(what);
}

/// Waits until the machine is on its way down, so that what is on its screen afterwards is of the next start.
pub(crate) async fn went_down(vm: &Vm) {
    until("the machine to go down", SEEN, async || {
        let screen = vm.console().capture().await.unwrap_or_default();
        (screen.contains("BdsDxe") || !screen.contains("Satellite")).then_some(())
    })
    .await
    .unwrap();
}

pub(crate) async fn pair(vm: &Vm, lab: &Scratch, name: &str, options: &[&str]) {
    let code = console::pairing_code(&vm.console()).await.unwrap();
    let address = vm.address().await.unwrap().to_string();
    lab.server.pair(&address, &code, name, options).await.unwrap();
}

/// Waits until the server knows the satellite to be like this.
pub(crate) async fn when(
    lab: &Scratch,
    what: &str,
    is_so: impl Fn(&FleetSatellite) -> bool,
) -> FleetSatellite {
    until(what, SEEN, async || {
        lab.server.satellite(SATELLITE).await.filter(|known| is_so(known))
    })
    .await
    .unwrap()
}

pub(crate) async fn is_reached(lab: &Scratch) -> FleetSatellite {
    when(lab, "the satellite to be reached", |known| {
        known.reachability() == Reachability::Reachable
    })
    .await
}

fn fingerprint_on(screen: &str) -> Option<String> {
    let line = screen.lines().find(|line| line.contains("Fingerprint"))?;
    Some(line.split_once("Fingerprint")?.1.trim().to_owned()).filter(|text| !text.is_empty())
}

pub(crate) async fn fingerprint(vm: &Vm) -> String {
    console::home(&vm.console()).await.unwrap();
    until("the fingerprint", SEEN, async || {
        fingerprint_on(&vm.console().capture().await.ok()?)
    })
    .await
    .unwrap()
}

/// Letter by letter: tmux takes some words for names of keys.
pub(crate) async fn type_text(vm: &Vm, text: &str) {
    for letter in text.chars() {
        vm.console().send_keys(&[&letter.to_string()]).await.unwrap();
    }
}

pub(crate) async fn type_word(vm: &Vm, word: &str) {
    type_text(vm, word).await;
    vm.console().send_keys(&["Enter"]).await.unwrap();
}

/// Asks for a factory reset at the console, and answers when the machine is on its way down.
pub(crate) async fn factory_reset(vm: &Vm) {
    console::open(&vm.console(), "Factory reset").await.unwrap();
    vm.console().shows("DELETE", SEEN).await.unwrap();
    type_word(vm, "DELETE").await;
    went_down(vm).await;
}

/// Lines of one of the satellite's logs, read over the server.
pub(crate) async fn log(lab: &Scratch, source: &str) -> String {
    let words = ["satellite", "logs", SATELLITE, source, "-n", "2000"];
    lab.server.try_cli(&words).await.unwrap().stdout
}

/// Plugs a USB disk in that a person has formatted, and answers its file.
pub(crate) async fn usb_disk(vm: &Vm) -> String {
    let stick = vm.file("stick.raw");
    std::fs::File::create(&stick).unwrap().set_len(64 << 20).unwrap();
    vm.tool(&["mkfs.vfat", "-n", "STICK", &stick]).await.unwrap();
    let drive = format!("drive_add 0 if=none,id=stick,format=raw,cache=writethrough,file={stick}");
    let said = vm.monitor(&drive).await.unwrap();
    assert!(said.contains("OK"), "{said}");
    vm.order("device_add usb-storage,id=stick,drive=stick,bus=usb.0,removable=on")
        .await
        .unwrap();
    stick
}
