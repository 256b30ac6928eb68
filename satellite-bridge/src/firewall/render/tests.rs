//! What is rendered, word for word, and what holds for every ruleset.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::firewall::ruleset::testing::{rule, rulesets};

fn check(name: &str, ruleset: &Ruleset) {
    let chains = render(ruleset, 7640).unwrap();
    for (family, end) in [(Family::V4, "v4"), (Family::V6, "v6")] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src/firewall/testdata")
            .join(format!("{name}.{end}"));
        let text = chains.text(family);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            satellite_host::files::write_atomic(&path, text.as_bytes(), 0o644).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            golden,
            "{} differs; UPDATE_GOLDEN=1 writes it anew",
            path.display()
        );
    }
}

fn rules(rules: Vec<Rule>) -> Ruleset {
    Ruleset::new(rules, Action::Drop, Action::Accept).unwrap()
}

#[test]
fn the_shipped_rules_let_in_the_server_and_nothing_else() {
    check("shipped", &Ruleset::shipped());
}

#[test]
fn each_kind_of_rule_has_its_words() {
    let mut all = vec![
        rule(
            "ssh",
            (Direction::In, Protocol::Tcp),
            &[(22, 22)],
            &["192.0.2.0/24", "2001:db8::/32"],
            Action::Accept,
        ),
        rule(
            "syslog",
            (Direction::Out, Protocol::Udp),
            &[(514, 514)],
            &["192.0.2.9/32"],
            Action::Accept,
        ),
        rule("ping", (Direction::In, Protocol::Icmp), &[], &[], Action::Accept),
        rule(
            "v6-only",
            (Direction::In, Protocol::Any),
            &[],
            &["2001:db8:1::/48"],
            Action::Drop,
        ),
        rule(
            "no-mail",
            (Direction::Out, Protocol::Tcp),
            &[(25, 25), (587, 587)],
            &[],
            Action::Reject,
        ),
        rule(
            "no-quic",
            (Direction::Out, Protocol::Udp),
            &[(443, 443)],
            &[],
            Action::Reject,
        ),
        rule(
            "rtp",
            (Direction::In, Protocol::Udp),
            &[(10_000, 20_000)],
            &[],
            Action::Accept,
        ),
    ];
    all[1].owner = "workload/backup-service".parse().unwrap();
    check("kinds", &Ruleset::new(all, Action::Reject, Action::Drop).unwrap());
}

#[test]
fn many_ports_are_cut_to_what_one_match_takes() {
    let ports: Vec<(u32, u32)> = (0..20)
        .map(|n| (1000 + 10 * n, 1000 + 10 * n + (n % 2)))
        .collect();
    check(
        "ports",
        &rules(vec![rule(
            "many",
            (Direction::In, Protocol::Tcp),
            &ports,
            &[],
            Action::Accept,
        )]),
    );
}

#[test]
fn a_rule_about_one_family_is_not_in_the_other() {
    let only = rules(vec![rule(
        "four",
        (Direction::In, Protocol::Any),
        &[],
        &["10.0.0.0/8"],
        Action::Accept,
    )]);
    let chains = render(&only, 7640).unwrap();
    assert!(chains.text(Family::V4).contains("operator/four"));
    assert!(!chains.text(Family::V6).contains("operator/four"));
}

#[test]
fn a_ruleset_that_multiplies_beyond_the_limit_is_refused() {
    let remotes: Vec<String> = (0..1000)
        .map(|n| format!("10.{}.{}.0/24", n / 250, n % 250))
        .collect();
    let remotes: Vec<&str> = remotes.iter().map(String::as_str).collect();
    let wide = |n| {
        rule(
            &format!("wide-{n}"),
            (Direction::In, Protocol::Any),
            &[],
            &remotes,
            Action::Drop,
        )
    };
    assert!(render(&rules((0..49).map(wide).collect()), 7640).is_ok());
    assert_eq!(render(&rules((0..51).map(wide).collect()), 7640), Err(TooLarge));
}

proptest! {
    #[test]
    fn whatever_the_rules_say_the_bridge_is_reached_first(ruleset in rulesets(), port in 1..u16::MAX) {
        let Ok(chains) = render(&ruleset, port) else { return Ok(()) };
        for family in Family::BOTH {
            let lines: Vec<&str> = chains.text(family).lines().collect();
            let first = |chain: &str| {
                lines.iter().filter(|line| line.starts_with(&format!("-A {chain} "))).take(2).copied().collect::<Vec<_>>()
            };
            let port_in = format!("-A SATELLITE-INPUT -p tcp -m tcp --dport {port} -j ACCEPT");
            let port_out = format!("-A SATELLITE-OUTPUT -p tcp -m tcp --sport {port} -j ACCEPT");
            prop_assert_eq!(first("SATELLITE-INPUT"), vec!["-A SATELLITE-INPUT -i lo -j ACCEPT", port_in.as_str()]);
            prop_assert_eq!(first("SATELLITE-OUTPUT"), vec!["-A SATELLITE-OUTPUT -o lo -j ACCEPT", port_out.as_str()]);
        }
    }

    #[test]
    fn equal_rulesets_are_rendered_equally_also_after_a_round_through_the_disk(ruleset in rulesets()) {
        let stored = serde_json::to_vec(&ruleset).unwrap();
        let loaded: Ruleset = serde_json::from_slice(&stored).unwrap();
        prop_assert_eq!(&loaded, &ruleset);
        prop_assert_eq!(serde_json::to_vec(&loaded).unwrap(), stored);
        prop_assert_eq!(render(&loaded, 7640), render(&ruleset, 7640));
    }

    #[test]
    fn only_our_chains_are_named(ruleset in rulesets()) {
        let Ok(chains) = render(&ruleset, 7640) else { return Ok(()) };
        for family in Family::BOTH {
            for line in chains.text(family).lines() {
                let ours = line.starts_with(":SATELLITE-") || line.starts_with("-A SATELLITE-");
                prop_assert!(ours || line == "*filter" || line == "COMMIT", "{}", line);
            }
        }
    }
}

/// In a network namespace of its own, which goes away with the thread. Needs root.
#[test]
fn every_ruleset_is_one_that_iptables_restore_takes() {
    let inside = || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let cases = proptest::test_runner::Config {
            cases: 24,
            failure_persistence: None,
            ..Default::default()
        };
        proptest!(cases, |(ruleset in rulesets())| {
            let chains = render(&ruleset, 7640).unwrap();
            for family in Family::BOTH {
                let taken = runtime.block_on(satellite_host::iptables::test(family, chains.text(family)));
                prop_assert!(taken.is_ok(), "{:?}\n{}", taken, chains.text(family));
            }
        });
    };
    std::thread::spawn(inside).join().unwrap();
}
