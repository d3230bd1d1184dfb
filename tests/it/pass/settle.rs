//! Grants whose answer was lost, settled as each kind of provider asks for.

use super::recovery::{Doomed, recover};
use crate::support::journal_file::as_format_1;
use crate::support::meddler::{Call, Mishap};
use crate::support::rehearsal::{FORCED, Plan, Rehearsal, document_id, on_both, run, write_login};
use async_trait::async_trait;
use evergrant::sandbox::Reuse;
use evergrant::testing::clock::Clock;
use evergrant::testing::exit::Exit;
use evergrant::testing::grant::http::{ClientError, Https};
use evergrant::testing::grant::{Connect, GrantRequest, RawAnswer, Sent, Wire};
use evergrant::testing::journal::EntryState;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::provider::{AskAgain, Provider, Rotation};
use evergrant::testing::report::Outcome;

use evergrant::testing::token::State;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn with_grace(mut plan: Plan, grace: Duration) -> Plan {
    plan.sandbox.grace = grace;
    plan.profile.rotation = Rotation::Grace;
    plan.profile.grace = grace;
    plan
}

fn punishing(mut plan: Plan) -> Plan {
    plan.sandbox.reuse = Reuse::RevokeFamily;
    plan.profile.ask_again = AskAgain::Never;
    plan.profile.settle_after = Duration::from_millis(50);
    plan
}

#[tokio::test]
async fn within_a_grace_a_lost_answer_is_asked_for_at_once_and_before_any_new_token() {
    let mut plan =
        with_grace(Plan::users(30).faults("drop-after user=user-000003 times=1"), Duration::from_secs(20));
    plan.profile.settle_after = Duration::from_mins(10);
    plan.profile.concurrency = 1.try_into().unwrap();
    on_both("grace_at_once", plan, async |rehearsal| {
        let began = Instant::now();
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 30), "{summary:?}");
        assert!(began.elapsed() < Duration::from_secs(15));
        let shown = rehearsal.sandbox.token_history(&rehearsal.users[3].refresh_token).unwrap().presentations;
        let between = (0..30).filter(|user| *user != 3).filter(|user| {
            let token = &rehearsal.users[*user].refresh_token;
            let at = rehearsal.sandbox.token_history(token).unwrap().presentations[0].at;
            at > shown[0].at && at < shown[1].at
        });
        assert_eq!((shown.len(), between.count()), (2, 0));
        rehearsal.assert_kept(30).await;
    })
    .await;
}

#[tokio::test]
async fn within_a_grace_a_token_is_asked_for_until_an_answer_comes() {
    let script = "drop-after user=user-000003 times=1, 502 user=user-000003 times=3";
    on_both(
        "grace_again",
        with_grace(Plan::users(6).faults(script), Duration::from_secs(30)),
        async |rehearsal| {
            let summary = rehearsal.run().await;
            assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 6), "{summary:?}");
            assert_eq!((summary.grants, summary.retries), (10, 4));
            rehearsal.assert_kept(6).await;
            assert!(rehearsal.entries().await.is_empty());
        },
    )
    .await;
}

#[tokio::test]
async fn after_its_grace_a_provider_is_a_strict_one() {
    let mut plan =
        with_grace(Plan::users(4), Duration::from_secs(30)).faults("drop-after user=user-000001 times=1");
    plan.sandbox.grace = Duration::ZERO;
    plan.profile.grace = Duration::from_millis(1);
    on_both("grace_over", plan, async |rehearsal| {
        let summary = rehearsal.run().await;
        assert_eq!((summary.count(Outcome::LostInFlight), summary.count(Outcome::Refreshed)), (1, 3));
        assert_eq!(rehearsal.sandbox.ledger().reuses, 1);
    })
    .await;
}

#[tokio::test]
async fn a_strict_provider_gets_the_rest_that_its_profile_asks_for() {
    let mut plan = Plan::users(3).faults("drop-before user=user-000001 times=1");
    plan.profile.settle_after = Duration::from_millis(700);
    on_both("settle_after", plan, async |rehearsal| {
        let began = Instant::now();
        assert_eq!(rehearsal.run().await.exit(), Exit::Well);
        assert!(began.elapsed() >= Duration::from_millis(700));
        rehearsal.assert_kept(3).await;
    })
    .await;
}

#[tokio::test]
async fn a_refusal_by_a_provider_that_does_not_rotate_is_a_revoked_login_and_never_a_lost_one() {
    let mut plan = Plan::users(4).faults("500-after user=user-000001 times=1");
    plan.sandbox.rotation = evergrant::sandbox::Rotation::Keep;
    plan.profile.rotation = Rotation::None;
    plan.profile.ask_again = AskAgain::Never;
    on_both("none_revoked", plan, async |rehearsal| {
        rehearsal.sandbox.revoke("user-000001");
        let summary = rehearsal.run().await;
        assert_eq!((summary.count(Outcome::NeedsLogin), summary.count(Outcome::LostInFlight)), (1, 0));
        assert_eq!(rehearsal.bookkeeping(1).await.last_error.unwrap().lost, None);
        assert_eq!(rehearsal.sandbox.ledger().requests, 6);
    })
    .await;
}

#[tokio::test]
async fn a_provider_that_punishes_reuse_never_sees_the_old_token_again() {
    let plan = punishing(Plan::users(5).faults("drop-after user=user-000001 times=1"));
    on_both("never", plan, async |rehearsal| {
        let summary = rehearsal.run().await;
        assert_eq!(
            (summary.exit(), summary.count(Outcome::LostInFlight)),
            (Exit::NeedsLogin, 1),
            "{summary:?}"
        );
        let bookkeeping = rehearsal.bookkeeping(1).await;
        assert_eq!(
            (bookkeeping.state, &*bookkeeping.last_error.unwrap().code),
            (State::LostInFlight, "not_asked_again")
        );
        assert!(rehearsal.entries().await.is_empty());
        let again = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!((again.count(Outcome::LostInFlight), again.count(Outcome::Refreshed)), (1, 4));
        let ledger = rehearsal.sandbox.ledger();
        assert_eq!((ledger.requests, ledger.reuses, ledger.families_revoked), (9, 0, 0));
        // A new login is another token.
        let login = rehearsal.sandbox.login("user-000001").unwrap();
        rehearsal.write_login(1, &login).await;
        assert_eq!(rehearsal.run().await.exit(), Exit::Well);
    })
    .await;
}

#[tokio::test]
async fn nor_does_it_after_a_restart() {
    on_both("never_restart", punishing(Plan::users(5)), async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0, 1, 2]).await;
        doomed.intends(1).await;
        doomed.sends(1).await;
        doomed.dies().await;
        let summary = rehearsal.run().await;
        assert_eq!((summary.count(Outcome::LostInFlight), summary.count(Outcome::Refreshed)), (1, 4));
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
        let error = rehearsal.bookkeeping(1).await.last_error.unwrap();
        assert_eq!(error.code, "not_asked_again");
        assert_eq!(error.lost.unwrap().cause, "stopped");
    })
    .await;
}

#[tokio::test]
async fn a_grace_runs_from_the_first_sending_whichever_machine_sent_it() {
    let plan = punishing(with_grace(Plan::users(2), Duration::from_secs(30)));
    on_both("never_grace", plan, async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        let first_sent_at = rehearsal.clock.now();
        let another = tempfile::tempdir().unwrap();
        for (state, seconds) in [(another.path(), 20), (rehearsal.state(), 15)] {
            let doomed = Doomed::claims_from(&rehearsal, state, &[0]).await;
            doomed.intends(0).await;
            doomed.sends(0).await;
            doomed.dies().await;
            recover(&rehearsal, state).await;
            rehearsal.clock.step(chrono::TimeDelta::seconds(seconds));
            let lost = rehearsal.bookkeeping(0).await.last_error.unwrap().lost.unwrap();
            assert!(lost.sent_at.unwrap() - first_sent_at < chrono::TimeDelta::seconds(10), "{lost:?}");
        }
        // 35 s after the first sending, and 15 s after the one that this machine's journal knows of.
        let requests = rehearsal.sandbox.ledger().requests;
        let summary = rehearsal.run().await;
        assert_eq!((summary.count(Outcome::LostInFlight), summary.count(Outcome::Refreshed)), (1, 1));
        assert_eq!(rehearsal.sandbox.ledger().requests, requests + 1, "{summary:?}");
        assert_eq!(rehearsal.bookkeeping(0).await.last_error.unwrap().code, "not_asked_again");
    })
    .await;
}

#[tokio::test]
async fn a_token_that_is_not_asked_again_is_in_doubt_also_when_its_mark_cannot_be_written() {
    on_both("never_unmarked", punishing(Plan::users(3)), async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[1]).await;
        doomed.intends(1).await;
        doomed.sends(1).await;
        doomed.dies().await;
        let marks = |call: &Call| {
            matches!(call, Call::Apply(changes) if changes.iter().any(|change| change.bookkeeping.state != State::Live))
        };
        rehearsal.meddler.decide(move |call| if marks(call) { Mishap::Denied } else { Mishap::None });
        rehearsal.run().await;
        let entries = evergrant::testing::journal::Journal::peek(rehearsal.state()).unwrap();
        let state = entries.iter().find(|entry| entry.intent.document == document_id(1)).map(|entry| entry.state);
        assert_eq!(state, Some(EntryState::Unsettled), "nothing was sent");
        rehearsal.meddler.leave();
        assert_eq!(rehearsal.run().await.count(Outcome::LostInFlight), 1);
        assert!(rehearsal.entries().await.is_empty());
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}

#[tokio::test]
async fn a_newer_token_that_somebody_wrote_meanwhile_is_kept_and_nobody_is_marked() {
    for (ask_again, test) in [(AskAgain::Never, "never_meanwhile"), (AskAgain::Once, "once_meanwhile")] {
        let mut plan = punishing(Plan::users(5).faults("drop-after user=user-000001 times=1"));
        plan.profile.ask_again = ask_again;
        on_both(test, plan, async |rehearsal| {
            let login = Arc::new(rehearsal.sandbox.login("user-000001").unwrap());
            let (backend, done) = (rehearsal.backend.clone(), AtomicBool::new(false));
            rehearsal.meddler.meddle(move |call| {
                // The look before the second sending.
                let now = matches!(&call, Call::Read(ids) if ids.contains(&document_id(1)));
                let now = now && !done.swap(true, Ordering::SeqCst);
                let (backend, login) = (backend.clone(), login.clone());
                Box::pin(async move {
                    if now {
                        write_login(&backend, 1, &login).await;
                    }
                    Mishap::None
                })
            });
            let summary = rehearsal.run().await;
            assert_eq!((summary.exit(), summary.count(Outcome::Superseded)), (Exit::Well, 1), "{summary:?}");
            assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
            assert_eq!(rehearsal.bookkeeping(1).await.state, State::Live);
        })
        .await;
    }
}

#[tokio::test]
async fn a_lost_login_is_marked_with_what_is_known_of_the_sending() {
    let plan =
        Plan::users(4).faults("truncate user=user-000001 times=1, drop-after user=user-000002 times=1");
    on_both("evidence", plan, async |rehearsal| {
        let before = rehearsal.clock.now();
        rehearsal.run().await;
        let peer = rehearsal.sandbox.address().to_string();
        for (position, cause, is_empty) in [(1, "cut_body", false), (2, "reset", true)] {
            let error = rehearsal.bookkeeping(position).await.last_error.unwrap();
            assert_eq!(
                (&*error.class, &*error.code, error.http_status),
                ("refused", "invalid_grant", Some(400))
            );
            let lost = error.lost.unwrap();
            assert_eq!((&*lost.cause, lost.peer.as_ref()), (cause, Some(&peer)));
            assert_eq!(lost.received_bytes == 0, is_empty);
            assert!(lost.sent_at >= Some(before) && lost.sent_at < Some(error.at));
        }
    })
    .await;
}

#[tokio::test]
async fn the_journal_names_the_peer_of_a_grant_that_is_not_settled() {
    on_both("evidence_journal", Plan::users(2).faults("500 user=user-000001"), async |rehearsal| {
        rehearsal.run().await;
        let entries = rehearsal.entries().await;
        let peer = rehearsal.sandbox.address().to_string();
        assert_eq!((entries.len(), entries[0].state), (1, EntryState::Unsettled));
        assert_eq!((entries[0].peer.as_ref(), entries[0].why.as_deref()), (Some(&peer), Some("http_500")));
        let lost = rehearsal.bookkeeping(1).await.last_error.unwrap().lost.unwrap();
        assert_eq!((&*lost.cause, lost.peer), ("http_500", Some(peer)));
    })
    .await;
}

/// Cuts the first answer of each wire behind so many bytes, or panics when it is asked about it.
#[derive(Debug, Clone)]
struct Mangled {
    cut_at: usize,
    panics: bool,
}

#[derive(Debug)]
struct MangledWire {
    inner: Arc<dyn Wire>,
    how: Mangled,
    sent: AtomicUsize,
}

impl Connect for Mangled {
    fn connect(&self, provider: &Provider, clock: &Clock) -> Result<Arc<dyn Wire>, ClientError> {
        let inner = Https.connect(provider, clock)?;
        Ok(Arc::new(MangledWire { inner, how: self.clone(), sent: AtomicUsize::new(0) }))
    }
}

#[async_trait]
impl Wire for MangledWire {
    async fn post(&self, request: &GrantRequest) -> Sent {
        match (self.inner.post(request).await, self.sent.fetch_add(1, Ordering::SeqCst)) {
            (Sent::Answered(raw), 0) => {
                let body = raw.body.slice(..raw.body.len().min(self.how.cut_at));
                Sent::Answered(RawAnswer { body, complete: false, ..raw })
            }
            (sent, _) => sent,
        }
    }

    fn peer(&self, url: &url::Url) -> Option<String> {
        assert!(!self.how.panics, "a test panics");
        self.inner.peer(url)
    }
}

async fn run_mangled(rehearsal: &Rehearsal, how: Mangled) -> evergrant::testing::report::summary::Summary {
    let pass = rehearsal.process_over(rehearsal.meddler.clone(), rehearsal.state(), &how).await;
    let summary = run(&pass, &FORCED, &Stop::default()).await;
    pass.close().await;
    summary
}

#[tokio::test]
async fn a_pair_is_kept_wherever_the_line_is_cut_behind_its_strings() {
    // The answer of the first is cut; the second one's grant proves that provider and client work.
    let mut plan = Plan::users(2);
    plan.profile.concurrency = 1.try_into().unwrap();
    plan.profile.settle_after = Duration::from_millis(1);
    on_both("cut_behind", plan, async |rehearsal| {
        // From the end towards the front, until a cut costs the login: then the pair wasn't there yet.
        for (kept, cut_at) in (0..400).rev().enumerate() {
            let summary = run_mangled(&rehearsal, Mangled { cut_at, panics: false }).await;
            if summary.count(Outcome::LostInFlight) == 1 {
                let audit = rehearsal.audit().await;
                // The provider handed out a pair that it saw taken off the line.
                assert_eq!(audit.lost_received + audit.lost_in_flight, 1, "{audit:?}");
                assert!(kept > 20, "{kept}");
                // What came of the body stays for a person.
                let entries = rehearsal.entries().await;
                assert_eq!((entries.len(), entries[0].state), (1, EntryState::SetAside), "{entries:?}");
                return;
            }
            assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 2), "{cut_at}");
            rehearsal.assert_kept(2).await;
        }
        panic!("an answer without a token can't be kept");
    })
    .await;
}

#[tokio::test]
async fn a_panic_behind_the_answer_lets_nobody_send_the_token_again_in_this_pass() {
    on_both("panic_behind", Plan::users(3), async |rehearsal| {
        let pass = async {
            let how = Mangled { cut_at: 5, panics: true };
            let pass = rehearsal.process_over(rehearsal.meddler.clone(), rehearsal.state(), &how).await;
            let limited = PassRequest { limit: std::num::NonZeroU64::new(1), ..PassRequest::default() };
            let summary = run(&pass, &limited, &Stop::default()).await;
            assert_eq!(summary.still_due_reasons.get("panic"), Some(&1), "{summary:?}");
            let entries = pass.base.journal.entries().await.unwrap();
            assert_eq!((entries.len(), entries[0].state), (1, EntryState::Answer));
            pass.close().await;
        };
        pass.await;
        // Found and settled by the next start, like any lost answer.
        let next = rehearsal.run().await;
        assert_eq!(next.recovery.answers, 1, "{next:?}");
        assert_eq!(next.count(Outcome::LostInFlight), 1, "{next:?}");
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn a_journal_of_an_earlier_version_is_read_and_takes_the_new_evidence() {
    on_both("earlier_journal", Plan::users(3), async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0]).await;
        doomed.intends(0).await;
        doomed.dies().await;
        as_format_1(rehearsal.state());
        let peeked = evergrant::testing::journal::Journal::peek(rehearsal.state()).unwrap();
        assert_eq!((peeked.len(), peeked[0].peer.as_ref()), (1, None));
        assert_eq!(rehearsal.run().await.exit(), Exit::Well);
        rehearsal.assert_kept(3).await;
    })
    .await;
}
