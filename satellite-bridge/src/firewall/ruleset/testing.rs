//! Rules for tests: by hand and at random.

use proptest::prelude::*;

use super::super::rate::{MAX_RATE, RateLimit, Span};
use super::{Action, Comment, Direction, Ports, Protocol, Rule, Ruleset};

/// A rule of the operator that names remotes and ports as asked.
pub(crate) fn rule(
    name: &str,
    (direction, protocol): (Direction, Protocol),
    ports: &[(u32, u32)],
    remotes: &[&str],
    action: Action,
) -> Rule {
    Rule {
        name: name.parse().unwrap(),
        owner: "operator".parse().unwrap(),
        direction,
        protocol,
        ports: ports
            .iter()
            .map(|(first, last)| Ports::new(*first, *last).unwrap())
            .collect(),
        remotes: remotes.iter().map(|text| text.parse().unwrap()).collect(),
        action,
        comment: Comment::default(),
        rate_limit: None,
    }
}

/// Rulesets of up to 20 rules of all kinds.
pub(crate) fn rulesets() -> impl Strategy<Value = Ruleset> {
    (prop::collection::vec(a_rule(), 0..20), an_action(), an_action()).prop_map(
        |(rules, default_in, default_out)| {
            let numbered = rules.into_iter().enumerate().map(|(n, rule)| Rule {
                name: format!("rule-{n}").parse().unwrap(),
                ..rule
            });
            Ruleset::new(numbered.collect(), default_in, default_out).unwrap()
        },
    )
}

fn a_rule() -> impl Strategy<Value = Rule> {
    let remotes = prop::collection::vec(a_network(), 0..4);
    let ports = prop::collection::vec((1..=65_535_u32, 0..100_u32), 0..20);
    let direction = prop_oneof![Just(Direction::In), Just(Direction::Out)];
    let protocol = prop_oneof![
        Just(Protocol::Any),
        Just(Protocol::Tcp),
        Just(Protocol::Udp),
        Just(Protocol::Icmp)
    ];
    (
        direction,
        protocol,
        ports,
        remotes,
        an_action(),
        "[ -~äöü€]{0,100}",
        a_limit(),
    )
        .prop_map(
            |(direction, protocol, ports, remotes, action, comment, rate_limit)| {
                let has_ports = matches!(protocol, Protocol::Tcp | Protocol::Udp);
                let ports = ports.into_iter().filter(|_| has_ports);
                Rule {
                    name: "x".parse().unwrap(),
                    owner: "workload/backup-service".parse().unwrap(),
                    direction,
                    protocol,
                    ports: ports
                        .map(|(low, n)| Ports::new(low, (low + n).min(65_535)).unwrap())
                        .collect(),
                    remotes,
                    action,
                    comment: comment.parse().unwrap(),
                    rate_limit,
                }
            },
        )
}

fn a_limit() -> impl Strategy<Value = Option<RateLimit>> {
    let span = prop_oneof![Just(Span::Second), Just(Span::Minute), Just(Span::Hour)];
    let limit = (1..=MAX_RATE, span, 1..=MAX_RATE);
    prop::option::of(limit.prop_map(|(packets, span, burst)| RateLimit::new(packets, span, burst).unwrap()))
}

fn a_network() -> impl Strategy<Value = ipnet::IpNet> {
    let four = (any::<u32>(), 0..=32_u8).prop_map(|(bits, length)| {
        ipnet::IpNet::new(std::net::Ipv4Addr::from(bits).into(), length)
            .unwrap()
            .trunc()
    });
    let six = (any::<u128>(), 0..=128_u8).prop_map(|(bits, length)| {
        ipnet::IpNet::new(std::net::Ipv6Addr::from(bits).into(), length)
            .unwrap()
            .trunc()
    });
    prop_oneof![four, six]
}

fn an_action() -> impl Strategy<Value = Action> {
    prop_oneof![Just(Action::Accept), Just(Action::Drop), Just(Action::Reject)]
}
