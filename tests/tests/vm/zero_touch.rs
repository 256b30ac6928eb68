//! Join tokens by all the ways in which a hypervisor can hand them over: nobody is at the console.

use std::path::Path;

use e2e::lab::SATELLITE;
use e2e::manager::WORKLOAD;
use e2e::network::{SERVER, write};
use e2e::scratch::Scratch;
use e2e::vm::{BOOT_LIMIT, Vm};

use super::{Watch, image};

async fn token(lab: &Scratch, name: &str, options: &[&str]) -> String {
    let server = SERVER.to_string();
    let words = [
        "satellite",
        "token",
        "create",
        "--server",
        &server,
        "--name",
        name,
        "--output",
        "json",
    ];
    let made = lab.server.cli(&[&words[..], options].concat()).await.unwrap();
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    made["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
#[ignore = "make test-vm: boots a machine"]
async fn a_token_in_the_firmwares_tables_commissions_a_machine_with_nobody_at_its_console() {
    let lab = Scratch::new().await.unwrap();
    let vm = Vm::new(&lab, 1, &image(&lab).await).await.unwrap();
    lab.serve().await.unwrap();
    lab.add_bundle().await.unwrap();
    let token = token(&lab, SATELLITE, &[]).await;
    let table = format!("type=11,value=io.systemd.credential:satellite.join-token={token}");
    let mut watch = Watch::start();
    vm.start(&["-smbios", &table]).await.unwrap();
    let satellite = lab.server.converged(SATELLITE, BOOT_LIMIT).await.unwrap();
    watch.lap("power on to commissioned, by SMBIOS type 11");
    let workloads = satellite.observed.unwrap().workloads;
    assert_eq!(workloads[0].name, WORKLOAD);
}

#[tokio::test]
#[ignore = "make test-vm: boots a machine"]
async fn what_vm_create_prints_starts_a_machine_that_joins() {
    let lab = Scratch::new().await.unwrap();
    let image = image(&lab).await.display().to_string();
    let vm = Vm::new(&lab, 1, Path::new(&image)).await.unwrap();
    lab.serve().await.unwrap();
    let (server, to) = (SERVER.to_string(), vm.file("made"));
    let words = [
        "satellite",
        "vm",
        "create",
        "--server",
        &server,
        "--name",
        SATELLITE,
    ];
    let options = ["--bare", "--image", &image, "--to", &to, "--output", "json"];
    let made = lab.server.cli(&[words, options].concat()).await.unwrap();
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let lines = made["commands"].as_array().unwrap();
    // The machine goes with the test, as the others do.
    std::os::unix::fs::symlink(format!("{to}/qemu.pid"), vm.file("pid")).unwrap();
    let mut watch = Watch::start();
    for line in lines {
        let line = line.as_str().unwrap();
        assert!(!line.contains("SJ1"), "the token is in a command line");
        // This host has a LAN of its own, and no processor of its own for guests.
        let line = line
            .replace("accel=kvm:tcg", "accel=tcg")
            .replace("bridge,id=lan,br=br0", &vm.socket());
        vm.at_host(&line).await.unwrap();
    }
    assert!(vm.pid().is_some(), "QEMU does not run");
    lab.server.converged(SATELLITE, BOOT_LIMIT).await.unwrap();
    watch.lap("power on to paired, by what `satellite vm create` prints");
    vm.power_cut().await.unwrap();
}

/// Joins a machine as `name`, started with what `options` makes of its token, and answers what its server sees of it.
async fn joins(lab: &Scratch, number: u8, way: &str, options: impl AsyncFn(&Vm, &str) -> Vec<String>) {
    let vm = Vm::new(lab, number, &image(lab).await).await.unwrap();
    let token = token(lab, way, &["--bare"]).await;
    let options = options(&vm, &token).await;
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut watch = Watch::start();
    vm.start(&options).await.unwrap();
    lab.server.converged(way, BOOT_LIMIT).await.unwrap();
    watch.lap(&format!("power on to paired, by {way}"));
    vm.power_cut().await.unwrap();
}

/// A CD with these files, as hypervisors and their tools make one.
async fn disc(vm: &Vm, label: &str, files: &[(&str, String)]) -> Vec<String> {
    let (dir, iso) = (vm.file("disc"), vm.file("disc.iso"));
    for (name, text) in files {
        write(&Path::new(&dir).join(name), text).unwrap();
    }
    vm.tool(&["genisoimage", "-quiet", "-J", "-r", "-V", label, "-o", &iso, &dir])
        .await
        .unwrap();
    [
        "-drive",
        &format!("file={iso},media=cdrom,readonly=on,format=raw"),
    ]
    .map(str::to_owned)
    .to_vec()
}

#[tokio::test]
#[ignore = "make test-vm: boots three machines"]
async fn a_token_comes_by_fw_cfg_by_a_nocloud_seed_and_by_an_ovf_environment() {
    let lab = Scratch::new().await.unwrap();
    lab.lan.switch("tap0").await.unwrap();
    lab.serve().await.unwrap();
    joins(&lab, 1, "fw-cfg", async |vm, token| {
        let file = vm.file("token");
        write(Path::new(&file), token).unwrap();
        let name = "opt/io.systemd.credentials/satellite.join-token";
        ["-fw_cfg", &format!("name={name},file={file}")]
            .map(str::to_owned)
            .to_vec()
    })
    .await;
    joins(&lab, 2, "nocloud", async |vm, token| {
        let seed = format!("#cloud-config\nsatellite.join-token: {token}\n");
        let meta = "instance-id: satellite\n".to_owned();
        disc(vm, "cidata", &[("user-data", seed), ("meta-data", meta)]).await
    })
    .await;
    joins(&lab, 3, "ovf", async |vm, token| {
        // The environment as `satellite vm create` writes it, on the CD that VMware and others attach.
        let environment = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Environment \
             xmlns=\"http://schemas.dmtf.org/ovf/environment/1\" \
             xmlns:oe=\"http://schemas.dmtf.org/ovf/environment/1\" oe:id=\"\">\n  <PropertySection>\n    \
             <Property oe:key=\"satellite.join-token\" oe:value=\"{token}\"/>\n  </PropertySection>\n</Environment>\n"
        );
        disc(vm, "OVF ENV", &[("ovf-env.xml", environment)]).await
    })
    .await;
}
