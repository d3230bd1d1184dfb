use super::*;

#[test]
fn an_interval_wakes_at_multiples_from_1970_on_whatever_the_zone() {
    for (text, zone, from, expected) in [
        ("every 1min", "UTC", "2026-11-22T02:59:59.5Z", vec!["11-22T03:00:00", "11-22T03:01:00"]),
        ("every 1min", "UTC", "2026-11-22T03:00:00Z", vec!["11-22T03:01:00"]),
        ("every 90s", "UTC", "2026-11-22T03:00:00.000000001Z", vec!["11-22T03:01:30", "11-22T03:03:00"]),
        ("every 12h", "UTC", "2026-11-22T03:00:00Z", vec!["11-22T12:00:00", "11-23T00:00:00"]),
        // The clocks change in Berlin, and the distances stay.
        (
            "Every  6h",
            "Europe/Berlin",
            "2026-10-24T20:00:00Z",
            vec!["10-25T00:00:00", "10-25T06:00:00", "10-25T12:00:00"],
        ),
        // 1970 began on a Thursday.
        ("every 7days", "UTC", "2026-11-22T00:00:00Z", vec!["11-26T00:00:00", "12-03T00:00:00"]),
        // 29 minutes divide no hour: this is wake number 1,031,785.
        ("every 29min", "UTC", "2026-11-22T00:00:00Z", vec!["11-22T00:05:00", "11-22T00:34:00"]),
        ("every 29 min", "Pacific/Apia", "1969-12-31T23:40:00Z", vec!["01-01T00:00:00", "01-01T00:29:00"]),
    ] {
        assert_eq!(wakes(text, zone, from, expected.len()), expected, "{text} {zone} after {from}");
    }
    let schedule = schedule("every 29min", "Europe/Berlin");
    assert_eq!(schedule.to_string(), "every 29min", "its zone says nothing");
    assert_eq!(schedule.longest_gap(at("2026-03-01T00:00:00Z")), TimeDelta::minutes(29));
}

#[test]
fn a_continuous_schedule_has_the_arithmetic_of_a_look_each_minute() {
    let continuous = schedule(" Continuous ", "Europe/Berlin");
    assert!(continuous.is_continuous() && !schedule("every 1min", "UTC").is_continuous());
    assert_eq!((continuous.text(), continuous.to_string().as_str()), ("continuous", "continuous"));
    let now = at("2026-11-22T03:00:20Z");
    assert_eq!(continuous.longest_gap(now), TimeDelta::minutes(1));
    assert_eq!(continuous.next_after(now), Some(at("2026-11-22T03:01:00Z")));
    assert_eq!(continuous.last_until(now), Some(at("2026-11-22T03:00:00Z")));
    let wrong = Schedule::parse("continuously", "UTC", now).unwrap_err().to_string();
    assert!(wrong.contains("or `continuous`"), "{wrong}");
    assert!(matches!(Schedule::parse("continuous", "Berlin", now), Err(ScheduleError::Zone { .. })));
}

#[test]
fn what_is_no_interval_is_refused_with_the_reason() {
    let now = at("2026-11-21T00:00:00Z");
    for (text, reason) in [
        ("every", "the duration is missing"),
        ("every ", "the duration is missing"),
        ("every day", "no duration follows `every`"),
        ("every 29", "no duration follows `every`"),
        ("every 0s", "shorter than 1 minute"),
        ("every 59s", "shorter than 1 minute"),
        ("every 60500ms", "not in whole seconds"),
        ("every 366d", "longer than 365 days"),
    ] {
        let error = Schedule::parse(text, "UTC", now).unwrap_err();
        assert!(matches!(error, ScheduleError::Interval { .. }), "{text}: {error:?}");
        let told = error.to_string();
        assert!(told.contains(reason) && told.contains("like `every 29min`"), "{told}");
    }
    for text in ["29min", "everyday", "every29min"] {
        let told = Schedule::parse(text, "UTC", now).unwrap_err().to_string();
        assert!(told.contains("an interval, like `every 29min`; or `continuous`"), "{told}");
    }
    assert!(matches!(Schedule::parse("every 1h", "Berlin", now), Err(ScheduleError::Zone { .. })));
}
