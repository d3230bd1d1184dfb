use super::*;

#[test]
fn an_access_token_is_due_before_its_end_by_a_gap_and_the_time_of_a_pass() {
    // Minutes: the life, the margin, when after a wake it was issued, when it is due after its issue.
    for (text, life, margin, issued, due) in [
        // Enough is left: a gap and a margin before the end.
        ("every 5min", 60, 1, 0, 54),
        ("every 5min", 60, 1, 3, 54),
        ("every 10min", 60, 20, 0, 30),
        // Not before half its life.
        ("every 40min", 60, 1, 0, 30),
        ("every 29min", 30, 1, 0, 15),
        ("every 29min", 30, 0, 13, 15),
        // But no later than the last wake that is in time.
        ("every 29min", 30, 1, 20, 9),
        ("every 14min", 29, 1, 0, 14),
        // What can't be kept is due at the next wake, or at half its life.
        ("every 7d", 30, 1, 0, 15),
        ("every 29min", 30, 60, 28, 1),
    ] {
        let wakes = Wakes::new(schedule(text, "UTC"), at("2026-11-21T00:00:00Z"));
        let wake = schedule(text, "UTC").next_after(at("2026-11-21T00:00:00Z")).unwrap();
        let issued_at = wake + TimeDelta::minutes(issued);
        let (life, margin) = (Duration::from_mins(life), Duration::from_mins(margin));
        let found = wakes.access_due(issued_at, life, margin) - issued_at;
        assert_eq!(found, TimeDelta::minutes(due), "{text} {life:?} {margin:?} {issued}");
    }
    let wakes = Wakes::new(schedule("every 1h", "UTC"), at("2026-11-21T00:00:00Z"));
    assert!(wakes.access_due(Timestamp::MAX_UTC, Duration::MAX, Duration::MAX) <= Timestamp::MAX_UTC);
    assert!(!keeps_fresh(Duration::from_mins(30), Duration::MAX, Duration::from_mins(1)));
}

#[test]
fn the_gap_that_we_stand_in_counts() {
    let second_round = at("2026-10-25T01:00:00Z");
    let wakes = Wakes::new(schedule("*/5 * * * *", "Europe/Berlin"), second_round);
    assert!(wakes.longest_gap() >= Duration::from_hours(1), "{:?}", wakes.longest_gap());
}

#[test]
fn the_hour_that_comes_again_in_october_is_seen_from_far_away() {
    let schedule = self::schedule("*/5 * * * *", "Europe/Berlin");
    // Made in summer: no wake that it looks at lies near the hour that has none.
    let wakes = Wakes::new(schedule.clone(), at("2026-06-01T00:00:00Z"));
    let (life, margin) = (Duration::from_mins(70), Duration::from_mins(1));
    let mut issued_at = at("2026-10-24T22:00:00Z");
    while issued_at < at("2026-10-25T03:00:00Z") {
        let due_at = wakes.access_due(issued_at, life, margin);
        let wake = schedule.next_after(due_at - TimeDelta::milliseconds(1)).unwrap();
        let ends_at = issued_at + TimeDelta::from_std(life).unwrap();
        assert!(wake + TimeDelta::minutes(1) <= ends_at, "{issued_at}: due {due_at}, ends {ends_at}");
        issued_at += TimeDelta::minutes(3);
    }
}

proptest! {
    /// Wherever it was issued, and however late within its pass each successor comes.
    #[test]
    fn an_access_token_never_ends_before_its_successor_comes(
        schedule in prop::sample::select(vec!["every 29min", "every 7min", "0,20 * * * *", "*/5 * * * *", "0 */6 * * *", "30 2 * * *"]),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "Australia/Lord_Howe"]),
        first in any_instant(),
        spare in 0..7200_u64,
        margin in 1..240_u64,
        shares in prop::collection::vec(0.0..1.0_f64, 1..30),
    ) {
        let schedule = self::schedule(schedule, zone);
        let wakes = Wakes::new(schedule.clone(), first);
        let margin = Duration::from_secs(margin);
        let life = wakes.longest_gap() + margin + Duration::from_secs(spare);
        prop_assert!(keeps_fresh(life, wakes.longest_gap(), margin));
        let mut issued_at = first;
        for share in shares {
            let due_at = wakes.access_due(issued_at, life, margin);
            prop_assert!(due_at > issued_at);
            let wake = schedule.next_after(due_at - TimeDelta::milliseconds(1)).unwrap().max(due_at);
            let comes = wake + TimeDelta::from_std(margin.mul_f64(share)).unwrap();
            prop_assert!(comes <= issued_at + TimeDelta::from_std(life).unwrap(), "{} due {} comes {}", issued_at, due_at, comes);
            issued_at = comes;
        }
    }
}
