//! The harness itself, on calls that are known.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use satellite_host::files;

use super::*;

const ROOT: &str = "SATELLITE_TEST_WRITES";

#[tokio::test]
#[ignore = "the child of the test below"]
async fn the_child() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let root = Path::new(&root);
    files::write_atomic(&root.join("record"), b"new", 0o600).unwrap();
    fs::rename(root.join("record"), root.join("moved")).unwrap();
}

/// What lies in the directory after each cut.
async fn states() -> Vec<(Cut, String)> {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    files::write_atomic(&root.join("record"), b"old", 0o600).unwrap();
    let disk = Disk::read(root);
    let calls = record(
        "writes::tests::the_child",
        &[(ROOT, OsStr::from_bytes(root.as_os_str().as_bytes()))],
    )
    .await;
    let mut found = Vec::new();
    cuts(&disk, &calls, |left| {
        let laid = tempfile::tempdir().unwrap();
        left.lay_out(laid.path());
        let mut shown: Vec<String> = fs::read_dir(laid.path())
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                let name = if name.starts_with('.') { "." } else { &name };
                format!("{name}={}", fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        shown.sort();
        found.push((left.cut, shown.join(" ")));
    });
    found
}

#[tokio::test]
async fn each_cut_of_an_atomic_write_and_a_rename_leaves_what_it_would() {
    use Cut::{Killed, Power, PowerAfterCommit};
    let expected = [
        (Killed, ".= record=old"),
        (Power, "record=old"),
        (PowerAfterCommit, ".= record=old"),
        (Killed, ".=new record=old"),
        (Power, ".=new record=old"),
        (Killed, "record=new"),
        (PowerAfterCommit, "record=new"),
        (Killed, "moved=new"),
        (PowerAfterCommit, "moved=new"),
    ];
    let expected: Vec<_> = expected.map(|(cut, shown)| (cut, shown.to_owned())).to_vec();
    assert_eq!(states().await, expected);
}

#[test]
fn a_write_is_torn_between_sectors_and_a_short_one_not_at_all() {
    let write = |bytes: usize| {
        let text = "\\x61".repeat(bytes);
        let call = strace::parse(&format!("1 pwrite64(3</disk>, \"{text}\", {bytes}, 0) = {bytes}"));
        call[0].half().map(|half| half.result)
    };
    assert_eq!([write(3), write(1023), write(1600)], [None, None, Some(512)]);
}

#[test]
fn what_lies_in_another_file_system_is_not_brought_to_the_disk_with_this_one() {
    for (volumes, expected) in [(&["esp"][..], "esp/before"), (&[], "esp/after")] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for part in ["esp", "data"] {
            fs::create_dir(root.join(part)).unwrap();
        }
        files::write_atomic(&root.join("esp/before"), b"kernel", 0o600).unwrap();
        let mut disk = Disk::read(&root).with_volumes(volumes);
        let root = root.display();
        let log = format!(
            "1 rename(\"{root}/esp/before\", \"{root}/esp/after\") = 0\n1 fsync(3<{root}/data>) = 0\n"
        );
        for call in strace::parse(&log) {
            assert!(disk.apply(&call));
        }
        let laid = tempfile::tempdir().unwrap();
        disk.lay_out(laid.path(), Cut::Power);
        assert!(laid.path().join(expected).exists(), "{volumes:?}");
    }
}
