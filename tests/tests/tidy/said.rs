//! Each message that can reach a person is in the catalogue of messages, in each language, or named here with the reason why it is
//! not; and the catalogue has nothing that nobody says.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use crate::literals::{Literal, literals};
use crate::{files, shown, top};

/// The catalogue.
const CATALOGUE: &str = "management-module/src/language/said/words/";

/// Its table of what others than us say.
const FOREIGN: &str = "management-module/src/language/said/words/system.rs";

/// Where messages come from.
const SPEAKERS: [&str; 5] = [
    "proto/src/",
    "satellite-bridge/src/",
    "satellite-bridge/host/src/",
    "backup-service/src/",
    "management-module/src/",
];

/// What speaks of its own, or to nobody, by the beginning of its path.
const SILENT: [(&str, &str); 22] = [
    (
        "backup-service/src/cli.rs",
        "its own command line, for whoever looks at an archive without a server",
    ),
    (
        "backup-service/src/config.rs",
        "said at its start, to the journal",
    ),
    ("backup-service/src/serve.rs", "said at its start, to the journal"),
    ("management-module/src/cli/texts.rs", "a table of its own"),
    (
        "management-module/src/serve",
        "said at the start of the server, to the journal",
    ),
    (
        "management-module/src/store/",
        "SQL, and what was asked of the store: its log names it, the page does not",
    ),
    ("management-module/src/web/cookies.rs", "read by browsers"),
    ("management-module/src/web/metrics.rs", "read by Prometheus"),
    (
        "management-module/src/web/routes.rs",
        "headers, and an answer before there is a page",
    ),
    ("management-module/src/web/statics.rs", "read by browsers"),
    ("satellite-bridge/host/src/vmware.rs", "read by VMware"),
    (
        "satellite-bridge/src/boot",
        "said before the daemon runs, by the rescue page with a table of its own and the journal",
    ),
    (
        "satellite-bridge/src/cli",
        "the satellite's own command line, for whoever is at its shell",
    ),
    (
        "satellite-bridge/src/config.rs",
        "said at its start, to the journal",
    ),
    ("satellite-bridge/src/daemon", "said at its start, to the journal"),
    ("satellite-bridge/src/firewall/rate.rs", "read by iptables"),
    ("satellite-bridge/src/firewall/writes.rs", "a measurement"),
    (
        "satellite-bridge/src/keyboard.rs",
        "said at the console, with a table of its own",
    ),
    (
        "satellite-bridge/src/main.rs",
        "said at its start, to the journal",
    ),
    (
        "satellite-bridge/src/menu",
        "said at the console, with a table of its own",
    ),
    ("satellite-bridge/src/workload/unit_file.rs", "read by systemd"),
    ("satellite-bridge/src/writes", "a measurement"),
];

/// Single texts that no person reads as a message, and what they are.
const NO_MESSAGES: &[(&str, &[&str])] = &[
    (
        "what is said to a shell or a program",
        &[
            "exec env -i PATH={} HOME=\"$HOME\" LANG=C.UTF-8 {}",
            "systemctl start",
            "printf '%s\\0' \"$(date +%s)\" && exec find -P \"$@\"",
            "for program; do command -v \"$program\" >/dev/null 2>&1 || printf '%s\\0' \"$program\"; done",
            "Runs {} once",
            "Started by {}",
        ],
    ),
    (
        "headers and commands of a protocol",
        &[
            "Message-ID: <{}@{}>",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
            "Content-Type: multipart/mixed; boundary=\"{}\"",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Type: application/octet-stream",
            "Content-Transfer-Encoding: base64",
            "AUTH PLAIN {}",
            "AUTH LOGIN",
            "MAIL FROM:<{}>",
            "RCPT TO:<{}>",
            "AWS4-HMAC-SHA256 Credential={}/{},SignedHeaders={},Signature={}",
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{}</CompleteMultipartUpload>",
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><propfind xmlns=\"DAV:\"><prop><resourcetype/><getcontentlength/><getlastmodified/></prop></propfind>",
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><propfind xmlns=\"DAV:\"><prop><resourcetype/><quota-available-bytes/></prop></propfind>",
            "application/xml; charset=utf-8",
            "text/html; charset=utf-8",
            "text/plain; charset=utf-8",
            "attachment; filename=\"{}\"",
        ],
    ),
    (
        "looked for in what another program said",
        &[
            "Async command is not allowed",
            "no right to call",
            "there is no log source",
            "there is no bundle",
            "PRIVATE KEY",
        ],
    ),
    (
        "commands to type",
        &[
            "backup run",
            "central check",
            "satellite logs NAME --list",
            "satellite list",
            "workload list",
            "bundle list",
            "central list",
            "backup list",
            "backup config list",
            "destination list",
            "backup runs",
        ],
    ),
    (
        "rules of iptables",
        &[
            "-p tcp -m tcp --dport ",
            "-p tcp -m tcp --sport ",
            "--ctstate RELATED,ESTABLISHED ",
            "-p ipv6-icmp ",
            "--sport 67 --dport 68 ",
            "--sport 68 --dport 67 ",
            "--sport 546 --dport 547 ",
            "--sport 547 --dport 546 ",
            "-A SATELLITE-INPUT",
            "-A SATELLITE-OUTPUT",
            "-i lo -j ACCEPT",
            "-p tcp -m tcp --dport {} -j ACCEPT",
            "-p udp -m udp --sport 67 --dport 68 -j ACCEPT",
            "-s fe80::/10 -p udp -m udp --sport 547 --dport 546 -j ACCEPT",
            "-o lo -j ACCEPT",
            "-p tcp -m tcp --sport {} -j ACCEPT",
            "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-p udp -m udp --sport 68 --dport 67 -j ACCEPT",
            "-p udp -m udp --sport 546 --dport 547 -j ACCEPT",
            "-p icmp -m icmp --icmp-type {} -j ACCEPT",
            "-p ipv6-icmp -m icmp6 --icmpv6-type {} -j ACCEPT",
            "{}{}{}{}-m comment --comment {}/{} {}",
            "-j REJECT --reject-with tcp-reset",
            "-m multiport --dports {} ",
        ],
    ),
    (
        "HTML and style",
        &[
            "<h2 style=\"font-size: 1.1em\">{}</h2>",
            "<tr><th align=\"left\" valign=\"top\" scope=\"row\">{}</th><td>{}</td></tr>",
            "badge good",
            "badge warn",
            "badge bad",
            " class=\"bad\"",
            "<rect{} x=\"{}\" y=\"{}\" width=\"8\" height=\"{}\"/>",
        ],
    ),
    (
        "names of fields in what is signed or stored",
        &[
            "pax key",
            "pax records",
            "signature of a satellite's release",
            "satellite installation",
        ],
    ),
    (
        "a reason in the source",
        &["generated code is let off the house's lints"],
    ),
];

/// What is put together in a way that cannot be seen here.
const COMPOSED: [(&str, &str); 10] = [
    ("the key and the password", "what was tried at a sign-in over SSH"),
    ("there is {}", "the disks that are there"),
    ("there is no archive {}", "the kind of thing is filled in"),
    ("there is no bundle of {}", "the kind of thing is filled in"),
    ("there is no job {}", "the kind of thing is filled in"),
    ("there is no join token {}", "the kind of thing is filled in"),
    ("there is no rollout {}", "the kind of thing is filled in"),
    ("there is no run {}", "the kind of thing is filled in"),
    ("there is no user {}", "the kind of thing is filled in"),
    ("there is no workload {}", "the kind of thing is filled in"),
];

#[test]
fn each_message_is_in_the_catalogue_and_the_catalogue_has_no_others() {
    let (catalogue, foreign) = catalogue();
    let silent: BTreeSet<&str> = NO_MESSAGES
        .iter()
        .flat_map(|(_, texts)| texts.iter().copied())
        .collect();
    let mut all = HashSet::new();
    let mut missing: BTreeMap<String, String> = BTreeMap::new();
    let mut used = BTreeSet::new();
    for path in files("rs") {
        let name = shown(&path);
        let is_ours = SPEAKERS.iter().any(|speaker| name.starts_with(speaker)) && !is_of_tests(&name);
        if !is_ours || name.starts_with(CATALOGUE) {
            continue;
        }
        let file = SILENT.iter().find(|(start, _)| name.starts_with(start));
        for found in literals(&std::fs::read_to_string(&path).unwrap()) {
            let text = template(&found.text);
            if let Some((start, _)) = file {
                used.insert((*start).to_owned());
            } else if is_message(&found, &text) && !is_known(&catalogue, &text) {
                if silent.contains(text.as_str()) {
                    used.insert(text.clone());
                } else {
                    missing.insert(text.clone(), format!("{name}:{}", found.line));
                }
            }
            all.insert(text.trim().to_owned());
            all.insert(text);
        }
    }
    let mut faults = Vec::new();
    for (text, place) in &missing {
        faults.push(format!("{place}: not in the catalogue: {text:?}"));
    }
    for text in SILENT.iter().map(|(start, _)| start).chain(&silent) {
        if !used.contains(*text) {
            faults.push(format!("the exception {text:?} is none any more"));
        }
    }
    let composed = |text: &&String| COMPOSED.iter().any(|(known, _)| known == text);
    for text in catalogue
        .iter()
        .filter(|text| !foreign.contains(*text) && !composed(text))
    {
        let begin = ["", " {}", " `{}`"]
            .iter()
            .filter_map(|end| text.strip_suffix(end));
        let end = ["{}", "`{}` "]
            .iter()
            .filter_map(|begin| text.strip_prefix(begin));
        if !begin
            .chain(end)
            .any(|text| all.contains(text) || all.contains(&format!("{text} ")))
        {
            faults.push(format!("nobody says what the catalogue has: {text:?}"));
        }
    }
    assert!(all.len() > 5000, "only {} texts were found", all.len());
    assert!(
        faults.is_empty(),
        "{} faults\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// The English texts of the catalogue, and those that others than us say.
fn catalogue() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut texts, mut foreign) = (BTreeSet::new(), BTreeSet::new());
    for path in files("rs")
        .iter()
        .filter(|path| shown(path).starts_with(CATALOGUE))
    {
        let rows = literals(&std::fs::read_to_string(path).unwrap());
        assert_eq!(rows.len() % 4, 0, "{}", shown(path));
        for row in rows.chunks(4) {
            let text = row[0].text.clone();
            assert!(texts.insert(text.clone()), "{text:?} is there twice");
            if path == &top().join(FOREIGN) {
                foreign.insert(text);
            }
        }
    }
    assert!(texts.len() > 200 && !foreign.is_empty());
    (texts, foreign)
}

fn is_of_tests(name: &str) -> bool {
    let file = Path::new(name).file_name().unwrap_or_default();
    name.contains("/tests/")
        || ["tests.rs", "testing.rs", "fake.rs", "fixtures.rs"]
            .iter()
            .any(|test| file == *test)
}

/// A text as the catalogue has it: `{}` for each gap, whatever is filled in and how.
fn template(text: &str) -> String {
    let text = text.replace("{{", "\u{1}").replace("}}", "\u{2}");
    let mut template = String::new();
    let mut rest = text.as_str();
    while let Some((before, gap)) = rest.split_once('{') {
        template.push_str(before);
        match gap.split_once('}') {
            Some((inner, after)) if !inner.contains('{') => {
                template.push_str("{}");
                rest = after;
            }
            _ => {
                template.push('{');
                rest = gap;
            }
        }
    }
    template.push_str(rest);
    template.replace('\u{1}', "{").replace('\u{2}', "}")
}

/// Two words or more in one line, and not for the log, for programmers or for programs.
fn is_message(found: &Literal, text: &str) -> bool {
    let is_error = found
        .inside
        .windows(2)
        .any(|pair| pair[0].ends_with("#[") && pair[1] == "error(");
    let elsewhere = |place: &String| {
        let name = place.trim_end_matches(['(', '[', '{']);
        let name = name.rsplit("::").next().unwrap_or(name);
        let name = name.rsplit('.').next().unwrap_or(name);
        [
            "info!",
            "warn!",
            "error!",
            "debug!",
            "trace!",
            "event!",
            "assert!",
            "assert_eq!",
            "assert_ne!",
            "debug_assert!",
            "panic!",
            "unreachable!",
            "expect",
            "texts!",
            "html!",
            "fail_point",
            "query",
            "query_as",
            "query_scalar",
        ]
        .contains(&name)
            || place.ends_with("#[")
    };
    let letters = text.replace("{}", " ");
    let words = letters
        .split(|letter: char| !letter.is_ascii_alphabetic())
        .filter(|word| word.len() > 1);
    is_error && letters.chars().any(char::is_alphabetic)
        || !text.contains(['\n', '\r', '\t'])
            && text.contains(' ')
            && words.count() > 1
            && !found.inside.iter().any(elsewhere)
}

fn is_known(catalogue: &BTreeSet<String>, text: &str) -> bool {
    let whole = text.trim();
    let filled = [
        format!("{{}}{text}"),
        format!("`{{}}` {whole}"),
        format!("{whole} {{}}"),
        format!("{whole} `{{}}`"),
    ];
    catalogue.contains(whole) || filled.iter().any(|text| catalogue.contains(text))
}

#[test]
fn a_text_is_known_by_its_template() {
    assert_eq!(
        template("cannot {what} `{0:?}`: {{x}} {}"),
        "cannot {} `{}`: {x} {}"
    );
}
