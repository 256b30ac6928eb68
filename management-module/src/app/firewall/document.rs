//! The document of firewall rules: TOML as written, checked, compared.
//!
//! **Invariant:** pure. Every fault is told at once, with its line.

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;
use satellite_proto::wire::bridge::v1::{Action, Direction, PortRange, Protocol, Rule};
use serde::Deserialize;
use toml::Spanned;

/// The operator's rules as a document says them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    default_in: Option<Action>,
    default_out: Option<Action>,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    default_in: Option<Spanned<String>>,
    default_out: Option<Spanned<String>>,
    #[serde(default)]
    rule: Vec<FileRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileRule {
    name: Spanned<String>,
    direction: Spanned<String>,
    protocol: Option<Spanned<String>>,
    #[serde(default)]
    ports: Vec<Spanned<FilePorts>>,
    #[serde(default)]
    remotes: Vec<Spanned<String>>,
    action: Spanned<String>,
    #[serde(default)]
    comment: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FilePorts {
    One(u16),
    Range(String),
}

/// Line and fault.
type Fault = (usize, String);

struct Faults<'a>(&'a str, Vec<Fault>);

impl Faults<'_> {
    fn add<T>(&mut self, place: &Spanned<T>, text: String) {
        self.at(place.span().start, text);
    }

    fn at(&mut self, offset: usize, text: String) {
        let before = self.0.as_bytes().get(..offset).unwrap_or_default();
        self.1
            .push((1 + before.iter().filter(|byte| **byte == b'\n').count(), text));
    }

    /// The word's meaning, or a fault that names the words there are.
    fn word<T: Copy>(&mut self, place: &Spanned<String>, words: &[(&str, T)]) -> Option<T> {
        let found = words
            .iter()
            .find(|(word, _)| word == place.get_ref())
            .map(|(_, meaning)| *meaning);
        if found.is_none() {
            let known = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
            self.add(place, format!("`{}` is none of: {known}", place.get_ref()));
        }
        found
    }
}

const ACTIONS: [(&str, Action); 3] = [
    ("accept", Action::Accept),
    ("drop", Action::Drop),
    ("reject", Action::Reject),
];
const DIRECTIONS: [(&str, Direction); 2] = [("in", Direction::In), ("out", Direction::Out)];
const PROTOCOLS: [(&str, Protocol); 4] = [
    ("any", Protocol::Unspecified),
    ("tcp", Protocol::Tcp),
    ("udp", Protocol::Udp),
    ("icmp", Protocol::Icmp),
];

impl Document {
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults(text, Vec::new());
        let file: File = match toml::from_str(text) {
            Ok(file) => file,
            Err(err) => {
                faults.at(err.span().map_or(0, |span| span.start), err.message().to_owned());
                return Err(faults.1);
            }
        };
        let default_in = file.default_in.and_then(|word| faults.word(&word, &ACTIONS));
        let default_out = file.default_out.and_then(|word| faults.word(&word, &ACTIONS));
        let mut rules: Vec<Rule> = Vec::new();
        for written in file.rule {
            if rules.iter().any(|rule| rule.name == *written.name.get_ref()) {
                faults.add(
                    &written.name,
                    format!("rule `{}` is there twice", written.name.get_ref()),
                );
            }
            rules.push(rule(written, &mut faults));
        }
        if faults.1.is_empty() {
            Ok(Self {
                default_in,
                default_out,
                rules,
            })
        } else {
            Err(faults.1)
        }
    }

    /// What is set now, as a document.
    pub(crate) fn of(rules: &[Rule], default_in: Action, default_out: Action) -> Self {
        let set = |action| (action != Action::Unspecified).then_some(action);
        Self {
            default_in: set(default_in),
            default_out: set(default_out),
            rules: rules.to_vec(),
        }
    }

    pub(crate) fn rules(&self) -> Vec<Rule> {
        self.rules.clone()
    }

    pub(crate) fn default_in_wire(&self) -> i32 {
        self.default_in.unwrap_or(Action::Unspecified).into()
    }

    pub(crate) fn default_out_wire(&self) -> i32 {
        self.default_out.unwrap_or(Action::Unspecified).into()
    }

    pub(crate) fn to_toml(&self) -> String {
        let mut text = String::new();
        for (key, value) in [("default-in", self.default_in), ("default-out", self.default_out)] {
            if let Some(value) = value {
                let _infallible = writeln!(text, "{key} = \"{}\"", action(value));
            }
        }
        for rule in &self.rules {
            let _infallible = write!(text, "\n[[rule]]\n{}", lines(rule).join("\n") + "\n");
        }
        text
    }
}

/// What changes from one document to the other: `-` goes, `+` comes. A default that is not said stays.
pub(crate) fn difference(present: &Document, wanted: &Document) -> Vec<String> {
    let mut changes = Vec::new();
    let defaults = [
        ("default-in", present.default_in, wanted.default_in),
        ("default-out", present.default_out, wanted.default_out),
    ];
    for (key, before, after) in defaults {
        if let Some(after) = after.filter(|after| before != Some(*after)) {
            changes.extend(before.map(|before| format!("- {key} = {}", action(before))));
            changes.push(format!("+ {key} = {}", action(after)));
        }
    }
    let told = |rules: &[Rule]| {
        rules
            .iter()
            .map(|rule| lines(rule).join(", "))
            .collect::<Vec<_>>()
    };
    let (before, after) = (told(&present.rules), told(&wanted.rules));
    changes.extend(
        before
            .iter()
            .filter(|rule| !after.contains(rule))
            .map(|rule| format!("- {rule}")),
    );
    changes.extend(
        after
            .iter()
            .filter(|rule| !before.contains(rule))
            .map(|rule| format!("+ {rule}")),
    );
    if changes.is_empty() && before != after {
        changes.push("~ the order of the rules".to_owned());
    }
    changes
}

fn rule(written: FileRule, faults: &mut Faults<'_>) -> Rule {
    let name = written.name.get_ref();
    let clean = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !(1..=63).contains(&name.len()) || !clean {
        faults.add(
            &written.name,
            format!("`{name}` is not a name: 1 to 63 of a-z, 0-9 and hyphen"),
        );
    }
    let direction = faults
        .word(&written.direction, &DIRECTIONS)
        .unwrap_or(Direction::Unspecified);
    let protocol = written
        .protocol
        .as_ref()
        .and_then(|word| faults.word(word, &PROTOCOLS));
    let protocol = protocol.unwrap_or(Protocol::Unspecified);
    let action = faults
        .word(&written.action, &ACTIONS)
        .unwrap_or(Action::Unspecified);
    if let (Some(first), false) = (
        written.ports.first(),
        matches!(protocol, Protocol::Tcp | Protocol::Udp),
    ) {
        faults.add(
            first,
            "ports go with `protocol = \"tcp\"` or \"udp\" only".to_owned(),
        );
    }
    for remote in &written.remotes {
        let text = remote.get_ref();
        if text.parse::<IpNet>().is_err() && text.parse::<IpAddr>().is_err() {
            faults.add(
                remote,
                format!("`{text}` is neither an IP address nor a network such as 10.0.0.0/8"),
            );
        }
    }
    if written.comment.chars().count() > 100 || written.comment.chars().any(char::is_control) {
        faults.add(
            &written.name,
            "the comment has more than 100 characters, or a line break".to_owned(),
        );
    }
    let mut ports = Vec::new();
    for place in &written.ports {
        match range(place.get_ref()) {
            Some(range) => ports.push(range),
            None => faults.add(
                place,
                "that is neither a port nor a range such as \"10000-20000\"".to_owned(),
            ),
        }
    }
    Rule {
        name: written.name.into_inner(),
        owner: "operator".to_owned(),
        direction: direction.into(),
        protocol: protocol.into(),
        ports,
        remotes: written.remotes.into_iter().map(Spanned::into_inner).collect(),
        action: action.into(),
        comment: written.comment,
    }
}

fn range(ports: &FilePorts) -> Option<PortRange> {
    let (first, last) = match ports {
        FilePorts::One(port) => (*port, *port),
        FilePorts::Range(text) => match text.split_once('-') {
            Some((first, last)) => (first.trim().parse().ok()?, last.trim().parse().ok()?),
            None => text.trim().parse().ok().map(|port: u16| (port, port))?,
        },
    };
    (first > 0 && first <= last).then(|| PortRange {
        first: first.into(),
        last: last.into(),
    })
}

fn lines(rule: &Rule) -> Vec<String> {
    let quoted = |texts: &[String]| {
        texts
            .iter()
            .map(|text| format!("\"{text}\""))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let ports: Vec<_> = rule.ports.iter().map(port_range).collect();
    let mut lines = vec![
        format!("name = \"{}\"", rule.name),
        format!("direction = \"{}\"", direction(rule.direction())),
        format!("protocol = \"{}\"", protocol(rule.protocol())),
    ];
    if !ports.is_empty() {
        lines.push(format!("ports = [{}]", quoted(&ports)));
    }
    if !rule.remotes.is_empty() {
        lines.push(format!("remotes = [{}]", quoted(&rule.remotes)));
    }
    lines.push(format!("action = \"{}\"", action(rule.action())));
    if !rule.comment.is_empty() {
        lines.push(format!("comment = {}", toml::Value::String(rule.comment.clone())));
    }
    lines
}

pub(crate) fn action(value: Action) -> &'static str {
    ACTIONS
        .iter()
        .find(|(_, action)| *action == value)
        .map_or("as it is", |(word, _)| word)
}

pub(crate) fn direction(value: Direction) -> &'static str {
    DIRECTIONS
        .iter()
        .find(|(_, direction)| *direction == value)
        .map_or("unknown", |(word, _)| word)
}

pub(crate) fn protocol(value: Protocol) -> &'static str {
    PROTOCOLS
        .iter()
        .find(|(_, protocol)| *protocol == value)
        .map_or("unknown", |(word, _)| word)
}

pub(crate) fn port_range(range: &PortRange) -> String {
    if range.first == range.last {
        range.first.to_string()
    } else {
        format!("{}-{}", range.first, range.last)
    }
}

#[cfg(test)]
mod tests {
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
}
