//! A server that writes a new document for each refresh: a pass over its collection ends all the same.

use crate::store::backend::Backend;
use crate::support::rehearsal::{Plan, document, on_both};
use async_trait::async_trait;
use evergrant::sandbox::Sandbox;
use evergrant::testing::clock::Clock;
use evergrant::testing::exit::Exit;
use evergrant::testing::grant::http::{ClientError, Https};
use evergrant::testing::grant::{Connect, GrantRequest, Sent, Wire};
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::provider::Provider;
use evergrant::testing::report::{Outcome, Reports, Trouble};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Beyond what was there when the pass began, and a tenth of that.
const MOST_NEW: u64 = 1000;

/// A server that keeps each new login in a document of its own.
#[derive(Clone)]
struct Inserts {
    sandbox: Sandbox,
    backend: Arc<Backend>,
    next: Arc<AtomicUsize>,
}

impl fmt::Debug for Inserts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Inserts")
    }
}

#[derive(Debug)]
struct InsertingWire {
    server: Inserts,
    inner: Arc<dyn Wire>,
}

impl Connect for Inserts {
    fn connect(&self, provider: &Provider, clock: &Clock) -> Result<Arc<dyn Wire>, ClientError> {
        let inner = Https.connect(provider, clock)?;
        Ok(Arc::new(InsertingWire { server: self.clone(), inner }))
    }
}

#[async_trait]
impl Wire for InsertingWire {
    async fn post(&self, request: &GrantRequest) -> Sent {
        let sent = self.inner.post(request).await;
        let Inserts { sandbox, backend, next } = &self.server;
        let login = sandbox.login("user-000000").unwrap();
        backend.insert([document(next.fetch_add(1, Ordering::Relaxed), &login)]).await;
        sent
    }
}

#[tokio::test]
async fn a_pass_takes_little_more_than_what_was_there_when_it_began() {
    let mut plan = Plan::users(200);
    // Pages of 64: what is written while one is refreshed stands on the next.
    plan.profile.rate = Some("1000/s".parse().unwrap());
    on_both("overrun", plan, async |rehearsal| {
        let inserts = Inserts {
            sandbox: rehearsal.sandbox.clone(),
            backend: rehearsal.backend.clone(),
            next: Arc::new(AtomicUsize::new(1000)),
        };
        let pass =
            rehearsal.process_over(rehearsal.backend.open_again().await, rehearsal.state(), &inserts).await;
        let report = Arc::new(Reports::new());
        let summary = pass.run(&PassRequest::default(), &Stop::default(), report).await.unwrap();
        assert_eq!(summary.count(Outcome::Refreshed), 200 + 20 + MOST_NEW, "{summary:?}");
        assert_eq!(summary.exit(), Exit::StillDue, "{summary:?}");
        let [Trouble::Overrun { documents: 200, taken: 1220, .. }] = &*summary.troubles else {
            panic!("once: {summary:?}");
        };
        assert!(summary.remaining_due >= Some(200), "{summary:?}");
        pass.close().await;
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}
