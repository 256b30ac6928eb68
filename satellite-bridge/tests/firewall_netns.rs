//! The firewall on the real packet filter of the kernel, with real packets between two network namespaces.
//!
//! Needs root, `ip` and `iptables`. Nothing outside the namespaces is touched.
#![expect(
    clippy::disallowed_methods,
    reason = "a test starts what it needs: namespaces, itself as a child"
)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(unreachable_pub, reason = "modules of a test are seen by nobody else")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use satellite_bridge::change::{Changes, NoTimer};
use satellite_bridge::firewall::wire::from_wire;
use satellite_bridge::firewall::{self, Firewall, FirewallError, Ruleset, SetOutcome, Settings, Wanted};
use satellite_host::iptables::Kernel;
use satellite_proto::wire::bridge::v1 as wire;

#[path = "firewall_netns/kill.rs"]
mod kill;
#[path = "firewall_netns/net.rs"]
mod net;

use net::{Fate, Namespace, Net, SATELLITE_V4, SATELLITE_V6, SERVER_V4, SERVER_V6};

const PORT: u16 = 7640;
const LONG: Duration = Duration::from_secs(300);

fn settings(dir: &Path) -> Settings {
    Settings {
        state_dir: dir.to_owned(),
        port: PORT,
        filter: Arc::new(Kernel),
    }
}

fn wire_rule(name: &str, protocol: wire::Protocol, port: u32, remotes: &[&str]) -> wire::Rule {
    wire::Rule {
        name: name.into(),
        owner: "operator".into(),
        direction: wire::Direction::In.into(),
        protocol: protocol.into(),
        ports: vec![wire::PortRange {
            first: port,
            last: port,
        }],
        remotes: remotes.iter().map(|remote| (*remote).to_owned()).collect(),
        action: wire::Action::Accept.into(),
        comment: String::new(),
        rate_limit: None,
    }
}

fn ruleset(rules: Vec<wire::Rule>) -> Ruleset {
    let (default_in, default_out) = (wire::Action::Drop.into(), wire::Action::Accept.into());
    from_wire(wire::Ruleset {
        rules,
        default_in,
        default_out,
    })
    .unwrap()
}

/// Port 8080 for everybody.
fn web() -> Ruleset {
    ruleset(vec![wire_rule("web", wire::Protocol::Tcp, 8080, &[])])
}

async fn start(dir: &Path) -> Firewall {
    Firewall::start(settings(dir), Arc::new(NoTimer)).await.unwrap()
}

async fn set(firewall: &Firewall, ruleset: Ruleset, confirm: Duration) -> Result<SetOutcome, FirewallError> {
    firewall
        .set(Wanted {
            ruleset,
            base: None,
            confirm,
        })
        .await
}

/// Sets and confirms, as a server does that connects anew.
async fn keep(firewall: &Firewall, ruleset: Ruleset) {
    let change = set(firewall, ruleset, LONG).await.unwrap().change.unwrap();
    firewall.confirm(change.id, Instant::now()).await.unwrap();
}

/// What of `iptables-save` is not ours.
fn foreign(namespace: &Namespace) -> Vec<String> {
    ["iptables-save", "ip6tables-save"]
        .iter()
        .flat_map(|command| {
            namespace
                .output(command)
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .filter(|line| !line.starts_with('#') && !line.contains("SATELLITE-"))
        // Packet counters of policies move by themselves.
        .map(|line| line.split('[').next().unwrap_or_default().to_owned())
        .collect()
}

fn is_web_open(net: &Net) -> [Fate; 2] {
    [
        net.server.tcp(SATELLITE_V4, 8080),
        net.server.tcp(SATELLITE_V6, 8080),
    ]
}

#[test]
fn the_shipped_rules_let_the_server_in_and_nothing_else_over_both_families() {
    let (net, dir) = (Net::new(), tempfile::tempdir().unwrap());
    let _open = (
        net.satellite.listen(PORT),
        net.satellite.listen(8080),
        net.server.listen(443),
    );
    assert_eq!(
        is_web_open(&net),
        [Fate::Passed; 2],
        "without rules everything passes"
    );
    let settings = settings(dir.path());
    net.satellite
        .block_on(async move || firewall::restore_at_boot(&settings).await.unwrap());
    assert_eq!(is_web_open(&net), [Fate::Vanished; 2]);
    assert_eq!(net.server.tcp(SATELLITE_V4, PORT), Fate::Passed);
    assert_eq!(net.server.tcp(SATELLITE_V6, PORT), Fate::Passed);
    assert_eq!(net.satellite.tcp(SERVER_V4, 443), Fate::Passed);
    assert_eq!(net.satellite.tcp(SERVER_V6, 443), Fate::Passed);
    assert_eq!(net.server.udp(&net.satellite, SATELLITE_V4, 5060), Fate::Vanished);
    assert_eq!(net.server.udp(&net.satellite, SATELLITE_V6, 5060), Fate::Vanished);
}

#[test]
fn rules_let_pass_what_they_name_and_nothing_else() {
    let (net, dir) = (Net::new(), tempfile::tempdir().unwrap());
    let _open = (
        net.satellite.listen(8080),
        net.satellite.listen(8081),
        net.satellite.listen(8082),
    );
    let dir_path = dir.path().to_owned();
    net.satellite.block_on(async move || {
        let firewall = start(&dir_path).await;
        let mut reject = wire_rule("reject", wire::Protocol::Tcp, 8082, &[]);
        reject.action = wire::Action::Reject.into();
        let rules = vec![
            wire_rule("web-v4", wire::Protocol::Tcp, 8080, &["192.0.2.2"]),
            wire_rule("web-v6", wire::Protocol::Tcp, 8081, &["2001:db8::/64"]),
            wire_rule("sip", wire::Protocol::Udp, 5060, &[]),
            reject,
        ];
        keep(&firewall, ruleset(rules)).await;
        assert!(firewall.get().await.unwrap().in_sync);
    });
    assert_eq!(is_web_open(&net), [Fate::Passed, Fate::Vanished]);
    assert_eq!(net.server.tcp(SATELLITE_V4, 8081), Fate::Vanished);
    assert_eq!(net.server.tcp(SATELLITE_V6, 8081), Fate::Passed);
    assert_eq!(net.server.tcp(SATELLITE_V4, 8082), Fate::Refused);
    assert_eq!(net.server.tcp(SATELLITE_V6, 8082), Fate::Refused);
    assert_eq!(net.server.udp(&net.satellite, SATELLITE_V4, 5060), Fate::Passed);
    assert_eq!(net.server.udp(&net.satellite, SATELLITE_V6, 5060), Fate::Passed);
}

#[test]
fn the_bridge_is_reached_whatever_the_rules_say() {
    let (net, dir) = (Net::new(), tempfile::tempdir().unwrap());
    let _open = net.satellite.listen(PORT);
    let dir_path = dir.path().to_owned();
    net.satellite.block_on(async move || {
        let firewall = start(&dir_path).await;
        let drop_all = |name: &str, direction: wire::Direction| wire::Rule {
            protocol: wire::Protocol::Unspecified.into(),
            direction: direction.into(),
            action: wire::Action::Drop.into(),
            ports: Vec::new(),
            ..wire_rule(name, wire::Protocol::Tcp, 1, &[])
        };
        let rules = vec![
            drop_all("in", wire::Direction::In),
            drop_all("out", wire::Direction::Out),
        ];
        let (default_in, default_out) = (wire::Action::Drop.into(), wire::Action::Drop.into());
        keep(
            &firewall,
            from_wire(wire::Ruleset {
                rules,
                default_in,
                default_out,
            })
            .unwrap(),
        )
        .await;
    });
    assert_eq!(net.server.tcp(SATELLITE_V4, PORT), Fate::Passed);
    assert_eq!(net.server.tcp(SATELLITE_V6, PORT), Fate::Passed);
}

#[test]
fn a_rule_takes_as_many_packets_as_its_limit_says_and_counts_them() {
    let (net, dir) = (Arc::new(Net::new()), tempfile::tempdir().unwrap());
    let _open = net.satellite.listen(8080);
    let (dir_path, cable) = (dir.path().to_owned(), Arc::clone(&net));
    net.satellite.block_on(async move || {
        let firewall = start(&dir_path).await;
        let limited = wire::Rule {
            rate_limit: Some(wire::RateLimit {
                packets: 1,
                span: wire::rate_limit::Span::Hour.into(),
                burst: 2,
            }),
            ..wire_rule("web", wire::Protocol::Tcp, 8080, &[])
        };
        keep(&firewall, ruleset(vec![limited])).await;
        let tries = [0; 3].map(|_| cable.server.tcp(SATELLITE_V4, 8080));
        assert_eq!(tries, [Fate::Passed, Fate::Passed, Fate::Vanished]);
        assert!(firewall.get().await.unwrap().in_sync);
        let counters = firewall.counters().await.unwrap();
        let [web] = counters.as_slice() else {
            panic!("{counters:?}")
        };
        let named = (web.owner.as_str(), web.name.as_str());
        assert_eq!((named, web.packets), (("operator", "web"), 2));
        assert!(web.bytes > 0);
    });
}

#[test]
fn a_change_that_is_not_confirmed_is_undone_by_itself() {
    let (net, dir) = (Arc::new(Net::new()), tempfile::tempdir().unwrap());
    let _open = net.satellite.listen(8080);
    let (dir_path, cable) = (dir.path().to_owned(), Arc::clone(&net));
    net.satellite.block_on(async move || {
        let firewall = start(&dir_path).await;
        let before = firewall.get().await.unwrap().revision;
        let outcome = set(&firewall, web(), Duration::from_secs(4)).await.unwrap();
        assert_ne!(outcome.revision, before);
        assert_eq!(is_web_open(&cable), [Fate::Passed; 2]);
        let status = firewall.get().await.unwrap();
        assert_eq!(status.open_change, outcome.change);
        let meant = firewall.meant().await.unwrap();
        assert_eq!(
            (meant.revision, meant.open_change),
            (status.revision, status.open_change)
        );
        let limit = Instant::now() + Duration::from_secs(30);
        while firewall.get().await.unwrap().open_change.is_some() {
            assert!(Instant::now() < limit, "the change is still open");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let after = firewall.get().await.unwrap();
        assert_eq!((after.revision, after.in_sync), (before, true));
        let id = outcome.change.unwrap().id;
        let late = firewall.confirm(id, Instant::now()).await;
        assert!(matches!(late, Err(FirewallError::NoSuchChange)), "{late:?}");
    });
    assert_eq!(is_web_open(&net), [Fate::Vanished; 2]);
}

#[test]
fn a_change_is_confirmed_only_over_a_connection_made_after_it() {
    let (net, dir) = (Net::new(), tempfile::tempdir().unwrap());
    let dir_path = dir.path().to_owned();
    net.satellite.block_on(async move || {
        let firewall = start(&dir_path).await;
        let old = Instant::now();
        let change = set(&firewall, web(), LONG).await.unwrap().change.unwrap();
        let refused = firewall.confirm(change.id, old).await;
        assert!(
            matches!(refused, Err(FirewallError::OldConnection)),
            "{refused:?}"
        );
        let other = firewall.confirm(uuid::Uuid::new_v4(), Instant::now()).await;
        assert!(matches!(other, Err(FirewallError::NoSuchChange)), "{other:?}");
        assert!(
            firewall.get().await.unwrap().open_change.is_some(),
            "a refusal disarms nothing"
        );
        firewall.confirm(change.id, Instant::now()).await.unwrap();
        assert!(firewall.get().await.unwrap().open_change.is_none());
    });
}

#[test]
fn nothing_else_is_changed_while_a_change_is_open_and_the_first_one_is_what_a_rollback_leads_back_to() {
    let (net, dir) = (Net::new(), tempfile::tempdir().unwrap());
    let dir_path = dir.path().to_owned();
    net.satellite.block_on(async move || {
        let firewall = start(&dir_path).await;
        let shipped = firewall.get().await.unwrap().revision;
        let change = set(&firewall, web(), LONG).await.unwrap().change.unwrap();
        let second = set(&firewall, ruleset(Vec::new()), LONG).await;
        assert!(
            matches!(second, Err(FirewallError::ChangeOpen(id)) if id == change.id),
            "{second:?}"
        );
        let reset = firewall.reset(LONG).await;
        assert!(matches!(reset, Err(FirewallError::ChangeOpen(_))), "{reset:?}");
        assert_eq!(
            firewall.get().await.unwrap().open_change,
            Some(change),
            "a refusal disarms nothing"
        );
        assert_eq!(firewall.rollback(change.id).await.unwrap(), shipped);
        let again = firewall.rollback(change.id).await;
        assert!(matches!(again, Err(FirewallError::NoSuchChange)), "{again:?}");
    });
}

#[test]
fn what_is_in_force_already_opens_no_change_and_another_base_is_refused() {
    let (net, dir) = (Net::new(), tempfile::tempdir().unwrap());
    let dir_path = dir.path().to_owned();
    net.satellite.block_on(async move || {
        let firewall = start(&dir_path).await;
        let outcome = set(&firewall, Ruleset::shipped(), LONG).await.unwrap();
        assert_eq!(outcome.change, None);
        let base = Some("0".repeat(64));
        let refused = firewall
            .set(Wanted {
                ruleset: web(),
                base,
                confirm: LONG,
            })
            .await;
        assert!(
            matches!(refused, Err(FirewallError::OtherRevision { .. })),
            "{refused:?}"
        );
        let base = Some(outcome.revision);
        let taken = firewall
            .set(Wanted {
                ruleset: web(),
                base,
                confirm: LONG,
            })
            .await
            .unwrap();
        assert!(taken.change.is_some());
    });
}

#[test]
fn rules_and_chains_of_others_stay_as_they_are() {
    let (net, dir) = (Net::new(), tempfile::tempdir().unwrap());
    for line in [
        "iptables -N FOREIGN",
        "iptables -A FOREIGN -p tcp --dport 9 -j DROP",
        "iptables -A INPUT -j FOREIGN",
        "iptables -A OUTPUT -p tcp --dport 10 -j REJECT",
        "iptables -P FORWARD DROP",
        "iptables -t nat -A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE",
        "iptables -t mangle -A PREROUTING -p udp --dport 11 -j DROP",
        "ip6tables -A INPUT -p tcp --dport 12 -j DROP",
    ] {
        net.satellite.output(line);
    }
    let before = foreign(&net.satellite);
    let dir_path = dir.path().to_owned();
    net.satellite.block_on(async move || {
        let firewall = start(&dir_path).await;
        keep(&firewall, web()).await;
        let change = set(&firewall, ruleset(Vec::new()), LONG)
            .await
            .unwrap()
            .change
            .unwrap();
        firewall.rollback(change.id).await.unwrap();
        firewall.reset_now().await.unwrap();
    });
    assert_eq!(foreign(&net.satellite), before);
    for parent in ["INPUT", "OUTPUT", "FORWARD"] {
        for command in ["iptables", "ip6tables"] {
            let rules = net.satellite.output(&format!("{command} -S {parent}"));
            let first = rules.lines().find(|line| line.starts_with("-A")).unwrap();
            assert_eq!(first, format!("-A {parent} -j SATELLITE-{parent}"));
        }
    }
}

#[test]
fn what_somebody_else_does_to_our_chains_is_seen_and_put_right() {
    let (net, dir) = (Arc::new(Net::new()), tempfile::tempdir().unwrap());
    let _open = net.satellite.listen(8080);
    let (dir_path, cable) = (dir.path().to_owned(), Arc::clone(&net));
    net.satellite.block_on(async move || {
        let firewall = start(&dir_path).await;
        for line in [
            "iptables -I INPUT 1 -p tcp --dport 8080 -j ACCEPT",
            "iptables -D INPUT -j SATELLITE-INPUT",
            "iptables -F SATELLITE-INPUT",
            "ip6tables -I SATELLITE-INPUT 1 -p tcp --dport 8080 -j ACCEPT",
        ] {
            cable.satellite.output(line);
            assert!(!firewall.get().await.unwrap().in_sync, "{line}");
            set(&firewall, Ruleset::shipped(), LONG).await.unwrap();
            assert!(firewall.get().await.unwrap().in_sync, "{line}");
            assert_eq!(is_web_open(&cable), [Fate::Vanished; 2], "{line}");
        }
    });
}

#[test]
fn a_start_of_the_machine_brings_back_what_was_confirmed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let first = Net::new();
    let dir_path = dir.path().to_owned();
    first.satellite.block_on(async move || {
        let firewall = start(&dir_path).await;
        keep(&firewall, web()).await;
        set(&firewall, ruleset(Vec::new()), LONG).await.unwrap();
    });
    drop(first);
    let second = Net::new();
    let _open = second.satellite.listen(8080);
    let settings = settings(dir.path());
    let changes = Changes::new(dir.path());
    assert!(changes.is_open());
    second
        .satellite
        .block_on(async move || firewall::restore_at_boot(&settings).await.unwrap());
    assert!(!changes.is_open());
    assert_eq!(is_web_open(&second), [Fate::Passed; 2]);
}

#[test]
fn a_reset_on_the_console_needs_no_daemon_and_ends_an_open_change() {
    let (net, dir) = (Net::new(), tempfile::tempdir().unwrap());
    let _open = net.satellite.listen(8080);
    let dir_path = dir.path().to_owned();
    net.satellite.block_on(async move || {
        let firewall = start(&dir_path).await;
        let change = set(&firewall, web(), LONG).await.unwrap().change.unwrap();
        firewall::reset_from_disk(&settings(&dir_path)).await.unwrap();
        let status = firewall.get().await.unwrap();
        assert_eq!((status.ruleset, status.open_change), (Ruleset::shipped(), None));
        let late = firewall.confirm(change.id, Instant::now()).await;
        assert!(matches!(late, Err(FirewallError::NoSuchChange)), "{late:?}");
    });
    assert_eq!(is_web_open(&net), [Fate::Vanished; 2]);
}

#[test]
fn ten_thousand_rules_are_applied_at_once() {
    let (net, dir) = (Net::new(), tempfile::tempdir().unwrap());
    let _open = net.satellite.listen(8080);
    let dir_path = dir.path().to_owned();
    net.satellite.block_on(async move || {
        let firewall = start(&dir_path).await;
        let mut rules: Vec<_> = (0..9_999_u32)
            .map(|n| {
                let remotes = [
                    format!("10.{}.{}.0/24", n / 250, n % 250),
                    format!("2001:db8:{n:x}::/48"),
                ];
                let remotes: Vec<&str> = remotes.iter().map(String::as_str).collect();
                wire_rule(&format!("rule-{n}"), wire::Protocol::Tcp, 1 + n, &remotes)
            })
            .collect();
        rules.push(wire_rule("web", wire::Protocol::Tcp, 8080, &[]));
        let began = Instant::now();
        keep(&firewall, ruleset(rules)).await;
        let took = began.elapsed();
        let status = firewall.get().await.unwrap();
        println!("10,000 rules in both families: {took:?}");
        assert!(status.in_sync && status.ipv4.len() > 10_000 && status.ipv6.len() > 10_000);
        let base = Some(status.revision);
        let taken = firewall
            .set(Wanted {
                ruleset: web(),
                base,
                confirm: LONG,
            })
            .await
            .unwrap();
        firewall.rollback(taken.change.unwrap().id).await.unwrap();
        assert!(firewall.get().await.unwrap().ipv4.len() > 10_000);
    });
    assert_eq!(is_web_open(&net), [Fate::Passed; 2]);
}
