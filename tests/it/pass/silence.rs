//! No token and no secret in a log line, an error, a summary or a row of the journal that people see.

use crate::support::meddler::{Call, Mishap};
use crate::support::rehearsal::{Plan, Rehearsal, document_id, on_both};
use evergrant::testing::failure::told;
use evergrant::testing::pass::{PassError, PassRequest, Stop};
use evergrant::testing::provider::ClientSecret;
use evergrant::testing::report::Reports;
use serde_json::json;
use std::fmt::Write as _;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Everything that was said, by anybody on this thread, at any level.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Said {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Every token that the provider handed out or a document held, and the secret in the forms in which it is sent.
async fn canaries(rehearsal: &Rehearsal) -> Vec<String> {
    let mut canaries =
        vec![MALFORMED.to_owned(), rehearsal.sandbox.config().client_secret.clone(), WRONG.to_owned()];
    let mut tokens: Vec<String> = rehearsal.users.iter().map(|user| user.refresh_token.clone()).collect();
    for document in rehearsal.backend.all().await {
        tokens.extend(document["refresh_token"].as_str().map(str::to_owned));
        canaries.extend(document["access_token"].as_str().map(str::to_owned));
    }
    while let Some(token) = tokens.pop() {
        if let Some(record) = rehearsal.sandbox.token_history(&token) {
            tokens.extend(record.successor.filter(|next| *next != token));
            canaries.push(record.access_token);
        }
        canaries.push(token);
    }
    canaries
}

const MALFORMED: &str = "canary-in-a-malformed-field";
const WRONG: &str = "canary-as-a-wrong-secret";

#[tokio::test]
async fn no_token_and_no_secret_is_ever_said() {
    let said = Said::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
    let _said_here = subscriber.with_writer(said.clone()).finish().set_default();
    let script = "drop-after user=user-000001 times=1, truncate user=user-000002 times=1, html-after user=user-000003 \
                  times=1, 500 user=user-000004 times=1, 429(0) user=user-000005 times=1, 503 user=user-000006 times=1, \
                  refuse user=user-000007, redirect user=user-000008 times=1, 400 user=user-000009 times=1, \
                  slow(2) user=user-000010 times=1";
    let mut plan = Plan::users(24).faults(script);
    plan.profile.request_timeout = Duration::from_secs(1);
    on_both("silence", plan, async |mut rehearsal| {
        let mut seen = String::new();
        let malformed =
            json!({ "refresh_token": format!("{MALFORMED}\n"), "access_token": { MALFORMED: MALFORMED } });
        rehearsal.backend.set(&document_id(20), malformed).await;
        rehearsal.backend.set(&document_id(21), json!({ "refresh_token": [MALFORMED] })).await;
        let twice = json!({ "refresh_token": rehearsal.users[0].refresh_token });
        rehearsal.backend.set(&document_id(22), twice).await;
        let one = document_id(11);
        let met = AtomicUsize::new(0);
        let (backend, users) = (rehearsal.backend.clone(), rehearsal.users.clone());
        rehearsal.meddler.meddle(move |call| {
            let taken = call.writes_pair_of(&one);
            let mishap = match call {
                Call::Apply(_) if met.fetch_add(1, Ordering::SeqCst) < 2 => Mishap::Away,
                _ => Mishap::None,
            };
            let (backend, token) = (backend.clone(), users[23].refresh_token.clone());
            Box::pin(async move {
                if taken && mishap == Mishap::None {
                    backend.set(&document_id(11), json!({ "refresh_token": token })).await;
                }
                mishap
            })
        });
        look(&rehearsal, &mut seen).await;
        rehearsal
            .meddler
            .decide(|call| if matches!(call, Call::Apply(_)) { Mishap::Denied } else { Mishap::None });
        look(&rehearsal, &mut seen).await;
        rehearsal
            .meddler
            .decide(|call| if matches!(call, Call::Prepare) { Mishap::Away } else { Mishap::None });
        look(&rehearsal, &mut seen).await;
        rehearsal.meddler.leave();
        rehearsal.change_provider(|provider| provider.client_secret = Some(ClientSecret::new(WRONG.into())));
        look(&rehearsal, &mut seen).await;

        assert!(
            seen.contains("already_redeemed") || seen.contains("Duplicate"),
            "the scene has all that it should"
        );
        seen.push_str(&String::from_utf8_lossy(&said.0.lock().unwrap()));
        assert!(seen.contains("TRACE") && seen.contains("DEBUG"), "everything is heard");
        for canary in canaries(&rehearsal).await {
            if let Some(at) = seen.find(&canary) {
                let around = &seen[at.saturating_sub(300)..at];
                panic!("a canary of {} characters is said after: {around}", canary.len());
            }
        }
    })
    .await;
}

/// Runs a forced pass, and shows all of it that can be shown.
async fn look(rehearsal: &Rehearsal, seen: &mut String) {
    let pass = rehearsal.process(rehearsal.meddler.clone(), rehearsal.state()).await;
    let (request, stop) = (PassRequest { force: true, ..PassRequest::default() }, Stop::default());
    let report = Arc::new(Reports::new());
    let ended = pass.run(&request, &stop, report.clone()).await;
    write!(seen, "{pass:?} {report:?} {:?} {request:?} {stop:?}", report.progress()).unwrap();
    match ended {
        Ok(summary) => {
            let json = serde_json::to_string(&summary).unwrap();
            write!(seen, "{summary} {summary:?} {json}").unwrap();
        }
        Err(error) => {
            assert!(matches!(error, PassError::Store(_)), "{error}");
            write!(seen, "{error} {error:?} {}", told(&error)).unwrap();
        }
    }
    for entry in pass.base.journal.entries().await.unwrap() {
        write!(seen, "{entry:?} {} {:?}", entry.intent.subject, entry.why).unwrap();
    }
    pass.close().await;
}
