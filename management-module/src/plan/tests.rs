//! Plans, by example and by property.

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> WorkloadName {
    text.parse().unwrap()
}

fn digest(n: u8) -> Digest {
    Digest::of(&[n])
}

fn rule(owner: &str, name: &str) -> Rule {
    Rule {
        name: name.into(),
        owner: owner.into(),
        ..Rule::default()
    }
}

/// What the steps do, on a model of a satellite.
fn execute(observed: &mut Observed, steps: &[Step]) {
    for step in steps {
        match step {
            Step::SetTrust(place) => {
                let there = observed.trust.unwrap();
                observed.trust = Some(TrustPlace {
                    root: there.root.max(place.root),
                    keys: there.keys.max(place.keys),
                });
            }
            Step::Stop(name) => observed.workloads.get_mut(name).unwrap().enabled = false,
            Step::Start(name) => {
                let present = observed.workloads.get_mut(name).unwrap();
                assert!(
                    present.digest.is_some(),
                    "{name} is started before it is installed"
                );
                present.enabled = true;
            }
            Step::PushBundle(_, digest) => assert!(observed.uploaded.insert(*digest)),
            Step::Install(name, digest) => {
                assert!(
                    observed.uploaded.remove(digest),
                    "{name} is installed before it has arrived"
                );
                let present = Present {
                    digest: None,
                    enabled: false,
                    busy: false,
                };
                observed.workloads.entry(name.clone()).or_insert(present).digest = Some(*digest);
            }
            Step::SetFirewall(ruleset) => {
                observed.ruleset = ruleset.clone();
                observed.in_sync = true;
            }
        }
    }
}

fn commissioning() -> Desired {
    Desired {
        workloads: [(
            name("w"),
            Wanted {
                target: Some(digest(1)),
                running: true,
                blocked: false,
            },
        )]
        .into(),
        rules: [(digest(1), vec![rule("workload/w", "api")])].into(),
        ..Desired::default()
    }
}

fn shipped() -> Observed {
    let ruleset = Ruleset {
        rules: vec![],
        default_in: Action::Drop.into(),
        default_out: Action::Accept.into(),
    };
    Observed {
        ruleset,
        in_sync: true,
        ..Observed::default()
    }
}

#[test]
fn commissioning_sets_the_rules_between_installation_and_start() {
    let steps = plan(&commissioning(), &shipped());
    let ruleset = Ruleset {
        rules: vec![rule("workload/w", "api")],
        ..shipped().ruleset
    };
    let expected = [
        Step::PushBundle(name("w"), digest(1)),
        Step::Install(name("w"), digest(1)),
        Step::SetFirewall(ruleset),
        Step::Start(name("w")),
    ];
    assert_eq!(steps, expected);
}

#[test]
fn remotes_are_compared_as_satellites_give_them_back() {
    let mut desired = Desired::default();
    let mut written = rule(OPERATOR, "lan");
    written.remotes = vec![
        "192.0.2.7".into(),
        "10.1.2.3/8".into(),
        "2001:DB8::1".into(),
        "no".into(),
    ];
    desired.operator.rules = vec![written];
    let mut observed = shipped();
    let steps = plan(&desired, &observed);
    let [Step::SetFirewall(set)] = steps.as_slice() else {
        panic!("{steps:?}")
    };
    assert_eq!(
        set.rules[0].remotes,
        ["192.0.2.7/32", "10.0.0.0/8", "2001:db8::1/128", "no"]
    );
    execute(&mut observed, &steps);
    assert_eq!(plan(&desired, &observed), vec![]);
}

#[test]
fn sets_of_keys_are_brought_before_what_they_have_signed_and_never_back() {
    let place = |root, keys| Some(TrustPlace { root, keys });
    let check = |published, there, expected| {
        let desired = Desired {
            trust: published,
            ..commissioning()
        };
        let observed = Observed {
            trust: there,
            ..shipped()
        };
        let first = plan(&desired, &observed).remove(0);
        assert_eq!(matches!(first, Step::SetTrust(_)), expected);
    };
    check(place(1, 1), place(1, 0), true);
    check(place(2, 1), place(1, 1), true);
    check(place(1, 1), place(1, 1), false);
    check(place(1, 1), place(2, 3), false);
    check(place(1, 1), None, false);
    check(None, place(1, 0), false);
}

#[test]
fn an_upload_that_is_there_is_not_pushed_again() {
    let observed = Observed {
        uploaded: [digest(1)].into(),
        ..shipped()
    };
    assert_eq!(
        plan(&commissioning(), &observed)[0],
        Step::Install(name("w"), digest(1))
    );
}

#[test]
fn a_version_that_failed_is_neither_pushed_nor_started() {
    let mut desired = commissioning();
    desired.workloads.get_mut(&name("w")).unwrap().blocked = true;
    assert_eq!(plan(&desired, &shipped()), []);
}

#[test]
fn while_a_version_is_blocked_the_old_one_keeps_its_rules() {
    let mut desired = commissioning();
    desired.workloads.get_mut(&name("w")).unwrap().blocked = true;
    let mut observed = shipped();
    observed.ruleset.rules = vec![rule("workload/w", "old")];
    let old = Present {
        digest: Some(digest(9)),
        enabled: true,
        busy: false,
    };
    observed.workloads.insert(name("w"), old);
    assert_eq!(plan(&desired, &observed), []);
}

#[test]
fn a_busy_workload_is_left_alone() {
    let mut observed = shipped();
    observed.ruleset.rules = vec![rule("workload/w", "api")];
    observed.workloads.insert(
        name("w"),
        Present {
            digest: None,
            enabled: false,
            busy: true,
        },
    );
    assert_eq!(plan(&commissioning(), &observed), []);
}

#[test]
fn rules_that_somebody_else_changed_are_set_again() {
    let observed = Observed {
        in_sync: false,
        ..shipped()
    };
    let steps = plan(&Desired::default(), &observed);
    assert_eq!(steps, [Step::SetFirewall(shipped().ruleset)]);
}

#[test]
fn the_operators_defaults_win_over_those_in_force() {
    let operator = Ruleset {
        rules: vec![],
        default_in: Action::Reject.into(),
        default_out: 0,
    };
    let desired = Desired {
        operator,
        ..Desired::default()
    };
    let ruleset = ruleset(&desired, &shipped());
    assert_eq!(ruleset.default_in(), Action::Reject);
    assert_eq!(ruleset.default_out(), Action::Accept);
}

fn names() -> impl Strategy<Value = WorkloadName> {
    prop_oneof!["a", "b", "c"].prop_map(|text| name(&text))
}

fn wanted() -> impl Strategy<Value = Wanted> {
    (proptest::option::of(0_u8..4), any::<bool>(), any::<bool>()).prop_map(|(target, running, blocked)| {
        Wanted {
            target: target.map(digest),
            running,
            blocked,
        }
    })
}

fn present() -> impl Strategy<Value = Present> {
    (proptest::option::of(0_u8..4), any::<bool>()).prop_map(|(digest_of, enabled)| Present {
        digest: digest_of.map(digest),
        enabled,
        busy: false,
    })
}

fn owned_rules() -> impl Strategy<Value = Vec<Rule>> {
    let owners = prop_oneof!["operator", "workload/a", "workload/b", "workload/x"];
    proptest::collection::vec(
        (owners, "[a-d]").prop_map(|(owner, name)| rule(&owner, &name)),
        0..5,
    )
}

fn places() -> impl Strategy<Value = Option<TrustPlace>> {
    proptest::option::of((0_u64..3, 0_u64..3).prop_map(|(root, keys)| TrustPlace { root, keys }))
}

fn desired() -> impl Strategy<Value = Desired> {
    let workloads = proptest::collection::btree_map(names(), wanted(), 0..4);
    (
        workloads,
        proptest::collection::btree_map(0_u8..4, owned_rules(), 0..4),
        owned_rules(),
        (0..4, 0..4),
        places(),
    )
        .prop_map(
            |(workloads, rules, operator, (default_in, default_out), trust)| Desired {
                trust,
                workloads,
                rules: rules.into_iter().map(|(n, rules)| (digest(n), rules)).collect(),
                operator: Ruleset {
                    rules: operator,
                    default_in,
                    default_out,
                },
            },
        )
}

fn observed() -> impl Strategy<Value = Observed> {
    let workloads = proptest::collection::btree_map(names(), present(), 0..4);
    let uploaded = proptest::collection::btree_set(0_u8..4, 0..3);
    let all = (workloads, uploaded, owned_rules(), any::<bool>(), places());
    all.prop_map(|(workloads, uploaded, rules, in_sync, trust)| Observed {
        trust,
        workloads,
        uploaded: uploaded.into_iter().map(digest).collect(),
        ruleset: Ruleset {
            rules,
            default_in: 2,
            default_out: 1,
        },
        in_sync,
    })
}

/// Two workloads never share a version, and rules carry the name of their owner.
fn realistic(mut desired: Desired) -> Desired {
    let pool = std::mem::take(&mut desired.rules);
    for (n, (name, wanted)) in desired.workloads.iter_mut().enumerate() {
        let Some(drawn) = wanted.target else { continue };
        let target = Digest::of(&[drawn.as_bytes()[0], u8::try_from(n).unwrap()]);
        wanted.target = Some(target);
        if let Some(rules) = pool.get(&drawn) {
            let own = rules.iter().map(|rule| Rule {
                owner: owner_of(name),
                ..rule.clone()
            });
            desired.rules.insert(target, own.collect());
        }
    }
    for rule in &mut desired.operator.rules {
        rule.owner = OPERATOR.into();
    }
    desired
}

proptest! {
    #[test]
    fn planning_from_where_a_plan_leads_gives_an_empty_plan(desired in desired(), mut observed in observed()) {
        let desired = realistic(desired);
        let steps = plan(&desired, &observed);
        execute(&mut observed, &steps);
        prop_assert_eq!(plan(&desired, &observed), vec![]);
    }
}
