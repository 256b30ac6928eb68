//! Rulesets from and to the wire. Every field is doubted here and nowhere else.

use std::net::IpAddr;

use ipnet::IpNet;
use prost::Message;
use satellite_proto::wire::MAX_MESSAGE;
use satellite_proto::wire::bridge::v1 as wire;

use super::rate::{RateLimit, Span};
use super::ruleset::{Action, Direction, MAX_BYTES, Ports, Protocol, Rule, RuleFault, Ruleset, RulesetError};

/// The longest text taken for a remote: an IPv6 address with a prefix length.
const MAX_REMOTE: usize = 49;

/// Bytes of an answer that are neither rules nor lines: revision, open change, and what a server wraps around it.
const BESIDE: usize = 4096;

/// A checked ruleset.
///
/// # Errors
///
/// [`RulesetError`] with the owner and the name of the first rule that is not right.
pub fn from_wire(ruleset: wire::Ruleset) -> Result<Ruleset, RulesetError> {
    let default_in = action(ruleset.default_in).ok_or(RulesetError::NoDefault {
        direction: Direction::In,
    })?;
    let default_out = action(ruleset.default_out).ok_or(RulesetError::NoDefault {
        direction: Direction::Out,
    })?;
    let count = ruleset.rules.len();
    if count > super::ruleset::MAX_RULES {
        return Err(RulesetError::TooManyRules { count });
    }
    let rules = ruleset
        .rules
        .into_iter()
        .enumerate()
        .map(named_rule)
        .collect::<Result<_, _>>()?;
    let checked = Ruleset::new(rules, default_in, default_out)?;
    // Not as it came: a network is given back with its length.
    let bytes = to_wire(&checked).encoded_len();
    if bytes > MAX_BYTES {
        return Err(RulesetError::TooLong { bytes });
    }
    Ok(checked)
}

/// As many of the kernel's rules as fit beside `ruleset` into an answer, half of the room for each family unless the
/// other leaves more, and how many do not.
#[must_use]
pub fn fitting(
    ruleset: &wire::Ruleset,
    mut ipv4: Vec<String>,
    mut ipv6: Vec<String>,
) -> (Vec<String>, Vec<String>, u32) {
    let room = MAX_MESSAGE.saturating_sub(ruleset.encoded_len() + BESIDE);
    let wanted = |lines: &[String]| lines.iter().map(|line| on_the_wire(line)).sum::<usize>();
    let half = (room / 2).max(room.saturating_sub(wanted(&ipv6)));
    let left_out = cut(&mut ipv4, half);
    let rest = room.saturating_sub(wanted(&ipv4));
    let left_out = left_out + cut(&mut ipv6, rest);
    (ipv4, ipv6, u32::try_from(left_out).unwrap_or(u32::MAX))
}

/// Keeps the first of `lines` that have room in `most` bytes; answers how many do not.
fn cut(lines: &mut Vec<String>, most: usize) -> usize {
    let mut bytes = 0;
    let fit = lines
        .iter()
        .take_while(|line| {
            bytes += on_the_wire(line);
            bytes <= most
        })
        .count();
    let left_out = lines.len() - fit;
    lines.truncate(fit);
    left_out
}

/// The bytes of a line with what goes before it.
fn on_the_wire(line: &str) -> usize {
    line.len() + 1 + prost::length_delimiter_len(line.len())
}

/// The ruleset as it goes over the wire.
#[must_use]
pub fn to_wire(ruleset: &Ruleset) -> wire::Ruleset {
    wire::Ruleset {
        rules: ruleset.rules().iter().map(rule_to_wire).collect(),
        default_in: action_to_wire(ruleset.default_in()).into(),
        default_out: action_to_wire(ruleset.default_out()).into(),
    }
}

fn named_rule((place, rule): (usize, wire::Rule)) -> Result<Rule, RulesetError> {
    let (owner, name) = (printable(&rule.owner), printable(&rule.name));
    one_rule(rule).map_err(|fault| RulesetError::Rule {
        owner,
        name: if fault == RuleFault::Name {
            format!("{name} (no. {})", place.saturating_add(1))
        } else {
            name
        },
        fault,
    })
}

fn one_rule(rule: wire::Rule) -> Result<Rule, RuleFault> {
    if rule.ports.len() > super::ruleset::MAX_PORTS {
        return Err(RuleFault::TooManyPorts);
    }
    if rule.remotes.len() > super::ruleset::MAX_REMOTES {
        return Err(RuleFault::TooManyRemotes);
    }
    Ok(Rule {
        name: rule.name.parse()?,
        owner: rule.owner.parse()?,
        direction: direction(rule.direction)?,
        protocol: protocol(rule.protocol)?,
        ports: rule
            .ports
            .iter()
            .map(|range| Ports::new(range.first, range.last))
            .collect::<Result<_, _>>()?,
        remotes: rule
            .remotes
            .iter()
            .map(|text| remote(text))
            .collect::<Result<_, _>>()?,
        action: action(rule.action).ok_or(RuleFault::Action)?,
        comment: rule.comment.parse()?,
        rate_limit: rule.rate_limit.map(rate_limit).transpose()?,
    })
}

fn rate_limit(limit: wire::RateLimit) -> Result<RateLimit, RuleFault> {
    let span = match limit.span() {
        wire::rate_limit::Span::Second => Span::Second,
        wire::rate_limit::Span::Minute => Span::Minute,
        wire::rate_limit::Span::Hour => Span::Hour,
        wire::rate_limit::Span::Unspecified => return Err(RuleFault::RateLimit),
    };
    RateLimit::new(limit.packets, span, limit.burst)
}

fn rate_limit_to_wire(limit: RateLimit) -> wire::RateLimit {
    let span = match limit.span() {
        Span::Second => wire::rate_limit::Span::Second,
        Span::Minute => wire::rate_limit::Span::Minute,
        Span::Hour => wire::rate_limit::Span::Hour,
    };
    wire::RateLimit {
        packets: limit.packets(),
        span: span.into(),
        burst: limit.burst(),
    }
}

/// An address (then of full length) or a network; bits behind the prefix length are cleared.
fn remote(text: &str) -> Result<IpNet, RuleFault> {
    let network = text
        .parse::<IpNet>()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network
        .filter(|_| text.len() <= MAX_REMOTE)
        .map(|network| network.trunc())
        .ok_or_else(|| RuleFault::Remote(printable(text)))
}

fn direction(value: i32) -> Result<Direction, RuleFault> {
    match wire::Direction::try_from(value) {
        Ok(wire::Direction::In) => Ok(Direction::In),
        Ok(wire::Direction::Out) => Ok(Direction::Out),
        Ok(wire::Direction::Unspecified) | Err(_) => Err(RuleFault::Direction),
    }
}

fn protocol(value: i32) -> Result<Protocol, RuleFault> {
    match wire::Protocol::try_from(value) {
        Ok(wire::Protocol::Unspecified) => Ok(Protocol::Any),
        Ok(wire::Protocol::Tcp) => Ok(Protocol::Tcp),
        Ok(wire::Protocol::Udp) => Ok(Protocol::Udp),
        Ok(wire::Protocol::Icmp) => Ok(Protocol::Icmp),
        Err(_) => Err(RuleFault::Protocol),
    }
}

fn action(value: i32) -> Option<Action> {
    match wire::Action::try_from(value) {
        Ok(wire::Action::Accept) => Some(Action::Accept),
        Ok(wire::Action::Drop) => Some(Action::Drop),
        Ok(wire::Action::Reject) => Some(Action::Reject),
        Ok(wire::Action::Unspecified) | Err(_) => None,
    }
}

fn rule_to_wire(rule: &Rule) -> wire::Rule {
    wire::Rule {
        name: rule.name.to_string(),
        owner: rule.owner.to_string(),
        direction: match rule.direction {
            Direction::In => wire::Direction::In,
            Direction::Out => wire::Direction::Out,
        }
        .into(),
        protocol: match rule.protocol {
            Protocol::Any => wire::Protocol::Unspecified,
            Protocol::Tcp => wire::Protocol::Tcp,
            Protocol::Udp => wire::Protocol::Udp,
            Protocol::Icmp => wire::Protocol::Icmp,
        }
        .into(),
        ports: rule
            .ports
            .iter()
            .map(|p| wire::PortRange {
                first: p.first().into(),
                last: p.last().into(),
            })
            .collect(),
        remotes: rule.remotes.iter().map(ToString::to_string).collect(),
        action: action_to_wire(rule.action).into(),
        rate_limit: rule.rate_limit.map(rate_limit_to_wire),
        comment: rule.comment.to_string(),
    }
}

fn action_to_wire(action: Action) -> wire::Action {
    match action {
        Action::Accept => wire::Action::Accept,
        Action::Drop => wire::Action::Drop,
        Action::Reject => wire::Action::Reject,
    }
}

/// What a caller sent, fit for a message to a person.
fn printable(text: &str) -> String {
    text.chars()
        .take(64)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use satellite_host::iptables::Family;

    use super::super::render::render;
    use super::*;

    fn rule() -> wire::Rule {
        wire::Rule {
            name: "ssh".into(),
            owner: "operator".into(),
            direction: wire::Direction::In.into(),
            protocol: wire::Protocol::Tcp.into(),
            ports: vec![wire::PortRange { first: 22, last: 22 }],
            remotes: vec!["192.0.2.7/24".into(), "2001:db8::1".into()],
            action: wire::Action::Accept.into(),
            comment: "Ünïcode ist in Ordnung".into(),
            rate_limit: None,
        }
    }

    fn with(rules: Vec<wire::Rule>) -> wire::Ruleset {
        let (default_in, default_out) = (wire::Action::Drop.into(), wire::Action::Accept.into());
        wire::Ruleset {
            rules,
            default_in,
            default_out,
        }
    }

    fn check(change: impl FnOnce(&mut wire::Rule), expected: &str) {
        let mut wrong = rule();
        change(&mut wrong);
        let said = from_wire(with(vec![wrong])).unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    }

    #[test]
    fn a_good_ruleset_comes_back_with_its_networks_cleared_behind_the_prefix() {
        let checked = from_wire(with(vec![rule()])).unwrap();
        let back = to_wire(&checked);
        assert_eq!(back.rules[0].remotes, ["192.0.2.0/24", "2001:db8::1/128"]);
        assert_eq!(from_wire(back).unwrap(), checked);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_rule() {
        check(
            |rule| rule.name = "SSH".into(),
            "rule `operator/SSH (no. 1)`: its name",
        );
        check(|rule| rule.name = "a -j ACCEPT\n".into(), "its name must be");
        check(|rule| rule.owner = "root".into(), "its owner");
        check(|rule| rule.owner = "workload/../x".into(), "its owner");
        check(|rule| rule.direction = 0, "its direction");
        check(|rule| rule.protocol = 9, "its protocol");
        check(|rule| rule.action = 0, "its action");
        check(|rule| rule.protocol = 0, "names ports");
        check(|rule| rule.ports[0].first = 0, "ports 0 to 22");
        check(|rule| rule.ports[0].first = 23, "ports 23 to 22");
        check(|rule| rule.ports[0].last = 65_536, "ports 22 to 65536");
        check(
            |rule| rule.remotes[0] = "example.org".into(),
            "`example.org` is not an IP",
        );
        check(|rule| rule.remotes[0] = "10.0.0.0/33".into(), "is not an IP");
        check(|rule| rule.comment = "x".repeat(101), "its comment");
        check(|rule| rule.comment = "a\nb".into(), "its comment");
        check(|rule| rule.comment = "a\u{202e}b".into(), "its comment");
    }

    #[test]
    fn two_rules_of_an_owner_with_one_name_are_refused_by_name() {
        let said = from_wire(with(vec![rule(), rule()])).unwrap_err().to_string();
        assert_eq!(
            said,
            "rule `operator/ssh`: there is another rule with this name; names are unique among the rules of an owner"
        );
        let other = wire::Rule {
            owner: "workload/backup".into(),
            ..rule()
        };
        from_wire(with(vec![rule(), other])).unwrap();
    }

    fn answer(ruleset: &Ruleset, port: u16) -> wire::GetFirewallResponse {
        let chains = render(ruleset, port).unwrap();
        let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
        let ruleset = to_wire(ruleset);
        let (v4, v6) = (chains.text(Family::V4), chains.text(Family::V6));
        let (ipv4, ipv6, lines_left_out) = fitting(&ruleset, lines(v4), lines(v6));
        wire::GetFirewallResponse {
            ruleset: Some(ruleset),
            revision: "a".repeat(64),
            ipv4,
            ipv6,
            lines_left_out,
            ..Default::default()
        }
    }

    #[test]
    fn the_largest_rulesets_that_are_taken_can_be_read_back() {
        // Many rules with long comments; few with many networks and ports, which become many kernel rules.
        let talkative = |no: usize| wire::Rule {
            name: format!("{no:0>63}"),
            remotes: vec![],
            comment: "\u{20ac}".repeat(70),
            ..rule()
        };
        let wide = |no: usize| wire::Rule {
            name: format!("{no:0>63}"),
            remotes: (0..1000)
                .map(|host| format!("2001:db8:1111:2222:3333:4444:{no:x}:{host:x}"))
                .collect(),
            ports: (1..=100)
                .map(|port| wire::PortRange {
                    first: port * 2,
                    last: port * 2,
                })
                .collect(),
            ..rule()
        };
        for rules in [
            (0..9_000).map(talkative).collect::<Vec<_>>(),
            (0..7).map(wide).collect(),
        ] {
            let checked = from_wire(with(rules)).unwrap();
            let answer = answer(&checked, 7640);
            assert!(
                answer.encoded_len() <= MAX_MESSAGE,
                "{} bytes",
                answer.encoded_len()
            );
            assert!(!answer.ipv4.is_empty() && !answer.ipv6.is_empty());
            assert!(answer.lines_left_out > 0);
            assert_eq!(from_wire(answer.ruleset.unwrap()).unwrap(), checked);
        }
        let small = answer(&from_wire(with(vec![rule()])).unwrap(), 7640);
        assert_eq!(small.lines_left_out, 0);
    }

    #[test]
    fn a_ruleset_that_could_not_be_read_back_is_refused() {
        let long = |no: usize| wire::Rule {
            name: format!("{no:0>63}"),
            comment: "\u{20ac}".repeat(100),
            ..rule()
        };
        let refused = from_wire(with((0..10_000).map(long).collect())).unwrap_err();
        assert!(matches!(refused, RulesetError::TooLong { .. }), "{refused}");
    }

    #[test]
    fn a_missing_default_and_too_many_rules_are_refused() {
        let missing = wire::Ruleset {
            default_in: 0,
            ..with(vec![])
        };
        assert!(from_wire(missing).unwrap_err().to_string().contains("incoming"));
        let many = vec![wire::Rule::default(); 10_001];
        assert_eq!(
            from_wire(with(many)).unwrap_err(),
            RulesetError::TooManyRules { count: 10_001 }
        );
    }
}
