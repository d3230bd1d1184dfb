//! What a process leaves behind, and what the next one makes of it.

use crate::support::rehearsal::{Plan, Rehearsal, document_id, on_both, open_journal, run, until};
use bytes::Bytes;
use chrono::TimeDelta;
use evergrant::clock::Clock;
use evergrant::grant::Wire as _;
use evergrant::grant::http::TokenEndpoint;
use evergrant::grant::{self, RawAnswer, Sent};
use evergrant::journal::{Ending, EntryId, EntryState, Intent, Journal, Permission};
use evergrant::pass::{PassRequest, Stop};
use evergrant::report::{Outcome, summary::Exit};
use evergrant::sandbox::{Rotation, Sandbox, SeededUser};
use evergrant::store::Claim;
use evergrant::token::{Lease, RefreshToken, State, Subject};
use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

/// A process up to the moment at which it dies.
pub(super) struct Doomed<'a> {
    rehearsal: &'a Rehearsal,
    journal: Journal,
}

impl<'a> Doomed<'a> {
    /// It began a pass and claimed these.
    pub(super) async fn claims(rehearsal: &'a Rehearsal, positions: &[usize]) -> Self {
        Self::claims_from(rehearsal, rehearsal.state(), positions).await
    }

    /// The same with the journal of another machine.
    pub(super) async fn claims_from(rehearsal: &'a Rehearsal, state: &Path, positions: &[usize]) -> Self {
        let journal = open_journal(state, &rehearsal.clock).await;
        journal.begin_pass("doomed", &rehearsal.backend.store.identity()).await.unwrap();
        let now = rehearsal.clock.now();
        let until = now + TimeDelta::from_std(rehearsal.settings.lease).unwrap();
        let claim = Claim {
            ids: positions.iter().map(|position| document_id(*position)).collect(),
            lease: Lease { id: "doomed".into(), owner: "host:1".into(), until, taken_over: false },
            due_by: None,
            now,
        };
        rehearsal.backend.store.claim(&claim).await.unwrap();
        Self { rehearsal, journal }
    }

    pub(super) async fn intends(&self, position: usize) -> EntryId {
        let user = &self.rehearsal.users[position];
        let intent = Intent {
            provider: "sandbox".into(),
            document: document_id(position),
            subject: Subject::new(&user.email),
            fingerprint: RefreshToken::new(user.refresh_token.clone()).fingerprint(),
            sent_at: self.rehearsal.clock.now(),
        };
        match self.journal.intent(intent).await.unwrap() {
            Permission::Send { entry, .. } => entry,
            other => panic!("{other:?}"),
        }
    }

    /// The provider processes the grant of this user's token.
    pub(super) async fn sends(&self, position: usize) -> RawAnswer {
        let provider = &self.rehearsal.providers[0];
        let token = RefreshToken::new(self.rehearsal.users[position].refresh_token.clone());
        let endpoint = TokenEndpoint::new(provider, self.rehearsal.clock.clone()).unwrap();
        match endpoint.post(&grant::request(provider, &token)).await {
            Sent::Answered(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn keeps(&self, entry: EntryId, answer: RawAnswer) {
        self.journal.answer(entry, answer).await.unwrap();
    }

    pub(super) async fn dies(self) {
        self.journal.close().await;
    }
}

fn answer(status: u16, body: &'static str) -> RawAnswer {
    RawAnswer {
        status,
        retry_after: None,
        body: Bytes::from_static(body.as_bytes()),
        complete: true,
        received_at: "2026-11-21T03:00:00Z".parse().unwrap(),
    }
}

#[tokio::test]
async fn what_a_crash_left_is_settled_before_anything_else() {
    on_both("crash_left", Plan::users(10), async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0, 1, 2, 3, 4, 5]).await;
        // 0: answered. 1: rotated, and the answer never journaled. 2: intended, never sent. 3: refused. 4: a page.
        let entry = doomed.intends(0).await;
        doomed.keeps(entry, doomed.sends(0).await).await;
        doomed.intends(1).await;
        doomed.sends(1).await;
        doomed.intends(2).await;
        rehearsal.sandbox.revoke("user-000003");
        let entry = doomed.intends(3).await;
        doomed.keeps(entry, doomed.sends(3).await).await;
        let entry = doomed.intends(4).await;
        doomed.keeps(entry, answer(200, "<html>")).await;
        doomed.dies().await;

        let summary = rehearsal.run().await;
        assert_eq!(summary.exit(), Exit::NeedsLogin);
        assert_eq!((summary.touched, summary.count(Outcome::Refreshed)), (10, 8));
        assert_eq!((summary.count(Outcome::LostInFlight), summary.count(Outcome::NeedsLogin)), (1, 1));
        assert_eq!((summary.recovery.answers, summary.recovery.written), (3, 1));
        assert_eq!((summary.recovery.unsettled, summary.recovery.claims_released), (2, 5));
        let ledger = rehearsal.sandbox.ledger();
        assert_eq!(ledger.reuses, 1, "only the token whose answer was lost may be shown twice");
        assert_eq!(rehearsal.bookkeeping(1).await.state, State::LostInFlight);
        assert_eq!(rehearsal.bookkeeping(3).await.state, State::NeedsLogin);
        rehearsal.assert_nothing_claimed().await;
        let audit = rehearsal.audit().await;
        assert_eq!((audit.kept, audit.dead_users), (8, 1), "{audit:?}");
        // The doomed process took the answer off its socket, and wrote nothing down.
        assert_eq!(audit.lost_received, 1, "{audit:?}");
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_kept_the_refresh_token_is_written_and_the_token_redeemed_again() {
    for (rotation, test) in [(Rotation::Keep, "recover_keep"), (Rotation::KeepAndOmit, "recover_omit")] {
        let mut plan = Plan::users(2);
        plan.sandbox.rotation = rotation;
        plan.profile.rotation = evergrant::provider::Rotation::None;
        on_both(test, plan, async |rehearsal| {
            let doomed = Doomed::claims(&rehearsal, &[0]).await;
            let entry = doomed.intends(0).await;
            doomed.keeps(entry, doomed.sends(0).await).await;
            doomed.dies().await;
            for pass in 0..2 {
                let forced = PassRequest { force: true, ..PassRequest::default() };
                let summary = rehearsal.run_with(&forced, &Stop::default()).await;
                assert_eq!(summary.exit(), Exit::Well, "{summary:?}");
                assert_eq!(summary.recovery.written, u64::from(pass == 0));
            }
            rehearsal.assert_kept(2).await;
            assert_ne!(rehearsal.document(0).await["access_token"], rehearsal.users[0].access_token);
        })
        .await;
    }
}

#[tokio::test]
async fn a_cut_off_grant_is_asked_again_before_anybody_else() {
    let mut plan = Plan::users(30);
    plan.sandbox.grace = Duration::from_mins(1);
    plan.profile.concurrency = 1.try_into().unwrap();
    on_both("asked_first", plan, async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0, 1, 2, 3, 4]).await;
        doomed.intends(4).await;
        doomed.sends(4).await;
        doomed.dies().await;
        let one = PassRequest { limit: NonZeroU64::new(1), ..PassRequest::default() };
        let summary = rehearsal.run_with(&one, &Stop::default()).await;
        assert_eq!(summary.grants, 1);
        let history = rehearsal.sandbox.token_history(&rehearsal.users[4].refresh_token).unwrap();
        assert_eq!(
            history.presentations.len(),
            2,
            "the grace of a lost answer doesn't last for a whole pass"
        );
        assert_eq!(rehearsal.run().await.touched, 29);
        rehearsal.assert_kept(30).await;
    })
    .await;
}

#[tokio::test]
async fn an_answer_whose_document_has_gone_or_changed_is_parked() {
    on_both("parked_in_recovery", Plan::users(4), async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0, 1]).await;
        for position in [0, 1] {
            let entry = doomed.intends(position).await;
            doomed.keeps(entry, doomed.sends(position).await).await;
        }
        doomed.dies().await;
        rehearsal.backend.delete(&document_id(0)).await;
        let login = login(&rehearsal.sandbox, 1);
        rehearsal.write_login(1, &login).await;
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.orphans), (Exit::Well, 2));
        assert_eq!((summary.touched, summary.count(Outcome::Refreshed)), (3, 3));
        let entries = rehearsal.entries().await;
        assert!(entries.iter().all(|entry| entry.state == EntryState::Orphan && entry.answer.is_some()));
        assert_eq!(
            entries.iter().filter_map(|entry| entry.why.as_deref()).collect::<Vec<_>>(),
            ["gone", "superseded"]
        );
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
        let again = rehearsal.run().await;
        assert_eq!((again.orphans, again.touched), (0, 0), "parked once");
        assert_eq!(rehearsal.entries().await.len(), 2);
    })
    .await;
}

/// Starts a process at this machine, which settles what was left there, and ends.
pub(super) async fn recover(rehearsal: &Rehearsal, state: &Path) {
    let process = rehearsal.another_process(state).await;
    process.recover().await.unwrap();
    process.journal.close().await;
}

#[tokio::test]
async fn what_recovery_finds_out_of_a_token_is_told_to_the_other_machines() {
    on_both("doubt_told", Plan::users(4), async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0, 1, 2]).await;
        // Rotated, and answered with nothing that settles it. 2: intended, never sent.
        for (position, status, body) in [(0, 500, "oops"), (1, 200, r#"{"token":"a"}"#)] {
            let entry = doomed.intends(position).await;
            doomed.sends(position).await;
            doomed.keeps(entry, answer(status, body)).await;
        }
        doomed.intends(2).await;
        doomed.dies().await;
        recover(&rehearsal, rehearsal.state()).await;
        let said = async |position| rehearsal.bookkeeping(position).await.last_error.unwrap();
        assert_eq!(
            said(0).await.lost.map(|lost| (lost.cause, lost.received_bytes)),
            Some(("http_500".into(), 4))
        );
        assert_eq!((&*said(1).await.class, said(1).await.http_status), ("unreadable", Some(200)));
        assert_eq!(said(2).await.lost.map(|lost| lost.cause), Some("stopped".into()));

        let state = tempfile::tempdir().unwrap();
        let other = rehearsal.another_process(state.path()).await;
        let summary = run(&other, &PassRequest::default(), &Stop::default()).await;
        assert_eq!((summary.count(Outcome::LostInFlight), summary.count(Outcome::NeedsLogin)), (1, 0));
        assert_eq!(summary.still_due_reasons.get("unread_answer"), Some(&1), "{summary:?}");
        assert_eq!(summary.count(Outcome::Refreshed), 2);
        assert_eq!(rehearsal.sandbox.ledger().reuses, 1, "what was answered with a success isn't sent again");
    })
    .await;
}

#[tokio::test]
async fn an_unreadable_success_of_a_provider_that_does_not_rotate_blocks_nobody_after_a_restart() {
    let mut plan = Plan::users(2);
    plan.sandbox.rotation = Rotation::Keep;
    plan.profile.rotation = evergrant::provider::Rotation::None;
    on_both("unread_none", plan, async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0]).await;
        let entry = doomed.intends(0).await;
        doomed.keeps(entry, answer(200, r#"{"token":"a"}"#)).await;
        doomed.dies().await;
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 2), "{summary:?}");
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_older_access_token_is_not_written_over_a_newer_one() {
    let mut plan = Plan::users(2);
    plan.sandbox.rotation = Rotation::Keep;
    plan.profile.rotation = evergrant::provider::Rotation::None;
    on_both("newer_access", plan, async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        let doomed = Doomed::claims(&rehearsal, &[0]).await;
        let entry = doomed.intends(0).await;
        doomed.keeps(entry, doomed.sends(0).await).await;
        doomed.dies().await;
        // Another machine takes the claim over and refreshes it, before this one comes back.
        rehearsal.clock.step(TimeDelta::minutes(21));
        let state = tempfile::tempdir().unwrap();
        let other = rehearsal.another_process(state.path()).await;
        let summary = run(&other, &PassRequest::default(), &Stop::default()).await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 2), "{summary:?}");
        let newer = rehearsal.document(0).await;
        recover(&rehearsal, rehearsal.state()).await;
        assert_eq!(rehearsal.document(0).await, newer);
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

fn login(sandbox: &Sandbox, position: usize) -> SeededUser {
    sandbox.login(&format!("user-{position:06}")).unwrap()
}

#[tokio::test]
async fn claims_of_a_pass_that_never_finished_are_found_through_a_second_one_that_did_not_either() {
    on_both("two_unfinished", Plan::users(6), async |rehearsal| {
        Doomed::claims(&rehearsal, &[0, 1, 2]).await.dies().await;
        let journal = open_journal(rehearsal.state(), &rehearsal.clock).await;
        journal.begin_pass("second", &rehearsal.backend.store.identity()).await.unwrap();
        journal.close().await;
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.touched), (Exit::Well, 6));
        rehearsal.assert_kept(6).await;
    })
    .await;
}

#[tokio::test]
async fn a_recovery_that_finds_the_store_away_loses_nothing() {
    use crate::support::meddler::{Call, Mishap};
    on_both("recovery_away", Plan::users(6), async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0, 1, 2]).await;
        let entry = doomed.intends(0).await;
        doomed.keeps(entry, doomed.sends(0).await).await;
        doomed.dies().await;
        for denied in [
            |call: &Call| matches!(call, Call::Read(_)),
            |call: &Call| matches!(call, Call::Apply(_)),
            |call: &Call| matches!(call, Call::DuePage),
        ] {
            rehearsal.meddler.decide(move |call| if denied(call) { Mishap::Denied } else { Mishap::None });
            let pass = rehearsal.process(rehearsal.meddler.clone(), rehearsal.state()).await;
            let report = std::sync::Arc::new(evergrant::report::Report::new());
            match pass.run(&PassRequest::default(), &Stop::default(), report).await {
                Ok(summary) => assert_eq!(summary.exit(), Exit::Unavailable),
                Err(error) => assert!(matches!(error, evergrant::pass::PassError::Store(_))),
            }
            pass.journal.close().await;
        }
        rehearsal.meddler.leave();
        assert_eq!(rehearsal.sandbox.ledger().requests, 1, "nothing is redeemed that can't be kept");
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.grants), (Exit::Well, 5));
        rehearsal.assert_kept(6).await;
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}

#[tokio::test]
async fn a_cut_off_grant_whose_document_has_moved_on_is_not_found_for_ever() {
    on_both("moved_on", Plan::users(5), async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0, 1, 2]).await;
        for position in [0, 1, 2] {
            doomed.intends(position).await;
        }
        doomed.dies().await;
        rehearsal.backend.delete(&document_id(0)).await;
        let login = login(&rehearsal.sandbox, 1);
        rehearsal.write_login(1, &login).await;
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.recovery.unsettled), (Exit::Well, 1), "{summary:?}");
        assert!(rehearsal.entries().await.is_empty());
        rehearsal.assert_whole().await;
        assert_eq!(rehearsal.audit().await.kept, 4);
        assert!(rehearsal.run().await.recovery.is_empty());
    })
    .await;
}

#[tokio::test]
async fn answers_of_a_journal_that_fails_are_written_at_once_and_nothing_more_is_redeemed() {
    use crate::support::meddler::{Call, Mishap};
    let mut plan = Plan::users(80);
    plan.sandbox.latency = Duration::from_millis(10);
    on_both("journal_fails", plan, async |rehearsal| {
        let file = rehearsal.state().join("journal.db");
        let broken = std::sync::atomic::AtomicU32::new(0);
        rehearsal.meddler.decide(move |call| {
            if matches!(call, Call::Apply(_)) && broken.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 3
            {
                let connection = rusqlite::Connection::open(&file).unwrap();
                connection.busy_timeout(Duration::from_secs(5)).unwrap();
                connection.execute_batch("DROP TABLE entries").unwrap();
            }
            Mishap::None
        });
        let summary = rehearsal.run().await;
        assert_eq!(summary.exit(), Exit::Unavailable, "{summary:?}");
        let ledger = rehearsal.sandbox.ledger();
        assert!(ledger.granted < 80, "{ledger:?}");
        assert_eq!(summary.count(Outcome::Refreshed), ledger.granted);
        rehearsal.assert_kept(80).await;
        rehearsal.meddler.leave();
        let next = rehearsal.run().await;
        assert_eq!(next.exit(), Exit::Well, "{next:?}");
        assert_eq!(rehearsal.sandbox.ledger().granted, 80);
        rehearsal.assert_kept(80).await;
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}

#[tokio::test]
async fn a_pair_that_neither_journal_nor_document_takes_is_called_lost() {
    use crate::support::meddler::{Call, Mishap};
    use crate::support::rehearsal::write_login;
    use std::sync::atomic::{AtomicU32, Ordering};
    // One answer is on its way while the journal fails.
    let plan = Plan::users(80).faults("delay(1) user=user-000004");
    on_both("nowhere", plan, async |rehearsal| {
        let file = rehearsal.state().join("journal.db");
        let (backend, sandbox) = (rehearsal.backend.clone(), rehearsal.sandbox.clone());
        let applies = AtomicU32::new(0);
        rehearsal.meddler.meddle(move |call| {
            let Call::Apply(changes) = call else { return Box::pin(async { Mishap::None }) };
            let applied = applies.fetch_add(1, Ordering::SeqCst);
            if applied == 3 {
                let connection = rusqlite::Connection::open(&file).unwrap();
                connection.busy_timeout(Duration::from_secs(5)).unwrap();
                connection.execute_batch("DROP TABLE entries").unwrap();
            }
            let (backend, sandbox) = (backend.clone(), sandbox.clone());
            Box::pin(async move {
                // From then on everybody has just logged in again when their pair comes.
                for change in changes.iter().filter(|change| applied > 3 && change.pair.is_some()) {
                    let position = (0..80).find(|position| document_id(*position) == change.id).unwrap();
                    write_login(&backend, position, &login(&sandbox, position)).await;
                }
                Mishap::None
            })
        });
        let summary = rehearsal.run().await;
        let lost = summary.count(Outcome::Lost);
        assert_eq!(summary.exit(), Exit::Unavailable, "{summary:?}");
        assert!(lost > 0 && summary.lost.len() as u64 == lost, "{summary:?}");
        let ended = lost + summary.count(Outcome::Refreshed) + summary.count(Outcome::Superseded);
        assert_eq!(ended, rehearsal.sandbox.ledger().granted, "{summary:?}");
        rehearsal.assert_whole().await;
    })
    .await;
}

#[tokio::test]
async fn an_unreadable_success_that_the_journal_does_not_take_is_a_lost_answer() {
    let mut plan = Plan::users(1).faults("delay(1)");
    plan.profile.answer.access_token = "/data/access_token".into();
    on_both("unread_unkept", plan, async |rehearsal| {
        let file = rehearsal.state().join("journal.db");
        let breaks = async {
            until("it is sent", || rehearsal.sandbox.ledger().requests > 0).await;
            let connection = rusqlite::Connection::open(&file).unwrap();
            connection.busy_timeout(Duration::from_secs(5)).unwrap();
            connection.execute_batch("DROP TABLE entries").unwrap();
        };
        let (summary, ()) = tokio::join!(rehearsal.run(), breaks);
        assert_eq!(summary.exit(), Exit::Unavailable, "{summary:?}");
        let error = rehearsal.bookkeeping(0).await.last_error.unwrap();
        assert_eq!((&*error.class, error.lost.is_some()), ("ambiguous", true), "nobody holds the answer");
        // It isn't waited for for ever: the next pass asks again, and finds out.
        assert_eq!(rehearsal.run().await.grants, 1);
        assert_eq!(rehearsal.run().await.count(Outcome::LostInFlight), 1);
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_pair_that_the_store_refuses_keeps_the_other_machines_from_asking() {
    use crate::support::meddler::Mishap;
    on_both("refused_pair", Plan::users(3), async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0]).await;
        let entry = doomed.intends(0).await;
        doomed.keeps(entry, doomed.sends(0).await).await;
        doomed.dies().await;
        rehearsal.meddler.decide(|call| if call.writes_a_pair() { Mishap::Denied } else { Mishap::None });
        let process = rehearsal.process(rehearsal.meddler.clone(), rehearsal.state()).await;
        process.recover().await.unwrap();
        process.journal.close().await;
        rehearsal.meddler.leave();
        rehearsal.assert_nothing_claimed().await;

        let state = tempfile::tempdir().unwrap();
        let other = rehearsal.another_process(state.path()).await;
        let summary = run(&other, &PassRequest::default(), &Stop::default()).await;
        assert_eq!(summary.still_due_reasons.get("unread_answer"), Some(&1), "{summary:?}");
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
        // It is written as soon as the store takes it.
        assert_eq!(rehearsal.run().await.exit(), Exit::Well);
        rehearsal.assert_kept(3).await;
        assert_eq!(rehearsal.bookkeeping(0).await.last_error, None);
    })
    .await;
}

#[tokio::test]
async fn a_token_whose_answer_a_person_has_given_up_is_named_and_not_waited_for() {
    let mut plan = Plan::users(2);
    plan.profile.answer.access_token = "/data/access_token".into();
    on_both("given_up", plan, async |rehearsal| {
        let first = rehearsal.run().await;
        assert_eq!(first.count(Outcome::StillDue), 2, "{first:?}");
        assert_eq!(&*rehearsal.bookkeeping(0).await.last_error.unwrap().class, "unreadable");
        let journal = open_journal(rehearsal.state(), &rehearsal.clock).await;
        let entries = journal.entries().await.unwrap();
        assert!(entries.iter().all(|entry| entry.state == EntryState::Unread));
        let discarded = entries.iter().map(|entry| (entry.id, Ending::Discarded)).collect();
        journal.end(discarded, rehearsal.clock.now()).await.unwrap();
        journal.close().await;
        let next = rehearsal.run().await;
        assert_eq!((next.count(Outcome::NeedsLogin), next.grants), (2, 0), "{next:?}");
    })
    .await;
}
