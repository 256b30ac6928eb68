//! Every unit we ship is understood by systemd, and hardened.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};

use e2e::command::{command, run, stdout_of};

/// Exposure that is tolerated, in tenths. A unit that needs more is named in [`EXPOSED`], with the reason.
const MOST: u32 = 30;
const EXPOSED: [(&str, u32); 4] = [
    // It reads and writes what the profile of a central names, as whoever it belongs to: the unit says what for.
    ("management-module.service", 35),
    // It mounts a disk.
    ("satellite-support@.service", 40),
    // They mount a disk where others see it, so they have no namespace of their own.
    ("satellite-disk@.service", 45),
    ("management-module-disk@.service", 45),
];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("systemd")
}

fn units() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut units: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|kind| kind == "service"))
        .collect();
    units.sort();
    assert!(units.len() >= 4, "where are the units? {units:?}");
    units
}

#[tokio::test]
async fn every_unit_is_hardened() {
    for unit in units() {
        let name = unit.file_name().unwrap().to_str().unwrap().to_owned();
        let most = EXPOSED
            .iter()
            .find(|(exposed, _)| *exposed == name)
            .map_or(MOST, |(_, most)| *most);
        let (most, path) = (format!("--threshold={most}"), unit.display().to_string());
        run(
            "systemd-analyze",
            &["security", "--no-pager", "--offline=true", &most, &path],
        )
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn systemd_understands_every_unit() {
    // Programs are looked for on this machine: they are put where the units expect them, in a copy.
    let dir = tempfile::tempdir().unwrap();
    let mut copies = Vec::new();
    for unit in units() {
        let text = std::fs::read_to_string(&unit).unwrap();
        let text = text.replace("/usr/lib/satellite/satellite-bridge", "/bin/true");
        let text = text.replace("/usr/bin/management-module", "/bin/true");
        let text = text.replace("/usr/bin/backup-service", "/bin/true");
        let name = unit
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .replace("@.", "@tty1.");
        e2e::network::write(&dir.path().join(&name), text).unwrap();
        copies.push(dir.path().join(&name));
    }
    // Some name others.
    for copy in copies {
        let mut verify = command("systemd-analyze");
        verify.args(["verify", "--man=no"]).arg(copy);
        stdout_of(verify, e2e::command::DEADLINE).await.unwrap();
    }
}

#[tokio::test]
async fn the_allocator_gives_memory_back_in_every_daemon() {
    for unit in units() {
        let text = std::fs::read_to_string(&unit).unwrap();
        let is_daemon = text.contains("Type=notify");
        assert_eq!(is_daemon, text.contains("GLIBC_TUNABLES"), "{}", unit.display());
    }
}
