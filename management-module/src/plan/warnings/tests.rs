//! Every kind at its threshold, and the life of a warning.

use super::*;
use crate::language::Language;
use crate::plan::account::Account;
use crate::plan::account::tests::{TABLE, party};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const WEEK: SignedDuration = SignedDuration::from_hours(24 * 7);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn run(state: RunState, missed: u32) -> Run {
    Run {
        state,
        planned_at: at(0),
        missed,
        is_started: !matches!(state, RunState::Queued | RunState::Deferred | RunState::Missed),
    }
}

fn facts(runs: &[Run]) -> Facts {
    Facts {
        since: at(0),
        used_bytes: 0,
        configurations: vec![Configuration {
            name: "Nightly".into(),
            is_enabled: true,
            runs: runs.to_vec(),
        }],
        has_archive: true,
        clients: Vec::new(),
    }
}

fn kinds(limits: &Limits, facts: &Facts, now: i64) -> Vec<Kind> {
    findings(limits, facts, at(now)).into_keys().collect()
}

#[test]
fn space_is_warned_of_above_the_per_cent_and_not_at_it() {
    let limits = Limits {
        quota_bytes: 1000,
        quota_percent: 80,
        ..Limits::default()
    };
    for (used, quota, percent, is_warned) in [
        (800, 1000, 80, false),
        (801, 1000, 80, true),
        (u64::MAX, 0, 80, false),
        (u64::MAX, u64::MAX, 100, false),
        (u64::MAX, u64::MAX - 1, 100, true),
        (1, 1000, 0, true),
    ] {
        let limits = Limits {
            quota_bytes: quota,
            quota_percent: percent,
            ..limits
        };
        let facts = Facts {
            used_bytes: used,
            ..facts(&[])
        };
        let wanted: &[Kind] = if is_warned { &[Kind::Quota] } else { &[] };
        assert_eq!(kinds(&limits, &facts, 0), wanted, "{used} of {quota}");
    }
}

#[test]
fn errors_in_a_row_are_counted_up_to_the_last_success() {
    use RunState::{Cancelled, Failed, Missed, Partial, Queued, Running, Succeeded};
    let cases: [(&[RunState], u32); 7] = [
        (&[], 0),
        (&[Succeeded, Failed], 0),
        (&[Failed, Succeeded, Failed], 1),
        (&[Partial, Failed, Succeeded], 2),
        (&[Running, Failed, Cancelled, Failed], 2),
        (&[Queued, Missed, Failed, Succeeded], 1),
        (&[Failed, Failed, Failed], 3),
    ];
    for (states, count) in cases {
        let runs: Vec<_> = states.iter().map(|state| run(*state, 0)).collect();
        for after in 0..5 {
            let limits = Limits {
                failed: after,
                missed: 0,
                ..Limits::default()
            };
            let is_warned = after > 0 && count >= after;
            let wanted: &[Kind] = if is_warned { &[Kind::Unsuccessful] } else { &[] };
            assert_eq!(
                kinds(&limits, &facts(&runs), 0),
                wanted,
                "{states:?} after {after}"
            );
        }
    }
}

#[test]
fn times_that_went_by_are_counted_up_to_the_last_run_in_time() {
    use RunState::{Deferred, Failed, Missed, Succeeded};
    let cases: [(&[Run], i64, u32); 7] = [
        (&[run(Succeeded, 0), run(Missed, 3)], 0, 0),
        (&[run(Missed, 2), run(Succeeded, 0), run(Missed, 9)], 0, 2),
        // Made up for: still those times were missed.
        (&[run(Succeeded, 3), run(Succeeded, 0)], 0, 3),
        (&[run(Missed, 1), run(Missed, 1), run(Failed, 0)], 0, 2),
        (&[run(Deferred, 0), run(Succeeded, 0)], HOUR, 0),
        (&[run(Deferred, 0), run(Succeeded, 0)], 3 * HOUR, 1),
        (&[run(Deferred, 0), run(Missed, 1)], 3 * HOUR, 2),
    ];
    for (runs, now, count) in cases {
        for after in 0..5 {
            let limits = Limits {
                missed: after,
                failed: 0,
                ..Limits::default()
            };
            let is_warned = after > 0 && count >= after;
            let wanted: &[Kind] = if is_warned { &[Kind::Schedule] } else { &[] };
            assert_eq!(
                kinds(&limits, &facts(runs), now),
                wanted,
                "{runs:?} after {after}"
            );
        }
    }
    let mut off = facts(&[run(Missed, 9)]);
    off.configurations[0].is_enabled = false;
    assert_eq!(kinds(&Limits::default(), &off, 0), []);
}

#[test]
fn an_account_that_is_new_is_not_said_to_have_no_backup() {
    let limits = Limits {
        unused_days: 14,
        ..Limits::default()
    };
    let mut unused = facts(&[]);
    unused.has_archive = false;
    assert_eq!(kinds(&limits, &unused, 14 * DAY - 1), []);
    assert_eq!(kinds(&limits, &unused, 14 * DAY), [Kind::NoBackup]);
    unused.has_archive = true;
    assert_eq!(kinds(&limits, &unused, 99 * DAY), []);
}

#[test]
fn versions_are_compared_by_number() {
    for (version, least, is_old) in [
        ("2.0.9", "2.0.11", true),
        ("2.0.11", "2.0.9", false),
        ("2.0.11", "2.0.11", false),
        ("0.1.0-rc.1", "0.1.0", true),
        ("0.1.0+b2", "0.1.0+b10", false),
        ("1.2", "1.2.0", false),
        ("1.2", "1.10", true),
        ("v9", "v10", true),
        ("", "1.0.0", false),
        ("1.0.0", "", false),
        ("unknown", "1.0.0", false),
    ] {
        assert_eq!(is_older(version, least), is_old, "{version} {least}");
    }
}

fn finding(names: &[&str]) -> Finding {
    Finding::Unsuccessful(names.iter().map(|name| ((*name).to_owned(), 1)).collect())
}

/// Takes a warning through what is found at certain hours, and answers what was told when.
fn told(found: &[(i64, &[&str])]) -> Vec<String> {
    let (mut raised, mut told) = (None::<Raised>, Vec::new());
    for (hour, names) in found {
        let finding = (!names.is_empty()).then(|| finding(names));
        match step(raised.as_ref(), finding.as_ref(), true, at(hour * HOUR), WEEK) {
            Step::Nothing => {}
            Step::Keep(now) => raised = Some(now),
            Step::Tell(now) => {
                told.push(format!("{hour}: {}", names.join(" ")));
                raised = Some(now);
            }
            Step::Resolve(_) => {
                told.push(format!("{hour}: over"));
                raised = None;
            }
            Step::Forget => raised = None,
        }
    }
    told
}

#[test]
fn a_warning_is_told_once_again_after_a_week_or_if_it_concerns_something_new_and_when_it_is_over() {
    let found: [(i64, &[&str]); 9] = [
        (0, &["a"]),
        (1, &["a"]),
        (2, &["a", "b"]),
        (3, &["b"]),
        (4, &["a", "b"]),
        (4 + 24 * 7, &["a", "b"]),
        (5 + 24 * 7, &[]),
        (6 + 24 * 7, &[]),
        (7 + 24 * 7, &["a"]),
    ];
    assert_eq!(
        told(&found),
        ["0: a", "2: a b", "4: a b", "172: a b", "173: over", "175: a"]
    );
}

#[test]
fn nobody_who_was_not_told_of_a_warning_hears_that_it_is_over() {
    let some = finding(&["a"]);
    let Step::Keep(kept) = step(None, Some(&some), false, at(0), WEEK) else {
        panic!("it was told");
    };
    assert_eq!(step(Some(&kept), None, true, at(1), WEEK), Step::Forget);
    assert_eq!(step(Some(&kept), Some(&some), false, at(1), WEEK), Step::Nothing);
    // Who wants to hear of it later does so then.
    assert!(matches!(
        step(Some(&kept), Some(&some), true, at(1), WEEK),
        Step::Tell(_)
    ));
}

/// An account below (-1), at (0) or above (1) the threshold of a kind, and no other, at the moment `NOW`.
fn near(kind: Kind, side: i64) -> Facts {
    let count = usize::try_from(3 + side).unwrap();
    let mut facts = facts(&[run(RunState::Succeeded, 0)]);
    match kind {
        Kind::Quota => facts.used_bytes = u64::try_from(800 + side).unwrap(),
        Kind::Schedule => facts.configurations[0].runs = vec![run(RunState::Missed, 1); count],
        Kind::Unsuccessful => facts.configurations[0].runs = vec![run(RunState::Failed, 0); count],
        Kind::Upgrade => facts.clients.push(Client {
            satellite: "annex".into(),
            program: "satellite-bridge".into(),
            version: ["2.0.12", "2.0.11", "2.0.10"][usize::try_from(side + 1).unwrap()].into(),
            least: "2.0.11".into(),
        }),
        Kind::NoBackup => {
            facts.configurations.clear();
            facts.has_archive = false;
            facts.since = at(NOW - 14 * DAY - side);
        }
    }
    facts
}

const NOW: i64 = 100 * DAY;

/// At its threshold: does it stand? The space has to be above, a version below; the others are counts that are reached.
const AT: [(Kind, bool); 5] = [
    (Kind::Quota, false),
    (Kind::Schedule, true),
    (Kind::Unsuccessful, true),
    (Kind::Upgrade, false),
    (Kind::NoBackup, true),
];

/// The decision table: every kind below, at and above its threshold, and turned off, with every combination of flag, addresses
/// and person of account and reseller (or none), with and without an operator: exactly these addresses are told of it.
#[test]
fn each_kind_at_each_side_of_its_threshold_is_told_to_exactly_these() {
    let limits = |is_on: bool| {
        let count = |count: u32| if is_on { count } else { 0 };
        Limits {
            quota_bytes: if is_on { 1000 } else { 0 },
            quota_percent: 80,
            missed: count(3),
            failed: count(3),
            unused_days: count(14),
        }
    };
    let told = |who: &str, of: &str| match who {
        "" => None,
        "operator" => Some("operator@server".to_owned()),
        who => Some(format!("{who}@{of}")),
    };
    let resellers = TABLE.iter().map(Some).chain([None]);
    let mut rows = 0;
    for (kind, at_threshold) in AT {
        for (side, is_on) in [(-1, true), (0, true), (1, true), (1, false)] {
            let found = findings(&limits(is_on), &near(kind, side), at(NOW));
            // What a program has to be is not the account's to turn off.
            let stands = (is_on || kind == Kind::Upgrade) && (side > 0 || (side == 0 && at_threshold));
            assert_eq!(
                found.contains_key(&kind),
                stands,
                "{kind:?} at {side}, on: {is_on}"
            );
            assert_eq!(
                found.len(),
                usize::from(stands),
                "{kind:?} brings others: {found:?}"
            );
            for (warnings, has_own, has_person, own) in TABLE {
                for reseller in resellers.clone() {
                    let account = Account {
                        name: "4000001".into(),
                        tenant: "customer".into(),
                        language: Language::De,
                        own: party((warnings, has_own, has_person), "account"),
                        reseller: reseller.map(|row| party((row.0, row.1, row.2), "reseller")),
                        limits: limits(is_on),
                    };
                    for operator in [None, Some("operator@server")] {
                        let mut wanted = Vec::new();
                        for one in [
                            told(own, "account"),
                            reseller.and_then(|row| told(row.3, "reseller")),
                        ] {
                            let one = one.filter(|one| operator.is_some() || one != "operator@server");
                            wanted.extend(one.filter(|one| !wanted.contains(one)));
                        }
                        if !stands {
                            wanted.clear();
                        }
                        let mut mailed = Vec::new();
                        for _kind in found.keys() {
                            mailed.extend(account.warned(operator));
                        }
                        assert_eq!(mailed, wanted, "{kind:?} at {side}: {account:?}");
                        rows += 1;
                    }
                }
            }
        }
    }
    assert_eq!(rows, 5 * 4 * 8 * 9 * 2);
}
