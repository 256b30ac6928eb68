//! Gaps, overlaps, leap days, clock jumps and servers that were off, in zones that differ.

use proptest::prelude::*;

use super::*;

fn schedule(every: &str, start: &str, zone: &str) -> Schedule {
    Schedule {
        every: every.parse().unwrap(),
        start: start.parse().unwrap(),
        time_zone: zone.parse().unwrap(),
        catch_up: CatchUp::Once,
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The due times after `from`, as they are in UTC.
#[track_caller]
fn check(schedule: &Schedule, from: &str, expected: &[&str]) {
    let mut moment = at(from);
    for wanted in expected {
        let next = schedule.next_after(moment).unwrap();
        assert_eq!(next, at(wanted), "after {moment}");
        moment = next;
    }
}

#[test]
fn intervals_are_read_and_written_alike() {
    for text in [
        "manual",
        "1h",
        "744h",
        "daily",
        "weekly:mon,sun",
        "monthly:31",
        "monthly:last",
    ] {
        assert_eq!(text.parse::<Every>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "0h",
        "745h",
        "hourly",
        "weekly:",
        "weekly:mo",
        "monthly:0",
        "monthly:32",
        "6 h",
        "-1h",
    ] {
        assert!(text.parse::<Every>().is_err(), "{text}");
    }
    assert!("Mars/Olympus".parse::<Zone>().is_err());
}

#[test]
fn what_is_manual_is_never_due() {
    let manual = schedule("manual", "2026-01-01T02:00", "Europe/Berlin");
    assert_eq!(manual.next_after(at("2026-01-01T00:00:00Z")), None);
    assert_eq!(
        manual.decide(at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z")),
        Decision::Never
    );
}

#[test]
fn the_first_time_is_the_start_itself() {
    let daily = schedule("daily", "2026-06-01T02:00", "Europe/Berlin");
    check(
        &daily,
        "2026-01-01T00:00:00Z",
        &["2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z"],
    );
}

#[test]
fn a_time_in_the_gap_is_the_end_of_the_gap() {
    let daily = schedule("daily", "2027-03-01T02:30", "Europe/Berlin");
    check(
        &daily,
        "2027-03-27T00:00:00Z",
        &[
            "2027-03-27T01:30:00Z",
            "2027-03-28T01:00:00Z",
            "2027-03-29T00:30:00Z",
        ],
    );
    // Lord Howe moves by half an hour.
    let daily = schedule("daily", "2026-09-01T02:15", "Australia/Lord_Howe");
    check(
        &daily,
        "2026-10-02T20:00:00Z",
        &["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"],
    );
}

#[test]
fn a_time_that_comes_twice_counts_once() {
    for zone in ["Europe/Berlin", "Europe/Zurich", "Europe/Rome"] {
        let daily = schedule("daily", "2026-10-01T02:30", zone);
        check(
            &daily,
            "2026-10-24T12:00:00Z",
            &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
        );
    }
}

#[test]
fn hours_keep_to_the_clock_on_the_wall_the_whole_year() {
    let six = schedule("6h", "2026-01-01T02:00", "Europe/Berlin");
    check(
        &six,
        "2027-03-27T19:30:00Z",
        // 02:00 does not exist on the 28th: 03:00 summer time.
        &[
            "2027-03-28T01:00:00Z",
            "2027-03-28T06:00:00Z",
            "2027-03-28T12:00:00Z",
        ],
    );
    // 02:00 and 03:00 are one moment then: it counts once.
    let hourly = schedule("1h", "2026-01-01T00:00", "Europe/Berlin");
    check(
        &hourly,
        "2027-03-28T00:00:00Z",
        &["2027-03-28T01:00:00Z", "2027-03-28T02:00:00Z"],
    );
}

#[test]
fn hours_that_do_not_divide_a_day_go_on_from_the_start() {
    let odd = schedule("100h", "2026-01-01T00:00", "UTC");
    check(
        &odd,
        "2026-01-01T00:00:00Z",
        &[
            "2026-01-05T04:00:00Z",
            "2026-01-09T08:00:00Z",
            "2026-01-13T12:00:00Z",
        ],
    );
}

#[test]
fn weeks_have_their_days() {
    let weekly = schedule("weekly:mon,thu", "2026-11-22T22:00", "UTC");
    check(
        &weekly,
        "2026-11-22T00:00:00Z",
        &[
            "2026-11-23T22:00:00Z",
            "2026-11-26T22:00:00Z",
            "2026-11-30T22:00:00Z",
        ],
    );
}

#[test]
fn a_day_that_a_month_lacks_is_its_last() {
    let monthly = schedule("monthly:31", "2028-01-01T05:00", "UTC");
    check(
        &monthly,
        "2028-01-31T06:00:00Z",
        &[
            "2028-02-29T05:00:00Z",
            "2028-03-31T05:00:00Z",
            "2028-04-30T05:00:00Z",
        ],
    );
    let last = schedule("monthly:last", "2027-01-01T05:00", "UTC");
    check(
        &last,
        "2027-02-01T00:00:00Z",
        &["2027-02-28T05:00:00Z", "2027-03-31T05:00:00Z"],
    );
    let leap = schedule("monthly:29", "2027-02-01T05:00", "UTC");
    check(
        &leap,
        "2027-02-01T00:00:00Z",
        &["2027-02-28T05:00:00Z", "2027-03-29T05:00:00Z"],
    );
}

#[test]
fn what_comes_in_time_runs() {
    let daily = schedule("daily", "2026-06-01T02:00", "UTC");
    let settled = at("2026-06-01T02:00:00Z");
    assert_eq!(
        daily.decide(settled, at("2026-06-02T01:59:59Z")),
        Decision::Wait(at("2026-06-02T02:00:00Z"))
    );
    let due = Due {
        planned: at("2026-06-02T02:00:00Z"),
        action: Action::OnTime,
        missed: 0,
    };
    assert_eq!(
        daily.decide(settled, at("2026-06-02T02:00:03Z")),
        Decision::Due(due)
    );
}

#[test]
fn what_was_missed_is_made_up_once_or_noted() {
    let mut daily = schedule("daily", "2026-06-01T02:00", "UTC");
    let (settled, now) = (at("2026-06-01T02:00:00Z"), at("2026-06-05T12:00:00Z"));
    let due = Due {
        planned: at("2026-06-05T02:00:00Z"),
        action: Action::MakeUp,
        missed: 4,
    };
    assert_eq!(daily.decide(settled, now), Decision::Due(due));
    // Settled up to there: nothing is made up twice.
    assert_eq!(
        daily.decide(due.planned, now),
        Decision::Wait(at("2026-06-06T02:00:00Z"))
    );
    daily.catch_up = CatchUp::Skip;
    assert_eq!(
        daily.decide(settled, now),
        Decision::Due(Due {
            action: Action::Note,
            ..due
        })
    );
    // The server came back just in time: that run is on time, the others were missed.
    let due = Due {
        action: Action::OnTime,
        missed: 3,
        ..due
    };
    assert_eq!(
        daily.decide(settled, at("2026-06-05T02:10:00Z")),
        Decision::Due(due)
    );
}

#[test]
fn years_without_power_are_settled_at_once() {
    let hourly = schedule("1h", "2000-01-01T00:30", "UTC");
    let Decision::Due(due) = hourly.decide(at("2001-01-01T00:00:00Z"), at("2026-06-05T12:50:00Z")) else {
        panic!("not due");
    };
    assert_eq!(
        (due.planned, due.action),
        (at("2026-06-05T12:30:00Z"), Action::MakeUp)
    );
}

#[test]
fn a_clock_that_is_set_back_a_little_repeats_nothing() {
    let hourly = schedule("1h", "2026-06-01T00:00", "UTC");
    let settled = at("2026-06-05T12:00:00Z");
    assert_eq!(
        hourly.decide(settled, at("2026-06-05T10:00:05Z")),
        Decision::Wait(at("2026-06-05T13:00:00Z"))
    );
}

#[test]
fn a_clock_that_had_been_years_ahead_does_not_stop_the_schedule() {
    let daily = schedule("daily", "2026-06-01T02:00", "UTC");
    let settled = at("2031-06-05T02:00:00Z");
    assert_eq!(
        daily.decide(settled, at("2026-06-05T12:00:00Z")),
        Decision::Wait(at("2026-06-06T02:00:00Z"))
    );
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let every = prop_oneof![
        (1_u32..=100).prop_map(Every::Hours),
        Just(Every::Daily),
        (1_u8..=127).prop_map(|bits| Every::Weekly(std::array::from_fn(|day| bits >> day & 1 == 1))),
        (1_u8..=31).prop_map(Every::Monthly),
        Just(Every::MonthEnd),
    ];
    let zone = prop_oneof![
        Just("Europe/Berlin"),
        Just("Europe/Zurich"),
        Just("Europe/Rome"),
        Just("Australia/Lord_Howe"),
        Just("America/St_Johns"),
    ];
    (every, zone, 0_i64..60 * 24 * 400).prop_map(|(every, zone, minutes)| Schedule {
        every,
        start: DateTime::constant(2026, 1, 1, 0, 0, 0, 0) + SignedDuration::from_mins(minutes),
        time_zone: zone.parse().unwrap(),
        catch_up: CatchUp::Once,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn due_times_go_forwards_and_are_what_the_wall_shows(
        schedule in schedules(),
        from in 1_767_225_600_i64..1_893_456_000,
    ) {
        let mut moment = Timestamp::from_second(from).unwrap();
        let zone = schedule.time_zone.zone().clone();
        for _ in 0..40 {
            let next = schedule.next_after(moment).unwrap();
            prop_assert!(next > moment);
            let shown = zone.to_datetime(next);
            prop_assert!(shown >= schedule.start || zone.to_datetime(next) > schedule.start);
            let is_gap_end = zone.preceding(next + SignedDuration::from_secs(1)).next().map(|gap| gap.timestamp()) == Some(next);
            if !is_gap_end {
                match schedule.every {
                    Every::Hours(hours) => {
                        let since = shown.duration_since(schedule.start).as_secs();
                        prop_assert_eq!(since % (i64::from(hours) * 3600), 0);
                    }
                    _ => prop_assert_eq!(shown.time(), schedule.start.time()),
                }
            }
            moment = next;
        }
    }

    #[test]
    fn looking_from_anywhere_between_finds_the_same_time(
        schedule in schedules(),
        from in 1_767_225_600_i64..1_893_456_000,
        share in 0.0_f64..1.0,
    ) {
        let moment = Timestamp::from_second(from).unwrap();
        let next = schedule.next_after(moment).unwrap();
        let between = moment + next.duration_since(moment).mul_f64(share);
        if between < next {
            prop_assert_eq!(schedule.next_after(between).unwrap(), next);
        }
    }

    #[test]
    fn each_time_is_settled_once_however_the_clock_is_looked_at(
        schedule in schedules(),
        from in 1_767_225_600_i64..1_893_456_000,
        steps in prop::collection::vec(-7200_i64..200_000, 1..30),
    ) {
        let mut now = Timestamp::from_second(from).unwrap();
        let mut settled = now;
        for step in steps {
            now += SignedDuration::from_secs(step);
            if let Decision::Due(due) = schedule.decide(settled, now) {
                prop_assert!(due.planned > settled && due.planned <= now);
                settled = due.planned;
                prop_assert!(matches!(schedule.decide(settled, now), Decision::Wait(_)));
            }
        }
    }
}
