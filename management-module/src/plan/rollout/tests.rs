//! Rollouts, by example and by property.

use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn terms() -> Terms {
    Terms {
        canary: 1,
        waves: vec![50, 100],
        at_once: 2,
        per_site: 0,
        soak_seconds: 0,
        stop_at: 10,
        window: None,
    }
}

fn target(number: usize, wave: u32, standing: Standing) -> Target {
    Target {
        satellite: format!("s{number}").parse().unwrap(),
        wave,
        site: String::new(),
        standing,
        reachable: true,
        ended_at: None,
    }
}

/// Ten satellites in their waves, none begun.
fn ten() -> Vec<Target> {
    let waves = waves(&terms(), 10);
    let each = waves.into_iter().enumerate();
    each.map(|(number, wave)| target(number, wave, Standing::Waiting))
        .collect()
}

#[track_caller]
fn check(terms: &Terms, targets: &[Target], expected: &[&str], wait: Wait) {
    let Next::Begin(begun, awaited) = next(terms, targets, 0, at(1000)) else {
        panic!("{:?}", next(terms, targets, 0, at(1000)))
    };
    let names: Vec<_> = begun.iter().map(SatelliteName::as_str).collect();
    assert_eq!((names.as_slice(), awaited), (expected, wait));
}

#[test]
fn waves_follow_the_canary_and_are_rounded_up() {
    assert_eq!(waves(&terms(), 10), [0, 1, 1, 1, 1, 2, 2, 2, 2, 2]);
    assert_eq!(waves(&terms(), 1), [0]);
    assert_eq!(waves(&terms(), 0), Vec::<u32>::new());
    let none = Terms {
        canary: 0,
        waves: vec![1, 100],
        ..terms()
    };
    assert_eq!(waves(&none, 3), [1, 2, 2]);
}

#[test]
fn a_wave_begins_when_the_one_before_has_ended() {
    let mut all = ten();
    check(&terms(), &all, &["s0"], Wait::Updates);
    all[0].standing = Standing::Updating;
    check(&terms(), &all, &[], Wait::Updates);
    all[0].standing = Standing::Done;
    check(&terms(), &all, &["s1", "s2"], Wait::Updates);
    for target in &mut all[1..5] {
        target.standing = Standing::Done;
    }
    check(&terms(), &all, &["s5", "s6"], Wait::Updates);
}

#[test]
fn a_satellite_that_does_not_answer_holds_nobody_up_and_is_caught_up() {
    let mut all = ten();
    all[0].standing = Standing::Done;
    for target in &mut all[1..5] {
        target.standing = Standing::Done;
    }
    all[1].standing = Standing::Waiting;
    all[1].reachable = false;
    check(&terms(), &all, &["s5", "s6"], Wait::Updates);
    all[1].reachable = true;
    check(&terms(), &all, &["s1"], Wait::Updates);
    for target in &mut all[2..] {
        target.standing = Standing::Done;
    }
    all[1].reachable = false;
    check(&terms(), &all, &[], Wait::Unreachable);
    all[1].standing = Standing::Done;
    assert_eq!(next(&terms(), &all, 0, at(1000)), Next::Done);
}

#[test]
fn no_more_are_under_way_than_a_site_bears() {
    let terms = Terms {
        canary: 0,
        waves: vec![100],
        at_once: 10,
        per_site: 1,
        ..terms()
    };
    let mut all: Vec<_> = (0..6).map(|n| target(n, 1, Standing::Waiting)).collect();
    for (number, target) in all.iter_mut().enumerate() {
        target.site = ["bern", "rome", ""][number % 3].to_owned();
    }
    check(&terms, &all, &["s0", "s1", "s2", "s5"], Wait::Updates);
    all[0].standing = Standing::Updating;
    check(&terms, &all, &["s1", "s2", "s5"], Wait::Updates);
}

#[test]
fn a_wave_is_watched_before_the_next_one_begins() {
    let terms = Terms {
        soak_seconds: 60,
        ..terms()
    };
    let mut all = ten();
    all[0].standing = Standing::Done;
    all[0].ended_at = Some(at(950));
    check(&terms, &all, &[], Wait::Soak);
    all[0].ended_at = Some(at(940));
    check(&terms, &all, &["s1", "s2"], Wait::Updates);
}

#[test]
fn one_failed_canary_or_too_many_others_halt_it_until_a_person_has_looked() {
    let mut all = ten();
    all[0].standing = Standing::Failed;
    assert!(matches!(next(&terms(), &all, 0, at(0)), Next::Halt(why) if why.contains("canary")));
    assert!(matches!(next(&terms(), &all, 1, at(0)), Next::Begin(..)));
    all[0].standing = Standing::Done;
    all[1].standing = Standing::Failed;
    assert!(
        matches!(next(&terms(), &all, 0, at(0)), Next::Begin(..)),
        "one in ten may fail"
    );
    all[2].standing = Standing::Failed;
    assert!(matches!(next(&terms(), &all, 0, at(0)), Next::Halt(why) if why.contains("2 of 10")));
}

#[test]
fn nothing_begins_outside_of_the_window() {
    let window = Window::parse("22:00-05:00 Europe/Berlin").unwrap();
    let open = |text: &str| window.is_open(text.parse().unwrap());
    assert!(open("2026-11-22T21:00:00Z") && open("2026-11-23T03:59:59Z"));
    assert!(!open("2026-11-22T20:59:59Z") && !open("2026-11-23T04:00:00Z"));
    // In summer the same hours are others in UTC.
    assert!(open("2026-07-01T20:00:00Z") && !open("2026-07-01T03:00:00Z"));
    let terms = Terms {
        window: Some(Window::parse("03:00-04:00").unwrap()),
        ..terms()
    };
    check(&terms, &ten(), &[], Wait::Window);
    for bad in ["", "22:00", "22:00-25:00", "a-b UTC"] {
        assert!(Window::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn terms_that_make_no_sense_are_refused() {
    assert_eq!(terms().check(), Ok(()));
    let bad = [
        Terms {
            waves: vec![],
            ..terms()
        },
        Terms {
            waves: vec![50, 40, 100],
            ..terms()
        },
        Terms {
            waves: vec![50],
            ..terms()
        },
        Terms {
            at_once: 0,
            ..terms()
        },
        Terms {
            stop_at: 101,
            ..terms()
        },
        Terms {
            window: Some(Window::parse("01:00-02:00 Mars/Olympus").unwrap()),
            ..terms()
        },
    ];
    for terms in bad {
        assert!(terms.check().is_err(), "{terms:?}");
    }
}

proptest! {
    /// However updates end and satellites come and go, a rollout keeps to its limits and comes to an end.
    #[test]
    fn a_rollout_keeps_its_limits_and_ends(
        count in 1_usize..40,
        (canary, at_once, per_site) in (0_u32..4, 1_u32..6, 0_u32..3),
        sites in proptest::collection::vec(0_u8..3, 40),
        luck in proptest::collection::vec((0_u8..10, any::<bool>()), 400),
    ) {
        let terms = Terms { canary, at_once, per_site, waves: vec![10, 40, 100], stop_at: 100, ..terms() };
        let mut all: Vec<_> = waves(&terms, count)
            .into_iter()
            .enumerate()
            .map(|(number, wave)| Target { site: format!("p{}", sites[number]), ..target(number, wave, Standing::Waiting) })
            .collect();
        let mut luck = luck.into_iter().cycle();
        let mut forgiven = 0;
        for round in 0..2000 {
            match next(&terms, &all, forgiven, at(round)) {
                Next::Done => {
                    let is_open = |target: &Target| matches!(target.standing, Standing::Waiting | Standing::Updating);
                    prop_assert!(!all.iter().any(is_open));
                    return Ok(());
                }
                Next::Halt(_) => forgiven = all.iter().filter(|target| target.standing == Standing::Failed).count(),
                Next::Begin(begun, _) => {
                    for name in begun {
                        let target = all.iter_mut().find(|target| target.satellite == name).unwrap();
                        prop_assert_eq!(target.standing, Standing::Waiting);
                        prop_assert!(target.reachable);
                        target.standing = Standing::Updating;
                    }
                }
            }
            let under_way = all.iter().filter(|target| target.standing == Standing::Updating);
            prop_assert!(under_way.clone().count() <= at_once as usize);
            for site in ["p0", "p1", "p2"] {
                let there = under_way.clone().filter(|target| target.site == site).count();
                prop_assert!(per_site == 0 || there <= per_site as usize);
            }
            for target in &mut all {
                let (number, reachable) = luck.next().unwrap();
                target.reachable = reachable || round > 500;
                if target.standing == Standing::Updating && number > 4 {
                    target.standing = if number == 9 { Standing::Failed } else { Standing::Done };
                }
            }
        }
        prop_assert!(false, "it does not end: {:?}", all);
    }
}
