//! Counts in, a judgement out.

use super::*;

fn judge(granted: f64, refused: f64) -> Refusals {
    let mut judge = Refusals::default();
    judge.expect(History { granted, refused }, false);
    judge
}

/// Is a sample asked for?
fn refuse(judge: &mut Refusals) -> bool {
    judge.refused("invalid_grant", Some(400), false)
}

/// Where the dead logins of a population stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placed {
    First,
    Last,
    Spread,
}

/// What a person wrote for a population.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// All of the dead are marked.
    Marked,
    /// No user is marked, and all of the living are refreshed.
    Doubt,
    /// No user is marked, and the provider is left alone before all were asked.
    LeftAlone,
}

/// A pass over 1,000 logins of which this number are dead; the first one is alive, where any is. A sample from all over what is
/// left finds one that is alive, where there is any.
fn told(judge: &mut Refusals, dead: usize, placed: Placed) -> Told {
    const LOGINS: usize = 1000;
    let is_dead = |login: usize| match placed {
        _ if login == 0 => dead == LOGINS,
        Placed::First => login <= dead,
        Placed::Last => login >= LOGINS - dead,
        Placed::Spread => login * dead / LOGINS != (login - 1) * dead / LOGINS,
    };
    let mut asked = vec![false; LOGINS];
    for login in 0..LOGINS {
        if std::mem::replace(&mut asked[login], true) {
            continue;
        }
        if !is_dead(login) {
            judge.granted();
        } else if refuse(judge) {
            let Some(drawn) = (login..LOGINS).find(|other| !asked[*other] && !is_dead(*other)) else {
                assert!(judge.grants_nothing().is_some() && judge.standing().suspicious);
                return Told::LeftAlone;
            };
            asked[drawn] = true;
            judge.granted();
        }
    }
    judge.judge(true);
    if judge.standing().suspicious { Told::Doubt } else { Told::Marked }
}

#[test]
fn who_is_marked_of_a_population_by_the_dead_in_it_where_they_stand_and_what_is_known() {
    use Placed::{First, Last, Spread};
    use Told::{Doubt, LeftAlone, Marked};
    // Of 1,000: dead, where; in the first pass, in the tenth after nine without any, and in the tenth of ten alike.
    for (dead, placed, first, tenth, alike) in [
        (0, Spread, Marked, Marked, Marked),
        (10, First, Marked, Marked, Marked),
        (10, Last, Marked, Doubt, Marked),
        (10, Spread, Marked, Marked, Marked),
        (30, First, Marked, Doubt, Marked),
        (30, Last, Doubt, Doubt, Doubt),
        (30, Spread, Marked, Doubt, Marked),
        (99, First, Doubt, Doubt, Marked),
        (100, First, Doubt, Doubt, Marked),
        (100, Last, LeftAlone, LeftAlone, LeftAlone),
        (100, Spread, Doubt, Doubt, Marked),
        (300, First, Doubt, Doubt, Marked),
        (300, Last, LeftAlone, LeftAlone, LeftAlone),
        (300, Spread, Doubt, Doubt, Marked),
        (600, First, Doubt, Doubt, Marked),
        (600, Last, LeftAlone, LeftAlone, LeftAlone),
        (600, Spread, Doubt, Doubt, Marked),
        (1000, Spread, LeftAlone, LeftAlone, LeftAlone),
    ] {
        let share = f64::from(u32::try_from(dead).unwrap()) / 1000.0;
        for (history, expected) in
            [((0.0, 0.0), first), ((9000.0, 0.0), tenth), ((9000.0 * (1.0 - share), 9000.0 * share), alike)]
        {
            let mut judge = judge(history.0, history.1);
            assert_eq!(told(&mut judge, dead, placed), expected, "{dead} {placed:?} {history:?}");
        }
    }
}

#[test]
fn a_person_who_has_looked_has_all_of_them_marked() {
    for (dead, placed) in [(300, Placed::First), (1000, Placed::Spread)] {
        let mut judge = Refusals::default();
        judge.expect(History::default(), true);
        assert_eq!(told(&mut judge, dead, placed), Told::Marked, "{dead}");
    }
}

#[test]
fn a_small_collection_is_judged_as_well_and_a_handful_of_dead_logins_is_no_question() {
    // Of ten, behind one that is alive: the fewest dead that are in doubt.
    let fewest = |granted, refused| {
        (1..10).find(|dead| {
            let mut judge = judge(granted, refused);
            judge.granted();
            (0..*dead).for_each(|_| assert!(!refuse(&mut judge)));
            (0..9 - *dead).for_each(|_| judge.granted());
            judge.judge(true);
            judge.standing().suspicious
        })
    };
    assert_eq!(fewest(0.0, 0.0), Some(6));
    assert_eq!(fewest(98.0, 2.0), Some(6));
    assert_eq!(fewest(9_990.0, 10.0), Some(4));
    assert_eq!(fewest(7_000.0, 3_000.0), None);
}

#[test]
fn a_few_refusals_before_the_first_grant_ask_for_a_sample_and_so_does_a_long_run_of_them_later_on() {
    let mut unproven = judge(0.0, 0.0);
    assert_eq!((1..100).find(|_| refuse(&mut unproven)), Some(FEW_UNPROVEN));
    assert!(!unproven.standing().suspicious, "others are asked first");
    let suspicion = unproven.grants_nothing().unwrap();
    assert_eq!((suspicion.refused, suspicion.asked), (FEW_UNPROVEN, FEW_UNPROVEN));
    assert!(unproven.standing().suspicious && unproven.history_after().is_none());
    let run = |granted, refused| {
        let mut judge = judge(granted, refused);
        judge.granted();
        (1..=1000).find(|_| refuse(&mut judge))
    };
    assert_eq!((run(0.0, 0.0), run(9_000.0, 1_000.0)), (Some(MANY_IN_A_ROW), Some(MANY_IN_A_ROW)));
    assert_eq!(run(500.0, 9_500.0), Some(229), "where most are refused as ever");
}

#[test]
fn marks_wait_while_more_are_refused_than_is_usual_and_are_made_once_it_is_as_usual_again() {
    let mut judge = judge(9_900.0, 100.0);
    (0..250).for_each(|_| judge.granted());
    assert_eq!(judge.standing().judged, 2);
    (0..30).for_each(|_| assert!(!refuse(&mut judge)));
    (0..500).for_each(|_| judge.granted());
    let standing = judge.standing();
    assert_eq!((standing.judged, standing.suspicious), (2, false), "30 of 580 wait");
    (0..1000).for_each(|_| judge.granted());
    let standing = judge.standing();
    assert!(standing.judged > 2 && !standing.suspicious);
}

#[test]
fn a_mark_that_can_wait_no_longer_is_judged_by_what_is_known() {
    let mut judge = judge(9_900.0, 100.0);
    (0..250).for_each(|_| judge.granted());
    (0..30).for_each(|_| assert!(!refuse(&mut judge)));
    judge.judge(false);
    assert!(judge.standing().suspicious);
    let Suspicion { refused, asked, usual_share, .. } = judge.suspicion().unwrap();
    assert_eq!((refused, asked), (30, 280));
    assert!((usual_share - 0.01).abs() < 0.001);
    (0..10_000).for_each(|_| judge.granted());
    assert!(judge.standing().suspicious, "for the rest of the pass");
    assert_eq!(judge.history_after(), None);
}

#[test]
fn a_fault_does_not_hide_behind_all_that_went_well_before_it() {
    let mut judge = judge(9_900.0, 100.0);
    (0..100_000).for_each(|_| judge.granted());
    (0..60).for_each(|_| assert!(!refuse(&mut judge)));
    judge.judge(true);
    let Suspicion { refused, asked, .. } = judge.suspicion().unwrap();
    assert_eq!((refused, asked), (60, 60));
}

#[test]
fn a_little_too_many_in_each_stretch_are_too_many_in_all() {
    let mut judge = judge(0.0, 0.0);
    let mut judged = 0;
    for number in 1..=1000 {
        if number % 10 == 0 {
            assert!(!refuse(&mut judge));
        } else {
            judge.granted();
        }
        judged = judged.max(judge.standing().judged);
    }
    assert!((1..5).contains(&judged), "the first stretches are within what chance makes: {judged}");
    judge.judge(true);
    assert!(judge.standing().suspicious, "their marks are taken back");
}

#[test]
fn a_few_refusals_and_no_grant_in_a_whole_pass_are_held_against_the_history() {
    let fewest = |granted, refused| {
        (1..MOST_UNPROVEN).find(|run| {
            let mut judge = judge(granted, refused);
            (0..*run).for_each(|_| {
                refuse(&mut judge);
            });
            assert!(!judge.standing().suspicious, "it is judged at the end");
            judge.judge(true);
            let suspicion = judge.suspicion();
            assert_eq!(suspicion.is_some(), judge.standing().suspicious);
            assert!(suspicion.is_none_or(|found| (found.refused, found.asked) == (*run, *run)));
            judge.standing().suspicious
        })
    };
    assert_eq!(fewest(0.0, 0.0), Some(5));
    assert_eq!(fewest(100.0, 0.0), Some(4));
    assert_eq!(fewest(9_900.0, 0.0), Some(FEWEST_UNPROVEN));
    assert_eq!(fewest(500.0, 500.0), None);
}

#[test]
fn refusals_that_were_to_be_expected_are_judged_at_the_end_of_a_pass_without_grants() {
    let after = |in_doubt, refused, granted| {
        let mut judge = judge(0.0, 0.0);
        (0..in_doubt).for_each(|_| judge.refused_in_doubt("invalid_grant", None));
        (0..refused).for_each(|_| assert!(!judge.refused("invalid_grant", None, false)));
        if granted {
            judge.granted();
        }
        judge.judge(false);
        assert!(!judge.standing().suspicious, "others may come");
        judge.judge(true);
        judge.suspicion().map(|suspicion| suspicion.refused)
    };
    assert_eq!(after(MOST_UNPROVEN - 1, 0, false), None);
    assert_eq!(after(MOST_UNPROVEN, 0, false), Some(MOST_UNPROVEN));
    assert_eq!(after(MOST_UNPROVEN - 2, 2, false), Some(MOST_UNPROVEN));
    assert_eq!(after(100, 0, true), None, "what a crash cut off comes first, and all of it may be lost");
}

#[test]
fn chance_alone_trips_nothing() {
    use rand::{Rng as _, SeedableRng as _};
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    for share in [0.001, 0.01, 0.02, 0.05, 0.2] {
        let mut judge = judge(10_000.0 * (1.0 - share), 10_000.0 * share);
        judge.granted();
        for number in 0..200_000 {
            if random.random_bool(share) {
                assert!(!refuse(&mut judge), "{share} {number}");
            } else {
                judge.granted();
            }
            judge.judge(false);
            assert!(!judge.standing().suspicious, "{share} {number}");
        }
        assert!(judge.standing().judged >= 1990);
    }
}

/// What failed before says less of a provider that has granted something: after a pass in doubt it comes again in one run.
#[test]
fn a_run_of_what_was_refused_before_asks_for_a_sample_until_there_is_a_grant() {
    let first_sample = |before, granted| {
        let mut judge = judge(0.0, 0.0);
        (0..granted).for_each(|_| judge.granted());
        (1..=2000).find(|_| judge.refused("invalid_grant", Some(400), before))
    };
    assert_eq!((first_sample(false, 0), first_sample(true, 0)), (Some(FEW_UNPROVEN), Some(FEW_UNPROVEN)));
    assert_eq!((first_sample(false, 1), first_sample(true, 1)), (Some(MANY_IN_A_ROW), None));
    let mut judge = judge(0.0, 0.0);
    for _ in 0..1000 {
        assert!(!judge.refused("invalid_grant", Some(400), true));
        judge.granted();
    }
    judge.judge(true);
    assert!(judge.standing().suspicious, "half of them are refused");
}

#[test]
fn a_fault_that_begins_before_the_end_of_a_pass_is_not_outweighed_by_all_before_it() {
    let mut judge = judge(0.0, 0.0);
    (0..970).for_each(|_| judge.granted());
    (0..30).for_each(|_| assert!(!refuse(&mut judge)));
    judge.judge(false);
    assert!(!judge.standing().suspicious, "more may come");
    judge.judge(true);
    let Suspicion { refused, asked, .. } = judge.suspicion().unwrap();
    assert_eq!((refused, asked), (30, 100));
}

#[test]
fn what_was_granted_after_all_is_not_usual() {
    let mut judge = judge(0.0, 0.0);
    for _ in 0..970 {
        judge.granted();
    }
    for _ in 0..30 {
        refuse(&mut judge);
        judge.granted_after_all();
        judge.granted();
    }
    assert_eq!(judge.history_after(), Some(History { granted: 1000.0, refused: 0.0 }));
}
