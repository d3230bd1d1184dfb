mod every;
mod keep;

use super::*;
use proptest::prelude::*;
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn schedule(text: &str, zone: &str) -> Schedule {
    Schedule::parse(text, zone, at("2026-01-01T00:00:00Z")).unwrap()
}

fn wakes(text: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
    let utc = |wake: Wake| wake.at.format("%m-%dT%H:%M:%S").to_string();
    schedule(text, zone).next_wakes(at(from), count).into_iter().map(utc).collect()
}

#[test]
fn wakes_come_as_the_zone_reads_its_clock() {
    for (text, zone, from, expected) in [
        ("0 3 * * SUN", "UTC", "2026-11-21T06:00:00Z", vec!["11-22T03:00:00", "11-29T03:00:00"]),
        ("0 3 * * 0", "UTC", "2026-11-22T02:59:59.5Z", vec!["11-22T03:00:00", "11-29T03:00:00"]),
        ("0 3 * * 7", "UTC", "2026-11-22T03:00:00Z", vec!["11-29T03:00:00"]),
        ("0 3 * * sun", "UTC", "2026-11-22T03:00:00.5Z", vec!["11-29T03:00:00"]),
        ("15 30 3 * * *", "UTC", "2026-11-22T03:00:00Z", vec!["11-22T03:30:15"]),
        // Berlin: 02:00 to 03:00 doesn't exist on 29 March, and exists twice on 25 October.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T00:00:00Z",
            vec!["03-28T01:30:00", "03-29T01:00:00", "03-30T00:30:00"],
        ),
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T00:00:00Z",
            vec!["10-24T00:30:00", "10-25T00:30:00", "10-26T01:30:00"],
        ),
        ("0 3 * * SUN", "Europe/Berlin", "2026-03-22T12:00:00Z", vec!["03-29T01:00:00", "04-05T01:00:00"]),
        // New York: 02:00 to 03:00 doesn't exist on 8 March, and 01:00 to 02:00 exists twice on 1 November.
        ("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", vec!["03-08T07:00:00", "03-09T06:30:00"]),
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", vec!["11-01T05:30:00", "11-02T06:30:00"]),
        // Started inside the second round of the hour that exists twice.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", vec!["10-26T01:30:00"]),
        ("*/20 * * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", vec!["10-25T02:00:00"]),
        (
            "*/20 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:35:00Z",
            vec!["03-29T00:40:00", "03-29T01:00:00", "03-29T01:20:00"],
        ),
        // Samoa had no 30 December 2011.
        ("0 12 * * *", "Pacific/Apia", "2011-12-30T00:00:00Z", vec!["12-30T10:00:00", "12-30T22:00:00"]),
    ] {
        assert_eq!(wakes(text, zone, from, expected.len()), expected, "{text} {zone} after {from}");
    }
}

#[test]
fn a_wake_is_shown_in_its_zone_and_in_utc() {
    let shown = |zone: &str| -> Vec<String> {
        let wakes = schedule("0 3 * * SUN", zone).next_wakes(at("2026-10-18T12:00:00Z"), 2);
        wakes.iter().map(ToString::to_string).collect()
    };
    assert_eq!(shown("UTC"), ["Sun 2026-10-25 03:00:00 UTC", "Sun 2026-11-01 03:00:00 UTC"]);
    assert_eq!(
        shown("America/New_York"),
        [
            "Sun 2026-10-25 03:00:00 EDT (2026-10-25 07:00 UTC)",
            "Sun 2026-11-01 03:00:00 EST (2026-11-01 08:00 UTC)"
        ]
    );
}

#[test]
fn what_is_no_schedule_is_refused() {
    let now = at("2026-11-21T00:00:00Z");
    for text in [
        "",
        "0 3 * *",
        "0 0 3 * * SUN 2027",
        "61 3 * * *",
        "0 3 * * Sunday",
        "@weekly",
        "a b c d e",
        "0 25 * * *",
    ] {
        let error = Schedule::parse(text, "UTC", now).unwrap_err();
        assert!(matches!(error, ScheduleError::Cron { .. }), "{text}: {error:?}");
        assert!(error.to_string().contains("expected five fields"), "{error}");
    }
    for text in ["0 3 31 2 *", "0 0 3 30 FEB *", "0 3 31 4,6,9,11 *"] {
        let error = Schedule::parse(text, "UTC", now).unwrap_err();
        assert_eq!(error, ScheduleError::Never { text: text.to_owned() });
    }
    assert!(Schedule::parse("0 3 29 2 *", "UTC", at("2096-03-01T00:00:00Z")).is_ok());
}

#[test]
fn an_unknown_zone_is_named_with_the_nearest() {
    for (given, nearest) in [
        ("Europe/Berln", Some("Europe/Berlin")),
        ("europe/berlin", Some("Europe/Berlin")),
        ("berlin", Some("Europe/Berlin")),
        ("America/New York", Some("America/New_York")),
        ("utc", Some("UTC")),
        ("qqqqqqq", None),
    ] {
        let error = Schedule::parse("0 3 * * *", given, at("2026-01-01T00:00:00Z")).unwrap_err();
        let ScheduleError::Zone { nearest: found, .. } = error else { panic!("{given}: {error:?}") };
        assert_eq!(found.map(str::to_lowercase), nearest.map(str::to_lowercase), "{given}");
    }
}

#[test]
fn the_longest_gap_is_found_over_a_year() {
    for (text, zone, hours) in [
        ("0 3 * * SUN", "UTC", 7 * 24),
        ("0 3 * * SUN", "Europe/Berlin", 7 * 24 + 1),
        ("0 3 * * *", "America/New_York", 25),
        ("0 3 1,15 * *", "UTC", 17 * 24),
        ("0 3 1 1 *", "UTC", 366 * 24),
        ("0 3 29 2 *", "UTC", (4 * 365 + 1) * 24),
        ("*/5 9-17 * * MON-FRI", "UTC", 63),
    ] {
        let gap = schedule(text, zone).longest_gap(at("2026-11-21T00:00:00Z"));
        assert_eq!(gap.num_minutes().div_euclid(60), hours, "{text} {zone}");
    }
}

#[test]
fn chances_count_the_wakes_between_due_and_death_at_the_worst() {
    let third = RenewAfter::THIRD;
    for (text, days, renew_after, expected) in [
        ("0 3 * * SUN", 14, third, 1),     // due after 4.67 d, then 9.33 d to live
        ("0 3 * * SUN", 60, third, 5),     // 40 d
        ("0 3 * * *", 14, third, 9),       // 9.33 d
        ("0 3 * * SUN,WED", 14, third, 2), // gaps of 3 and 4 d
        ("0 3 1 * *", 14, third, 0),       // a month
        ("0 3 1,15 * *", 14, third, 0),    // up to 17 d
        ("0 3 * * SUN", 14, "1/2".parse().unwrap(), 0), // 7 d: a wake at the moment of death doesn't count
        ("0 3 1 1 *", 30, third, 0),
        ("0 3 1 * *", 365 * 5, third, 39),
        ("every 24h", 14, third, 9),
        ("every 7d", 14, third, 1),
        ("every 28h", 2, third, 1), // 32 h
        ("every 32h", 2, third, 0), // a wake at the moment of death doesn't count
    ] {
        let found = chances(&schedule(text, "UTC"), DAY * days, renew_after, at("2026-11-21T00:00:00Z"));
        assert_eq!(found, expected, "{text}, {days} d, {renew_after}");
    }
    let minutely = schedule("* * * * *", "UTC");
    assert!(chances(&minutely, DAY * 60, third, at("2026-11-21T00:00:00Z")) > 1000);
    let bound = drain_bound(&schedule("0 3 * * SUN", "UTC"), DAY * 14, third, at("2026-11-21T00:00:00Z"));
    assert_eq!(bound.as_secs(), 56 * 3600, "9 d 8 h less a week");
}

#[test]
fn a_weekly_wake_finds_every_14_day_token_due() {
    let weekly = schedule("0 3 * * SUN", "Europe/Berlin");
    let mut wake = at("2026-01-04T02:00:00Z");
    for _ in 0..60 {
        // The pass that starts at the wake may take hours.
        let issued_at = wake + TimeDelta::hours(20);
        let due_at = due_at_after_success(issued_at, Some(DAY * 14), RenewAfter::THIRD, 0.0);
        wake = weekly.next_after(wake).unwrap();
        assert!(due_at <= wake, "{due_at} {wake}");
    }
}

#[test]
fn due_is_a_share_of_the_life_with_jitter_downwards_only() {
    let issued_at = at("2026-11-21T00:00:00Z");
    let due = |lifetime, jitter| due_at_after_success(issued_at, lifetime, RenewAfter::THIRD, jitter);
    assert_eq!(due(None, 0.5), issued_at);
    assert_eq!(due(Some(DAY * 15), 0.0), at("2026-11-26T00:00:00Z"));
    assert_eq!(due(Some(DAY * 15), 1.0), at("2026-11-25T12:00:00Z"));
    assert_eq!(due(Some(DAY * 15), f64::NAN).timestamp_subsec_micros() % 1000, 0);
    assert_eq!(due(Some(DAY * 15), 0.123_456).timestamp_subsec_micros() % 1000, 0, "whole milliseconds");
}

#[test]
fn a_share_is_written_in_three_ways() {
    for (text, shown) in
        [("1/3", "33.3%"), ("0.33", "33%"), ("33%", "33%"), (" 2 / 4 ", "50%"), ("99.9 %", "99.9%")]
    {
        assert_eq!(text.parse::<RenewAfter>().unwrap().to_string(), shown, "{text}");
    }
    for bad in ["", "0", "1", "0/3", "3/3", "1/0", "0/0", "100%", "-1/3", "nan", "inf", "a", "1/2/3"] {
        assert!(bad.parse::<RenewAfter>().is_err(), "{bad}");
    }
}

#[test]
fn a_backoff_doubles_up_to_its_cap() {
    let (first, cap) = (Duration::from_mins(15), DAY);
    for (failures, minutes) in
        [(0, 15), (1, 15), (2, 30), (3, 60), (7, 960), (8, 1440), (33, 1440), (u32::MAX, 1440)]
    {
        assert_eq!(backoff(failures, first, cap, 0.0), Duration::from_mins(minutes), "{failures}");
        let jittered = backoff(failures, first, cap, 0.999);
        assert!(jittered < Duration::from_mins(minutes) && jittered > Duration::from_mins(minutes) * 7 / 10);
    }
}

#[test]
fn missed_wakes_are_caught_up_once() {
    let weekly = schedule("0 3 * * SUN", "UTC");
    let sunday = at("2026-11-22T03:00:00Z");
    for (last, now, expected) in [
        (None, "2026-11-25T00:00:00Z", None),
        (Some("2026-11-15T03:00:00Z"), "2026-11-22T02:59:59.999Z", None),
        (Some("2026-11-15T03:00:00Z"), "2026-11-22T03:00:00Z", Some(sunday)),
        (Some("2026-11-22T03:00:00Z"), "2026-11-25T00:00:00Z", None),
        (Some("2026-08-02T03:00:00Z"), "2026-11-25T00:00:00Z", Some(sunday)),
        // The clock was years ahead and stepped back.
        (Some("2031-01-05T03:00:00Z"), "2026-11-25T00:00:00Z", None),
    ] {
        assert_eq!(weekly.missed_since(last.map(at), at(now)), expected, "{last:?} {now}");
    }
    let often = schedule("every 30min", "UTC");
    for (last, now, expected) in [
        (None, "2026-11-25T00:00:00Z", None),
        (Some("2026-11-25T00:00:00Z"), "2026-11-25T00:29:59.999Z", None),
        (Some("2026-11-25T00:00:00Z"), "2026-11-25T00:30:00Z", Some(at("2026-11-25T00:30:00Z"))),
        // Two days down: one pass.
        (Some("2026-11-23T00:00:00Z"), "2026-11-25T00:44:00Z", Some(at("2026-11-25T00:30:00Z"))),
        // A first start between two wakes misses none.
        (Some("2026-11-25T00:31:00Z"), "2026-11-25T00:59:00Z", None),
    ] {
        assert_eq!(often.missed_since(last.map(at), at(now)), expected, "{last:?} {now}");
    }
    assert_eq!(weekly.next_after(at("2026-11-25T00:00:00Z")), Some(at("2026-11-29T03:00:00Z")));
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let texts = [
        "30 2 * * *",
        "0 3 * * SUN",
        "*/20 * * * *",
        "59 59 1 * * *",
        "0 */6 * * *",
        "15 1,2,3 * * *",
        "0 0 1 * *",
        "every 29min",
        "every 5h 1s",
    ];
    let zones = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"];
    (prop::sample::select(texts.to_vec()), prop::sample::select(zones.to_vec()))
        .prop_map(|(text, zone)| schedule(text, zone))
}

/// Seconds since 1970 within three years, most of them near a clock change.
fn any_instant() -> impl Strategy<Value = Timestamp> {
    let changes = [
        "2026-03-29T01:00:00Z",
        "2026-10-25T01:00:00Z",
        "2026-03-08T07:00:00Z",
        "2026-11-01T06:00:00Z",
        "2026-04-04T15:00:00Z",
    ];
    let near = (prop::sample::select(changes.to_vec()), -20_000_000..20_000_000_i64)
        .prop_map(|(change, millis)| at(change) + TimeDelta::milliseconds(millis));
    let anywhere =
        (1_735_689_600..1_830_297_600_i64).prop_map(|seconds| Timestamp::from_timestamp(seconds, 0).unwrap());
    prop_oneof![3 => near, 1 => anywhere]
}

proptest! {
    #[test]
    fn a_missed_wake_is_never_skipped(schedule in any_schedule(), one in any_instant(), other in any_instant()) {
        let (last, now) = (one.min(other), one.max(other));
        match schedule.missed_since(Some(last), now) {
            Some(wake) => {
                prop_assert!(wake > last && wake <= now);
                prop_assert!(schedule.next_after(wake).unwrap() > now, "a later one was missed too");
                prop_assert!(schedule.next_after(wake - TimeDelta::milliseconds(1)) == Some(wake), "it is a wake");
            }
            None => prop_assert!(schedule.next_after(last).unwrap() > now),
        }
    }

    #[test]
    fn the_next_wake_is_ahead_and_nothing_lies_between(schedule in any_schedule(), now in any_instant(), ahead in 0..86_400_000_i64) {
        let next = schedule.next_after(now).unwrap();
        prop_assert!(next > now);
        let between = now + TimeDelta::milliseconds(ahead);
        if between < next {
            prop_assert_eq!(schedule.next_after(between), Some(next));
        }
        prop_assert_eq!(schedule.last_until(next), Some(next));
    }
}

#[test]
fn follow_ups_double_their_wait_and_only_those_that_come_in_time_count() {
    let (first, longest) = (Duration::from_mins(15), Duration::from_hours(24));
    for (minutes, expected) in [
        (0, 0),
        (15, 0),
        // The first comes after 15 minutes, or a quarter more.
        (19, 1),
        (52, 1),
        (53, 2),
        // 9 d 8 h less 7 d: what Autodesk's tokens have left after a weekly wake.
        (56 * 60, 7),
        // From the eighth on a day apart.
        (30 * 24 * 60, 35),
    ] {
        assert_eq!(follow_ups(Duration::from_mins(minutes), first, longest), expected, "{minutes} min");
    }
    assert_eq!(follow_ups(Duration::MAX, first, longest), 1000);
}
