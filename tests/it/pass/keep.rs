//! Access tokens that are kept good: documents that were written under other settings fall due in time, too.

use crate::support::rehearsal::{Plan, on_both};
use chrono::TimeDelta;
use evergrant::testing::clock::Clock;
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::provider::keep::Keep;
use evergrant::testing::report::Outcome;
use evergrant::testing::schedule::{Schedule, Wakes};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn what_was_written_before_access_tokens_were_kept_good_is_refreshed_in_time_and_once() {
    on_both("keep_change", Plan::users(6), async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        rehearsal.run().await;
        let now = rehearsal.clock.now();
        let schedule = Schedule::parse("every 29min", "UTC", now).unwrap();
        rehearsal.settings.wakes = Some(Arc::new(Wakes::new(schedule, now)));
        let keep = |keep| {
            move |provider: &mut evergrant::testing::provider::Provider| {
                provider.profile.keep = keep;
                provider.profile.access_token_lifetime = Some(Duration::from_hours(1));
            }
        };
        rehearsal.clock.step(TimeDelta::minutes(40));
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 0, "due in days");
        rehearsal.change_provider(keep(Keep::Access));
        // A pass that ends before it has seen all of them leaves the rest to the next one.
        let limited = PassRequest { limit: NonZeroU64::new(2), ..PassRequest::default() };
        let summary = rehearsal.run_with(&limited, &Stop::default()).await;
        assert_eq!(summary.count(Outcome::Refreshed), 2, "{summary:?}");
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 4), "{summary:?}");
        for position in 0..6 {
            let books = rehearsal.bookkeeping(position).await;
            assert!(books.due_at < books.access_expires_at, "{books:?}");
        }
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 0);
        // There and back: the second time as the first.
        rehearsal.clock.step(TimeDelta::minutes(40));
        rehearsal.change_provider(keep(Keep::Refresh));
        assert_eq!(
            rehearsal.run().await.count(Outcome::Refreshed),
            6,
            "due since the access tokens were kept good"
        );
        rehearsal.change_provider(keep(Keep::Access));
        rehearsal.clock.step(TimeDelta::minutes(40));
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 6);
        rehearsal.assert_nothing_claimed().await;
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}
