//! The generated unit: a golden file, and a reader of systemd's quoting that must get back what went in.

use std::path::Path;

use proptest::prelude::*;
use satellite_proto::bundle::{Digest, Manifest};

use super::*;

const MANIFEST: &str = r#"{"format":1,"workload":"backup-service","version":"1.2.3","channel":"stable","release":7,
"architecture":"x86_64","least_bridge":"1.0.0","unit":{"exec":"bin/backup-service","args":["--config","a b","100%","$HOME"],
"environment":{"RUST_LOG":"info \"x\""},"memory_max":268435456,"ports_below_1024":false},
"health":{"start_seconds":30,"settle_seconds":2,"grpc":"satellite.backup.v1.ArchiveService"},"api":[],"firewall":[],
"state":{"snapshot":[]},"logs":[],"packed":"0000000000000000000000000000000000000000000000000000000000000000",
"files":[],"chunks":[]}"#;

fn manifest() -> Manifest {
    serde_json::from_str(MANIFEST).unwrap()
}

fn places() -> Places {
    Places {
        state_dir: "/var/lib/satellite".into(),
        run_dir: "/run/satellite".into(),
        unit_dir: "/run/systemd/system".into(),
        workload_state_dir: "/var/lib".into(),
        trust_anchors: Vec::new(),
        own_command: vec!["/usr/lib/satellite/satellite-bridge".to_owned()],
    }
}

#[test]
fn the_unit_is_the_golden_one() {
    let unit = render(&places(), Digest::from([0xab; 32]), &manifest());
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/workload/unit_file/golden.service");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        satellite_host::files::write_atomic(&golden, unit.as_bytes(), 0o644).unwrap();
    }
    assert_eq!(
        unit,
        std::fs::read_to_string(golden).unwrap(),
        "UPDATE_GOLDEN=1 writes it anew"
    );
}

#[test]
fn what_a_bundle_declares_of_its_health_becomes_part_of_the_unit() {
    let mut manifest = manifest();
    manifest.health.silent = true;
    manifest.health.command = Some(satellite_proto::bundle::HealthCommand {
        exec: "bin/check".to_owned(),
        args: vec!["a b".to_owned(), "%n".to_owned()],
    });
    let unit = render(&places(), Digest::from([0xab; 32]), &manifest);
    assert!(unit.contains("\nType=exec\n"), "{unit}");
    let line = unit
        .lines()
        .find(|line| line.starts_with("ExecStartPost="))
        .unwrap();
    // No sign that would take it out of the sandbox stands before the program.
    assert!(
        line.starts_with("ExecStartPost=\"/var/lib/satellite/workloads/backup-service/versions/"),
        "{line}"
    );
    assert!(line.ends_with("/bin/check\" \"a b\" \"%%n\""), "{line}");
}

#[tokio::test]
async fn systemd_finds_the_unit_safe_enough() {
    for low_ports in [false, true] {
        let mut manifest = manifest();
        manifest.unit.ports_below_1024 = low_ports;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("satellite-workload-x.service");
        let unit = render(&places(), Digest::from([0xab; 32]), &manifest);
        satellite_host::files::write_atomic(&file, unit.as_bytes(), 0o644).unwrap();
        let analysed = satellite_host::exec::Exec::new("systemd-analyze")
            .args(["security", "--offline=true", "--threshold=30", "--no-pager"])
            .arg(&file)
            .run()
            .await;
        let Err(err) = analysed else { continue };
        assert!(
            matches!(err, satellite_host::exec::ExecError::Start { .. }),
            "low ports {low_ports}: {err}"
        );
    }
}

#[test]
fn users_have_legal_names_that_differ() {
    let long: WorkloadName = "a".repeat(63).parse().unwrap();
    let other: WorkloadName = ("a".repeat(62) + "b").parse().unwrap();
    assert_eq!(user(&"echo".parse().unwrap()), "sat-echo");
    assert_eq!(user(&long).len(), USER_MOST);
    assert_ne!(user(&long), user(&other));
}

proptest! {
    #[test]
    fn arguments_come_out_as_they_went_in(args in prop::collection::vec("[^\0]{0,40}", 0..6)) {
        let line = command(Path::new("/p/x"), &args);
        prop_assert!(!line.contains('\n') && !line.contains('\r'));
        let mut expected = vec!["/p/x".to_owned()];
        expected.extend(args);
        prop_assert_eq!(read(&line, true), expected);
    }

    #[test]
    fn variables_come_out_as_they_went_in(key in "[A-Z_]{1,20}", value in "[^\0]{0,60}") {
        let line = variable(&key, &value);
        prop_assert!(!line.contains('\n') && !line.contains('\r'));
        prop_assert_eq!(read(&line, false), vec![format!("{key}={value}")]);
    }

    #[test]
    fn no_manifest_adds_a_line(args in prop::collection::vec("[^\0]{0,40}", 0..4), value in "[^\0]{0,60}") {
        let mut manifest = manifest();
        let lines = |manifest: &Manifest| render(&places(), Digest::from([1; 32]), manifest).lines().count();
        let before = lines(&manifest);
        manifest.unit.args = args;
        manifest.unit.environment.insert("RUST_LOG".to_owned(), value);
        prop_assert_eq!(lines(&manifest), before);
    }
}

/// Reads a line as systemd.syntax(7) and systemd.service(5) say: words, quotes, C escapes, then specifiers, then `$`.
fn read(line: &str, dollar: bool) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.as_bytes();
    while let Some(start) = rest.iter().position(|byte| *byte == b'"') {
        let mut word = Vec::new();
        rest = &rest[start + 1..];
        loop {
            match rest {
                [b'"', tail @ ..] => {
                    rest = tail;
                    break;
                }
                [b'\\', b'x', a, b, tail @ ..] => {
                    let digits = [*a, *b];
                    word.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                    rest = tail;
                }
                [b'\\', c, tail @ ..] => {
                    word.push(match c {
                        b'n' => b'\n',
                        b't' => b'\t',
                        other => *other,
                    });
                    rest = tail;
                }
                [b'%', b'%', tail @ ..] => {
                    word.push(b'%');
                    rest = tail;
                }
                [b'%', ..] => panic!("a specifier got through"),
                [b'$', b'$', tail @ ..] if dollar => {
                    word.push(b'$');
                    rest = tail;
                }
                [b'$', ..] if dollar => panic!("a variable got through"),
                [byte, tail @ ..] => {
                    word.push(*byte);
                    rest = tail;
                }
                [] => panic!("a quote is not closed"),
            }
        }
        words.push(String::from_utf8(word).unwrap());
    }
    words
}
