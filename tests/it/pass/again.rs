//! A long pass asks again what it has put off, when its wait is over, and goes on with the others meanwhile.

use crate::support::own_server::{OwnServer, Scripted, Shape};
use crate::support::rehearsal::{LIFETIME, Plan, document_id, on_both};
use evergrant::testing::exit::Exit;
use evergrant::testing::provider::profile;
use evergrant::testing::report::Outcome;
use evergrant::testing::store::{Change, Fence};
use evergrant::testing::token::{Bookkeeping, RefreshToken};
use serde_json::json;
use std::time::Duration;

const USERS: usize = 400;

/// It is put off when there is no page left: it waits for the next pass.
const LAST: usize = USERS - 3;

const FIRST_BACKOFF: Duration = Duration::from_millis(1500);

fn user(position: usize) -> String {
    format!("user-{position}")
}

#[tokio::test]
async fn a_token_is_asked_again_between_the_others_when_its_wait_is_over_and_counts_once() {
    // At 80/s and in pages of 64 the pass takes five seconds.
    on_both("again", Plan::users(USERS), async |mut rehearsal| {
        let server = OwnServer::start(Shape::Envelope).await;
        let url: url::Url = server.url().parse().unwrap();
        let mut own = profile::load("cookie-session").unwrap();
        own.refresh_token_lifetime = Some(LIFETIME);
        own.rate = Some("80/s".parse().unwrap());
        own.concurrency = 8.try_into().unwrap();
        rehearsal.change_provider(|provider| (provider.profile, provider.token_url) = (own, url.into()));
        rehearsal.settings.first_backoff = FIRST_BACKOFF;
        rehearsal.settings.looks_again_every = Duration::from_millis(100);
        for position in 0..USERS {
            let pair = server.login(&user(position));
            let pair = json!({ "refresh_token": pair.refresh_token, "access_token": pair.access_token });
            rehearsal.backend.set(&document_id(position), pair).await;
        }
        let strange = Scripted { status: 400, body: r#"{"message":"strange"}"# };
        server.script(&user(5), [strange.clone()]);
        server.script(&user(9), [strange.clone()]);
        server.script(&user(LAST), [strange]);
        let summary = rehearsal.run().await;

        let presented = server.presented();
        let places = |position: usize| -> Vec<usize> {
            let of = |(place, one): (usize, &_)| is_of(one, position).then_some(place);
            presented.iter().enumerate().filter_map(of).collect()
        };
        for position in [5, 9] {
            let [first, second] = places(position)[..] else { panic!("{position}: {:?}", places(position)) };
            let waited = presented[second].at - presented[first].at;
            assert!(waited >= FIRST_BACKOFF / 2, "{position}: {waited:?}");
            assert!(second < presented.len() - 10, "{position}: others come after it, not before it alone");
        }
        assert_eq!((presented.len(), summary.grants), (USERS + 2, USERS as u64 + 2));
        assert_eq!(summary.count(Outcome::Refreshed), USERS as u64 - 1, "{summary:?}");
        assert_eq!((summary.due, summary.taken), (Some(USERS as u64), USERS as u64), "{summary:?}");
        assert_eq!((summary.remaining_due, summary.put_off_count), (Some(0), 1), "{summary:?}");
        assert_eq!(summary.put_off[0].id, document_id(LAST));
        assert_eq!(summary.put_off_until, rehearsal.bookkeeping(LAST).await.due_at);
        assert_eq!(summary.still_due_reasons.values().sum::<u64>(), 1, "{summary:?}");
        assert_eq!(summary.exit(), Exit::StillDue);
        assert!(presented.iter().all(|one| !one.reused));
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn a_token_that_was_too_young_is_asked_between_the_others_once_it_is_old_enough() {
    const MIN_AGE: Duration = Duration::from_millis(2500);
    on_both("old_enough", Plan::users(USERS), async |mut rehearsal| {
        let server = OwnServer::start(Shape::Envelope).await;
        let url: url::Url = server.url().parse().unwrap();
        let mut own = profile::load("cookie-session").unwrap();
        own.refresh_token_lifetime = Some(LIFETIME);
        own.rate = Some("80/s".parse().unwrap());
        own.concurrency = 8.try_into().unwrap();
        own.min_age = MIN_AGE;
        rehearsal.change_provider(|provider| (provider.profile, provider.token_url) = (own, url.into()));
        rehearsal.settings.looks_again_every = Duration::from_millis(100);
        for position in 0..USERS {
            let pair = server.login(&user(position));
            let pair = json!({ "refresh_token": pair.refresh_token, "access_token": pair.access_token });
            rehearsal.backend.set(&document_id(position), pair).await;
        }
        let token = RefreshToken::new(rehearsal.token(5).await);
        let issued_at = rehearsal.clock.now();
        let bookkeeping = Bookkeeping {
            fingerprint: Some(token.fingerprint()),
            refreshed_at: Some(issued_at),
            ..Bookkeeping::default()
        };
        let (id, expect_refresh_token) = (document_id(5), Some(token));
        let change = Change { id, expect_refresh_token, expect_lease: Fence::None, pair: None, bookkeeping };
        assert!(rehearsal.backend.store.apply(&[change]).await.unwrap().every_matched);
        let summary = rehearsal.run().await;

        assert_eq!(summary.count(Outcome::Refreshed), USERS as u64, "{summary:?}");
        assert_eq!((summary.exit(), summary.put_off_count), (Exit::Well, 0), "{summary:?}");
        assert_eq!((summary.due, summary.taken), (Some(USERS as u64), USERS as u64), "{summary:?}");
        let presented = server.presented();
        let place = presented.iter().position(|one| is_of(one, 5)).unwrap();
        assert!(place > USERS / 5, "it was too young when its turn came: {place}");
        let refreshed_at = rehearsal.bookkeeping(5).await.refreshed_at.unwrap();
        assert!((refreshed_at - issued_at).to_std().unwrap() >= MIN_AGE);
        assert_eq!(presented.len(), USERS);
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

fn is_of(one: &crate::support::own_server::Presented, position: usize) -> bool {
    one.user == user(position)
}
