//! Tokens that may be spent, at a provider that must not see them again: few are marked, many are a question.

use crate::support::rehearsal::{Plan, Rehearsal, document_id, on_both};
use chrono::TimeDelta;
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::provider::AskAgain;
use evergrant::testing::report::Outcome;
use evergrant::testing::store::{Change, Fence};
use evergrant::testing::token::{Bookkeeping, LastError, Lost, RefreshToken, State};

/// As many as are in flight at once in a [`Plan`].
const IN_FLIGHT: usize = 8;

/// What is left of requests whose answers were lost an hour ago.
async fn lose_answers(rehearsal: &Rehearsal, users: usize) {
    let at = rehearsal.clock.now() - TimeDelta::hours(1);
    for position in 0..users {
        let token = RefreshToken::new(rehearsal.token(position).await);
        let cause = "timeout".into();
        let lost = Lost { cause, sent_at: Some(at), peer: None, received_bytes: 0, turned_away: false };
        let (class, code) = ("ambiguous".into(), "timeout".into());
        let bookkeeping = Bookkeeping {
            fingerprint: Some(token.fingerprint()),
            last_error: Some(LastError { class, code, http_status: None, at, lost: Some(lost) }),
            ..Bookkeeping::default()
        };
        let (id, expect_refresh_token) = (document_id(position), Some(token));
        let change = Change { id, expect_refresh_token, expect_lease: Fence::None, pair: None, bookkeeping };
        assert!(rehearsal.backend.store.apply(&[change]).await.unwrap().every_matched);
    }
}

fn plan() -> Plan {
    let mut plan = Plan::users(60);
    plan.profile.ask_again = AskAgain::Never;
    plan
}

#[tokio::test]
async fn many_tokens_that_may_be_spent_mark_no_user_until_a_person_says_that_the_logins_have_ended() {
    on_both("many_spent", plan(), async |rehearsal| {
        let users = IN_FLIGHT + 10;
        lose_answers(&rehearsal, users).await;
        for refreshed in [60 - users as u64, 0] {
            let asked = rehearsal.run().await;
            assert_eq!((asked.exit(), asked.newly_marked), (Exit::ClientRejected, 0), "{asked:?}");
            assert_eq!(asked.count(Outcome::Refreshed), refreshed, "all others are refreshed: {asked:?}");
            assert_eq!(asked.still_due_reasons.get("not_asked_again"), Some(&(users as u64)), "{asked:?}");
            let said = "the answers for 18 tokens of `sandbox` were lost, the first on ";
            assert!(asked.to_string().contains(said), "{asked}");
            assert!(rehearsal.states().await.iter().all(|state| *state == State::Live));
            rehearsal.assert_nothing_claimed().await;
        }
        let accepted = PassRequest { accept_refusals: true, ..PassRequest::default() };
        let marked = rehearsal.run_with(&accepted, &Stop::default()).await;
        assert_eq!((marked.exit(), marked.count(Outcome::LostInFlight)), (Exit::NeedsLogin, users as u64));
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}

#[tokio::test]
async fn as_many_as_a_killed_process_had_in_flight_are_marked_and_a_few_more() {
    on_both("few_spent", plan(), async |rehearsal| {
        let users = IN_FLIGHT + 9;
        lose_answers(&rehearsal, users).await;
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.newly_marked), (Exit::NeedsLogin, users as u64), "{summary:?}");
        assert_eq!(summary.count(Outcome::Refreshed), 60 - users as u64);
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}
