//! What a process leaves behind, and what the next one makes of it.

use crate::store::backend::mongo;
use crate::support::rehearsal::{Plan, Rehearsal, document_id, on_both, open_journal};
use bson::doc;
use bytes::Bytes;
use chrono::TimeDelta;
use evergrant::sandbox::{Rotation, Sandbox, SeededUser};
use evergrant::testing::clock::Clock;
use evergrant::testing::exit::Exit;
use evergrant::testing::grant::Wire as _;
use evergrant::testing::grant::headers::Headers;
use evergrant::testing::grant::http::TokenEndpoint;
use evergrant::testing::grant::{self, RawAnswer, Sent};
use evergrant::testing::journal::{EntryId, EntryState, Event, Intent, Journal, Permission};
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::report::Outcome;
use evergrant::testing::store::Claim;
use evergrant::testing::token::{AccessToken, ClaimedBy, Lease, RefreshToken, State, Subject};
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
        let (here, now) = (rehearsal.backend.store.identity().await.unwrap(), rehearsal.clock.now());
        journal.begin_pass("doomed", &here, "sandbox".into(), now).await.unwrap();
        let until = now + TimeDelta::from_std(rehearsal.settings.lease).unwrap();
        let claim = Claim {
            ids: positions.iter().map(|position| document_id(*position)).collect(),
            lease: Lease {
                id: "doomed".into(),
                owner: "host:1".into(),
                until,
                taken_over: false,
                by: Some(ClaimedBy { journal: journal.id().to_owned(), version: "1.0.0".into(), since: now }),
            },
            due_by: None,
            now,
            over: Vec::new(),
            ended_for: chrono::TimeDelta::zero(),
        };
        rehearsal.backend.store.claim(&claim).await.unwrap();
        Self { rehearsal, journal }
    }

    pub(super) async fn intends(&self, position: usize) -> EntryId {
        let user = &self.rehearsal.users[position];
        let token = RefreshToken::new(user.refresh_token.clone());
        let intent = Intent {
            provider: "sandbox".into(),
            document: document_id(position),
            subject: Subject::new(&user.email),
            fingerprint: token.fingerprint(),
            sent_at: self.rehearsal.clock.now(),
            access: Some(AccessToken::new(user.access_token.clone()).fingerprint()),
            is_refreshed_elsewhere: false,
        };
        match self.journal.intent(intent, token).await.unwrap() {
            Permission::Send { entry, .. } => entry,
            other => panic!("{other:?}"),
        }
    }

    /// The provider processes the grant of this user's token.
    pub(super) async fn sends(&self, position: usize) -> RawAnswer {
        let provider = &self.rehearsal.providers[0];
        let token = RefreshToken::new(self.rehearsal.users[position].refresh_token.clone());
        let endpoint = TokenEndpoint::new(provider, self.rehearsal.clock.clone()).unwrap();
        match endpoint.post(&grant::request(provider, &token).unwrap()).await {
            Sent::Answered(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// What the provider said to the grant of this user's token is in the journal.
    pub(super) async fn is_answered(&self, position: usize) -> EntryId {
        let entry = self.intends(position).await;
        self.keeps(entry, self.sends(position).await).await;
        entry
    }

    pub(super) async fn keeps(&self, entry: EntryId, answer: RawAnswer) {
        self.journal.answer(entry, answer).await.unwrap();
    }

    pub(super) async fn ends(&self, entry: EntryId, ending: Event) {
        self.journal.end(vec![(entry, ending)], self.rehearsal.clock.now()).await.unwrap();
    }

    pub(super) async fn dies(self) {
        self.journal.close().await;
    }
}

pub(super) fn answer(status: u16, body: &'static str) -> RawAnswer {
    RawAnswer {
        status,
        headers: Headers::default(),
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
        doomed.is_answered(0).await;
        doomed.intends(1).await;
        doomed.sends(1).await;
        doomed.intends(2).await;
        rehearsal.sandbox.revoke("user-000003");
        doomed.is_answered(3).await;
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
        plan.profile.rotation = evergrant::testing::provider::Rotation::None;
        on_both(test, plan, async |rehearsal| {
            let doomed = Doomed::claims(&rehearsal, &[0]).await;
            doomed.is_answered(0).await;
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
            doomed.is_answered(position).await;
        }
        doomed.dies().await;
        rehearsal.backend.delete(&document_id(0)).await;
        let login = login(&rehearsal.sandbox, 1);
        rehearsal.write_login(1, &login).await;
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.orphans), (Exit::StillDue, 2));
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
    process.close().await;
}

pub(super) fn login(sandbox: &Sandbox, position: usize) -> SeededUser {
    sandbox.login(&format!("user-{position:06}")).unwrap()
}

#[tokio::test]
async fn claims_of_a_pass_that_never_finished_are_found_through_a_second_one_that_did_not_either() {
    on_both("two_unfinished", Plan::users(6), async |rehearsal| {
        Doomed::claims(&rehearsal, &[0, 1, 2]).await.dies().await;
        let journal = open_journal(rehearsal.state(), &rehearsal.clock).await;
        let (here, now) = (rehearsal.backend.store.identity().await.unwrap(), rehearsal.clock.now());
        journal.begin_pass("second", &here, "sandbox".into(), now).await.unwrap();
        journal.close().await;
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.touched), (Exit::Well, 6));
        rehearsal.assert_kept(6).await;
    })
    .await;
}

#[tokio::test]
async fn a_claim_that_the_store_refuses_to_give_back_is_counted_and_said_with_its_reason() {
    let plan = Plan::users(4);
    let Some(backend) = mongo("release_refused", plan.mapping.clone()).await else { return };
    let rehearsal = Rehearsal::over(backend, &plan).await;
    Doomed::claims(&rehearsal, &[0, 1, 2]).await.dies().await;
    let collection = rehearsal.backend.collection();
    let database = collection.client().database(&collection.namespace().db);
    let rule = doc! { "userId": { "$ne": "user-000001" } };
    database.run_command(doc! { "collMod": collection.name(), "validator": rule }).await.unwrap();
    let log = tempfile::NamedTempFile::new().unwrap();
    let writer = std::sync::Mutex::new(log.reopen().unwrap());
    let subscriber = tracing_subscriber::fmt().json().with_writer(writer).finish();
    let logged = tracing::subscriber::set_default(subscriber);
    let summary = rehearsal.run().await;
    drop(logged);
    let recovery = summary.recovery;
    assert_eq!((recovery.claims_released, recovery.claims_refused), (2, 1), "{summary}");
    assert!(summary.to_string().contains("1 claim that the store refuses to release"), "{summary}");
    assert_eq!(summary.count(Outcome::Refreshed), 3, "{summary}");
    let log = std::fs::read_to_string(log.path()).unwrap();
    let said: Vec<_> = log.lines().filter(|line| line.contains("refuses to give back")).collect();
    let [line] = &said[..] else { panic!("{log}") };
    for part in ["user-000001@example.com", "refused_by_store", "DocumentValidationFailure", "hint: "] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(rehearsal.bookkeeping(1).await.lease.is_some(), "it ends by itself");
}

#[tokio::test]
async fn a_recovery_that_finds_the_store_away_loses_nothing() {
    use crate::support::meddler::{Call, Mishap};
    on_both("recovery_away", Plan::users(6), async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0, 1, 2]).await;
        doomed.is_answered(0).await;
        doomed.dies().await;
        for denied in [
            |call: &Call| matches!(call, Call::Read(_)),
            |call: &Call| matches!(call, Call::Apply(_)),
            |call: &Call| matches!(call, Call::DuePage),
        ] {
            rehearsal.meddler.decide(move |call| if denied(call) { Mishap::Denied } else { Mishap::None });
            let pass = rehearsal.process(rehearsal.meddler.clone(), rehearsal.state()).await;
            let report = std::sync::Arc::new(evergrant::testing::report::Reports::new());
            match pass.run(&PassRequest::default(), &Stop::default(), report).await {
                Ok(summary) => assert_eq!(summary.exit(), Exit::Unavailable),
                Err(error) => assert!(matches!(error, evergrant::testing::pass::PassError::Store(_))),
            }
            pass.close().await;
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
    on_both("moved_on", Plan::users(5), async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
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
        // The document that is gone may have been moved: for a day what is in doubt stays known.
        let left = rehearsal.entries().await;
        assert_eq!((left.len(), &left[0].intent.document), (1, &document_id(0)));
        rehearsal.assert_whole().await;
        assert_eq!(rehearsal.audit().await.kept, 4);
        assert!(rehearsal.run().await.recovery.is_empty());
        rehearsal.clock.step(chrono::TimeDelta::days(1));
        assert!(rehearsal.run().await.recovery.is_empty());
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

/// A copy of what this machine's journal holds now: what a power cut may bring back.
fn copied(state: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(state).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

#[tokio::test]
async fn a_pair_that_the_application_has_redeemed_since_it_was_written_is_nobodys_orphan() {
    on_both("redeemed_since", Plan::users(2), async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0]).await;
        doomed.is_answered(0).await;
        doomed.dies().await;
        let before_the_cut = copied(rehearsal.state());
        recover(&rehearsal, rehearsal.state()).await;
        assert_ne!(rehearsal.token(0).await, rehearsal.users[0].refresh_token);
        let login = login(&rehearsal.sandbox, 0);
        rehearsal.write_login(0, &login).await;
        let process = rehearsal.another_process(before_the_cut.path()).await;
        let summary = process.recover().await.unwrap();
        assert_eq!((summary.orphans, summary.recovery.written), (0, 1), "{summary:?}");
        assert!(process.base.journal.entries().await.unwrap().is_empty());
        assert_eq!(rehearsal.token(0).await, login.refresh_token, "theirs stays");
        // A second document that holds the old token is told so by the memory of it.
        let old = RefreshToken::new(rehearsal.users[0].refresh_token.clone()).fingerprint();
        assert!(process.base.journal.successor(old).await.unwrap().is_some());
        process.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_cut_answer_of_a_token_that_was_lost_ends_when_its_document_moves_on() {
    on_both("cut_ends", Plan::users(3).faults("truncate@2"), async |rehearsal| {
        let summary = rehearsal.run().await;
        assert_eq!(summary.count(Outcome::Refreshed), 2, "{summary:?}");
        let mut rounds = 0;
        while !rehearsal.states().await.contains(&State::LostInFlight) {
            rounds += 1;
            assert!(rounds < 4, "{:?}", rehearsal.states().await);
            let forced = PassRequest { force: true, ..PassRequest::default() };
            rehearsal.run_with(&forced, &Stop::default()).await;
        }
        let lost = rehearsal.states().await.iter().position(|state| *state == State::LostInFlight).unwrap();
        let login = login(&rehearsal.sandbox, lost);
        rehearsal.write_login(lost, &login).await;
        let next = rehearsal.run().await;
        assert_eq!((next.exit(), next.parked.orphans), (Exit::Well, 0), "{next:?}");
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_access_token_that_has_ended_is_not_written_where_the_refresh_token_stays() {
    let mut plan = Plan::users(1);
    plan.sandbox.rotation = Rotation::Keep;
    plan.profile.rotation = evergrant::testing::provider::Rotation::None;
    on_both("ended_access", plan, async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        let doomed = Doomed::claims(&rehearsal, &[0]).await;
        doomed.is_answered(0).await;
        doomed.dies().await;
        rehearsal.clock.step(TimeDelta::days(7));
        let theirs = rehearsal.document(0).await["access_token"].clone();
        recover(&rehearsal, rehearsal.state()).await;
        assert_eq!(rehearsal.document(0).await["access_token"], theirs, "the application's own is newer");
        assert!(rehearsal.entries().await.is_empty());
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 1, "and it is refreshed at once");
    })
    .await;
}
