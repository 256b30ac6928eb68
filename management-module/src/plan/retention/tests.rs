//! Rules one by one, then what holds for all of them.

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;

fn item(id: &str, time: &str) -> Item {
    Item {
        id: id.into(),
        time: time.parse().unwrap(),
        bytes: 10,
        whole: true,
    }
}

fn staying(retention: &Retention, items: &[Item]) -> Vec<String> {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let verdicts = plan(retention, &zone, items);
    verdicts
        .into_iter()
        .filter(Verdict::stays)
        .map(|verdict| verdict.id)
        .collect()
}

fn days() -> Vec<Item> {
    (1..=28)
        .map(|day| item(&format!("{day}"), &format!("2026-02-{day:02}T03:00:00Z")))
        .collect()
}

#[test]
fn without_a_rule_everything_stays() {
    assert_eq!(staying(&Retention::default(), &days()).len(), 28);
}

#[test]
fn the_newest_stay() {
    let last = Retention {
        last: 3,
        ..Retention::default()
    };
    assert_eq!(staying(&last, &days()), ["28", "27", "26"]);
}

#[test]
fn rules_add_up() {
    let rules = Retention {
        daily: 2,
        weekly: 2,
        ..Retention::default()
    };
    // 2026-02-22 is a Sunday.
    assert_eq!(staying(&rules, &days()), ["28", "27", "22"]);
}

#[test]
fn the_newest_of_a_day_by_the_central_s_clock_stays() {
    let rules = Retention {
        daily: 1,
        last: 1,
        ..Retention::default()
    };
    // 23:30 UTC is the next day in Berlin.
    let items = [
        item("a", "2026-02-01T23:30:00Z"),
        item("b", "2026-02-02T12:00:00Z"),
        item("c", "2026-02-01T12:00:00Z"),
    ];
    assert_eq!(staying(&rules, &items), ["b"]);
}

#[test]
fn the_oldest_stays_while_a_rule_has_counts_left() {
    let rules = Retention {
        yearly: 2,
        ..Retention::default()
    };
    assert_eq!(staying(&rules, &days()), ["28", "1"]);
}

#[test]
fn what_does_not_fit_goes_from_the_oldest_on() {
    let rules = Retention {
        max_bytes: 35,
        ..Retention::default()
    };
    assert_eq!(staying(&rules, &days()), ["28", "27", "26"]);
}

#[test]
fn the_last_good_archive_stays_whatever_the_rules_say() {
    let mut items = days();
    for item in items.iter_mut().skip(4) {
        item.whole = false;
    }
    let rules = Retention {
        last: 1,
        max_bytes: 1,
        ..Retention::default()
    };
    assert_eq!(staying(&rules, &items), ["4"]);
    let rules = Retention {
        last: 2,
        ..Retention::default()
    };
    assert_eq!(staying(&rules, &items), ["28", "27", "4"]);
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let one = (0_i64..86_400 * 800, 0_u64..100, prop::bool::weighted(0.8));
    prop::collection::vec(one, 0..40).prop_map(|all| {
        let item = |(number, (second, bytes, whole)): (usize, (i64, u64, bool))| Item {
            id: number.to_string(),
            time: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second),
            bytes,
            whole,
        };
        all.into_iter().enumerate().map(item).collect()
    })
}

fn rules() -> impl Strategy<Value = Retention> {
    let count = || prop_oneof![Just(0_u32), 0_u32..6];
    (
        count(),
        count(),
        count(),
        count(),
        count(),
        prop_oneof![Just(0_u64), 1_u64..1000],
    )
        .prop_map(|(last, daily, weekly, monthly, yearly, max_bytes)| Retention {
            last,
            daily,
            weekly,
            monthly,
            yearly,
            max_bytes,
        })
}

proptest! {
    #[test]
    fn the_newest_good_archive_is_never_removed(rules in rules(), items in items()) {
        let staying = staying(&rules, &items);
        if let Some(best) = items.iter().filter(|item| item.whole).max_by_key(|item| (item.time, &item.id)) {
            prop_assert!(staying.contains(&best.id));
        }
        prop_assert_eq!(items.is_empty(), staying.is_empty());
    }

    #[test]
    fn what_stays_needs_no_further_removal(rules in rules(), items in items()) {
        let first = staying(&rules, &items);
        let left: Vec<Item> = items.into_iter().filter(|item| first.contains(&item.id)).collect();
        prop_assert_eq!(staying(&rules, &left), first);
    }

    #[test]
    fn what_stays_fits_or_is_the_last_good_one(rules in rules(), items in items()) {
        let staying = staying(&rules, &items);
        let sum: u64 = items.iter().filter(|item| staying.contains(&item.id)).map(|item| item.bytes).sum();
        prop_assert!(rules.max_bytes == 0 || sum <= rules.max_bytes || staying.len() == 1);
    }
}
