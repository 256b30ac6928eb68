//! From a ruleset to the input of `iptables-restore`, one text for each family.
//!
//! **Invariant:** pure and deterministic; whatever the ruleset says, the bridge's port, loopback, established
//! connections, what IPv6 needs to work at all, and DHCP come before it. Nothing a person typed freely gets into the
//! text: only names, numbers and networks do.

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;
use satellite_host::iptables::{Family, Hook};

use super::ruleset::{Action, Direction, Ports, Protocol, Rule, Ruleset};

/// Where incoming packets meet our rules.
pub const INPUT: Hook = Hook {
    parent: "INPUT",
    chain: "SATELLITE-INPUT",
};
/// Where outgoing packets meet our rules.
pub const OUTPUT: Hook = Hook {
    parent: "OUTPUT",
    chain: "SATELLITE-OUTPUT",
};
/// Where packets for others meet our rules.
pub const FORWARD: Hook = Hook {
    parent: "FORWARD",
    chain: "SATELLITE-FORWARD",
};
/// All our chains.
pub const HOOKS: [Hook; 3] = [INPUT, OUTPUT, FORWARD];

/// Most kernel rules in a family: a rule with many ports and many remotes becomes many.
pub const MAX_LINES: usize = 50_000;

/// Most ports in one `multiport` match; a range counts twice.
const MULTIPORT_SLOTS: usize = 15;

/// ICMP that IPv4 needs: a path's size, and why packets do not arrive.
const ICMP_V4: [&str; 3] = ["destination-unreachable", "time-exceeded", "parameter-problem"];

/// ICMPv6 errors, router and neighbour discovery, multicast listeners: without them there is no IPv6.
const ICMP_V6: [&str; 12] = [
    "1", "2", "3", "4", "130", "131", "132", "133", "134", "135", "136", "143",
];

/// Why a checked ruleset cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the rules make more than {MAX_LINES} kernel rules in one family; use larger networks or fewer ports"
)]
pub struct TooLarge;

/// The input of `iptables-restore` and `ip6tables-restore`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chains {
    v4: String,
    v6: String,
}

impl Chains {
    /// The text for one family.
    #[must_use]
    pub fn text(&self, family: Family) -> &str {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

/// Renders `ruleset` for a bridge that listens on `port`.
///
/// # Errors
///
/// [`TooLarge`] if a family would have more than [`MAX_LINES`] rules.
pub fn render(ruleset: &Ruleset, port: u16) -> Result<Chains, TooLarge> {
    Ok(Chains {
        v4: family(ruleset, port, Family::V4)?,
        v6: family(ruleset, port, Family::V6)?,
    })
}

fn family(ruleset: &Ruleset, port: u16, family: Family) -> Result<String, TooLarge> {
    let mut text = Text::new();
    for hook in HOOKS {
        text.declare(hook.chain);
    }
    first_in(&mut text, family, port);
    first_out(&mut text, family, port);
    for rule in ruleset.rules() {
        one(&mut text, family, rule);
        if text.lines > MAX_LINES {
            return Err(TooLarge);
        }
    }
    last(&mut text, INPUT.chain, ruleset.default_in());
    last(&mut text, OUTPUT.chain, ruleset.default_out());
    // A satellite is no router.
    text.add(FORWARD.chain, "-j DROP");
    Ok(text.finish())
}

/// What comes in whatever the rules say.
fn first_in(text: &mut Text, family: Family, port: u16) {
    let chain = INPUT.chain;
    text.add(chain, "-i lo -j ACCEPT");
    text.add(chain, &format!("-p tcp -m tcp --dport {port} -j ACCEPT"));
    text.add(chain, "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
    icmp(text, chain, family);
    match family {
        Family::V4 => text.add(chain, "-p udp -m udp --sport 67 --dport 68 -j ACCEPT"),
        Family::V6 => {
            text.add(
                chain,
                "-s fe80::/10 -p udp -m udp --sport 547 --dport 546 -j ACCEPT",
            );
        }
    }
}

/// What goes out whatever the rules say.
fn first_out(text: &mut Text, family: Family, port: u16) {
    let chain = OUTPUT.chain;
    text.add(chain, "-o lo -j ACCEPT");
    text.add(chain, &format!("-p tcp -m tcp --sport {port} -j ACCEPT"));
    text.add(chain, "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
    icmp(text, chain, family);
    match family {
        Family::V4 => text.add(chain, "-p udp -m udp --sport 68 --dport 67 -j ACCEPT"),
        Family::V6 => text.add(chain, "-p udp -m udp --sport 546 --dport 547 -j ACCEPT"),
    }
}

fn icmp(text: &mut Text, chain: &str, family: Family) {
    match family {
        Family::V4 => {
            for kind in ICMP_V4 {
                text.add(chain, &format!("-p icmp -m icmp --icmp-type {kind} -j ACCEPT"));
            }
        }
        Family::V6 => {
            for kind in ICMP_V6 {
                text.add(
                    chain,
                    &format!("-p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j ACCEPT"),
                );
            }
        }
    }
}

/// One rule of the ruleset: a kernel rule for each of its remotes and each group of its ports.
fn one(text: &mut Text, family: Family, rule: &Rule) {
    let chain = match rule.direction {
        Direction::In => INPUT.chain,
        Direction::Out => OUTPUT.chain,
    };
    let Some(remotes) = remotes(rule, family) else {
        return;
    };
    let protocol = protocol(rule.protocol, family);
    let target = target(rule.action, rule.protocol);
    let limit = rule
        .rate_limit
        .map_or_else(String::new, |limit| format!("{limit} "));
    for remote in &remotes {
        for ports in port_matches(&rule.ports) {
            text.add(
                chain,
                &format!(
                    "{remote}{protocol}{ports}{limit}-m comment --comment {}/{} {target}",
                    rule.owner, rule.name
                ),
            );
        }
    }
}

/// The matches for the remotes of this family; `None` if the rule is about the other family only.
fn remotes(rule: &Rule, family: Family) -> Option<Vec<String>> {
    if rule.remotes.is_empty() {
        return Some(vec![String::new()]);
    }
    let flag = match rule.direction {
        Direction::In => "-s",
        Direction::Out => "-d",
    };
    let ours = |remote: &&IpNet| match remote.addr() {
        IpAddr::V4(_) => family == Family::V4,
        IpAddr::V6(_) => family == Family::V6,
    };
    let matches: Vec<String> = rule
        .remotes
        .iter()
        .filter(ours)
        .map(|remote| format!("{flag} {} ", remote.trunc()))
        .collect();
    if matches.is_empty() { None } else { Some(matches) }
}

fn protocol(protocol: Protocol, family: Family) -> &'static str {
    match (protocol, family) {
        (Protocol::Any, _) => "",
        (Protocol::Tcp, _) => "-p tcp ",
        (Protocol::Udp, _) => "-p udp ",
        (Protocol::Icmp, Family::V4) => "-p icmp ",
        (Protocol::Icmp, Family::V6) => "-p ipv6-icmp ",
    }
}

fn target(action: Action, protocol: Protocol) -> &'static str {
    match (action, protocol) {
        (Action::Accept, _) => "-j ACCEPT",
        (Action::Drop, _) => "-j DROP",
        (Action::Reject, Protocol::Tcp) => "-j REJECT --reject-with tcp-reset",
        (Action::Reject, _) => "-j REJECT",
    }
}

/// The matches for destination ports: one for all, or as many groups as `multiport` needs.
fn port_matches(ports: &[Ports]) -> Vec<String> {
    if ports.is_empty() {
        return vec![String::new()];
    }
    groups(ports)
        .into_iter()
        .map(|group| format!("-m multiport --dports {} ", group.join(",")))
        .collect()
}

fn groups(ports: &[Ports]) -> Vec<Vec<String>> {
    let mut groups: Vec<Vec<String>> = Vec::new();
    let mut free = 0_usize;
    for range in ports {
        let slots = if range.first() == range.last() { 1 } else { 2 };
        if slots > free {
            groups.push(Vec::new());
            free = MULTIPORT_SLOTS;
        }
        free = free.saturating_sub(slots);
        if let Some(group) = groups.last_mut() {
            group.push(range.to_string());
        }
    }
    groups
}

/// What happens to packets that no rule names. Accepting leaves them to whatever else is on the machine.
fn last(text: &mut Text, chain: &str, action: Action) {
    text.add(
        chain,
        match action {
            Action::Accept => "-j RETURN",
            Action::Drop => "-j DROP",
            Action::Reject => "-j REJECT",
        },
    );
}

/// The text as it grows.
struct Text {
    head: String,
    rules: String,
    lines: usize,
}

impl Text {
    fn new() -> Self {
        Self {
            head: "*filter\n".to_owned(),
            rules: String::new(),
            lines: 0,
        }
    }

    /// With `--noflush`, a declaration empties that chain, and only that one, in the same transaction.
    fn declare(&mut self, chain: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.head, ":{chain} - [0:0]");
    }

    fn add(&mut self, chain: &str, rule: &str) {
        let _ = writeln!(self.rules, "-A {chain} {rule}");
        self.lines = self.lines.saturating_add(1);
    }

    fn finish(self) -> String {
        let Self { mut head, rules, .. } = self;
        head.push_str(&rules);
        head.push_str("COMMIT\n");
        head
    }
}

#[cfg(test)]
mod tests;
