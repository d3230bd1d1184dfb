//! Tokens that this machine redeemed before and finds again: a stale copy is named, a restored backup is a question.

use super::recovery::{Doomed, recover};
use crate::support::rehearsal::{ACCEPTED, FORCED, Plan, Rehearsal, document_id, on_both, run};
use async_trait::async_trait;
use chrono::TimeDelta;
use evergrant::testing::clock::Clock;
use evergrant::testing::exit::Exit;
use evergrant::testing::grant::headers::Headers;
use evergrant::testing::grant::http::ClientError;
use evergrant::testing::grant::{Connect, GrantRequest, RawAnswer, Sent, Wire};
use evergrant::testing::pass::Stop;
use evergrant::testing::provider::{Provider, Rotation};
use evergrant::testing::report::summary::Summary;
use evergrant::testing::report::{Outcome, Trouble};
use evergrant::testing::token::State;
use serde_json::json;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The journal keeps no pair that was written: what was redeemed before is a mark, or a question.
fn keeping_none(mut rehearsal: Rehearsal) -> Rehearsal {
    rehearsal.keep_pairs = Duration::ZERO;
    rehearsal
}

/// Puts back the pairs that these users had at first, as a backup has them.
async fn restore(rehearsal: &Rehearsal, positions: impl IntoIterator<Item = usize>) {
    for position in positions {
        let user = &rehearsal.users[position];
        let pair = json!({ "refresh_token": user.refresh_token, "access_token": user.access_token });
        rehearsal.backend.set(&document_id(position), pair).await;
    }
}

fn found(summary: &Summary) -> Option<u64> {
    let mut troubles = summary.troubles.iter();
    troubles.find_map(|trouble| match trouble {
        Trouble::RedeemedBefore { found, .. } => Some(found.tokens),
        _ => None,
    })
}

#[tokio::test]
async fn a_restored_backup_marks_no_user_until_a_person_says_that_the_logins_have_ended() {
    on_both("backup_of_all", Plan::users(30), async |rehearsal| {
        let rehearsal = keeping_none(rehearsal);
        let before = rehearsal.clock.now();
        rehearsal.run().await;
        let requests = rehearsal.sandbox.ledger().requests;
        restore(&rehearsal, 0..30).await;
        let asked = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!((asked.exit(), asked.newly_marked), (Exit::ClientRejected, 0), "{asked:?}");
        assert_eq!((found(&asked), asked.remaining_due), (Some(30), Some(30)), "{asked:?}");
        assert_eq!(asked.still_due_reasons.get("already_redeemed"), Some(&30));
        let first = format!("the first on {}", before.format("%Y-%m-%d"));
        for said in ["30 tokens of `sandbox` were redeemed by this machine before", &first, "`state_dir`"] {
            assert!(asked.to_string().contains(said), "{said}: {asked}");
        }
        assert!(rehearsal.states().await.iter().all(|state| *state == State::Live));
        rehearsal.assert_nothing_claimed().await;

        // The next pass asks the same question, and sends nothing either.
        let again = rehearsal.run().await;
        assert_eq!((again.exit(), again.newly_marked, found(&again)), (Exit::ClientRejected, 0, Some(30)));
        let accepted = rehearsal.run_with(&ACCEPTED, &Stop::default()).await;
        assert_eq!((accepted.exit(), accepted.newly_marked), (Exit::NeedsLogin, 30), "{accepted:?}");
        assert_eq!((found(&accepted), rehearsal.sandbox.ledger().requests), (None, requests));
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn a_backup_of_a_part_marks_no_user_and_all_others_are_refreshed() {
    on_both("backup_of_a_part", Plan::users(100), async |rehearsal| {
        let rehearsal = keeping_none(rehearsal);
        rehearsal.run().await;
        restore(&rehearsal, 0..15).await;
        let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!((summary.exit(), summary.newly_marked), (Exit::ClientRejected, 0), "{summary:?}");
        assert_eq!((summary.count(Outcome::Refreshed), summary.count(Outcome::StillDue)), (85, 15));
        assert_eq!(found(&summary), Some(15));
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn with_too_many_redeemed_tokens_a_refusal_marks_no_user_either() {
    on_both("backup_and_refusals", Plan::users(60), async |rehearsal| {
        let rehearsal = keeping_none(rehearsal);
        rehearsal.run().await;
        restore(&rehearsal, 0..12).await;
        rehearsal.sandbox.revoke("user-000030");
        let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!((summary.exit(), summary.newly_marked), (Exit::ClientRejected, 0), "{summary:?}");
        assert_eq!(summary.still_due_reasons.get("refused_share"), Some(&1), "{summary:?}");
    })
    .await;
}

#[tokio::test]
async fn a_few_stale_saves_among_grants_are_named_as_ever() {
    on_both("stale_saves", Plan::users(60), async |rehearsal| {
        let rehearsal = keeping_none(rehearsal);
        rehearsal.run().await;
        restore(&rehearsal, [3, 17, 40, 41]).await;
        let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!((summary.exit(), summary.newly_marked), (Exit::NeedsLogin, 4), "{summary:?}");
        assert!(summary.named.iter().all(|named| named.code == "already_redeemed"), "{summary:?}");
        assert_eq!((summary.count(Outcome::Refreshed), found(&summary)), (56, None));
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn nine_are_named_at_once_and_ten_are_a_question() {
    for (users, exit, marked, question) in
        [(9, Exit::NeedsLogin, 9, None), (10, Exit::ClientRejected, 0, Some(10))]
    {
        on_both(&format!("stale_{users}"), Plan::users(users), async |rehearsal| {
            let rehearsal = keeping_none(rehearsal);
            rehearsal.run().await;
            restore(&rehearsal, 0..users).await;
            let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
            assert_eq!((summary.exit(), summary.newly_marked), (exit, marked), "{summary:?}");
            assert_eq!(found(&summary), question, "{summary:?}");
            rehearsal.assert_nothing_claimed().await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_stale_save_is_asked_where_the_provider_does_not_rotate_also_since_a_change_of_the_setting() {
    let mut plan = Plan::users(20);
    // New tokens, and the old ones stay good.
    plan.sandbox.grace = Duration::from_hours(10_000);
    on_both("stale_saves_of_none", plan, async |rehearsal| {
        let mut rehearsal = keeping_none(rehearsal);
        rehearsal.run().await;
        rehearsal.change_provider(|provider| provider.profile.rotation = Rotation::None);
        restore(&rehearsal, 0..20).await;
        let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!((summary.exit(), summary.newly_marked, found(&summary)), (Exit::Well, 0, None));
        assert_eq!(summary.count(Outcome::Refreshed), 20, "{summary:?}");
        assert_eq!(rehearsal.sandbox.ledger().requests, 40);
        // And once more, with tokens that are remembered since that.
        restore(&rehearsal, [3]).await;
        let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!((summary.count(Outcome::Refreshed), summary.newly_marked), (20, 0), "{summary:?}");
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn a_stale_save_is_asked_within_the_grace_of_its_first_use_and_not_after_it() {
    let mut plan = Plan::users(3);
    plan.sandbox.grace = Duration::from_hours(10_000);
    (plan.profile.rotation, plan.profile.grace) = (Rotation::Grace, Duration::from_mins(30));
    on_both("stale_saves_of_grace", plan, async |rehearsal| {
        let mut rehearsal = keeping_none(rehearsal);
        rehearsal.clock = Clock::steppable();
        rehearsal.run().await;
        for (minutes, requests, marked) in [(20, 6, 0), (20, 8, 1)] {
            rehearsal.clock.step(TimeDelta::minutes(minutes));
            restore(&rehearsal, [0]).await;
            let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
            assert_eq!(summary.newly_marked, marked, "{summary:?}");
            assert_eq!(
                rehearsal.sandbox.ledger().requests,
                requests,
                "the grace counts from the first use on"
            );
        }
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn who_was_marked_before_the_setting_changed_is_asked_by_the_next_pass() {
    let mut plan = Plan::users(20);
    plan.sandbox.grace = Duration::from_hours(10_000);
    on_both("marked_before_none", plan, async |rehearsal| {
        let mut rehearsal = keeping_none(rehearsal);
        rehearsal.run().await;
        restore(&rehearsal, [3, 4]).await;
        let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!((summary.exit(), summary.newly_marked), (Exit::NeedsLogin, 2), "{summary:?}");
        // Nothing has changed, so none is asked.
        let requests = rehearsal.sandbox.ledger().requests;
        assert_eq!(rehearsal.run().await.count(Outcome::NeedsLogin), 2);
        assert_eq!(rehearsal.sandbox.ledger().requests, requests);
        rehearsal.change_provider(|provider| provider.profile.rotation = Rotation::None);
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 2), "{summary:?}");
        assert!(rehearsal.states().await.iter().all(|state| *state == State::Live));
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

/// A provider that hands out these refresh tokens, one with each request.
#[derive(Debug, Clone)]
struct Hands(Arc<Mutex<Vec<&'static str>>>);

impl Hands {
    fn out(tokens: impl IntoIterator<Item = &'static str>) -> Self {
        Self(Arc::new(Mutex::new(tokens.into_iter().collect())))
    }
}

impl Connect for Hands {
    fn connect(&self, _: &Provider, clock: &Clock) -> Result<Arc<dyn Wire>, ClientError> {
        Ok(Arc::new(Hand { hands: self.clone(), clock: clock.clone() }))
    }
}

#[derive(Debug)]
struct Hand {
    hands: Hands,
    clock: Clock,
}

#[async_trait]
impl Wire for Hand {
    async fn post(&self, _: &GrantRequest) -> Sent {
        let mut answers = self.hands.0.lock().unwrap();
        let body = json!({ "access_token": format!("access {}", answers.len()), "refresh_token": answers.remove(0) });
        Sent::Answered(RawAnswer {
            status: 200,
            headers: Headers::default(),
            body: body.to_string().into(),
            complete: true,
            received_at: self.clock.now(),
        })
    }

    fn peer(&self, _: &url::Url) -> Option<String> {
        None
    }
}

/// As the application writes the document of the first user.
async fn put(rehearsal: &Rehearsal, token: &str) {
    let pair = json!({ "refresh_token": token, "access_token": "before" });
    rehearsal.backend.set(&document_id(0), pair).await;
}

/// A pass of all that is there, by the machine with this state directory, a minute after the one before.
async fn pass_of(rehearsal: &Rehearsal, machine: &Path, hands: &Hands) -> Summary {
    rehearsal.clock.step(TimeDelta::minutes(1));
    let pass = rehearsal.process_over(rehearsal.meddler.clone(), machine, hands).await;
    let summary = run(&pass, &FORCED, &Stop::default()).await;
    pass.close().await;
    summary
}

#[tokio::test]
async fn a_token_that_a_later_success_hands_out_is_asked_for_again() {
    on_both("handed_out_again", Plan::users(1), async |rehearsal| {
        let mut rehearsal = keeping_none(rehearsal);
        rehearsal.clock = Clock::steppable();
        put(&rehearsal, "A").await;
        let hands = Hands::out(["A", "A", "B", "A", "A", "B", "C", "B"]);
        for (position, handed_out) in ["A", "A", "B", "A", "A", "B", "C"].into_iter().enumerate() {
            let summary = pass_of(&rehearsal, rehearsal.state(), &hands).await;
            assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 1), "{position}");
            assert_eq!(rehearsal.token(0).await, handed_out, "{position}");
        }
        // And what no later success has handed out stays spent.
        for spent in ["A", "B"] {
            put(&rehearsal, spent).await;
            let summary = pass_of(&rehearsal, rehearsal.state(), &hands).await;
            assert_eq!((summary.exit(), summary.newly_marked), (Exit::NeedsLogin, 1), "{spent}: {summary:?}");
        }
        assert_eq!(*hands.0.lock().unwrap(), ["B"]);
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn a_token_that_was_handed_out_again_on_another_machine_is_asked_for_again() {
    on_both("handed_out_elsewhere", Plan::users(1), async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        put(&rehearsal, "A").await;
        let [one, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let hands = Hands::out(["B", "A", "C", "A", "B", "A"]);
        for (machine, handed_out) in
            [(&one, "B"), (&other, "A"), (&one, "C"), (&other, "A"), (&other, "B"), (&one, "A")]
        {
            let summary = pass_of(&rehearsal, machine.path(), &hands).await;
            assert_eq!(summary.count(Outcome::Refreshed), 1, "{handed_out}: {summary:?}");
            assert_eq!(rehearsal.token(0).await, handed_out);
        }
        // What came for it in between is spent, whoever looks.
        put(&rehearsal, "C").await;
        let summary = pass_of(&rehearsal, other.path(), &hands).await;
        assert_eq!((summary.count(Outcome::Refreshed), summary.newly_marked), (0, 0), "{summary:?}");
        assert_eq!(pass_of(&rehearsal, one.path(), &hands).await.count(Outcome::Restored), 1);
        assert_eq!(rehearsal.token(0).await, "A");
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn a_parked_pair_goes_back_before_a_user_is_marked_whose_token_was_asked_for_within_its_grace() {
    let mut plan = Plan::users(20);
    // The provider's grace is shorter than the profile says.
    (plan.profile.rotation, plan.profile.grace) = (Rotation::Grace, Duration::from_mins(30));
    on_both("parked_in_grace", plan, async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0]).await;
        let entry = doomed.intends(0).await;
        doomed.keeps(entry, doomed.sends(0).await).await;
        doomed.dies().await;
        let mut moved = rehearsal.document(0).await;
        rehearsal.backend.delete(&document_id(0)).await;
        recover(&rehearsal, rehearsal.state()).await;
        moved.as_object_mut().unwrap().remove("evergrant");
        moved["_id"] = json!({ "$oid": "f".repeat(24) });
        rehearsal.backend.insert([moved]).await;
        let summary = rehearsal.run().await;
        assert_eq!((summary.newly_marked, summary.count(Outcome::Restored)), (0, 1), "{summary:?}");
        rehearsal.assert_kept(20).await;
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}
