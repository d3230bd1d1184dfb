//! Marks of passes that were killed before they were judged, whatever has become of their documents since.

use super::doubt::soon;
use crate::support::meddler::{Call, Mishap};
use crate::support::rehearsal::{Plan, Rehearsal, document_id, on_both, open_journal, provider_of};
use chrono::TimeDelta;
use evergrant::testing::exit::Exit;
use evergrant::testing::journal::MadeMark;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::report::summary::Summary;
use evergrant::testing::report::{Outcome, WhyLiveAgain};
use evergrant::testing::store::mapping::Mapping;
use evergrant::testing::store::{Change, Claim, Fence};
use evergrant::testing::token::{Bookkeeping, LastError, Lease, RefreshToken, State, Subject, TokenId};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Whose marks were taken back.
pub(super) fn taken_back(summary: &Summary) -> Vec<TokenId> {
    let taken_back = summary.live_again.iter().filter(|one| one.why == WhyLiveAgain::TakenBack);
    taken_back.map(|one| one.id.clone()).collect()
}

pub(super) async fn assert_all_live(rehearsal: &Rehearsal) {
    let states = rehearsal.states().await;
    assert!(states.iter().all(|state| *state == State::Live), "{states:?}");
    rehearsal.assert_nothing_claimed().await;
}

async fn token(rehearsal: &Rehearsal, position: usize) -> RefreshToken {
    RefreshToken::new(rehearsal.token(position).await)
}

/// What a pass leaves on the list of this provider that marked this user and was killed before it was judged.
pub(super) async fn leave_unjudged(rehearsal: &Rehearsal, provider: &str, position: usize) {
    let mark = MadeMark {
        document: document_id(position),
        subject: Subject::new("marked"),
        fingerprint: token(rehearsal, position).await.fingerprint(),
        marked_at: rehearsal.bookkeeping(position).await.marked_at().unwrap(),
        pass: "killed".into(),
        since: None,
        last_error: None,
    };
    let journal = open_journal(rehearsal.state(), &rehearsal.clock).await;
    journal.list_marks(provider, vec![mark]).await.unwrap();
    journal.close().await;
}

/// The same of a pass whose marks are to be taken back.
async fn leave_doubted(rehearsal: &Rehearsal, provider: &str, position: usize) {
    leave_unjudged(rehearsal, provider, position).await;
    let journal = open_journal(rehearsal.state(), &rehearsal.clock).await;
    journal.doubt_marks(provider).await.unwrap();
    journal.close().await;
}

/// Marks a user an hour ago.
async fn mark(rehearsal: &Rehearsal, position: usize) {
    let (at, token) = (rehearsal.clock.now() - TimeDelta::hours(1), token(rehearsal, position).await);
    let (class, code) = ("refused".into(), "invalid_grant".into());
    let bookkeeping = Bookkeeping {
        state: State::NeedsLogin,
        since: Some(at),
        fingerprint: Some(token.fingerprint()),
        due_at: Some(at),
        last_error: Some(LastError { class, code, http_status: Some(400), at, lost: None }),
        ..Bookkeeping::default()
    };
    let (id, expect_refresh_token) = (document_id(position), Some(token));
    let change = Change { id, expect_refresh_token, expect_lease: Fence::None, pair: None, bookkeeping };
    assert!(rehearsal.backend.store.apply(&[change]).await.unwrap().every_matched);
}

/// Marks that a journal lists, and how many of them are to be taken back.
fn listed(state: &Path) -> (i64, i64) {
    let file =
        Connection::open_with_flags(state.join("journal.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let count = "SELECT count(*), count(*) FILTER (WHERE doubted) FROM marks";
    file.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

#[tokio::test]
async fn a_mark_that_is_made_anew_is_taken_back_with_the_first_one() {
    on_both("marked_anew", Plan::users(120), async |rehearsal| {
        mark(&rehearsal, 5).await;
        rehearsal.sandbox.revoke("user-000005");
        leave_unjudged(&rehearsal, "sandbox", 5).await;
        let before = rehearsal.bookkeeping(5).await;
        let only = PassRequest { only: Some(document_id(5)), force: true, ..PassRequest::default() };
        let again = rehearsal.run_with(&only, &Stop::default()).await;
        assert_eq!((again.grants, again.count(Outcome::NeedsLogin), again.newly_marked), (1, 1, 0));
        assert_ne!(rehearsal.bookkeeping(5).await.last_error, before.last_error, "it was marked anew");
        rehearsal.sandbox.set_faults("refuse:50%".parse().unwrap());
        let doubtful = rehearsal.run().await;
        assert_eq!((doubtful.exit(), taken_back(&doubtful).len()), (Exit::ClientRejected, 1), "{doubtful:?}");
        assert_all_live(&rehearsal).await;
        assert_eq!(listed(rehearsal.state()), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_claim_of_another_machine_keeps_a_mark_from_being_taken_back_only_as_long_as_it_lasts() {
    on_both("marked_claimed", Plan::users(8), async |rehearsal| {
        let now = rehearsal.clock.now();
        for (position, ends_in) in [(5, TimeDelta::days(-1)), (6, TimeDelta::hours(1))] {
            mark(&rehearsal, position).await;
            leave_doubted(&rehearsal, "sandbox", position).await;
            let (id, owner) = ("theirs".to_owned(), "other:1".to_owned());
            let lease = Lease { id, owner, until: now + ends_in, taken_over: false, by: None };
            let claim = Claim {
                ids: vec![document_id(position)],
                lease,
                due_by: None,
                now,
                over: Vec::new(),
                ended_for: chrono::TimeDelta::zero(),
            };
            assert_eq!(rehearsal.backend.store.claim(&claim).await.unwrap().documents.len(), 1);
        }
        assert_eq!(taken_back(&rehearsal.run().await).len(), 1);
        let (ended, lasts) = (rehearsal.bookkeeping(5).await, rehearsal.bookkeeping(6).await);
        assert_eq!((ended.state, ended.lease), (State::Live, None));
        let lost = ended.last_error.unwrap().lost.unwrap();
        assert_eq!(&*lost.cause, "claim_ended", "that machine may have sent it");
        assert_eq!(
            (lasts.state, lasts.lease.map(|lease| lease.id)),
            (State::NeedsLogin, Some("theirs".into()))
        );
        assert_eq!(listed(rehearsal.state()), (1, 1), "it is taken back when the claim is over");
    })
    .await;
}

#[tokio::test]
async fn the_marks_of_a_provider_that_has_another_name_now_are_taken_back() {
    on_both("marked_renamed", Plan::users(120), async |mut rehearsal| {
        for position in [5, 6] {
            mark(&rehearsal, position).await;
        }
        leave_doubted(&rehearsal, "sandbox", 5).await;
        leave_unjudged(&rehearsal, "sandbox", 6).await;
        rehearsal.change_provider(|provider| provider.name = "new name".into());
        rehearsal.sandbox.set_faults("refuse:50%".parse().unwrap());
        let doubtful = rehearsal.run().await;
        assert_eq!((doubtful.exit(), taken_back(&doubtful).len()), (Exit::ClientRejected, 2), "{doubtful:?}");
        assert_all_live(&rehearsal).await;
    })
    .await;
}

#[tokio::test]
async fn marks_that_are_taken_over_from_an_old_name_are_said_once_with_their_number() {
    let mut rehearsal =
        Rehearsal::over(crate::store::backend::sqlite(Mapping::default()).await, &Plan::users(4)).await;
    for position in [1, 2] {
        mark(&rehearsal, position).await;
        leave_doubted(&rehearsal, "sandbox", position).await;
    }
    rehearsal.change_provider(|provider| provider.name = "new name".into());
    let log = tempfile::NamedTempFile::new().unwrap();
    let writer = Mutex::new(log.reopen().unwrap());
    let logged =
        tracing::subscriber::set_default(tracing_subscriber::fmt().json().with_writer(writer).finish());
    for _ in 0..2 {
        rehearsal.run().await;
    }
    drop(logged);
    let log = std::fs::read_to_string(log.path()).unwrap();
    let said: Vec<_> = log.lines().filter(|line| line.contains("are taken over")).collect();
    let [line] = &said[..] else { panic!("{log}") };
    let text = "the provider `sandbox` is called `new name` now: 2 of its marks that are not judged yet are taken over";
    assert!(line.contains(text) && line.contains("\"marks\":2"), "{line}");
    assert_all_live(&rehearsal).await;
}

#[tokio::test]
async fn whose_the_marks_of_an_old_name_are_say_their_documents() {
    let mapping = Mapping { provider: Some("provider".parse().unwrap()), ..Mapping::default() };
    on_both("marked_old_name", Plan { mapping, ..Plan::users(4) }, async |mut rehearsal| {
        let other = provider_of(&rehearsal.sandbox, "other", rehearsal.providers[0].profile.clone());
        rehearsal.providers.push(Arc::new(other));
        rehearsal.settings.documents_name_provider = true;
        for (position, provider) in ["sandbox", "other", "old name", "sandbox"].into_iter().enumerate() {
            rehearsal.backend.set(&document_id(position), json!({ "provider": provider })).await;
            mark(&rehearsal, position).await;
            leave_doubted(&rehearsal, "old name", position).await;
        }
        rehearsal.backend.delete(&document_id(3)).await;
        assert_eq!(taken_back(&rehearsal.run().await).len(), 2);
        let state = async |position| rehearsal.bookkeeping(position).await.state;
        assert_eq!((state(0).await, state(1).await), (State::Live, State::Live));
        assert_eq!((state(2).await, listed(rehearsal.state())), (State::NeedsLogin, (1, 1)));
    })
    .await;
}

#[tokio::test]
async fn doubt_is_noted_before_anything_follows_from_it() {
    on_both("noted_first", soon(Plan::users(400).faults("refuse:50%@200..")), async |rehearsal| {
        for user in [5, 30] {
            rehearsal.sandbox.revoke(&format!("user-{user:06}"));
        }
        let first = Arc::new(Mutex::new(None));
        let (seen, state) = (first.clone(), rehearsal.state().to_owned());
        rehearsal.meddler.decide(move |call| {
            let is_disbelieved = |change: &Change| {
                let Bookkeeping { state, failures, last_error, .. } = &change.bookkeeping;
                change.pair.is_none() && (*state, *failures) == (State::Live, 1) && last_error.is_none()
            };
            if matches!(call, Call::Apply(changes) if changes.iter().any(is_disbelieved)) {
                seen.lock().unwrap().get_or_insert_with(|| listed(&state));
            }
            Mishap::None
        });
        assert_eq!(taken_back(&rehearsal.run().await).len(), 2);
        assert_eq!(*first.lock().unwrap(), Some((2, 2)), "all that are listed are to be taken back");
    })
    .await;
}

#[tokio::test]
async fn a_known_mark_that_is_taken_back_in_mid_pass_counts_as_still_due_and_nothing_else() {
    on_both("known_taken_back", Plan::users(400).faults("refuse:50%@200.."), async |rehearsal| {
        mark(&rehearsal, 5).await;
        leave_unjudged(&rehearsal, "sandbox", 5).await;
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), taken_back(&summary).len()), (Exit::ClientRejected, 1), "{summary:?}");
        assert!(summary.adds_up() && summary.named.is_empty(), "{summary:?}");
        assert_eq!((summary.touched, summary.known_needs_login), (400, 0), "{summary:?}");
        let put_off = summary.still_due_reasons["refused_share"];
        assert_eq!(summary.count(Outcome::Refreshed) + put_off, 400, "{summary:?}");
        assert_eq!(summary.remaining_due, Some(put_off), "{summary:?}");
    })
    .await;
}
