//! Two answers for one token, each with a pair: the later one counts.

use super::recovery::{Doomed, recover};
use crate::support::rehearsal::{Plan, on_both};
use evergrant::testing::journal::Event;
use evergrant::testing::token::{Code, State};
use std::time::Duration;

/// The first answer could not be read, so that a person let the token be sent again. Then the profile is mended, and both answers
/// are left by a process that died.
#[tokio::test]
async fn the_pair_of_the_later_answer_goes_into_the_document() {
    let mut plan = Plan::users(2);
    (plan.sandbox.grace, plan.profile.grace) = (Duration::from_mins(30), Duration::from_mins(30));
    on_both("two_answers", plan, async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0]).await;
        let first = doomed.is_answered(0).await;
        doomed.ends(first, Event::CannotRead(Code::NoTokens.into())).await;
        doomed.ends(first, Event::AskAgain(Code::NoTokens.into())).await;
        let second = doomed.intends(0).await;
        let answer = doomed.sends(0).await;
        let newest: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        doomed.keeps(second, answer).await;
        doomed.dies().await;

        recover(&rehearsal, rehearsal.state()).await;
        assert_eq!(rehearsal.token(0).await, newest["refresh_token"]);
        let parked: Vec<_> =
            rehearsal.entries().await.into_iter().map(|entry| (entry.id, entry.state)).collect();
        assert_eq!(parked, [], "the pair of the earlier answer is of no use");
        let summary = rehearsal.run().await;
        assert_eq!(rehearsal.bookkeeping(0).await.state, State::Live, "{summary:?}");
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}
