use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-11-28T03:00:00Z")
}

#[test]
fn spans_follow_each_other_and_hold_every_moment() {
    let spans: Vec<_> = (0..SPANS).map(|number| span(number, now())).collect();
    assert_eq!((spans[0].0, spans[SPANS - 1].1), (Timestamp::MIN_UTC, Timestamp::MAX_UTC));
    assert!(spans.windows(2).all(|pair| pair[0].1 == pair[1].0));
    let found = |text: &str| span_of(at(text), now());
    assert_eq!(found("2026-11-28T03:00:00Z"), 0, "it ends now");
    assert_eq!(found("2026-11-28T03:00:00.001Z"), 1);
    assert_eq!(found("2026-12-05T03:00:00Z"), 3, "in seven days");
    assert_eq!(found("2030-01-01T00:00:00Z"), SPANS - 1);
    assert_eq!(span(3, Timestamp::MAX_UTC).1, Timestamp::MAX_UTC);
}

#[test]
fn what_a_pass_comes_too_late_for_is_found_by_how_long_it_is_at_work_before() {
    let pass =
        |per_token| NextPass { provider: "p".into(), begins_at: at("2026-11-29T03:00:00Z"), per_token };
    let ends: Vec<Timestamp> = ["02:00", "03:00", "03:02", "03:05", "09:00"]
        .map(|time| at(&format!("2026-11-29T{time}:00Z")))
        .into_iter()
        .collect();
    let ending = |until| ends.iter().filter(|end| **end <= until).count() as u64;
    let too_late = |pass: &NextPass| {
        let mut question = pass.too_late();
        loop {
            let count = ending(question.until);
            if question.is_settled(count) {
                return count;
            }
        }
    };
    assert_eq!(too_late(&pass(Duration::ZERO)), 2, "those that end by the wake");
    assert_eq!(too_late(&pass(Duration::from_mins(1))), 3, "two minutes for those, and one ends meanwhile");
    assert_eq!(too_late(&pass(Duration::from_mins(2))), 4);
    assert_eq!(too_late(&pass(Duration::from_hours(2))), 5);
    assert_eq!(pass(Duration::MAX).through_at(u64::MAX), Timestamp::MAX_UTC);
}

fn sample() -> Survey {
    let mut groups = Groups::default();
    for (group, count) in [
        (Group::NeedsLogin, 7),
        (Group::Unseen, 3),
        (Group::Unknown, 2),
        (Group::Ends(0), 1),
        (Group::Ends(2), 12),
        (Group::Ends(4), 5),
        (Group::Ends(SPANS - 1), 100),
    ] {
        groups.add(group, count);
    }
    let tokens = Tokens { due: Some(4), oldest_due_at: Some(now()), ..groups.tokens() };
    let first_end_at = Some(at("2026-11-30T09:00:00Z"));
    let forecast = Forecast { first_end_at, before_next_pass: 1, ..tokens.forecast.clone() };
    let named = Tokens { forecast, ..tokens.clone() };
    let others = Tokens { due: Some(1), malformed: 1, ..Tokens::default() };
    Survey {
        made_at: now(),
        took: Duration::from_millis(37),
        providers: [("acme".to_owned(), named)].into(),
        others: Some(others),
    }
}

#[test]
fn a_survey_adds_up_and_is_told_in_json_and_in_one_sentence() {
    let survey = sample();
    let total = survey.total();
    assert_eq!((total.live, total.malformed, total.unseen, total.due), (120, 1, 3, Some(5)));
    assert_eq!(total.forecast.within, Within([0, 12, 12, 17, 17]));
    assert_eq!(total.forecast.unknown, 5);
    let unknown = Tokens { due: None, ..Tokens::default() };
    assert_eq!(Survey { others: Some(unknown), ..survey.clone() }.total().due, None);
    let empty = Forecast::default().sentence(now());
    let text = [total.forecast.sentence(now()), empty].join("\n");
    insta::assert_snapshot!(text);
    insta::assert_snapshot!(serde_json::to_string_pretty(&survey).unwrap());
}

#[test]
fn a_time_ahead_is_told_in_whole_days() {
    for (seconds, text) in [
        (30, "less than a minute"),
        (90, "1min"),
        (7200, "2h"),
        (100_000, "1 day"),
        (9 * 86_400 + 80_000, "9 days"),
    ] {
        assert_eq!(about(Duration::from_secs(seconds)), text);
    }
}
