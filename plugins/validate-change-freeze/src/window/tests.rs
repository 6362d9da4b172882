use super::*;
use jiff::tz::TimeZoneDatabase;
use proptest::prelude::*;

fn zone(name: &str) -> TimeZone {
    TimeZoneDatabase::bundled().get(name).expect("a zone")
}

fn window(span: Span, zone_name: &str) -> Window {
    Window { number: 1, environments: vec!["*".to_owned()], span, zone: zone(zone_name), reason: None }
}

fn once(from: &str, to: &str, zone_name: &str) -> Window {
    window(Span::Once { from: from.parse().expect("a time"), to: to.parse().expect("a time") }, zone_name)
}

fn weekly(from: (Weekday, i8, i8), to: (Weekday, i8, i8), zone_name: &str) -> Window {
    let moment = |(weekday, hour, minute)| Moment { weekday, time: Time::constant(hour, minute, 0, 0) };
    window(Span::Weekly { from: moment(from), to: moment(to) }, zone_name)
}

fn is_open(window: &Window, at: &str) -> bool {
    window.open_until(at.parse().expect("a timestamp")).expect("inside the calendar").is_some()
}

#[test]
fn a_window_begins_with_its_first_moment_and_ends_before_its_last() {
    let window = once("2026-12-20T00:00", "2027-01-04T08:00", "Europe/Berlin");
    assert!(!is_open(&window, "2026-12-19T22:59:59.999Z"));
    assert!(is_open(&window, "2026-12-19T23:00:00Z"), "midnight in Berlin");
    assert!(is_open(&window, "2027-01-04T06:59:59.999Z"));
    assert!(!is_open(&window, "2027-01-04T07:00:00Z"));
    let end = window.open_until("2026-12-24T12:00:00Z".parse().expect("a timestamp")).expect("inside").expect("open");
    assert_eq!(end.strftime("%Y-%m-%dT%H:%M%:z[%Q]").to_string(), "2027-01-04T08:00+01:00[Europe/Berlin]");
}

#[test]
fn a_weekly_window_runs_over_the_end_of_the_week() {
    let window = weekly((Weekday::Friday, 16, 0), (Weekday::Monday, 8, 0), "UTC");
    // 2026-11-20 is a Friday.
    assert!(!is_open(&window, "2026-11-20T15:59:59Z"));
    for inside in ["2026-11-20T16:00:00Z", "2026-11-21T00:00:00Z", "2026-11-22T23:59:59Z", "2026-11-23T07:59:59Z"] {
        assert!(is_open(&window, inside), "{inside}");
    }
    for outside in ["2026-11-23T08:00:00Z", "2026-11-25T12:00:00Z", "2026-11-27T15:00:00Z"] {
        assert!(!is_open(&window, outside), "{outside}");
    }
    let end = window.open_until("2026-11-21T00:00:00Z".parse().expect("a timestamp")).expect("inside").expect("open");
    assert_eq!(end.to_string(), "2026-11-23T08:00:00+00:00[UTC]");
}

#[test]
fn a_window_within_a_day_and_one_of_nearly_a_week_are_told_apart() {
    let noon = weekly((Weekday::Wednesday, 12, 0), (Weekday::Wednesday, 13, 0), "UTC");
    assert!(is_open(&noon, "2026-11-25T12:30:00Z") && !is_open(&noon, "2026-11-25T13:00:00Z"));
    assert!(!is_open(&noon, "2026-11-26T12:30:00Z"));
    let all_but_noon = weekly((Weekday::Wednesday, 13, 0), (Weekday::Wednesday, 12, 0), "UTC");
    assert!(!is_open(&all_but_noon, "2026-11-25T12:30:00Z"));
    for inside in ["2026-11-25T13:00:00Z", "2026-11-25T11:59:59Z", "2026-11-29T00:00:00Z"] {
        assert!(is_open(&all_but_noon, inside), "{inside}");
    }
}

#[test]
fn a_weekly_window_keeps_to_the_clocks_when_they_change() {
    let window = weekly((Weekday::Friday, 16, 0), (Weekday::Monday, 8, 0), "Europe/Berlin");
    // Berlin goes back on Sunday 2026-10-25: Friday is still +02:00, Monday is +01:00.
    assert!(!is_open(&window, "2026-10-23T13:59:59Z") && is_open(&window, "2026-10-23T14:00:00Z"));
    assert!(is_open(&window, "2026-10-26T06:59:59Z") && !is_open(&window, "2026-10-26T07:00:00Z"));
    // It goes forward on Sunday 2027-03-28.
    assert!(!is_open(&window, "2027-03-26T14:59:59Z") && is_open(&window, "2027-03-26T15:00:00Z"));
    assert!(is_open(&window, "2027-03-29T05:59:59Z") && !is_open(&window, "2027-03-29T06:00:00Z"));
}

#[test]
fn an_hour_that_comes_twice_is_frozen_from_the_first_to_the_second() {
    // 02:30 comes at 00:30Z and at 01:30Z.
    let begins = once("2026-10-25T02:30", "2026-10-25T06:00", "Europe/Berlin");
    assert!(!is_open(&begins, "2026-10-25T00:29:59Z") && is_open(&begins, "2026-10-25T00:30:00Z"));
    let ends = once("2026-10-24T00:00", "2026-10-25T02:30", "Europe/Berlin");
    assert!(is_open(&ends, "2026-10-25T01:29:59Z") && !is_open(&ends, "2026-10-25T01:30:00Z"));
}

#[test]
fn an_hour_that_is_missing_makes_the_window_the_longer() {
    // 02:30 is missing: 01:30 and 03:30 could be meant, which are 00:30Z and 01:30Z.
    let begins = once("2027-03-28T02:30", "2027-03-28T06:00", "Europe/Berlin");
    assert!(!is_open(&begins, "2027-03-28T00:29:59Z") && is_open(&begins, "2027-03-28T00:30:00Z"));
    let ends = once("2027-03-27T00:00", "2027-03-28T02:30", "Europe/Berlin");
    assert!(is_open(&ends, "2027-03-28T01:29:59Z") && !is_open(&ends, "2027-03-28T01:30:00Z"));
}

#[test]
fn a_weekly_window_whose_midnight_is_missing_begins_on_the_day_before() {
    // Cairo went from Friday 2026-04-24 00:00 to 01:00, which is 2026-04-23T22:00Z.
    let window = weekly((Weekday::Friday, 0, 0), (Weekday::Friday, 12, 0), "Africa/Cairo");
    let first = window.zone.to_ambiguous_zoned("2026-04-24T00:00".parse().expect("a time"));
    assert!(first.is_ambiguous(), "the zone no longer leaves this midnight out: take another");
    assert!(!is_open(&window, "2026-04-23T20:59:59Z") && is_open(&window, "2026-04-23T21:00:00Z"));
}

#[test]
fn the_ends_of_the_calendar_are_an_error_and_no_panic() {
    let window = weekly((Weekday::Friday, 16, 0), (Weekday::Monday, 8, 0), "UTC");
    for end in [Timestamp::MIN, Timestamp::MAX] {
        let _ = window.open_until(end);
    }
    assert!(window.open_until(Timestamp::MIN).is_err());
}

#[test]
fn environments_are_matched_by_name_and_those_without_by_the_star_alone() {
    let named = |names: &[&str]| Window {
        environments: names.iter().map(|name| (*name).to_owned()).collect(),
        ..once("2026-01-01T00:00", "2027-01-01T00:00", "UTC")
    };
    let production = named(&["staging", "production"]);
    assert!(production.covers(Some("production")) && production.covers(Some("staging")));
    assert!(!production.covers(Some("Production")) && !production.covers(Some("prod")) && !production.covers(None));
    let all = named(&["*"]);
    assert!(all.covers(Some("production")) && all.covers(None));
}

const WEEK_MINUTES: i64 = 7 * 24 * 60;
const DAYS: [Weekday; 7] = [
    Weekday::Monday,
    Weekday::Tuesday,
    Weekday::Wednesday,
    Weekday::Thursday,
    Weekday::Friday,
    Weekday::Saturday,
    Weekday::Sunday,
];

/// A moment of the week as minutes since Monday, and back.
fn at_minute(minute: i64) -> (Weekday, i8, i8) {
    let small = |number: i64| i8::try_from(number).expect("a small number");
    let day = usize::try_from(minute / 1_440).expect("a day");
    (DAYS[day], small(minute / 60 % 24), small(minute % 60))
}

/// The same window, walked in minutes since Monday: from its begin to its end, round the end of the week if need be.
fn twin(from: i64, to: i64, now: i64) -> bool {
    (now - from).rem_euclid(WEEK_MINUTES) < (to - from).rem_euclid(WEEK_MINUTES)
}

const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Chatham",
    "America/Santiago",
];

/// Whether the clocks of a zone change near this moment.
fn is_near_a_change(zone: &TimeZone, at: Timestamp) -> bool {
    let hours = |hours| jiff::SignedDuration::from_hours(hours);
    let (before, after) = (at - hours(4), at + hours(4));
    zone.following(before).next().is_some_and(|change| change.timestamp() < after)
}

proptest! {
    #[test]
    fn in_utc_a_weekly_window_is_arithmetic(from in 0..WEEK_MINUTES, to in 0..WEEK_MINUTES, now in 0_i64..4_000_000_000) {
        prop_assume!(from != to);
        let window = weekly(at_minute(from), at_minute(to), "UTC");
        // 1970-01-01 was a Thursday.
        let minute = (now / 60 + 3 * 1_440).rem_euclid(WEEK_MINUTES);
        let is_open = window.open_until(Timestamp::from_second(now).expect("a time")).expect("inside").is_some();
        prop_assert_eq!(is_open, twin(from, to, minute));
    }

    #[test]
    fn away_from_changes_every_zone_goes_by_its_own_clocks(
        from in 0..WEEK_MINUTES, to in 0..WEEK_MINUTES, now in 1_600_000_000_i64..2_200_000_000, at in 0..ZONES.len()
    ) {
        prop_assume!(from != to);
        let window = weekly(at_minute(from), at_minute(to), ZONES[at]);
        let now = Timestamp::from_second(now).expect("a time");
        prop_assume!(!is_near_a_change(&window.zone, now));
        let local = now.to_zoned(window.zone.clone());
        let minute = i64::from(local.weekday().to_monday_zero_offset()) * 1_440
            + i64::from(local.hour()) * 60 + i64::from(local.minute());
        prop_assert_eq!(window.open_until(now).expect("inside").is_some(), twin(from, to, minute));
    }

    #[test]
    fn a_dated_window_is_two_comparisons(from in 0_i64..40_000, length in 1_i64..40_000, now in 0_i64..80_000) {
        let base = "2026-01-01T00:00".parse::<DateTime>().expect("a time");
        let minutes = |count| base.checked_add(Days::new().minutes(count)).expect("inside");
        let span = Span::Once { from: minutes(from), to: minutes(from + length) };
        let start = "2026-01-01T00:00:00Z".parse::<Timestamp>().expect("a timestamp").as_second();
        let now_at = Timestamp::from_second(start + now * 60).expect("a time");
        let is_open = window(span, "UTC").open_until(now_at).expect("inside").is_some();
        prop_assert_eq!(is_open, (from..from + length).contains(&now));
    }

    #[test]
    fn while_it_is_open_its_end_is_ahead_and_nothing_before_that_is_free(
        from in 0..WEEK_MINUTES, to in 0..WEEK_MINUTES, now in 1_600_000_000_i64..2_200_000_000, at in 0..ZONES.len()
    ) {
        prop_assume!(from != to);
        let window = weekly(at_minute(from), at_minute(to), ZONES[at]);
        let now = Timestamp::from_second(now).expect("a time");
        if let Some(end) = window.open_until(now).expect("inside") {
            let last = end.timestamp() - jiff::SignedDuration::from_millis(1);
            prop_assert!(now <= last);
            prop_assert_eq!(window.open_until(last).expect("inside").map(|end| end.timestamp()), Some(end.timestamp()));
        }
    }
}
