//! Rulesets from and to the wire. Every field is doubted here and nowhere else.

use std::net::IpAddr;

use ipnet::IpNet;
use satellite_proto::wire::bridge::v1 as wire;

use super::ruleset::{Action, Direction, Ports, Protocol, Rule, RuleFault, Ruleset, RulesetError};

/// The longest text taken for a remote: an IPv6 address with a prefix length.
const MAX_REMOTE: usize = 49;

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
    Ruleset::new(rules, default_in, default_out)
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
    })
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
