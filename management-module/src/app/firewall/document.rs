//! The document of firewall rules: TOML or JSON as written, checked, compared.
//!
//! **Invariant:** pure. Every fault is told at once, with its line.

mod json;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;
use satellite_proto::wire::bridge::v1::rate_limit::Span;
use satellite_proto::wire::bridge::v1::{Action, Direction, PortRange, Protocol, RateLimit, Rule};
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
    set: Vec<FileSet>,
    #[serde(default)]
    rule: Vec<FileRule>,
}

/// Remotes under one name, for several rules.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileSet {
    name: Spanned<String>,
    remotes: Vec<Spanned<String>>,
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
    rate: Option<Spanned<String>>,
    burst: Option<Spanned<u32>>,
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
const SPANS: [(&str, Span); 3] = [
    ("second", Span::Second),
    ("minute", Span::Minute),
    ("hour", Span::Hour),
];
const PROTOCOLS: [(&str, Protocol); 4] = [
    ("any", Protocol::Unspecified),
    ("tcp", Protocol::Tcp),
    ("udp", Protocol::Udp),
    ("icmp", Protocol::Icmp),
];

impl Document {
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        if text.trim_start().starts_with('{') {
            return json::parse(text);
        }
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
        let sets = sets(&file.set, &mut faults);
        let mut rules: Vec<Rule> = Vec::new();
        for written in file.rule {
            if rules.iter().any(|rule| rule.name == *written.name.get_ref()) {
                faults.add(
                    &written.name,
                    format!("rule `{}` is there twice", written.name.get_ref()),
                );
            }
            rules.push(rule(written, &sets, &mut faults));
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

/// Remotes by the name of their set.
type Sets = BTreeMap<String, Vec<String>>;

fn sets(written: &[FileSet], faults: &mut Faults<'_>) -> Sets {
    let mut sets = Sets::new();
    for set in written {
        for remote in &set.remotes {
            check_remote(remote, faults);
        }
        let remotes = set.remotes.iter().map(|remote| remote.get_ref().clone());
        let name = set.name.get_ref().clone();
        if sets.insert(name, remotes.collect()).is_some() {
            faults.add(&set.name, format!("set `{}` is there twice", set.name.get_ref()));
        }
    }
    sets
}

fn check_remote(remote: &Spanned<String>, faults: &mut Faults<'_>) {
    let text = remote.get_ref();
    if text.parse::<IpNet>().is_err() && text.parse::<IpAddr>().is_err() {
        faults.add(
            remote,
            format!("`{text}` is neither an IP address nor a network such as 10.0.0.0/8"),
        );
    }
}

/// What a rule names, with the members of sets (`@NAME`) in their place.
fn remotes(written: &[Spanned<String>], sets: &Sets, faults: &mut Faults<'_>) -> Vec<String> {
    let mut all = Vec::new();
    for remote in written {
        match remote.get_ref().strip_prefix('@') {
            None => {
                check_remote(remote, faults);
                all.push(remote.get_ref().clone());
            }
            Some(name) => match sets.get(name) {
                Some(members) => all.extend(members.iter().cloned()),
                None => faults.add(remote, format!("there is no set `{name}`")),
            },
        }
    }
    all.dedup();
    all
}

/// `PACKETS/SPAN`, and how many may come at once: as many as in a span, unless it is said.
fn rate_limit(
    rate: &Spanned<String>,
    burst: Option<&Spanned<u32>>,
    faults: &mut Faults<'_>,
) -> Option<RateLimit> {
    let (packets, span) = rate.get_ref().split_once('/').unwrap_or_default();
    let span = SPANS.iter().find(|(word, _)| *word == span.trim());
    let packets = packets.trim().parse().ok().filter(|n| (1..=10_000).contains(n));
    let (Some((_, span)), Some(packets)) = (span, packets) else {
        faults.add(
            rate,
            "that is no rate of 1 to 10000 packets, such as \"10/second\", \"10/minute\" or \"10/hour\""
                .to_owned(),
        );
        return None;
    };
    let at_once = burst.map_or(packets, |burst| *burst.get_ref());
    if let Some(burst) = burst.filter(|_| !(1..=10_000).contains(&at_once)) {
        faults.add(burst, "`burst` is 1 to 10000".to_owned());
    }
    Some(RateLimit {
        packets,
        span: (*span).into(),
        burst: at_once,
    })
}

/// A rate as a document says it.
pub(crate) fn rate(limit: &RateLimit) -> String {
    let span = SPANS.iter().find(|(_, span)| *span == limit.span());
    format!("{}/{}", limit.packets, span.map_or("?", |(word, _)| word))
}

fn rule(written: FileRule, sets: &Sets, faults: &mut Faults<'_>) -> Rule {
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
    let remotes = remotes(&written.remotes, sets, faults);
    let rate = written.rate.as_ref();
    let rate_limit = rate.and_then(|rate| rate_limit(rate, written.burst.as_ref(), faults));
    if let (Some(burst), None) = (&written.burst, rate) {
        faults.add(burst, "`burst` goes with `rate` only".to_owned());
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
        remotes,
        action: action.into(),
        comment: written.comment,
        rate_limit,
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
    if let Some(limit) = &rule.rate_limit {
        lines.push(format!("rate = \"{}\"", rate(limit)));
        lines.push(format!("burst = {}", limit.burst));
    }
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
mod tests;
