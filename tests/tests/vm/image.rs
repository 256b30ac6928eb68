//! The files of an image: the same each time it is built, the same in all formats, of the packages that were accepted,
//! signed, and small.

use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::command::{command, finish, run, stdout_of};
use e2e::network::write;
use e2e::scratch::Scratch;

use super::{Watch, with_end};

/// What building everything from nothing may take.
const BUILD: Duration = Duration::from_mins(30);
/// What a download may have.
const MOST: u64 = 75 << 20;

fn builder(lab: &Scratch, trust: &Path, out: &Path) -> tokio::process::Command {
    let mut build = command(lab.release.top().join("image/build-image"));
    build.arg("--bridge").arg(lab.release.bridge_of_images());
    build.arg("--trust").arg(trust).arg("--out").arg(out);
    build.args(["--version", "1.0.0"]);
    build
}

async fn digests(dir: &Path, ends: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for end in ends {
        let file = with_end(dir, end).display().to_string();
        let sum = run("sha256sum", &[&file]).await.unwrap();
        found.push(format!("{end} {}", sum.split(' ').next().unwrap()));
    }
    found
}

#[tokio::test]
#[ignore = "make test-vm: builds the image twice from nothing"]
async fn an_image_that_is_built_again_from_nothing_is_the_same_bit_by_bit() {
    let lab = Scratch::new().await.unwrap();
    let trust = lab.release.trust().await.unwrap();
    let mut watch = Watch::start();
    let mut seen = Vec::new();
    for build in ["one", "other"] {
        // Nothing is shared: packages are fetched and unpacked, trees and disks are made anew.
        let out = lab.data().join(build);
        let mut image = builder(&lab, &trust, &out);
        image.args(["--formats", "raw,qcow2", "--lock", "report"]);
        let said = stdout_of(image, BUILD).await.unwrap();
        watch.lap("an image from nothing");
        let dir = PathBuf::from(said.lines().last().unwrap());
        seen.push(digests(&dir, &["raw", "qcow2", "root", "efi", "json"]).await);
        std::fs::remove_dir_all(&out).unwrap();
    }
    println!("{:#?}", seen[0]);
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
#[ignore = "make test-vm: builds the image"]
async fn an_image_is_small_and_signed_and_all_its_formats_hold_the_same_disk() {
    let lab = Scratch::new().await.unwrap();
    let mut watch = Watch::start();
    let dir = lab.release.image("raw,qcow2,ova,vhdx", "check").await.unwrap();
    watch.lap("an image in all formats");
    let top = lab.release.top().to_owned();
    let sizes = ["qcow2", "ova", "vhdx", "root", "efi"];
    for end in sizes {
        let size = with_end(&dir, end).metadata().unwrap().len();
        println!(
            "{end}: {:.1} MiB",
            f64::from(u32::try_from(size >> 10).unwrap()) / 1024.0
        );
    }
    let qcow2 = with_end(&dir, "qcow2").metadata().unwrap().len();
    assert!(qcow2 <= MOST, "qcow2 has {qcow2} bytes");

    // The signature is over the checksums, and these are of all files.
    let tools = stdout_of(command(top.join("image/build-tools")), BUILD)
        .await
        .unwrap();
    let tools = PathBuf::from(tools.lines().last().unwrap());
    let inside = |words: &[&str]| {
        let mut inside = command(top.join("image/in-tools"));
        inside.current_dir(&dir).arg(&tools).args(words);
        inside
    };
    let (public, other) = (
        lab.release.public().display().to_string(),
        lab.data().join("other"),
    );
    let verify = ["minisign", "-V", "-p", &public, "-x", "SHA256SUMS.minisig", "-m"];
    stdout_of(inside(&[&verify[..], &["SHA256SUMS"]].concat()), BUILD)
        .await
        .unwrap();
    write(&other, "changed").unwrap();
    let other = other.display().to_string();
    let changed = finish(inside(&[&verify[..], &[&other]].concat()), BUILD)
        .await
        .unwrap();
    assert_ne!(changed.code, Some(0));
    let mut check = command("sha256sum");
    check
        .current_dir(&dir)
        .args(["--check", "--strict", "SHA256SUMS"]);
    let checked = stdout_of(check, BUILD).await.unwrap();
    for end in ["raw:", "qcow2:", "ova:", "vhdx:", "spdx.json:", "root:", "efi:"] {
        assert!(checked.contains(end), "{end} has no checksum:\n{checked}");
    }

    says_what_is_in_it(&dir);
    let (root, tree) = (with_end(&dir, "root"), lab.data().join("root"));
    let extract = format!("--extract={}", tree.display());
    let root = root.display().to_string();
    stdout_of(inside(&["fsck.erofs", &extract, &root]), BUILD)
        .await
        .unwrap();
    holds_nothing_of_a_machine_and_all_that_one_needs(&tree);

    let compare = async |format: &str, other: &Path| {
        let (raw, other) = (with_end(&dir, "raw"), other.display().to_string());
        let raw = raw.display().to_string();
        let words = ["qemu-img", "compare", "-f", "raw", "-F", format, &raw, &other];
        let said = stdout_of(inside(&words), BUILD).await.unwrap();
        assert!(said.contains("identical"), "{format}: {said}");
    };
    compare("qcow2", &with_end(&dir, "qcow2")).await;
    compare("vhdx", &with_end(&dir, "vhdx")).await;
    // An OVA is a tar of descriptor, manifest and disk, and the manifest has the digests of the other two.
    let ova = with_end(&dir, "ova").display().to_string();
    let unpacked = lab.data().join("ova");
    std::fs::create_dir(&unpacked).unwrap();
    let to = unpacked.display().to_string();
    run("tar", &["-C", &to, "-xf", &ova]).await.unwrap();
    compare("vmdk", &with_end(&unpacked, "vmdk")).await;
    let manifest = std::fs::read_to_string(with_end(&unpacked, "mf")).unwrap();
    for end in ["ovf", "vmdk"] {
        let file = with_end(&unpacked, end);
        let sum = run("sha256sum", &[&file.display().to_string()]).await.unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let line = format!("SHA256({name})= {}", sum.split(' ').next().unwrap());
        assert!(manifest.contains(&line), "{manifest}");
    }
    watch.lap("compared");
}

/// No identity, no password, no shell, no mirror; the drivers of hypervisors and USB disks.
fn holds_nothing_of_a_machine_and_all_that_one_needs(root: &Path) {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    assert_eq!(read("etc/machine-id"), "");
    for absent in [
        "etc/ssh",
        "etc/apt",
        "usr/bin/apt-get",
        "usr/bin/login",
        "usr/sbin/sshd",
    ] {
        assert!(!root.join(absent).exists(), "{absent}");
    }
    assert_eq!(
        std::fs::read_dir(root.join("var")).unwrap().count(),
        0,
        "/var is not empty"
    );
    for line in read("etc/shadow").lines() {
        assert!(line.split(':').nth(1).unwrap().starts_with('!'), "{line}");
    }
    for line in read("etc/passwd").lines() {
        let shell = line.rsplit(':').next().unwrap();
        let is_none = ["/usr/sbin/nologin", "/bin/false", "/usr/bin/false", "/bin/sync"].contains(&shell);
        assert!(is_none, "{line}");
    }
    let modules = walkdir::WalkDir::new(root.join("usr/lib/modules"));
    let names: Vec<String> = modules
        .into_iter()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    for module in [
        "virtio_blk",
        "virtio_net",
        "virtio_scsi",
        "vmxnet3",
        "vmw_pvscsi",
        "hv_netvsc",
        "hv_storvsc",
        "e1000",
        "ahci",
        "cifs",
        "exfat",
        "vfat",
        "usb-storage",
        "uas",
        "xhci-pci",
        "sr_mod",
    ] {
        let file = format!("{module}.ko.xz");
        assert!(names.contains(&file), "the image has no {file}");
    }
}

/// The SBOM names each package of the list, and the crates of the bridge with their digests.
fn says_what_is_in_it(dir: &Path) {
    let text = std::fs::read_to_string(with_end(dir, "json")).unwrap();
    let sbom: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(sbom["spdxVersion"], "SPDX-2.3");
    let named: Vec<_> = sbom["packages"].as_array().unwrap().iter().collect();
    let has = |name: &str, release: &str| {
        let is_it = |one: &&&serde_json::Value| one["name"] == name && one["versionInfo"] == release;
        named.iter().find(is_it).copied()
    };
    let packages = std::fs::read_to_string(dir.join("packages.txt")).unwrap();
    for line in packages.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(has(words[0], words[1]).is_some(), "{line} is not in the SBOM");
    }
    let bridge = has("satellite-bridge", env!("CARGO_PKG_VERSION"));
    assert!(bridge.is_some(), "the bridge is not in the SBOM");
    let rustls = named.iter().find(|one| one["name"] == "rustls").unwrap();
    let digest = rustls["checksums"][0]["checksumValue"].as_str().unwrap();
    assert_eq!(digest.len(), 64, "{digest}");
}

#[tokio::test]
#[ignore = "make test-vm: needs the trees of the image"]
async fn packages_that_nobody_accepted_end_the_build() {
    let lab = Scratch::new().await.unwrap();
    let trust = lab.release.trust().await.unwrap();
    let accepted = std::fs::read_to_string(lab.release.top().join("image/packages.lock")).unwrap();
    // As if libc had come in another version since.
    let line = accepted
        .lines()
        .find(|line| line.starts_with("image libc6 "))
        .unwrap();
    let other = accepted.replace(line, "image libc6 0.1-1 amd64");
    let lock = lab.data().join("packages.lock");
    write(&lock, other).unwrap();
    let mut build = builder(&lab, &trust, &lab.release.top().join("target/image"));
    build
        .args(["--lock", "check", "--formats", "qcow2", "--accepted"])
        .arg(&lock);
    let ended = finish(build, BUILD).await.unwrap();
    assert_ne!(ended.code, Some(0));
    assert!(ended.stderr.contains(&format!("+{line}")), "{}", ended.stderr);
    assert!(ended.stderr.contains("make image-lock"), "{}", ended.stderr);
}
