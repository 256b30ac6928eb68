//! Documents, by example and by property.

use proptest::prelude::*;

use super::*;

const GOOD: &str = r#"default-in = "drop"

[[rule]]
name = "sip"
direction = "in"
protocol = "udp"
ports = [5060, "10000-20000"]
remotes = ["10.0.0.0/8", "fd00::1"]
action = "accept"
"#;

#[test]
fn a_document_is_written_as_it_can_be_read() {
    let document = Document::parse(GOOD).unwrap();
    assert_eq!(Document::parse(&document.to_toml()).unwrap(), document);
    assert_eq!(
        document.rules[0].ports[1],
        PortRange {
            first: 10000,
            last: 20000
        }
    );
}

#[test]
fn every_fault_is_told_with_its_line() {
    let text = GOOD
        .replace("\"drop\"", "\"dropp\"")
        .replace("\"sip\"", "\"Sip\"")
        .replace("\"in\"", "\"inn\"")
        .replace("5060", "0")
        .replace("fd00::1", "here");
    let lines: Vec<_> = Document::parse(&text)
        .unwrap_err()
        .into_iter()
        .map(|(line, _)| line)
        .collect();
    assert_eq!(lines, [1, 4, 5, 8, 7]);
    let unknown = Document::parse(&GOOD.replace("remotes", "from")).unwrap_err();
    assert_eq!(unknown[0].0, 8, "{unknown:?}");
}

#[test]
fn the_difference_says_what_goes_and_what_comes() {
    let before = Document::parse(GOOD).unwrap();
    assert_eq!(difference(&before, &before), Vec::<String>::new());
    let after = Document::parse(&GOOD.replace("\"drop\"", "\"reject\"").replace("sip", "sips")).unwrap();
    let changes = difference(&before, &after);
    assert_eq!(changes[..2], ["- default-in = drop", "+ default-in = reject"]);
    assert!(changes[2].starts_with("- name = \"sip\"") && changes[3].starts_with("+ name = \"sips\""));
}

#[test]
fn sets_stand_for_their_members_and_rates_are_kept() {
    let text = r#"[[set]]
name = "office"
remotes = ["10.1.0.0/16", "fd00::/8"]

[[rule]]
name = "ping"
direction = "in"
protocol = "icmp"
remotes = ["@office", "192.0.2.1"]
action = "accept"
rate = "10/second"
burst = 20
"#;
    let document = Document::parse(text).unwrap();
    assert_eq!(
        document.rules[0].remotes,
        ["10.1.0.0/16", "fd00::/8", "192.0.2.1"]
    );
    let limit = document.rules[0].rate_limit.unwrap();
    assert_eq!((limit.packets, limit.span(), limit.burst), (10, Span::Second, 20));
    assert_eq!(Document::parse(&document.to_toml()).unwrap(), document);
    let lines = |text: &str| -> Vec<usize> {
        let faults = Document::parse(text).unwrap_err();
        faults.into_iter().map(|(line, _)| line).collect()
    };
    assert_eq!(lines(&text.replace("@office", "@home")), [9]);
    assert_eq!(lines(&text.replace("10/second", "10/fortnight")), [11]);
    assert_eq!(lines(&text.replace("burst = 20", "burst = 0")), [12]);
    assert_eq!(lines(&text.replace("fd00::/8", "there")), [3]);
}

#[test]
fn json_says_the_same_and_its_faults_have_lines_too() {
    let text = r#"{
  "default-in": "drop",
  "rule": [
    {"name": "sip", "direction": "in", "protocol": "udp",
     "ports": [5060, "10000-20000"], "remotes": ["10.0.0.0/8", "fd00::1"], "action": "accept"},
    {"name": "ssh", "direction": "in", "protocol": "tcp", "ports": [22], "action": "drop"}
  ]
}
"#;
    let document = Document::parse(text).unwrap();
    let toml = Document::parse(GOOD).unwrap();
    assert_eq!(document.rules[0], toml.rules[0]);
    let line = |text: &str| Document::parse(text).unwrap_err()[0].0;
    assert_eq!(line(&text.replace("\"tcp\"", "\"sctp\"")), 6);
    assert_eq!(line(&text.replace("fd00::1", "here")), 5);
    assert_eq!(line(&text.replace("\"drop\",", "\"dropp\",")), 2);
    assert_eq!(line(&text.replace("\"ports\": [22]", "\"port\": [22]")), 6);
    assert_eq!(line("{\n  \"rule\": [\n"), 3);
}

proptest! {
    /// Whatever a person writes, it is a document or a list of faults with lines that are there.
    #[test]
    fn faults_have_lines_that_are_there(text in "(\\PC|\n){0,200}", cut in 0_usize..200) {
        let cut: String = GOOD.chars().take(cut).collect();
        for text in [text, cut.clone(), format!("{{{cut}")] {
            if let Err(faults) = Document::parse(&text) {
                let lines = text.lines().count() + 1;
                prop_assert!(!faults.is_empty());
                prop_assert!(faults.iter().all(|(line, _)| (1..=lines).contains(line)), "{faults:?}");
            }
        }
    }
}
