//! What a profile may say, and at which line it is told what it may not.

use super::Profile;

const GOOD: &str = r#"
name = "pbx-1"
address = "10.0.0.5"

[[data-set]]
name = "core"
paths = ["/etc/asterisk", "/var/lib/asterisk/"]
excludes = ["**/*.tmp"]
quiesce = ["asterisk.service"]

[[data-set.command]]
name = "asterisk.sql"
run = ["mysqldump", "asterisk"]
restore = ["mysql", "asterisk"]
"#;

#[track_caller]
fn faults(text: &str) -> Vec<(usize, String)> {
    let err = Profile::parse(text).expect_err("the profile is faulty");
    err.faults
        .into_iter()
        .map(|fault| (fault.line, fault.text))
        .collect()
}

#[test]
fn a_good_profile_is_taken() {
    let profile = Profile::parse(GOOD).unwrap();
    assert_eq!(profile.tenant, "default");
    let core = profile.data_set("core").unwrap();
    assert_eq!(core.paths[1].as_os_str(), "/var/lib/asterisk");
    assert!(core.excludes.is_match("/etc/asterisk/a/b.tmp"));
    assert_eq!(
        core.command(b"asterisk.sql").unwrap().restore,
        ["mysql", "asterisk"]
    );
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let found = faults(&GOOD.replace("quiesce", "quiet"));
    assert_eq!(found[0].0, 9);
    assert!(found[0].1.contains("quiet"), "{found:?}");
}

#[test]
fn every_fault_is_told_at_once() {
    let text = GOOD
        .replace("\"pbx-1\"", "\"PBX 1\"")
        .replace(
            "\"/var/lib/asterisk/\"",
            "\"/etc/asterisk/sub\", \"relative\", \"/a/../b\", \"/\"",
        )
        .replace("**/*.tmp", "[")
        .replace("asterisk.service", "--now")
        .replace("asterisk.sql", "../etc/passwd");
    let lines: Vec<_> = faults(&text).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [2, 7, 7, 7, 7, 8, 9, 12]);
}

#[test]
fn a_data_set_twice_or_empty_is_refused() {
    let text = format!("{GOOD}\n[[data-set]]\nname = \"core\"\n");
    let found = faults(&text);
    assert!(found[0].1.contains("twice"), "{found:?}");
    assert!(found[1].1.contains("neither"), "{found:?}");
}

#[test]
fn a_command_may_not_lie_where_a_path_lies() {
    assert!(
        faults(&GOOD.replace("asterisk.sql", "etc"))[0]
            .1
            .contains("something else")
    );
}

#[test]
fn an_unknown_data_set_cannot_be_selected() {
    let profile = Profile::parse(GOOD).unwrap();
    assert_eq!(profile.select(&["cdr".to_owned()]).unwrap_err(), "cdr");
    assert_eq!(profile.select(&[]).unwrap().len(), 1);
}

#[test]
fn the_shipped_profiles_are_good() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd/config/centrals");
    let mut seen = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        Profile::parse(&text).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
        seen += 1;
    }
    assert_eq!(seen, 3);
}

#[test]
fn what_a_dump_prints_is_estimated_in_units_or_refused() {
    let profile = |estimate: &str| {
        let text = format!(
            "name = \"p\"\naddress = \"here\"\n[[data-set]]\nname = \"core\"\n[[data-set.command]]\nname = \"a\"\n\
             run = [\"a\"]\nestimate = \"{estimate}\"\n[[data-set.command]]\nname = \"b\"\nrun = [\"b\"]\n"
        );
        Profile::parse(&text).map(|profile| profile.data_sets[0].estimate())
    };
    for (text, bytes) in [
        ("500 MiB", 500 << 20),
        ("2GiB", 2 << 30),
        ("1 KiB", 1024),
        ("0 MiB", 0),
    ] {
        assert_eq!(profile(text).unwrap(), bytes, "{text}");
    }
    for text in [
        "",
        "5",
        "MiB",
        "5 MB",
        "5 mib",
        "-1 MiB",
        "1.5 GiB",
        "99999999999999999999 GiB",
        "99999999 TiB",
    ] {
        let faults = profile(text).unwrap_err().faults;
        assert!(
            faults[0].line == 8 && faults[0].text.contains("is not a size"),
            "{text}: {faults:?}"
        );
    }
}
